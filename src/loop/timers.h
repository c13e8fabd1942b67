// The program's timers: work that is run once after a while, or again and again.
//
// OWNER     One loop.
// THREADS   The loop's thread.
// ERRORS    Add() throws std::bad_alloc; nothing is armed then.
// UNITS     Any duration; timers run at the first whole millisecond that is not too early.

#pragma once

#include <cstdint>
#include <memory>

#include "data/slab.h"
#include "loop/engine.h"
#include "weir/clock.h"
#include "weir/function.h"

namespace weir {

class Timers {
 public:
  // Tokens whose slot has this bit are of these timers.
  static constexpr std::uint32_t kBit = 0x4000'0000;

  explicit Timers(Engine& engine) noexcept : engine_(engine) {}
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;

  // `period` zero: once. Returns an id for Cancel(), never 0.
  std::uint64_t Add(Duration delay, Duration period, Work work);
  bool Cancel(std::uint64_t id) noexcept;

  // One has expired: calls run(work), and arms it anew if it is periodic: by its own deadlines, so
  // that it does not drift; those that were missed are left out.
  template <class Run>
  void Fire(Token token, Run&& run) {
    Timer* const timer = Find(token);
    if (timer == nullptr) return;
    const bool again = timer->period > Duration::zero();
    // The work may cancel its own timer, or add others: it is run from here.
    Work work = std::move(timer->work);
    if (!again) Remove(*timer);
    run(work);
    if (again) ArmAgain(token, std::move(work));
  }

  [[nodiscard]] std::size_t size() const noexcept { return timers_.live(); }

 private:
  struct alignas(64) Timer {
    Token token;
    Work work;
    Duration period{};
    Clock::time_point deadline;
    TimerId armed = 0;
  };
  struct Nothing {};

  [[nodiscard]] Timer* Find(Token token) noexcept;
  void ArmAgain(Token token, Work work);
  void Remove(Timer& timer) noexcept;
  void Arm(Timer& timer);

  Engine& engine_;
  Slab<Timer, Nothing> timers_{std::size_t{1} << 24};
};

}  // namespace weir
