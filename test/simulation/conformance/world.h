// The system calls of one process, in the simulation (simulated_world.h) or in the real kernel
// (real_world.h), so that one script runs in both. (lockstep.h)
//
// OWNER     A test. Closes all that it opened.
// THREADS   One.
// ERRORS    Results are the kernel's: >= 0, or -errno.
//
// Descriptors are numbers that begin with 0 in both worlds: a script compares them, too.
//
// What the simulation promises is what the scripts here compare: results, errno, event masks and
// edges. Not promised, and in no script:
//
//   - Sizes of buffers: how much a send takes, how a large one is cut into messages, and from how
//     much room on a socket is writable. (TCP: a third is free. AF_UNIX: three quarters are free.)
//   - TCP's time. All that is sent arrives at once, where a fault does not hold it back. No delayed
//     acknowledgement: the edge that the real kernel makes when an own FIN is acknowledged comes
//     with the shutdown here, and up to 40 ms later there. No Nagle, no retransmission, no
//     keep-alive, no window probe, no silly-window avoidance (a window opens by the byte), no
//     urgent byte announced before it is sent, no TIME_WAIT.
//   - A SYN that was dropped is not sent again: such a client waits for ever. The real one comes
//     back after a second, and is refused if the listener is closed by then. What a full queue of a
//     TCP listener does (drop, cookies, a little more than the backlog) is the kernel's secret.
//   - Which of several listeners on one port (SO_REUSEPORT) takes a client. Listeners that close
//     with net.ipv4.tcp_migrate_req=1.
//   - A port is free as soon as its listener is closed, as with SO_REUSEADDR. Two that are bound
//     with SO_REUSEADDR and do not listen are EADDRINUSE here. Addresses are ports: every host is
//     this one, IPv6 and IPv4 share them.
//   - A second connect() of a TCP socket: here EISCONN always, or EINPROGRESS again while nobody
//     has answered; there EALREADY before the answer, 0 once after it, and a refused socket may try
//     again. Connecting to itself.
//   - The order of events in one wait, where it is more than "those that were ready first come
//     first". EPOLLONESHOT, EPOLLWAKEUP. Loops of epolls (ELOOP) and more than two of them.
//   - Urgent bytes: one that overtakes another (there the older one becomes data, or is lost), one
//     sent to a socket that is shut both ways (there PRI beside the reset), MSG_OOB as a receive,
//     SO_OOBINLINE. On AF_UNIX there are none: EOPNOTSUPP here, and there since Linux 5.15 a byte.
//   - AF_UNIX: borders between senders' credentials and descriptors that are sent along
//     (SCM_RIGHTS), where a receive stops; autobind; the permissions of a file.
//   - Errors of more than one wrong argument at once, and of arguments that point nowhere.

#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace weir::sim::conformance {

struct Address {
  sockaddr_storage raw{};
  socklen_t size = sizeof raw;
};

class World {
 public:
  World() = default;
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  virtual ~World() = default;

  [[nodiscard]] virtual std::string_view Name() const = 0;

  // ---- Sockets

  virtual long Socket(int domain) = 0;
  virtual long Bind(int fd, const Address& address) = 0;
  virtual long Listen(int fd, int backlog) = 0;
  virtual long Accept(int fd, Address* peer) = 0;
  virtual long Connect(int fd, const Address& address) = 0;
  virtual long Recv(int fd, std::span<char> room) = 0;
  virtual long Send(int fd, std::string_view bytes) = 0;
  virtual long SendMessage(int fd, std::span<const std::string_view> pieces) = 0;
  virtual long SendUrgent(int fd, std::string_view bytes) = 0;
  virtual long Shutdown(int fd, int how) = 0;
  virtual long SetOption(int fd, int name, const void* value, socklen_t size) = 0;  // SOL_SOCKET
  virtual long GetOption(int fd, int level, int name, void* value, socklen_t size) = 0;
  virtual long GetSocketName(int fd, Address* address) = 0;
  virtual long GetPeerName(int fd, Address* address) = 0;
  virtual long UnreadBytes(int fd, int* count) = 0;
  virtual long AtUrgentMark(int fd) = 0;

  // ---- Any descriptor

  virtual long Read(int fd, std::span<char> room) = 0;
  virtual long Close(int fd) = 0;
  virtual long Dup(int fd) = 0;
  // RLIMIT_NOFILE: numbers below `end` may be given.
  virtual void SetLimit(int end) = 0;

  // ---- Waiting and waking

  virtual long EpollCreate() = 0;
  virtual long EpollControl(int epoll, int operation, int fd, std::uint32_t events,
                            std::uint64_t data) = 0;
  // As with a time-out of 0.
  virtual long EpollWait(int epoll, std::span<epoll_event> events) = 0;
  virtual long EventFd() = 0;
  virtual long WriteEventFd(int fd) = 0;
  // poll(2) of one, asked for everything; POLLNVAL for a number that is not open.
  [[nodiscard]] virtual std::uint32_t Poll(int fd) = 0;

  // ---- Names of Unix sockets, of which each world has its own

  // "@name" is of the abstract kind, "/name" a file.
  [[nodiscard]] virtual Address UnixAddress(std::string_view name) = 0;
  virtual long Unlink(std::string_view name) = 0;

  // ---- Time

  // Something on its way may arrive now. Returns when something did, or after some milliseconds.
  virtual void LetArrive() = 0;
};

}  // namespace weir::sim::conformance
