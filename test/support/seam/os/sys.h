// The unit tests' seam: src/os/sys.h's names over the real kernel, with three things more.
//
//   COUNTERS  Each call counts in sys::calls(). Reset them by `sys::calls() = {}`.
//   A CLOCK   Time stands still until fake::Advance(), or until a wait with a time-out finds
//             nothing ready: then that time-out has passed, at once (a wait for ever really waits).
//   FAILURES  fake::FailNext() makes coming calls of one kind fail without reaching the kernel.
//
// THREADS   Counters, planned failures and the Yield hook belong to the calling thread: a test sees
//           what its own thread did. The clock is one for all.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

#include "os/kernel.h"

namespace weir::sys {

using kernel::Condition;
using kernel::CurrentThread;
using kernel::ForkGuard;
using kernel::Mutex;
using kernel::PhysicalMemory;
using kernel::Point;
using kernel::Thread;
using kernel::ThreadSlot;

// One counter a kind of call; a call that was made to fail counts too. What costs no system call on
// a real machine (the clock, the thread, the fork guard) is not here.
struct Calls {
  int socket = 0;
  int bind = 0;
  int listen = 0;
  int accept = 0;
  int connect = 0;
  int recv = 0;
  int send = 0;          // SendMessage too
  int send_message = 0;  // of those, how many were SendMessage
  int shutdown = 0;
  int set_option = 0;
  int getters = 0;  // GetOption, GetSocketName, GetPeerName
  int unread_bytes = 0;
  int at_urgent_mark = 0;
  int read = 0;
  int close = 0;
  int set_flags = 0;  // SetNonBlockingAndCloseOnExec
  int epoll_create = 0;
  int epoll_wait = 0;
  int epoll_ctl_add = 0;
  int epoll_ctl_mod = 0;
  int epoll_ctl_del = 0;
  int event_fd = 0;
  int write_eventfd = 0;
  int signal_fd = 0;
  int signal_mask = 0;
  int files = 0;       // OpenToRead, Unlink, Chmod, LStat
  int interfaces = 0;  // InterfaceIndex, InterfaceName
  int threads = 0;     // StartThread
  int set_cpus = 0;    // SetAllowedCpus
  int all = 0;         // every one of them, once
};
using Kind = int Calls::*;

inline Calls& calls() noexcept {
  static thread_local Calls counted;
  return counted;
}

namespace fake {

// The next `times` calls of `kind` return -error_number; with error_number 0 they go through. Plans
// of one kind queue up: FailNext(&Calls::accept, 0, 2), then FailNext(&Calls::accept, EMFILE) lets
// two accepts pass and fails the third.
struct Plan {
  Kind kind;
  int error_number;
  int times;
};

inline std::vector<Plan>& Plans() noexcept {
  static thread_local std::vector<Plan> plans;
  return plans;
}

inline void FailNext(Kind kind, int error_number, int times = 1) {
  Plans().push_back({kind, error_number, times});
}

inline void FailNothing() noexcept { Plans().clear(); }

inline int PlannedFailure(Kind kind) noexcept {
  std::vector<Plan>& plans = Plans();
  for (auto plan = plans.begin(); plan != plans.end(); ++plan) {
    if (plan->kind != kind) continue;
    const int error_number = plan->error_number;
    if (--plan->times <= 0) plans.erase(plan);
    return error_number;
  }
  return 0;
}

// The clock.

inline std::atomic<Duration::rep>& Ticks() noexcept {
  static std::atomic<Duration::rep> ticks{Duration(std::chrono::seconds(1'000'000)).count()};
  return ticks;
}

inline Clock::time_point Now() noexcept { return Clock::time_point(Duration(Ticks().load())); }

inline void Advance(Duration by) noexcept { Ticks().fetch_add(by.count()); }

// What AllowedCpus() tells this thread; empty: the truth.
inline std::vector<int>& Cpus() noexcept {
  static thread_local std::vector<int> cpus;
  return cpus;
}

// What this thread runs at each Yield(); nothing by default.

struct Hook {
  void (*run)(Point point, void* context) = nullptr;
  void* context = nullptr;
};

inline Hook& OnYield() noexcept {
  static thread_local Hook hook;
  return hook;
}

}  // namespace fake

namespace detail {

template <class Call>
auto Counted(Kind kind, Call call) noexcept {
  ++(calls().*kind);
  ++calls().all;
  const int planned = fake::PlannedFailure(kind);
  return planned != 0 ? static_cast<decltype(call())>(-planned) : call();
}

}  // namespace detail

inline int Socket(int domain, int type, int protocol) noexcept {
  return detail::Counted(&Calls::socket, [&] { return kernel::Socket(domain, type, protocol); });
}
inline int Bind(int fd, const void* address, socklen_t size) noexcept {
  return detail::Counted(&Calls::bind, [&] { return kernel::Bind(fd, address, size); });
}
inline int Listen(int fd, int backlog) noexcept {
  return detail::Counted(&Calls::listen, [&] { return kernel::Listen(fd, backlog); });
}
inline int Accept(int fd, void* address, socklen_t* size) noexcept {
  return detail::Counted(&Calls::accept, [&] { return kernel::Accept(fd, address, size); });
}
inline int Connect(int fd, const void* address, socklen_t size) noexcept {
  return detail::Counted(&Calls::connect, [&] { return kernel::Connect(fd, address, size); });
}
inline ssize_t Recv(int fd, void* room, std::size_t size) noexcept {
  return detail::Counted(&Calls::recv, [&] { return kernel::Recv(fd, room, size); });
}
inline ssize_t Send(int fd, const void* bytes, std::size_t size) noexcept {
  return detail::Counted(&Calls::send, [&] { return kernel::Send(fd, bytes, size); });
}
inline ssize_t SendMessage(int fd, const iovec* pieces, std::size_t count) noexcept {
  ++calls().send_message;
  return detail::Counted(&Calls::send, [&] { return kernel::SendMessage(fd, pieces, count); });
}
inline int Shutdown(int fd, int how) noexcept {
  return detail::Counted(&Calls::shutdown, [&] { return kernel::Shutdown(fd, how); });
}
inline int SetOption(int fd, int level, int name, const void* value, socklen_t size) noexcept {
  return detail::Counted(&Calls::set_option,
                         [&] { return kernel::SetOption(fd, level, name, value, size); });
}
inline int GetOption(int fd, int level, int name, void* value, socklen_t* size) noexcept {
  return detail::Counted(&Calls::getters,
                         [&] { return kernel::GetOption(fd, level, name, value, size); });
}
inline int GetSocketName(int fd, void* address, socklen_t* size) noexcept {
  return detail::Counted(&Calls::getters, [&] { return kernel::GetSocketName(fd, address, size); });
}
inline int GetPeerName(int fd, void* address, socklen_t* size) noexcept {
  return detail::Counted(&Calls::getters, [&] { return kernel::GetPeerName(fd, address, size); });
}
inline int UnreadBytes(int fd, int* count) noexcept {
  return detail::Counted(&Calls::unread_bytes, [&] { return kernel::UnreadBytes(fd, count); });
}
inline int AtUrgentMark(int fd) noexcept {
  return detail::Counted(&Calls::at_urgent_mark, [&] { return kernel::AtUrgentMark(fd); });
}
inline ssize_t Read(int fd, void* room, std::size_t size) noexcept {
  return detail::Counted(&Calls::read, [&] { return kernel::Read(fd, room, size); });
}
inline int Close(int fd) noexcept {
  return detail::Counted(&Calls::close, [&] { return kernel::Close(fd); });
}

inline int SetNonBlockingAndCloseOnExec(int fd) noexcept {
  return detail::Counted(&Calls::set_flags,
                         [&] { return kernel::SetNonBlockingAndCloseOnExec(fd); });
}

inline int EpollCreate() noexcept {
  return detail::Counted(&Calls::epoll_create, [] { return kernel::EpollCreate(); });
}
inline int EpollControl(int epoll, int operation, int fd, std::uint32_t events,
                        std::uint64_t data) noexcept {
  const Kind kind = operation == EPOLL_CTL_ADD   ? &Calls::epoll_ctl_add
                    : operation == EPOLL_CTL_MOD ? &Calls::epoll_ctl_mod
                                                 : &Calls::epoll_ctl_del;
  return detail::Counted(kind,
                         [&] { return kernel::EpollControl(epoll, operation, fd, events, data); });
}
inline int EpollWait(int epoll, epoll_event* events, int capacity, int timeout_ms) noexcept {
  return detail::Counted(&Calls::epoll_wait, [&] {
    if (timeout_ms <= 0) return kernel::EpollWait(epoll, events, capacity, timeout_ms);
    const int ready = kernel::EpollWait(epoll, events, capacity, 0);
    if (ready == 0) fake::Advance(std::chrono::milliseconds(timeout_ms));
    return ready;
  });
}
inline int EventFd() noexcept {
  return detail::Counted(&Calls::event_fd, [] { return kernel::EventFd(); });
}
inline int WriteEventFd(int fd) noexcept {
  return detail::Counted(&Calls::write_eventfd, [&] { return kernel::WriteEventFd(fd); });
}

inline int SignalFd(const sigset_t* signals) noexcept {
  return detail::Counted(&Calls::signal_fd, [&] { return kernel::SignalFd(signals); });
}
inline int SignalMask(int how, const sigset_t* set, sigset_t* old) noexcept {
  return detail::Counted(&Calls::signal_mask, [&] { return kernel::SignalMask(how, set, old); });
}

inline int OpenToRead(const char* path) noexcept {
  return detail::Counted(&Calls::files, [&] { return kernel::OpenToRead(path); });
}
inline int Unlink(const char* path) noexcept {
  return detail::Counted(&Calls::files, [&] { return kernel::Unlink(path); });
}
inline int Chmod(const char* path, mode_t mode) noexcept {
  return detail::Counted(&Calls::files, [&] { return kernel::Chmod(path, mode); });
}
inline int LStat(const char* path, struct stat* status) noexcept {
  return detail::Counted(&Calls::files, [&] { return kernel::LStat(path, status); });
}

inline int InterfaceIndex(const char* name) noexcept {
  return detail::Counted(&Calls::interfaces, [&] { return kernel::InterfaceIndex(name); });
}
inline int InterfaceName(unsigned index, char* room) noexcept {
  return detail::Counted(&Calls::interfaces, [&] { return kernel::InterfaceName(index, room); });
}

inline int StartThread(Thread& thread, Work work) noexcept {
  return detail::Counted(&Calls::threads,
                         [&] { return kernel::StartThread(thread, std::move(work)); });
}
inline std::vector<int> AllowedCpus() {
  return fake::Cpus().empty() ? kernel::AllowedCpus() : fake::Cpus();
}
inline int SetAllowedCpus(const std::vector<int>& cpus) noexcept {
  return detail::Counted(&Calls::set_cpus, [&] { return kernel::SetAllowedCpus(cpus); });
}

inline Clock::time_point Now() noexcept { return fake::Now(); }

inline void Yield(Point point) noexcept {
  const fake::Hook& hook = fake::OnYield();
  if (hook.run != nullptr) hook.run(point, hook.context);
}

}  // namespace weir::sys
