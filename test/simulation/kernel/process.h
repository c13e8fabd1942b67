// A simulated process: a table of descriptors, and the system calls.
//
// The calls have the names, arguments and results of weir::kernel (src/os/kernel.h), and are what a
// kernel that has a good day does. None of them blocks: a wait looks, and who is to sleep is the
// scheduler's business. The clients' processes have a few more calls than the library makes.
//
// OWNER     One life, or one test. The network outlives it.
// THREADS   One.
// ERRORS    >= 0, or -errno.

#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "simulation/kernel/network.h"

namespace weir::sim {

class Process {
 public:
  explicit Process(Network& network) noexcept : network_(network) {}
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // RLIMIT_NOFILE. Descriptors that are open beyond it stay open.
  void SetLimit(std::size_t limit) noexcept { limit_ = limit; }
  [[nodiscard]] std::size_t OpenDescriptors() const noexcept;
  [[nodiscard]] Network& network() noexcept { return network_; }

  // ---- Sockets

  int Socket(int domain, int type, int protocol);
  int Bind(int fd, const void* address, socklen_t size);
  int Listen(int fd, int backlog);
  int Accept(int fd, void* address, socklen_t* size);
  int Connect(int fd, const void* address, socklen_t size);
  ssize_t Recv(int fd, void* room, std::size_t size);
  ssize_t Send(int fd, const void* bytes, std::size_t size);
  ssize_t SendMessage(int fd, const iovec* pieces, std::size_t count);
  ssize_t SendUrgent(int fd, const void* bytes, std::size_t size);  // send(MSG_OOB)
  int Shutdown(int fd, int how);
  int SetOption(int fd, int level, int name, const void* value, socklen_t size);
  int GetOption(int fd, int level, int name, void* value, socklen_t* size);
  int GetSocketName(int fd, void* address, socklen_t* size);
  int GetPeerName(int fd, void* address, socklen_t* size);
  int UnreadBytes(int fd, int* count);
  int AtUrgentMark(int fd);

  // ---- Any descriptor

  ssize_t Read(int fd, void* room, std::size_t size);
  int Close(int fd);
  int Dup(int fd);

  // ---- Waiting and waking

  int EpollCreate();
  int EpollControl(int epoll, int operation, int fd, std::uint32_t events, std::uint64_t data);
  // As with a time-out of 0.
  int EpollWait(int epoll, epoll_event* events, int capacity);
  int EventFd();
  int WriteEventFd(int fd);
  [[nodiscard]] std::uint32_t Poll(int fd);  // poll(2) of one

  // ---- Files

  int Unlink(const char* path);
  int LStat(const char* path, struct stat* status);

  // ---- For whoever judges, and for whoever makes the weather

  [[nodiscard]] File* Find(int fd) const noexcept;
  [[nodiscard]] sim::Socket* FindSocket(int fd) const noexcept;
  [[nodiscard]] Epoll* FindEpoll(int fd) const noexcept;
  // Another descriptor fits.
  [[nodiscard]] bool HasFreeDescriptor() const noexcept;

 private:
  int Install(File& file);
  // Why it is none: -EBADF or -ENOTSOCK.
  [[nodiscard]] int NoSocket(int fd) const noexcept;
  void Release(File& file);

  Network& network_;
  std::size_t limit_ = 1 << 20;
  std::vector<File*> table_;  // by descriptor; null is free
};

}  // namespace weir::sim
