// Where a timer waits follows from its tick and the present one alone. The highest bit in which the
// two differ gives the level (six bits each), and the tick's own six bits there give the slot:
//
//   now     ... 000010 | 110100 | 001011          a slot of level 0 is one tick,
//   expiry  ... 000010 | 110111 | 100000          of level 1 64 ticks, of level 2 4096, ...
//               level 2  level 1  level 0
//                          '- first difference: level 1, slot 55
//
// INVARIANT Every timer waits where its tick and now_ put it. So when now_ enters a slot, its
//           timers are placed anew, at a lower level ("cascade").
//
// It follows that
//   - all timers of one tick share one list, in the order of arming, which a cascade keeps;
//   - at each level a slot that is occupied lies ahead of now_: no wheel wraps around;
//   - whatever waits at a lower level is earlier than all that waits at a higher one, so that the
//     earliest slot is the first of the lowest level in use: two bit scans, however far it is.

#include "data/timer_wheel.h"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <utility>

#include "data/token.h"

namespace weir {

TimerId TimerWheel::Arm(std::uint64_t expiry_tick, std::uint64_t payload) {
  const std::uint32_t slot = NewSlot();
  Timer& timer = timers_[slot];
  timer.expiry = expiry_tick;
  timer.payload = payload;
  Link(PlaceOf(expiry_tick), slot);
  ++size_;
  return Token{.slot = slot, .generation = timer.generation}.Packed();
}

TimerId TimerWheel::IdAt(std::uint32_t slot) const noexcept {
  return Token{.slot = slot, .generation = timers_[slot].generation}.Packed();
}

bool TimerWheel::Cancel(TimerId id) noexcept {
  const Token token = Token::Unpack(id);
  if (token.slot >= timers_.size()) return false;
  const Timer& timer = timers_[token.slot];
  if (timer.list == kFree || timer.generation != token.generation) return false;
  Unlink(token.slot);
  FreeSlot(token.slot);
  return true;
}

std::optional<std::uint64_t> TimerWheel::Next() const noexcept {
  if (size_ == 0) return std::nullopt;
  if (due_.head != kNone || firing_.head != kNone) return now_;
  return StartOf(FirstPlace());
}

// Puts what is due in order: what an exception left, what was armed too late, what the wheel holds.
void TimerWheel::CollectDue(std::uint64_t now_tick) noexcept {
  const auto collect = [this](std::uint32_t slot) { Link(kFiring, slot); };
  const auto place_anew = [this](std::uint32_t slot) {
    const std::uint32_t place = PlaceOf(timers_[slot].expiry);
    Link(place == kDue ? kFiring : place, slot);
  };
  const auto for_each = [this](List list, auto&& what) {
    for (std::uint32_t slot = list.head; slot != kNone;) {
      const std::uint32_t next = timers_[slot].next;  // linking it elsewhere overwrites it
      what(slot);
      slot = next;
    }
  };

  for_each(TakeAll(kDue), collect);
  for (std::uint32_t place = FirstPlace(); place != kNone; place = FirstPlace()) {
    const std::uint64_t start = StartOf(place);
    if (start > now_tick) break;
    now_ = start;
    for_each(TakeAll(place), place_anew);
  }
  now_ = std::max(now_, now_tick);
}

// Frees the timer before its callback runs: to the callback, its own id is already stale.
std::uint64_t TimerWheel::TakeFirstDue() noexcept {
  const std::uint32_t slot = firing_.head;
  const std::uint64_t payload = timers_[slot].payload;
  Unlink(slot);
  FreeSlot(slot);
  return payload;
}

std::uint32_t TimerWheel::PlaceOf(std::uint64_t expiry) const noexcept {
  if (expiry <= now_) return kDue;
  const int level = (63 - std::countl_zero(expiry ^ now_)) / kBits;
  const auto slot = static_cast<std::uint32_t>(expiry >> (level * kBits)) % kSlots;
  return static_cast<std::uint32_t>(level) * kSlots + slot;
}

std::uint32_t TimerWheel::FirstPlace() const noexcept {
  for (std::uint32_t level = 0; level < kLevels; ++level) {
    if (occupied_[level] == 0) continue;
    return level * kSlots + static_cast<std::uint32_t>(std::countr_zero(occupied_[level]));
  }
  return kNone;
}

// The first tick of an occupied slot: now_ above the slot's level, the slot's number, zeros below.
std::uint64_t TimerWheel::StartOf(std::uint32_t place) const noexcept {
  const std::uint32_t shift = place / kSlots * kBits;
  const std::uint64_t slot = place % kSlots;
  const std::uint64_t turns = now_ >> shift >> kBits;  // in two steps: 66 bits are too many for one
  return (turns << kBits | slot) << shift;
}

std::uint32_t TimerWheel::NewSlot() {
  if (free_ != kNone) return std::exchange(free_, timers_[free_].next);
  if (timers_.size() >= max_timers_) throw std::length_error("weir: too many timers");
  timers_.emplace_back();
  return static_cast<std::uint32_t>(timers_.size() - 1);
}

void TimerWheel::FreeSlot(std::uint32_t slot) noexcept {
  Timer& timer = timers_[slot];
  timer.list = kFree;
  --size_;
  if (++timer.generation == 0) return;  // an old id would mean a new timer: never used again
  timer.next = std::exchange(free_, slot);
}

TimerWheel::List& TimerWheel::ListAt(std::uint32_t list) noexcept {
  if (list == kDue) return due_;
  return list == kFiring ? firing_ : wheel_[list];
}

void TimerWheel::Link(std::uint32_t list, std::uint32_t slot) noexcept {
  List& ends = ListAt(list);
  Timer& timer = timers_[slot];
  timer.list = list;
  timer.next = kNone;
  timer.previous = std::exchange(ends.tail, slot);
  (timer.previous == kNone ? ends.head : timers_[timer.previous].next) = slot;
  if (list < kDue) occupied_[list / kSlots] |= std::uint64_t{1} << list % kSlots;
}

void TimerWheel::Unlink(std::uint32_t slot) noexcept {
  const Timer& timer = timers_[slot];
  List& ends = ListAt(timer.list);
  (timer.previous == kNone ? ends.head : timers_[timer.previous].next) = timer.next;
  (timer.next == kNone ? ends.tail : timers_[timer.next].previous) = timer.previous;
  if (ends.head == kNone && timer.list < kDue) {
    occupied_[timer.list / kSlots] &= ~(std::uint64_t{1} << timer.list % kSlots);
  }
}

TimerWheel::List TimerWheel::TakeAll(std::uint32_t list) noexcept {
  if (list < kDue) occupied_[list / kSlots] &= ~(std::uint64_t{1} << list % kSlots);
  return std::exchange(ListAt(list), List{});
}

}  // namespace weir
