// The poller: who is told what, and when. An edge is said once.
//
// Virtual, because it is a resource's seam: tests script one. A wait is lost beside the system
// call.
//
// OWNER     One loop.
// THREADS   The loop's thread.
// ERRORS    Returned as the kernel's own: 0, or -errno.

#pragma once

#include <sys/epoll.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "data/token.h"
#include "os/sys.h"
#include "os/unique_fd.h"

namespace weir {

// What an event says; the bits are epoll's.
struct Edge {
  std::uint32_t bits = 0;

  // Bytes have come, and that is all.
  [[nodiscard]] bool OnlyBytes() const noexcept { return bits == EPOLLIN; }
  [[nodiscard]] bool Readable() const noexcept { return (bits & kReadMask) != 0; }
  [[nodiscard]] bool Writable() const noexcept { return (bits & EPOLLOUT) != 0; }
  [[nodiscard]] bool Error() const noexcept { return (bits & EPOLLERR) != 0; }
  // After one of these a short receive proves nothing: see net/connection_read.cc.
  [[nodiscard]] bool VoidsProof() const noexcept { return (bits & kVoidMask) != 0; }

  static constexpr std::uint32_t kVoidMask = EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI;
  static constexpr std::uint32_t kReadMask = EPOLLIN | kVoidMask;
};

// What a descriptor asks for. Edge-triggered, but for a listener that several loops share: each new
// client wakes one loop that sleeps, not all, and whoever has not taken it is told again. (Such an
// interest cannot be modified: only removed, and added anew.)
enum class Interest : std::uint32_t {
  kAccept = EPOLLIN | EPOLLET,
  kAcceptShared = EPOLLIN | EPOLLEXCLUSIVE,
  kWake = EPOLLIN | EPOLLET,
  kRead = EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET,
  kReadWrite = EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLOUT | EPOLLET,
};

class EpollPoller;

class Poller {
 public:
  using Event = ::epoll_event;

  Poller() = default;
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;
  virtual ~Poller() = default;

  virtual int Add(int fd, Interest interest, Token token) = 0;
  // Says the interest anew, which also reports again what is ready.
  virtual int Modify(int fd, Interest interest, Token token) = 0;

  // Forgets a descriptor that is not closed (closing one does that too).
  virtual int Remove(int fd) = 0;

  // Waits until something is ready, at most `milliseconds`; -1 is for ever, 0 not at all. Fills
  // `events` and returns how many. A signal may end a wait early, with 0.
  virtual int Wait(std::span<Event> events, int milliseconds) = 0;

  // Readable in another poller while a wait here would find something.
  [[nodiscard]] virtual int fd() const noexcept = 0;

  // Not null for the real one: who waits each turn may call its own function, which is inline.
  [[nodiscard]] virtual EpollPoller* AsEpoll() noexcept { return nullptr; }
};

class EpollPoller final : public Poller {
 public:
  EpollPoller();  // throws weir::Error

  int Add(int fd, Interest interest, Token token) override;
  int Modify(int fd, Interest interest, Token token) override;
  int Remove(int fd) override;
  int Wait(std::span<Event> events, int milliseconds) override {
    return sys::EpollWait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                          milliseconds);
  }
  [[nodiscard]] int fd() const noexcept override { return epoll_.get(); }
  [[nodiscard]] EpollPoller* AsEpoll() noexcept override { return this; }

 private:
  UniqueFd epoll_;
};

}  // namespace weir
