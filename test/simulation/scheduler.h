// Who goes on next, and what time it is.
//
// The threads of the simulated program are fibers; what else happens in the world (peers, the
// network, timers of the scenario) are actors. One of those that can go on is chosen at a time.
// When none can, time passes: to the moment for which somebody waits. When nobody waits for one,
// the world is quiet.
//
// OWNER     One life.
// THREADS   One.
// ERRORS    A life that does not come to an end is stopped (Overrun).

#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <vector>

#include "simulation/choices.h"
#include "simulation/fiber.h"
#include "weir/clock.h"
#include "weir/function.h"

namespace weir::sim {

inline constexpr Clock::time_point kNever = Clock::time_point::max();

// Something in the world that moves by itself.
class Actor {
 public:
  virtual ~Actor() = default;
  // There is something that it can do now.
  [[nodiscard]] virtual bool CanAct() = 0;
  // Does one thing. REQUIRES: CanAct().
  virtual void Act() = 0;
  // When it will be able to, should nothing else happen.
  [[nodiscard]] virtual Clock::time_point WakesAt() { return kNever; }
};

class Scheduler {
 public:
  explicit Scheduler(Choices& choices) noexcept : choices_(choices) {}
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // ---- The world

  void Add(Actor& actor) { actors_.push_back(&actor); }
  // One step: of a fiber, of an actor, or of time. False when the world is quiet.
  bool Step();

  [[nodiscard]] Clock::time_point now() const noexcept { return now_; }
  void Advance(Duration by) noexcept { now_ += by; }

  // Called when nobody can go on, before time passes.
  std::function<void()> on_idle;

  // How likely a fiber is interrupted where it may be: once in so many times; 0: never.
  void SetPreemption(std::uint32_t one_in) noexcept { one_in_ = one_in; }

  // ---- Threads

  Fiber& Start(Work work);
  // Null outside of all fibers.
  [[nodiscard]] Fiber* current() const noexcept { return current_; }
  [[nodiscard]] bool HasThreads() const noexcept;

  // Inside a fiber: lets others go on, if it is so decided.
  void MaybeYield();
  // Inside a fiber: sleeps until `ready` or the deadline; true if it is ready.
  bool SleepUntil(const std::function<bool()>& ready, Clock::time_point deadline);

 private:
  struct Thread {
    std::unique_ptr<Fiber> fiber;
    const std::function<bool()>* ready = nullptr;  // while it sleeps
    Clock::time_point deadline = kNever;
  };

  [[nodiscard]] bool CanGoOn(const Thread& thread) const;
  void Leave();

  Choices& choices_;
  Clock::time_point now_{std::chrono::seconds(1'000'000)};
  std::uint32_t one_in_ = 0;
  std::vector<Thread> threads_;  // ended ones stay: they are few
  std::vector<Actor*> actors_;
  std::size_t current_index_ = 0;
  Fiber* current_ = nullptr;
  std::size_t next_ = 0;  // whose turn it is, among all
  std::vector<std::size_t> able_;
};

}  // namespace weir::sim
