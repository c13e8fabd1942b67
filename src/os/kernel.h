// Every system call that weir's core makes, as thin inline functions over libc, with the clock and
// the few other things that a simulated kernel has to replace together with them. Code says
// weir::sys::X (os/sys.h), never weir::kernel::X.
//
// THREADS   Any, as the calls themselves.
// ERRORS    Results are the kernel's own: >= 0, or -errno; errno itself means nothing to a caller.
//           EINTR is retried here, but for Close() (the descriptor is gone all the same),
//           EpollWait(), and where it is said.
// UNITS     As libc has them; time-outs are milliseconds.
//
// Descriptors are non-blocking and close-on-exec from birth: no moment exists in which another
// thread's fork and exec could inherit one.

#pragma once

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "weir/clock.h"
#include "weir/error.h"
#include "weir/function.h"

namespace weir::kernel {

namespace detail {

template <class Number>
Number OrErrno(Number result) noexcept {
  if (result >= 0) [[likely]] {
    return result;
  }
  return static_cast<Number>(-errno);
}

template <class Call>
auto Retried(Call call) noexcept {
  for (;;) {
    const auto result = call();
    if (result >= 0) [[likely]] {
      return result;
    }
    if (errno != EINTR) return static_cast<decltype(result)>(-errno);
  }
}

}  // namespace detail

// Sockets.

inline int Socket(int domain, int type, int protocol) noexcept {
  return detail::OrErrno(::socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
}

inline int Bind(int fd, const void* address, socklen_t size) noexcept {
  return detail::OrErrno(::bind(fd, static_cast<const sockaddr*>(address), size));
}

inline int Listen(int fd, int backlog) noexcept { return detail::OrErrno(::listen(fd, backlog)); }

// *size: in, the room at `address`; out, the size of the peer's address. Both may be null.
inline int Accept(int fd, void* address, socklen_t* size) noexcept {
  return detail::Retried([&] {
    return ::accept4(fd, static_cast<sockaddr*>(address), size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  });
}

// Not retried: a non-blocking connect never sleeps, so nothing interrupts it.
inline int Connect(int fd, const void* address, socklen_t size) noexcept {
  return detail::OrErrno(::connect(fd, static_cast<const sockaddr*>(address), size));
}

// These three are not retried: net/wire.h does.

inline ssize_t Recv(int fd, void* room, std::size_t size) noexcept {
  return detail::OrErrno(::recv(fd, room, size, 0));
}

inline ssize_t Send(int fd, const void* bytes, std::size_t size) noexcept {
  return detail::OrErrno(::send(fd, bytes, size, MSG_NOSIGNAL));
}

inline ssize_t SendMessage(int fd, const iovec* pieces, std::size_t count) noexcept {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces);  // sendmsg does not write there
  message.msg_iovlen = count;
  return detail::OrErrno(::sendmsg(fd, &message, MSG_NOSIGNAL));
}

inline int Shutdown(int fd, int how) noexcept { return detail::OrErrno(::shutdown(fd, how)); }

inline int SetOption(int fd, int level, int name, const void* value, socklen_t size) noexcept {
  return detail::OrErrno(::setsockopt(fd, level, name, value, size));
}

inline int GetOption(int fd, int level, int name, void* value, socklen_t* size) noexcept {
  return detail::OrErrno(::getsockopt(fd, level, name, value, size));
}

inline int GetSocketName(int fd, void* address, socklen_t* size) noexcept {
  return detail::OrErrno(::getsockname(fd, static_cast<sockaddr*>(address), size));
}

inline int GetPeerName(int fd, void* address, socklen_t* size) noexcept {
  return detail::OrErrno(::getpeername(fd, static_cast<sockaddr*>(address), size));
}

// Up to an urgent byte and no further.
inline int UnreadBytes(int fd, int* count) noexcept {
  return detail::OrErrno(::ioctl(fd, FIONREAD, count));
}

// 1 if an urgent byte is next.
inline int AtUrgentMark(int fd) noexcept { return detail::OrErrno(::sockatmark(fd)); }

// Any descriptor.

inline ssize_t Read(int fd, void* room, std::size_t size) noexcept {
  return detail::Retried([&] { return ::read(fd, room, size); });
}

inline int Close(int fd) noexcept { return detail::OrErrno(::close(fd)); }

// For a descriptor that was not made here: all others have both from birth.
inline int SetNonBlockingAndCloseOnExec(int fd) noexcept {
  const int flags = detail::OrErrno(::fcntl(fd, F_GETFL));
  if (flags < 0) return flags;
  const int result = detail::OrErrno(::fcntl(fd, F_SETFL, flags | O_NONBLOCK));
  return result < 0 ? result : detail::OrErrno(::fcntl(fd, F_SETFD, FD_CLOEXEC));
}

// Waiting and waking.

inline int EpollCreate() noexcept { return detail::OrErrno(::epoll_create1(EPOLL_CLOEXEC)); }

// `events` and `data` are ignored by EPOLL_CTL_DEL.
inline int EpollControl(int epoll, int operation, int fd, std::uint32_t events,
                        std::uint64_t data) noexcept {
  epoll_event event{};
  event.events = events;
  event.data.u64 = data;
  return detail::OrErrno(::epoll_ctl(epoll, operation, fd, &event));
}

// An interrupted wait is a spurious wake: 0 events, and the loop looks at its world again. (SIGCONT
// interrupts it even where no handler is installed.) timeout_ms: 0 only looks, -1 waits for ever.
inline int EpollWait(int epoll, epoll_event* events, int capacity, int timeout_ms) noexcept {
  const int result = detail::OrErrno(::epoll_wait(epoll, events, capacity, timeout_ms));
  return result == -EINTR ? 0 : result;
}

inline int EventFd() noexcept { return detail::OrErrno(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); }

// Adds 1. Safe in a signal handler (it puts errno back).
inline int WriteEventFd(int fd) noexcept {
  const int saved = errno;
  const std::uint64_t one = 1;
  const ssize_t result = detail::Retried([&] { return ::write(fd, &one, sizeof one); });
  errno = saved;
  return result < 0 ? static_cast<int>(result) : 0;
}

// Signals.

inline int SignalFd(const sigset_t* signals) noexcept {
  return detail::OrErrno(::signalfd(-1, signals, SFD_NONBLOCK | SFD_CLOEXEC));
}

// Of the calling thread; `how` as in pthread_sigmask(3). Either set may be null.
inline int SignalMask(int how, const sigset_t* set, sigset_t* old) noexcept {
  return -::pthread_sigmask(how, set, old);
}

// Files: what the path of a Unix listener needs, and what the machine says about itself.

inline int OpenToRead(const char* path) noexcept {
  return detail::Retried([&] { return ::open(path, O_RDONLY | O_CLOEXEC); });
}

// Bytes of physical memory; 0 if the system does not say.
inline std::size_t PhysicalMemory() noexcept {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<std::size_t>(pages) * static_cast<std::size_t>(page)
                               : 0;
}

inline int Unlink(const char* path) noexcept { return detail::OrErrno(::unlink(path)); }

inline int Chmod(const char* path, mode_t mode) noexcept {
  return detail::OrErrno(::chmod(path, mode));
}

inline int LStat(const char* path, struct stat* status) noexcept {
  return detail::OrErrno(::lstat(path, status));
}

// Network interfaces, by which an IPv6 address names its link.

inline int InterfaceIndex(const char* name) noexcept {
  const unsigned index = ::if_nametoindex(name);
  return index != 0 ? static_cast<int>(index) : -errno;
}

// Writes at most IF_NAMESIZE bytes, NUL included.
inline int InterfaceName(unsigned index, char* room) noexcept {
  return ::if_indextoname(index, room) != nullptr ? 0 : -errno;
}

// Time.

inline Clock::time_point Now() noexcept { return Clock::now(); }

// Threads and processes.

using Thread = std::thread;
using Mutex = std::mutex;
using Condition = std::condition_variable;

// A pointer that each thread has for itself, null at first: the loop that runs there.
inline void*& ThreadSlot() noexcept {
  static thread_local void* slot = nullptr;
  return slot;
}

// Equal for equal threads, for as long as the thread lives. Costs an addition: no call, no system
// call.
inline const void* CurrentThread() noexcept {
  static thread_local const char here = 0;
  return &here;
}

// Runs `work` on a thread of its own, which has the calling thread's signal mask. Returns 0, or
// -errno and the work was not run.
inline int StartThread(Thread& thread, Work work) noexcept {
  try {
    thread = Thread(std::move(work));
    return 0;
  } catch (const std::system_error& error) {
    return -error.code().value();
  } catch (const std::bad_alloc&) {
    return -ENOMEM;
  }
}

// The processors that the calling thread may run on, in ascending order; empty if the kernel does
// not say. (std::thread::hardware_concurrency() counts those of the machine.)
inline std::vector<int> AllowedCpus() {
  for (int most = CPU_SETSIZE; most <= (1 << 20); most *= 2) {  // the set must hold all there are
    cpu_set_t* const set = CPU_ALLOC(static_cast<std::size_t>(most));
    if (set == nullptr) break;
    const std::size_t size = CPU_ALLOC_SIZE(static_cast<std::size_t>(most));
    std::vector<int> cpus;
    const int result = detail::OrErrno(::sched_getaffinity(0, size, set));
    for (int cpu = 0; result == 0 && cpu < most; ++cpu) {
      if (CPU_ISSET_S(static_cast<std::size_t>(cpu), size, set)) cpus.push_back(cpu);
    }
    CPU_FREE(set);
    if (result != -EINVAL) return cpus;
  }
  return {};
}

// Binds the calling thread to these processors.
inline int SetAllowedCpus(const std::vector<int>& cpus) {
  const int most = cpus.empty() ? 1 : cpus.back() + 1;
  cpu_set_t* const set = CPU_ALLOC(static_cast<std::size_t>(most));
  if (set == nullptr) return -ENOMEM;
  const std::size_t size = CPU_ALLOC_SIZE(static_cast<std::size_t>(most));
  CPU_ZERO_S(size, set);
  for (const int cpu : cpus) CPU_SET_S(static_cast<std::size_t>(cpu), size, set);
  const int result = detail::OrErrno(::sched_setaffinity(0, size, set));
  CPU_FREE(set);
  return result;
}

// A place between two steps of the sleep and stop protocols, where a test may let another thread
// in.
enum class Point : std::uint8_t {
  kMailPushed,
  kBeforeSleepFlag,
  kAfterSleepFlag,
  kBeforeWake,
  kAfterWait,
  kStopStored,
};
inline void Yield(Point) noexcept {}

// Knows, by one load, that it is looked at in a forked child: its page is one that fork(2) hands
// over wiped (MADV_WIPEONFORK, Linux 4.14).
class ForkGuard {
 public:
  ForkGuard();  // throws weir::Error
  ForkGuard(const ForkGuard&) = delete;
  ForkGuard& operator=(const ForkGuard&) = delete;
  ~ForkGuard() { ::munmap(const_cast<std::uint64_t*>(word_), kSize); }

  // Also true in a child's child.
  [[nodiscard]] bool InChild() const noexcept { return *word_ != kMagic; }

 private:
  static constexpr std::size_t kSize = sizeof(std::uint64_t);  // the kernel rounds up to one page
  static constexpr std::uint64_t kMagic = 0x77656972'6c6f6f70;

  const volatile std::uint64_t* word_;  // volatile: no code that a compiler sees changes it
};

inline ForkGuard::ForkGuard() {
  void* const page =
      ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) throw Error::System("fork guard: mmap", errno);
  if (::madvise(page, kSize, MADV_WIPEONFORK) < 0) {
    const int reason = errno;
    ::munmap(page, kSize);
    throw Error::System("fork guard: madvise MADV_WIPEONFORK", reason);
  }
  word_ = new (page) std::uint64_t(kMagic);
}

}  // namespace weir::kernel
