// The system calls of one process, in the simulation (simulated_world.h) or in the real kernel
// (real_world.h), so that one script runs in both. (lockstep.h)
//
// OWNER     A test. Closes all that it opened.
// THREADS   One.
// ERRORS    Results are the kernel's: >= 0, or -errno.
//
// Descriptors are numbers that begin with 0 in both worlds: a script compares them, too.

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
