#include "simulation/scheduler.h"

#include <algorithm>
#include <utility>

namespace weir::sim {

Fiber& Scheduler::Start(Work work) {
  threads_.push_back({.fiber = std::make_unique<Fiber>(std::move(work))});
  return *threads_.back().fiber;
}

bool Scheduler::HasThreads() const noexcept {
  return std::any_of(threads_.begin(), threads_.end(),
                     [](const Thread& thread) { return !thread.fiber->IsDone(); });
}

bool Scheduler::CanGoOn(const Thread& thread) const {
  if (thread.fiber->IsDone()) return false;
  return thread.ready == nullptr || thread.deadline <= now_ || (*thread.ready)();
}

bool Scheduler::Step() {
  able_.clear();
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    if (CanGoOn(threads_[i])) able_.push_back(i);
  }
  for (std::size_t i = 0; i < actors_.size(); ++i) {
    if (actors_[i]->CanAct()) able_.push_back(threads_.size() + i);
  }
  if (able_.empty()) {
    if (on_idle) on_idle();
    Clock::time_point earliest = kNever;
    for (const Thread& thread : threads_) {
      if (!thread.fiber->IsDone()) earliest = std::min(earliest, thread.deadline);
    }
    for (Actor* const actor : actors_) earliest = std::min(earliest, actor->WakesAt());
    if (earliest == kNever) return false;
    now_ = std::max(now_, earliest);
    return true;
  }
  // In turn, unless the choice is another: so a quiet schedule lets everybody go on.
  const auto in_turn = std::lower_bound(able_.begin(), able_.end(), next_) - able_.begin();
  const auto count = static_cast<std::uint32_t>(able_.size());
  const std::uint32_t skip = choices_.Below(Stream::kOrder, count);
  const std::size_t chosen = able_[(static_cast<std::size_t>(in_turn) + skip) % count];
  next_ = chosen + 1;
  if (chosen >= threads_.size()) {
    actors_[chosen - threads_.size()]->Act();
    return true;
  }
  current_index_ = chosen;
  current_ = threads_[chosen].fiber.get();
  current_->Enter();
  current_ = nullptr;
  return true;
}

void Scheduler::Leave() {
  Fiber* const self = current_;
  self->Leave();
}

void Scheduler::MaybeYield() {
  if (current_ == nullptr || one_in_ == 0) return;
  if (choices_.OneIn(Stream::kOrder, one_in_)) Leave();
}

bool Scheduler::SleepUntil(const std::function<bool()>& ready, Clock::time_point deadline) {
  const std::size_t index = current_index_;
  threads_[index].ready = &ready;
  threads_[index].deadline = deadline;
  Leave();
  threads_[index].ready = nullptr;
  threads_[index].deadline = kNever;
  return ready();
}

}  // namespace weir::sim
