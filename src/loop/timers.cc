#include "loop/timers.h"

#include <new>
#include <utility>

#include "base/check.h"

namespace weir {

Timers::Timer* Timers::Find(Token token) noexcept {
  return timers_.Find({token.slot & ~kBit, token.generation});
}

void Timers::Arm(Timer& timer) {
  timer.armed =
      engine_.ArmTimerAt(timer.deadline, {timer.token.slot | kBit, timer.token.generation});
}

std::uint64_t Timers::Add(Duration delay, Duration period, Work work) {
  timers_.Reclaim();  // no list of a turn speaks of timers: a slot may be used again at once
  Timer* const timer = timers_.Allocate();
  if (timer == nullptr) throw std::bad_alloc();
  timer->deadline = engine_.DeadlineIn(delay);
  timer->period = period;
  try {
    Arm(*timer);
  } catch (...) {
    timers_.Free(*timer);
    throw;
  }
  timer->work = std::move(work);
  return timer->token.Packed();
}

bool Timers::Cancel(std::uint64_t id) noexcept {
  Timer* const timer = timers_.Find(Token::Unpack(id));
  if (timer == nullptr) return false;
  Remove(*timer);
  return true;
}

void Timers::Remove(Timer& timer) noexcept {
  engine_.CancelTimer(timer.armed);
  // Destroying work may run code of the program's: last, and from here.
  const Work work = std::move(timer.work);
  timers_.Free(timer);
}

void Timers::ArmAgain(Token token, Work work) {
  Timer* const timer = Find(token);
  if (timer == nullptr) return;  // it cancelled itself
  timer->work = std::move(work);
  const Duration late = engine_.Now() - timer->deadline;
  timer->deadline += timer->period * (late / timer->period + 1);
  Arm(*timer);
}

}  // namespace weir
