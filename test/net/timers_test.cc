// The program's timers, on a clock that stands still until the test moves it.

#include <chrono>
#include <map>
#include <random>
#include <unordered_map>
#include <utility>
#include <vector>

#include "os/sys.h"
#include "support/catch.h"
#include "support/one_connection.h"

using namespace std::chrono_literals;
using weir::Clock;
using weir::Duration;
using weir::TimerId;
using weir::test::Recorder;
using weir::test::ScriptedLoop;
using weir::test::ScriptedWire;
namespace fake = weir::sys::fake;

namespace {

// Advances the clock to the next time-out and takes the turn, as a program that embeds it would.
void SleepAndTurn(ScriptedLoop& it) {
  const Duration wait = it.loop->NextTimeout();
  REQUIRE(wait != Duration::max());
  fake::Advance(std::chrono::ceil<std::chrono::milliseconds>(wait));
  it.Turn();
}

}  // namespace

TEST_CASE("a timer runs once, not before its delay has passed", "[net][timer]") {
  ScriptedLoop it;
  int runs = 0;
  it.loop->RunAfter(20ms, [&] { ++runs; });

  fake::Advance(19ms);
  it.Turn();
  CHECK(runs == 0);
  fake::Advance(1ms);
  it.Turn();
  CHECK(runs == 1);
  fake::Advance(1h);
  it.Turn();
  CHECK(runs == 1);
}

TEST_CASE("a delay is rounded up to the millisecond, never down", "[net][timer]") {
  ScriptedLoop it;
  int runs = 0;
  fake::Advance(300us);  // not on a tick
  it.loop->RunAfter(1ms, [&] { ++runs; });

  fake::Advance(999us);
  it.Turn();
  CHECK(runs == 0);
  fake::Advance(1ms);
  it.Turn();
  CHECK(runs == 1);
}

TEST_CASE("a delay of zero, or below, is the next turn", "[net][timer]") {
  const Duration delay = GENERATE(Duration(0ms), Duration(-5s), Duration::min());
  ScriptedLoop it;
  int runs = 0;
  it.loop->RunAfter(delay, [&] { ++runs; });
  CHECK(it.loop->NextTimeout() == Duration::zero());
  it.Turn();
  CHECK(runs == 1);
}

TEST_CASE("a delay beyond all time does not run, and does not overflow", "[net][timer]") {
  ScriptedLoop it;
  int runs = 0;
  it.loop->RunAfter(Duration::max(), [&] { ++runs; });
  fake::Advance(24h);
  it.Turn();
  CHECK(runs == 0);
}

TEST_CASE("a cancelled timer does not run, and its work is destroyed at once", "[net][timer]") {
  ScriptedLoop it;
  auto held = std::make_shared<int>(0);
  const TimerId id = it.loop->RunAfter(5ms, [held] { ++*held; });
  CHECK(held.use_count() == 2);
  CHECK(it.loop->Cancel(id));
  CHECK(held.use_count() == 1);
  CHECK_FALSE(it.loop->Cancel(id));
  CHECK(it.loop->NextTimeout() == Duration::max());
}

TEST_CASE("cancelling a timer that has run is a no-op, also when its slot lives on",
          "[net][timer]") {
  ScriptedLoop it;
  int second_runs = 0;
  const TimerId first = it.loop->RunAfter(1ms, [] {});
  fake::Advance(1ms);
  it.Turn();
  const TimerId second = it.loop->RunAfter(1ms, [&] { ++second_runs; });
  CHECK(first != second);
  CHECK_FALSE(it.loop->Cancel(first));
  CHECK_FALSE(it.loop->Cancel(0));
  fake::Advance(1ms);
  it.Turn();
  CHECK(second_runs == 1);
}

TEST_CASE("a timer may cancel itself and others, and add some, while it runs", "[net][timer]") {
  ScriptedLoop it;
  int runs = 0;
  int other_runs = 0;
  TimerId self = 0;
  TimerId other = 0;
  self = it.loop->RunEvery(10ms, [&] {
    ++runs;
    CHECK(it.loop->Cancel(self));
    CHECK(it.loop->Cancel(other));
    it.loop->RunAfter(10ms, [&] { runs += 100; });
  });
  other = it.loop->RunAfter(10ms, [&] { ++other_runs; });

  for (int i = 0; i < 10; ++i) {
    fake::Advance(10ms);
    it.Turn();
  }
  CHECK(runs == 101);
  CHECK(other_runs == 0);
}

TEST_CASE("a timer's work lives until it returns, also when it cancels itself", "[net][timer]") {
  const Duration period = GENERATE(Duration(0ms), Duration(10ms));
  ScriptedLoop it;
  auto held = std::make_shared<int>(0);
  TimerId self = 0;
  const auto work = [&] {
    return [&, kept = held] {
      ++*kept;
      // True for the periodic one, which would run again.
      CHECK(it.loop->Cancel(self) == (period > Duration::zero()));
      CHECK(held.use_count() == 2);
    };
  };
  self = period > Duration::zero() ? it.loop->RunEvery(period, work())
                                   : it.loop->RunAfter(10ms, work());
  fake::Advance(10ms);
  it.Turn();
  CHECK(*held == 1);
  CHECK(held.use_count() == 1);
  CHECK(it.loop->NextTimeout() == Duration::max());
}

