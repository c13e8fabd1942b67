// What a loop is made of below its connections: the poller, the mailbox, the timers, the work
// lists, the clock of the turn, and the wait itself.
//
// OWNER     One loop.
// THREADS   The loop's thread, but for mailbox().Post(), mailbox().Wake() and counters().
// ERRORS    The constructor throws weir::Error. AddSource() and Wait() return and check what the
//           kernel says; see there.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/check.h"
#include "data/timer_wheel.h"
#include "data/token.h"
#include "loop/counters.h"
#include "loop/event_source.h"
#include "loop/mailbox.h"
#include "loop/work_lists.h"
#include "os/poller.h"
#include "os/sys.h"
#include "weir/clock.h"

namespace weir {

class Engine {
 public:
  // Tokens whose slot has this bit are of event sources; all others are of connections.
  static constexpr std::uint32_t kSourceBit = 0x8000'0000;
  static constexpr std::size_t kEventsPerTurn = 256;

  Engine(std::unique_ptr<Poller> poller, std::size_t max_mail);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  [[nodiscard]] Poller& poller() noexcept { return *poller_; }
  [[nodiscard]] Mailbox& mailbox() noexcept { return mailbox_; }
  [[nodiscard]] WorkLists& work() noexcept { return work_; }
  [[nodiscard]] const WorkLists& work() const noexcept { return work_; }

  // Work that no event will announce. Outside a turn, where a foreign loop may be about to sleep on
  // PollFd(), it makes that descriptor ready.
  void PushOwed(const Owed& entry) {
    work_.owed.Push(entry);
    if (!in_turn_) mailbox_.WakeSleeper();
  }
  void PushDirty(Token token) {
    work_.dirty.Push(token);
    if (!in_turn_) mailbox_.WakeSleeper();
  }
  void PushRetiring(Token token) {
    work_.retiring.Push(token);
    if (!in_turn_) mailbox_.WakeSleeper();
  }
  [[nodiscard]] Counters& counters() noexcept { return counters_; }
  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }
  [[nodiscard]] Stats GetStats() const noexcept { return counters_.Read(mailbox_.wakeups()); }

  // There is something to do that no event will announce.
  [[nodiscard]] bool HasWork() const noexcept { return work_.Any() || mailbox_.HasMail(); }

  // The number of the turn, from 1.
  [[nodiscard]] std::uint64_t turn() const noexcept { return counters_.turns.Get(); }

  // ---- Waiting

  // Begins a turn: waits until something is ready, at most until the next timer and at most
  // `max_wait`; not at all while there is work on a list or in the mailbox.
  [[gnu::always_inline]] std::span<const Poller::Event> Wait(Duration max_wait) {
    int timeout = kForEver;
    const bool has_work = work_.Any();
    if (has_work) {
      timeout = 0;
    } else if (HasTimers() || max_wait != Duration::max()) {
      timeout = TimeoutFor(max_wait);
    }
    if (timeout != 0 && !mailbox_.BeginSleep()) timeout = 0;
    // The invariant that every stall of an edge-triggered loop breaks. As the code stands the
    // compiler proves it, and it costs nothing.
    Check(timeout == 0 || !has_work,
          "a loop never blocks while something is owed, dirty or retiring");
    const int ready =
        epoll_ != nullptr ? epoll_->Wait(events_, timeout) : poller_->Wait(events_, timeout);
    mailbox_.EndSleep();
    sys::Yield(sys::Point::kAfterWait);
    // EBADF, EFAULT and EINVAL: somebody has closed the epoll descriptor under us. Going on would
    // spin.
    Check(ready >= 0, "epoll_wait works: nobody has closed the loop's descriptor");

    now_is_read_ = false;
    counters_.turns.Add(1);
    counters_.events.Add(static_cast<std::uint64_t>(ready));
    return {events_.data(), static_cast<std::size_t>(ready)};
  }

  // Turns follow: ends what SleepOutside() has begun.
  void EnterTurns() noexcept {
    in_turn_ = true;
    mailbox_.EndSleep();
  }

  // The turn is over, and the program may now sleep on the poller's descriptor instead of calling
  // us: from here to the next Wait() every post, and all work outside a turn, makes it ready.
  void SleepOutside() noexcept;

  // How long Wait() would wait: zero while there is work, Duration::max() for ever.
  [[nodiscard]] Duration UntilNextWork() const noexcept;

  // ---- Time

  // The time, read once a turn at most.
  [[nodiscard]] Clock::time_point Now() const noexcept;

  // Ticks are whole milliseconds since the loop was made. A deadline is rounded up: never early.
  [[nodiscard]] std::uint64_t NowTick() const noexcept;

  // Now and `delay`, with the clock read anew: counted from the turn's time it could be early.
  [[nodiscard]] static Clock::time_point DeadlineIn(Duration delay) noexcept;

  // `payload` is a packed token: of a connection, a source, or one of the program's timers.
  TimerId ArmTimer(Duration from_now, Token payload) {
    return ArmTimerAt(DeadlineIn(from_now), payload);
  }
  TimerId ArmTimerAt(Clock::time_point deadline, Token payload);
  void CancelTimer(TimerId timer) noexcept { wheel_.Cancel(timer); }

  // The first tick at which `deadline` has passed.
  [[nodiscard]] std::uint64_t TickOf(Clock::time_point deadline) const noexcept;

  // A timer in half the space, for an owner that always cancels it or hears that it fired: the
  // timer's slot and 1, or 0 for none.
  std::uint32_t ArmOwned(std::uint64_t tick, Token payload) {
    return TimerWheel::SlotOf(wheel_.Arm(tick, payload.Packed())) + 1;
  }
  [[nodiscard]] std::uint64_t ExpiryOfOwned(std::uint32_t timer) const noexcept {
    return wheel_.ExpiryAt(timer - 1);
  }
  void CancelOwned(std::uint32_t timer) noexcept { wheel_.Cancel(wheel_.IdAt(timer - 1)); }

  // Calls fire(token) for each timer that is due. Returns how many.
  [[nodiscard]] bool HasTimers() const noexcept { return wheel_.size() != 0; }
  template <class Fire>
  int FireTimers(Fire&& fire) {
    int fired = 0;
    wheel_.Advance(NowTick(), [&](std::uint64_t payload) {
      ++fired;
      fire(Token::Unpack(payload));
    });
    return fired;
  }

  // ---- Event sources

  // Registers a source and, unless fd is -1, its descriptor. Throws weir::Error.
  Token AddSource(EventSource& source, int fd, Interest interest);
  // Events and timers that still come for it find nobody. The descriptor is the caller's to close.
  void RemoveSource(Token token) noexcept;
  [[nodiscard]] EventSource* FindSource(Token token) const noexcept;

  void OweSource(Token token) { PushOwed({.token = token, .turn = turn()}); }

 private:
  struct SourceSlot {
    EventSource* source = nullptr;
    std::uint32_t generation = 1;
  };

  static constexpr int kForEver = -1;
  [[nodiscard]] int TimeoutFor(Duration max_wait) const noexcept;

  std::unique_ptr<Poller> poller_;
  EpollPoller* const epoll_;  // poller_, if it is that
  Mailbox mailbox_;
  WorkLists work_;
  TimerWheel wheel_;
  Counters counters_;
  std::vector<SourceSlot> sources_;

  bool in_turn_ = false;
  const Clock::time_point start_;
  mutable Clock::time_point now_;
  mutable bool now_is_read_ = false;

  class WakeSource final : public EventSource {};  // its edge is all that it has to say
  WakeSource wake_;
  std::array<Poller::Event, kEventsPerTurn> events_;
};

}  // namespace weir
