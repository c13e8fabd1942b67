// The system calls of the simulated server: those of weir::kernel (src/os/kernel.h), by the same
// names, led to the current world. test/simulation/seam/os/sys.h names them.
//
// Each call takes a little time, may let another thread go on first, and may meet a fault. A fault
// keeps the kernel's promises: EAGAIN with bytes on their way is followed by an edge, a socket that
// took a part tells when it takes more.
//
// THREADS   The simulated ones.
// ERRORS    As in src/os/kernel.h: >= 0, or -errno; what is retried there never says EINTR here.

#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "os/kernel.h"
#include "simulation/fiber.h"
#include "weir/clock.h"
#include "weir/function.h"

namespace weir::sim::calls {

using kernel::Point;

int Socket(int domain, int type, int protocol) noexcept;
int Bind(int fd, const void* address, socklen_t size) noexcept;
int Listen(int fd, int backlog) noexcept;
int Accept(int fd, void* address, socklen_t* size) noexcept;
int Connect(int fd, const void* address, socklen_t size) noexcept;
ssize_t Recv(int fd, void* room, std::size_t size) noexcept;
ssize_t Send(int fd, const void* bytes, std::size_t size) noexcept;
ssize_t SendMessage(int fd, const iovec* pieces, std::size_t count) noexcept;
int Shutdown(int fd, int how) noexcept;
int SetOption(int fd, int level, int name, const void* value, socklen_t size) noexcept;
int GetOption(int fd, int level, int name, void* value, socklen_t* size) noexcept;
int GetSocketName(int fd, void* address, socklen_t* size) noexcept;
int GetPeerName(int fd, void* address, socklen_t* size) noexcept;
int UnreadBytes(int fd, int* count) noexcept;
int AtUrgentMark(int fd) noexcept;

ssize_t Read(int fd, void* room, std::size_t size) noexcept;
int Close(int fd) noexcept;
int SetNonBlockingAndCloseOnExec(int fd) noexcept;

int EpollCreate() noexcept;
int EpollControl(int epoll, int operation, int fd, std::uint32_t events,
                 std::uint64_t data) noexcept;
int EpollWait(int epoll, epoll_event* events, int capacity, int timeout_ms) noexcept;
int EventFd() noexcept;
int WriteEventFd(int fd) noexcept;

int SignalFd(const sigset_t* signals) noexcept;  // there are no signals: ENOSYS
int SignalMask(int how, const sigset_t* set, sigset_t* old) noexcept;

int OpenToRead(const char* path) noexcept;  // there are no files: ENOENT
std::size_t PhysicalMemory() noexcept;
int Unlink(const char* path) noexcept;
int Chmod(const char* path, mode_t mode) noexcept;
int LStat(const char* path, struct stat* status) noexcept;
int InterfaceIndex(const char* name) noexcept;
int InterfaceName(unsigned index, char* room) noexcept;

Clock::time_point Now() noexcept;
void Yield(Point point) noexcept;

// ---- Threads: fibers of the world's scheduler

class Thread {
 public:
  Thread() noexcept = default;
  explicit Thread(Fiber& fiber) noexcept : fiber_(&fiber) {}
  Thread(Thread&& other) noexcept;
  Thread& operator=(Thread&& other) noexcept;
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;
  ~Thread();  // as std::thread: one that is joinable ends the process

  [[nodiscard]] bool joinable() const noexcept { return fiber_ != nullptr; }
  void join();
  void detach() noexcept { fiber_ = nullptr; }

 private:
  Fiber* fiber_ = nullptr;
};

class Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock();
  void unlock() noexcept { locked_ = false; }

 private:
  bool locked_ = false;
};

class Condition {
 public:
  Condition() = default;
  Condition(const Condition&) = delete;
  Condition& operator=(const Condition&) = delete;

  void notify_all() noexcept { ++times_; }
  template <class Predicate>
  void wait(std::unique_lock<Mutex>& lock, Predicate predicate) {
    while (!predicate()) {
      lock.unlock();
      WaitFor(times_);
      lock.lock();
    }
  }

 private:
  // Until somebody notifies.
  void WaitFor(std::uint64_t seen) const;

  std::uint64_t times_ = 0;
};

int StartThread(Thread& thread, Work work) noexcept;
const void* CurrentThread() noexcept;
void*& ThreadSlot() noexcept;
std::vector<int> AllowedCpus();
int SetAllowedCpus(const std::vector<int>& cpus);

// There are no child processes.
class ForkGuard {
 public:
  [[nodiscard]] bool InChild() const noexcept { return false; }
};

}  // namespace weir::sim::calls