TEST_CASE("a timer that adds itself again with no delay does not hold up the rest",
          "[net][timer]") {
  Recorder handler;
  ScriptedWire wire;
  ScriptedLoop it;
  weir::ConnectionImpl& connection = it.Open(wire, handler);
  it.RunUntilQuiet();

  constexpr int kTimes = 100'000;
  int runs = 0;
  std::function<void()> again = [&] {
    if (++runs < kTimes) it.loop->RunAfter(0ms, [&] { again(); });
  };
  again();
  for (int i = 0; i < 100; ++i) {
    wire.WillReceive("x");
    it.poller.Report(connection.token, EPOLLIN);
    it.Turn();
    REQUIRE(handler.text.size() == static_cast<std::size_t>(i) + 1);
  }
  for (int i = 0; i < kTimes && runs < kTimes; ++i) it.Turn();
  CHECK(runs == kTimes);
}

TEST_CASE("what a stopped process missed of a periodic timer is left out", "[net][timer]") {
  ScriptedLoop it;
  std::vector<Duration> at;
  const Clock::time_point start = it.loop->Now();
  it.loop->RunEvery(10ms, [&] { at.push_back(it.loop->Now() - start); });

  fake::Advance(10ms);
  it.Turn();
  fake::Advance(30s);  // SIGSTOP
  it.Turn();
  while (at.size() < 3) SleepAndTurn(it);

  REQUIRE(at.size() == 3);
  CHECK(at[0] == Duration(10ms));
  CHECK(at[1] == Duration(30'010ms));
  CHECK(at[2] == Duration(30'020ms));
}

TEST_CASE("a periodic timer does not drift over a million periods", "[net][timer]") {
  ScriptedLoop it;
  constexpr Duration kPeriod = 3700us;
  constexpr std::int64_t kPeriods = 1'000'000;
  const Clock::time_point start = fake::Now();
  std::int64_t runs = 0;
  bool early = false;
  bool late = false;
  it.loop->RunEvery(kPeriod, [&] {
    ++runs;
    const Duration due = runs * kPeriod;
    early |= fake::Now() - start < due;
    late |= fake::Now() - start >= due + 1ms;
  });
  while (runs < kPeriods) SleepAndTurn(it);
  CHECK_FALSE(early);
  CHECK_FALSE(late);
}

TEST_CASE("a hundred thousand armed timers cost no system call", "[net][timer]") {
  ScriptedLoop it;
  std::vector<TimerId> ids;
  std::mt19937 random(7);
  weir::sys::calls() = {};
  for (int i = 0; i < 100'000; ++i) {
    ids.push_back(it.loop->RunAfter(std::chrono::milliseconds(random() % 1'000'000), [] {}));
  }
  for (const TimerId id : ids) REQUIRE(it.loop->Cancel(id));
  CHECK(weir::sys::calls().all == 0);
}

TEST_CASE("an exception out of a timer is counted, and the next one runs", "[net][timer]") {
  ScriptedLoop it;
  int runs = 0;
  it.loop->RunAfter(1ms, [] { throw std::runtime_error("timer"); });
  it.loop->RunAfter(1ms, [&] { ++runs; });
  fake::Advance(1ms);
  it.Turn();
  CHECK(runs == 1);
  CHECK(it.loop->GetStats().exceptions == 1);
}

TEST_CASE("timers against a multimap: order, never early, nothing lost", "[net][timer]") {
  ScriptedLoop it;
  std::mt19937_64 random(GENERATE(11U, 12U));
  const auto below = [&](std::uint64_t n) { return random() % n; };
  const Clock::time_point origin = fake::Now();

  struct Entry {
    int name;
    TimerId id;
  };
  std::multimap<std::int64_t, Entry>
      model;  // by the tick that is due; equal ones in order of arming
  std::vector<int> fired;
  int next_name = 0;

  const auto tick_of = [&](Clock::time_point time) {
    return std::chrono::ceil<std::chrono::milliseconds>(time - origin).count();
  };
  for (int step = 0; step < 500'000; ++step) {
    switch (below(4)) {
      case 0:
      case 1: {
        const std::uint64_t reach = std::uint64_t{1} << below(24);
        const Duration delay = std::chrono::microseconds(below(reach * 1000) + 1);
        const int name = next_name++;
        const TimerId id = it.loop->RunAfter(delay, [&fired, name] { fired.push_back(name); });
        model.emplace(tick_of(fake::Now() + delay), Entry{name, id});
        break;
      }
      case 2:
        if (!model.empty()) {
          auto victim = model.begin();
          std::advance(victim,
                       static_cast<std::ptrdiff_t>(below(std::min<std::size_t>(model.size(), 16))));
          REQUIRE(it.loop->Cancel(victim->second.id));
          model.erase(victim);
        }
        break;
      default: {
        fake::Advance(std::chrono::microseconds(below(below(50) == 0 ? 5'000'000 : 4'000)));
        fired.clear();
        it.Turn();
        const auto now =
            std::chrono::floor<std::chrono::milliseconds>(fake::Now() - origin).count();
        std::vector<int> expected;
        while (!model.empty() && model.begin()->first <= now) {
          expected.push_back(model.begin()->second.name);
          model.erase(model.begin());
        }
        REQUIRE(fired == expected);
      }
    }
  }
}
