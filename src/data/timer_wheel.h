// Many deadlines, few of which are ever reached: arming and cancelling cost the same however many
// there are. A hierarchical timing wheel after Varghese and Lauck, "Hashed and Hierarchical Timing
// Wheels" (SOSP 1987).
//
// LIFETIME  A TimerId outlives its timer safely: cancelling what has fired, or was cancelled, does
//           nothing, also when another timer lives in the same place since.
// THREADS   One.
// ERRORS    Arm() throws std::bad_alloc, or std::length_error beyond kMaxTimers, and arms nothing.
// UNITS     Ticks, absolute. The wheel knows neither a clock nor how long a tick is.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace weir {

using TimerId = std::uint64_t;  // {slot, generation}, packed; 0 is no timer

class TimerWheel {
 public:
  static constexpr std::size_t kMaxTimers = std::numeric_limits<std::uint32_t>::max() - 1;

  explicit TimerWheel(std::uint64_t now_tick) noexcept : now_(now_tick) {}
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // A tick that has passed counts as the present one: such a timer fires at the next Advance().
  TimerId Arm(std::uint64_t expiry_tick, std::uint64_t payload);

  // Returns false if there is no such timer any more: in its own callback there is none already.
  bool Cancel(TimerId id) noexcept;

  // An owner that is sure to hear of its timer's end may keep the slot alone, in half the space.
  [[nodiscard]] static std::uint32_t SlotOf(TimerId id) noexcept {
    return static_cast<std::uint32_t>(id);
  }
  // Both: REQUIRES: the slot's timer is armed.
  [[nodiscard]] TimerId IdAt(std::uint32_t slot) const noexcept;
  [[nodiscard]] std::uint64_t ExpiryAt(std::uint32_t slot) const noexcept {
    return timers_[slot].expiry;
  }

  // Calls fire(payload) for each timer whose tick has come, the earliest first, and those of one
  // tick in the order of arming. `fire` may arm and cancel, also what is due in this very call;
  // what it arms fires in a later call at the earliest. If it throws, the rest fires at the next
  // Advance(). A tick before the present one moves nothing, and fires what is due already.
  // REQUIRES: not called by `fire`.
  template <class Fire>
  void Advance(std::uint64_t now_tick, Fire&& fire) {
    CollectDue(now_tick);
    while (firing_.head != kNone) fire(TakeFirstDue());
  }

  // When Advance() may next have something to do, or nothing if no timer is armed. Never later than
  // the earliest timer; earlier for one that is far: that Advance() only brings the timer closer.
  [[nodiscard]] std::optional<std::uint64_t> Next() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  friend struct TimerWheelTest;  // sets generations and the limit: reaching them takes hours

  static constexpr int kBits = 6;
  static constexpr std::uint32_t kSlots = 1U << kBits;
  static constexpr std::uint32_t kLevels = 11;  // 66 bits: any tick has its place
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

  // Lists are known by number: first the slots of the wheel, level by level, then these.
  static constexpr std::uint32_t kDue = kLevels * kSlots;
  static constexpr std::uint32_t kFiring = kDue + 1;
  static constexpr std::uint32_t kFree = kDue + 2;

  struct Timer {
    std::uint64_t expiry = 0;
    std::uint64_t payload = 0;
    std::uint32_t next = kNone;
    std::uint32_t previous = kNone;
    std::uint32_t list = kFree;
    std::uint32_t generation = 1;  // of the present owner, or of the next one
  };

  struct List {
    std::uint32_t head = kNone;
    std::uint32_t tail = kNone;
  };

  [[nodiscard]] std::uint32_t NewSlot();
  void FreeSlot(std::uint32_t slot) noexcept;
  [[nodiscard]] List& ListAt(std::uint32_t list) noexcept;
  void Link(std::uint32_t list, std::uint32_t slot) noexcept;
  void Unlink(std::uint32_t slot) noexcept;
  [[nodiscard]] List TakeAll(std::uint32_t list) noexcept;
  [[nodiscard]] std::uint32_t PlaceOf(std::uint64_t expiry) const noexcept;
  [[nodiscard]] std::uint32_t FirstPlace() const noexcept;
  [[nodiscard]] std::uint64_t StartOf(std::uint32_t place) const noexcept;
  void CollectDue(std::uint64_t now_tick) noexcept;
  [[nodiscard]] std::uint64_t TakeFirstDue() noexcept;

  std::uint64_t now_;
  std::size_t size_ = 0;
  std::size_t max_timers_ = kMaxTimers;
  std::vector<Timer> timers_;
  std::uint32_t free_ = kNone;  // linked by `next`
  List due_;                    // armed for a tick that had passed
  List firing_;                 // what Advance() is about to fire
  std::array<std::uint64_t, kLevels> occupied_{};
  std::array<List, kDue> wheel_{};
};

}  // namespace weir
