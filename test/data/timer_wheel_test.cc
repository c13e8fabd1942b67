// TimerWheel: against a sorted map that is plainly right. Nothing early or lost, all in order.

#include "data/timer_wheel.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <random>
#include <stdexcept>
#include <unordered_map>
#include <utility>
#include <vector>

#include "data/token.h"
#include "support/catch.h"

using weir::TimerId;
using weir::TimerWheel;
using weir::Token;

namespace weir {

struct TimerWheelTest {
  static void SetGeneration(TimerWheel& wheel, std::uint32_t slot, std::uint32_t generation) {
    wheel.timers_[slot].generation = generation;
  }
  static void SetLimit(TimerWheel& wheel, std::size_t timers) { wheel.max_timers_ = timers; }
};

}  // namespace weir

namespace {

constexpr std::uint64_t kLastTick = std::numeric_limits<std::uint64_t>::max();

using Payloads = std::vector<std::uint64_t>;

Payloads Fired(TimerWheel& wheel, std::uint64_t now) {
  Payloads fired;
  wheel.Advance(now, [&](std::uint64_t payload) { fired.push_back(payload); });
  return fired;
}

}  // namespace

TEST_CASE("a timer is known by its slot alone while it is armed", "[data][timer]") {
  TimerWheel wheel(100);
  const TimerId near = wheel.Arm(110, 1);
  const TimerId far = wheel.Arm(1'000'000, 2);
  const TimerId past = wheel.Arm(50, 3);
  CHECK(wheel.ExpiryAt(TimerWheel::SlotOf(near)) == 110);
  CHECK(wheel.ExpiryAt(TimerWheel::SlotOf(far)) == 1'000'000);
  CHECK(wheel.ExpiryAt(TimerWheel::SlotOf(past)) == 50);
  for (const TimerId id : {near, far, past}) CHECK(wheel.IdAt(TimerWheel::SlotOf(id)) == id);

  CHECK(Fired(wheel, 500'000) == Payloads{3, 1});
  CHECK(wheel.ExpiryAt(TimerWheel::SlotOf(far)) == 1'000'000);  // wherever it waits by now
  const TimerId next = wheel.Arm(600'000, 4);                   // in a slot that another had
  CHECK(wheel.ExpiryAt(TimerWheel::SlotOf(next)) == 600'000);
  CHECK(wheel.IdAt(TimerWheel::SlotOf(next)) == next);
  CHECK(wheel.Cancel(wheel.IdAt(TimerWheel::SlotOf(far))));
  CHECK(Fired(wheel, 2'000'000) == Payloads{4});
}

TEST_CASE("a timer fires at its tick, not earlier, and once", "[data][timer]") {
  const std::uint64_t start = GENERATE(0U, 1U, 63U, 64U, 4095U, 123'456'789U);
  const std::uint64_t distance =
      GENERATE(std::uint64_t{1}, std::uint64_t{63}, std::uint64_t{64}, std::uint64_t{65},
               std::uint64_t{4096}, std::uint64_t{1'000'000}, std::uint64_t{1} << 40);
  TimerWheel wheel(start);
  wheel.Arm(start + distance, 7);
  CHECK(Fired(wheel, start + distance - 1).empty());
  CHECK(wheel.size() == 1);
  CHECK(Fired(wheel, start + distance) == Payloads{7});
  CHECK(wheel.size() == 0);
  CHECK(Fired(wheel, start + distance + 1).empty());
}

TEST_CASE("a tick that has passed fires at the next Advance, in the order of arming",
          "[data][timer]") {
  TimerWheel wheel(100);
  wheel.Arm(100, 1);
  wheel.Arm(40, 2);
  wheel.Arm(101, 3);
  wheel.Arm(0, 4);
  CHECK(wheel.Next() == 100U);
  CHECK(Fired(wheel, 100) == Payloads{1, 2, 4});
  CHECK(Fired(wheel, 101) == Payloads{3});
}

TEST_CASE("timers fire in the order of ticks, and those of one tick in the order of arming",
          "[data][timer]") {
  TimerWheel wheel(0);
  wheel.Arm(5000, 1);
  wheel.Arm(70, 2);
  wheel.Arm(5000, 3);
  wheel.Arm(3, 4);
  CHECK(Fired(wheel, 60) == Payloads{4});
  wheel.Arm(70, 5);  // nearer by now than when the other was armed
  wheel.Arm(5000, 6);
  CHECK(Fired(wheel, 4990) == Payloads{2, 5});
  wheel.Arm(5000, 7);
  wheel.Arm(4999, 8);
  CHECK(Fired(wheel, 1'000'000) == Payloads{8, 1, 3, 6, 7});
}

TEST_CASE("a timer that was cancelled does not fire, and a stale id does nothing",
          "[data][timer]") {
  TimerWheel wheel(0);
  const TimerId first = wheel.Arm(10, 1);
  CHECK(wheel.Cancel(first));
  CHECK_FALSE(wheel.Cancel(first));
  const TimerId second = wheel.Arm(10, 2);  // in the same place
  CHECK(Token::Unpack(second).slot == Token::Unpack(first).slot);
  CHECK_FALSE(wheel.Cancel(first));
  CHECK_FALSE(wheel.Cancel(0));
  CHECK_FALSE(wheel.Cancel(kLastTick));
  CHECK(Fired(wheel, 10) == Payloads{2});
  CHECK_FALSE(wheel.Cancel(second));

  Token next_owner = Token::Unpack(second);
  ++next_owner.generation;
  CHECK_FALSE(wheel.Cancel(next_owner.Packed()));  // who is not there yet
  CHECK(wheel.size() == 0);
}

TEST_CASE("an armed timer's id is known by its slot", "[data][timer]") {
  TimerWheel wheel(0);
  wheel.Cancel(wheel.Arm(10, 1));
  const TimerId id = wheel.Arm(10, 2);
  CHECK(wheel.IdAt(TimerWheel::SlotOf(id)) == id);
}

TEST_CASE("Next is the earliest tick when near, and never later than it", "[data][timer]") {
  TimerWheel wheel(1000);
  CHECK_FALSE(wheel.Next());
  const TimerId far = wheel.Arm(1'000'000, 1);
  REQUIRE(wheel.Next());
  CHECK(*wheel.Next() <= 1'000'000);
  CHECK(*wheel.Next() > 1000);
  const TimerId near = wheel.Arm(1003, 2);
  CHECK(wheel.Next() == 1003U);
  wheel.Cancel(near);
  CHECK(*wheel.Next() > 1003);
  wheel.Cancel(far);
  CHECK_FALSE(wheel.Next());
}

TEST_CASE("going from Next to Next meets each timer at its tick, in few steps", "[data][timer]") {
  TimerWheel wheel(12'345);
  const std::uint64_t expiry = 12'345 + (std::uint64_t{1} << 50) + 678'901;
  wheel.Arm(expiry, 1);
  std::uint64_t now = 0;
  int steps = 0;
  while (const auto next = wheel.Next()) {
    now = *next;
    REQUIRE(now <= expiry);
    REQUIRE(++steps <= 11);
    Fired(wheel, now);
  }
  CHECK(now == expiry);
}

TEST_CASE("a callback may arm: what is due already fires at the next Advance", "[data][timer]") {
  TimerWheel wheel(0);
  Payloads fired;
  wheel.Arm(5, 1);
  wheel.Arm(6, 2);
  wheel.Advance(10, [&](std::uint64_t payload) {
    fired.push_back(payload);
    wheel.Arm(payload, payload + 10);
    wheel.Arm(11, payload + 20);
    for (int i = 0; i < 100; ++i) wheel.Arm(1000, 0);  // the slab grows
  });
  CHECK(fired == Payloads{1, 2});
  CHECK(wheel.Next() == 10U);
  CHECK(Fired(wheel, 10) == Payloads{11, 12});
  CHECK(Fired(wheel, 11) == Payloads{21, 22});
}

TEST_CASE("a callback may cancel, also what is due at the same time", "[data][timer]") {
  TimerWheel wheel(0);
  std::vector<TimerId> ids;
  for (std::uint64_t i = 0; i < 5; ++i) ids.push_back(wheel.Arm(10 + i / 2, i));
  Payloads fired;
  wheel.Advance(20, [&](std::uint64_t payload) {
    fired.push_back(payload);
    CHECK_FALSE(wheel.Cancel(ids[payload]));  // itself
    if (payload == 0) CHECK(wheel.Cancel(ids[1]));
    if (payload == 2) CHECK(wheel.Cancel(ids[4]));
  });
  CHECK(fired == Payloads{0, 2, 3});
  CHECK(wheel.size() == 0);
  CHECK_FALSE(wheel.Next());
}

TEST_CASE("when a callback throws, the rest fires at the next Advance", "[data][timer]") {
  TimerWheel wheel(0);
  for (std::uint64_t i = 0; i < 4; ++i) wheel.Arm(10 + i, i);
  Payloads fired;
  const auto fire = [&](std::uint64_t payload) {
    fired.push_back(payload);
    if (payload == 1) {
      wheel.Arm(3, 9);
      throw std::runtime_error("no");
    }
  };
  CHECK_THROWS_AS(wheel.Advance(12, fire), std::runtime_error);
  CHECK(fired == Payloads{0, 1});
  CHECK(wheel.size() == 3);
  CHECK(wheel.Next() == 12U);
  CHECK(Fired(wheel, 13) == Payloads{2, 9, 3});
}

TEST_CASE("a clock that stands or goes back fires nothing twice and nothing early",
          "[data][timer]") {
  TimerWheel wheel(100);
  wheel.Arm(110, 1);
  CHECK(Fired(wheel, 50).empty());
  CHECK(Fired(wheel, 109).empty());
  wheel.Arm(60, 2);
  CHECK(Fired(wheel, 20) == Payloads{2});
  wheel.Arm(70, 3);  // the wheel has been at 109: this has passed
  CHECK(Fired(wheel, 30) == Payloads{3});
  CHECK(Fired(wheel, 110) == Payloads{1});
}

TEST_CASE("the last tick there is can be reached", "[data][timer]") {
  TimerWheel wheel(GENERATE(std::uint64_t{0}, kLastTick - 1000));
  wheel.Arm(kLastTick, 2);
  wheel.Arm(kLastTick - 1, 1);
  CHECK(Fired(wheel, kLastTick - 2).empty());
  CHECK(wheel.Next() == kLastTick - 1);
  CHECK(Fired(wheel, kLastTick) == Payloads{1, 2});
  wheel.Arm(kLastTick, 3);
  CHECK(Fired(wheel, kLastTick) == Payloads{3});
}

TEST_CASE("a timer slot whose generation would wrap is never used again", "[data][timer]") {
  TimerWheel wheel(0);
  const TimerId old = wheel.Arm(10, 1);
  REQUIRE(Token::Unpack(old).slot == 0);
  weir::TimerWheelTest::SetGeneration(wheel, 0, std::numeric_limits<std::uint32_t>::max());
  CHECK(Fired(wheel, 10) == Payloads{1});
  CHECK(Token::Unpack(wheel.Arm(20, 2)).slot == 1);
  CHECK(Fired(wheel, 20) == Payloads{2});
}

TEST_CASE("too many timers are refused, and those that are armed stay", "[data][timer]") {
  TimerWheel wheel(0);
  weir::TimerWheelTest::SetLimit(wheel, 2);
  wheel.Arm(1, 1);
  const TimerId second = wheel.Arm(2, 2);
  CHECK_THROWS_AS(wheel.Arm(3, 3), std::length_error);
  CHECK(wheel.size() == 2);
  wheel.Cancel(second);
  wheel.Arm(4, 4);
  CHECK(Fired(wheel, 10) == Payloads{1, 4});
}

TEST_CASE("a million timers, and as many turns, are cheap", "[data][timer][cost]") {
  constexpr std::uint64_t kTimers = 1'000'000;
  TimerWheel wheel(0);
  std::uint64_t fired = 0;
  for (std::uint64_t now = 1; now <= kTimers; ++now) {
    wheel.Arm(now + 1 + now * 7919 % 30'000, now);
    wheel.Advance(now, [&](std::uint64_t) { ++fired; });
  }
  CHECK(fired > kTimers - 30'001);
  wheel.Advance(std::uint64_t{1} << 60, [&](std::uint64_t) { ++fired; });
  CHECK(fired == kTimers);
}

namespace {

class Differential {
 public:
  explicit Differential(std::uint32_t seed) : random_(seed), now_(Below(1 << 20)), wheel_(now_) {}

  void Step() {
    const std::uint64_t what = Below(10);
    if (what < 5) {
      Arm();
    } else if (what < 7) {
      Cancel();
    } else {
      Advance(Below(400) == 0 ? Distance(44) : Distance(9));
    }
    Require(wheel_.size() == model_.size(), "size");
    RequireNext();
  }

  void Finish() {
    Advance(0);  // whatever an exception or a callback left
    while (!model_.empty()) Advance(Distance(55));
    Require(wheel_.size() == 0 && !wheel_.Next(), "nothing is left");
  }

 private:
  struct Entry {
    std::uint64_t payload;  // also tells the order of arming
  };
  using Model = std::multimap<std::uint64_t, Entry>;

  void Arm() {
    const std::uint64_t distance = Distance(Below(30) == 0 ? 54 : 14);
    const std::uint64_t expiry = Below(10) == 0 ? now_ - std::min(now_, distance) : now_ + distance;
    const TimerId id = wheel_.Arm(expiry, next_payload_);
    Require(id != 0, "an id is not 0");
    const auto place = model_.emplace(std::max(expiry, now_), Entry{next_payload_});
    places_.emplace(next_payload_, place);
    ids_.emplace_back(id, next_payload_++);
  }

  // One that is armed, or one that is not any more.
  void Cancel() {
    if (ids_.empty()) return;
    const std::size_t recent = std::min<std::size_t>(ids_.size(), 100);
    const auto [id, payload] = ids_[ids_.size() - 1 - Below(recent)];
    const auto found = places_.find(payload);
    Require(wheel_.Cancel(id) == (found != places_.end()), "cancelled if and only if armed");
    if (found == places_.end()) return;
    model_.erase(found->second);
    places_.erase(found);
  }

  void Advance(std::uint64_t distance) {
    now_ += distance;
    const std::uint64_t armed_before = next_payload_;
    bool threw = false;
    try {
      wheel_.Advance(now_, [&](std::uint64_t payload) {
        Require(NextDue(armed_before) && model_.begin()->second.payload == payload, "order");
        places_.erase(payload);
        model_.erase(model_.begin());
        if (Below(4) == 0) Arm();
        if (Below(4) == 0) Cancel();
        if (Below(200) == 0) throw Below(2);
      });
    } catch (std::uint64_t) {
      threw = true;
    }
    Require(threw || !NextDue(armed_before), "nothing is forgotten");
  }

  [[nodiscard]] bool NextDue(std::uint64_t armed_before) const {
    return !model_.empty() && model_.begin()->first <= now_ &&
           model_.begin()->second.payload < armed_before;
  }

  void RequireNext() const {
    const auto next = wheel_.Next();
    Require(next.has_value() == !model_.empty(), "Next is there if anything is armed");
    if (!next) return;
    const std::uint64_t earliest = model_.begin()->first;
    Require(*next >= now_ && *next <= std::max(earliest, now_), "Next is not late");
    if (earliest / 64 == now_ / 64) Require(*next == std::max(earliest, now_), "Next is exact");
    if (earliest > now_) Require(*next > now_, "Next does not spin");
  }

  static void Require(bool holds, const char* what) {
    if (!holds) FAIL(what);
  }

  std::uint64_t Below(std::uint64_t limit) { return random_() % limit; }
  std::uint64_t Distance(std::uint64_t bits) { return random_() >> (64 - Below(bits) - 1); }

  std::mt19937_64 random_;
  std::uint64_t now_;
  TimerWheel wheel_;
  Model model_;
  std::unordered_map<std::uint64_t, Model::iterator> places_;
  std::vector<std::pair<TimerId, std::uint64_t>> ids_;
  std::uint64_t next_payload_ = 0;
};

}  // namespace

TEST_CASE("whatever is done to a wheel, it fires what a sorted map would",
          "[data][timer][random]") {
  const std::uint32_t seed = GENERATE(1U, 2U, 3U, 4U);
  Differential it(seed);
  for (int step = 0; step < 80'000; ++step) it.Step();
  it.Finish();
}
