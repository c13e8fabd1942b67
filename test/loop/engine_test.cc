#include "loop/engine.h"

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "os/sys.h"
#include "support/catch.h"
#include "support/scripted_poller.h"
#include "weir/error.h"

using std::chrono::microseconds;
using std::chrono::milliseconds;
using weir::Duration;
using weir::Engine;
using weir::EventSource;
using weir::Interest;
using weir::Token;
using weir::test::ScriptedPoller;

namespace {

constexpr Duration kForEver = Duration::max();

struct Source final : EventSource {};

struct OneEngine {
  ScriptedPoller* poller = new ScriptedPoller;
  Engine engine{std::unique_ptr<weir::Poller>(poller), 16};

  OneEngine() { engine.EnterTurns(); }
  int Wait(Duration max_wait = kForEver) {
    engine.Wait(max_wait);
    return poller->timeouts.back();
  }
};

}  // namespace

TEST_CASE("with nothing due and nothing owed the wait is for ever", "[loop][engine]") {
  OneEngine it;
  CHECK(it.Wait() == -1);
}

TEST_CASE("a wait is rounded up to the millisecond, and bounded", "[loop][engine]") {
  OneEngine it;
  CHECK(it.Wait(Duration::zero()) == 0);
  CHECK(it.Wait(-milliseconds(5)) == 0);
  CHECK(it.Wait(milliseconds(7)) == 7);
  CHECK(it.Wait(microseconds(1)) == 1);
  CHECK(it.Wait(milliseconds(7) + std::chrono::nanoseconds(1)) == 8);
  CHECK(it.Wait(std::chrono::hours(24 * 365)) == std::numeric_limits<int>::max());
}

TEST_CASE("while there is work or mail the wait is 0", "[loop][engine]") {
  OneEngine it;
  SECTION("owed") { it.engine.work().owed.Push({}); }
  SECTION("dirty") { it.engine.work().dirty.Push({}); }
  SECTION("retiring") { it.engine.work().retiring.Push({}); }
  SECTION("mail") {
    CHECK(it.engine.mailbox().Post([] {}));
  }
  SECTION("mail that was taken over, but not yet run") {
    CHECK(it.engine.mailbox().Post([] {}));
    CHECK(it.engine.mailbox().Post([] {}));
    it.engine.mailbox().Take();
  }
  CHECK(it.engine.HasWork());
  CHECK(it.Wait() == 0);
}

TEST_CASE("the wait ends with the next timer, and no timer is early", "[loop][engine]") {
  OneEngine it;
  weir::sys::fake::Advance(microseconds(300));  // between two ticks
  it.engine.ArmTimer(milliseconds(10), Token{7, 1});
  CHECK(it.Wait(milliseconds(3)) == 3);
  const int wait = it.Wait();
  CHECK(wait >= 10);
  CHECK(wait <= 11);

  std::vector<Token> fired;
  const auto note = [&](Token token) { fired.push_back(token); };
  weir::sys::fake::Advance(milliseconds(10) - microseconds(1));
  it.Wait(Duration::zero());
  CHECK(it.engine.FireTimers(note) == 0);

  weir::sys::fake::Advance(milliseconds(wait - 10) + microseconds(1));
  CHECK(it.Wait() == 0);
  CHECK(it.engine.FireTimers(note) == 1);
  CHECK(fired == std::vector<Token>{Token{7, 1}});
  CHECK(it.Wait() == -1);
}

TEST_CASE("time is read once a turn, and only if somebody asks", "[loop][engine]") {
  OneEngine it;
  it.Wait();
  const auto now = it.engine.Now();
  weir::sys::fake::Advance(milliseconds(5));
  CHECK(it.engine.Now() == now);
  it.Wait();
  CHECK(it.engine.Now() == now + milliseconds(5));
}

TEST_CASE("a source is found by its own token only", "[loop][engine]") {
  OneEngine it;
  Source first;
  Source second;
  const Token token = it.engine.AddSource(first, -1, Interest::kWake);
  CHECK(it.engine.FindSource(token) == &first);

  SECTION("not by the token of a connection that had the same slot and generation") {
    for (std::uint32_t slot = 0; slot < 4; ++slot) {
      CHECK(it.engine.FindSource(Token{slot, 1}) == nullptr);
    }
  }
  SECTION("not after it was removed, also when its slot has another") {
    it.engine.RemoveSource(token);
    CHECK(it.engine.FindSource(token) == nullptr);
    const Token later = it.engine.AddSource(second, -1, Interest::kWake);
    CHECK(later.slot == token.slot);
    CHECK(it.engine.FindSource(token) == nullptr);
    CHECK(it.engine.FindSource(later) == &second);
    it.engine.RemoveSource(token);  // nothing happens
    CHECK(it.engine.FindSource(later) == &second);
  }
}

TEST_CASE("a source that the poller refuses throws, and leaves nothing behind", "[loop][engine]") {
  OneEngine it;
  Source source;
  it.poller->add_error = ENOSPC;
  CHECK_THROWS_AS(it.engine.AddSource(source, 5, Interest::kRead), weir::Error);
  it.poller->add_error = 0;
  CHECK(it.engine.FindSource(it.engine.AddSource(source, 5, Interest::kRead)) == &source);
}

// ---- Between turns, and in them

TEST_CASE("between turns every post makes the descriptor ready, and in them none does",
          "[loop][engine]") {
  OneEngine it;
  Engine& engine = it.engine;
  const auto wakes = [&] {
    std::uint64_t count = 0;
    const int fd = engine.mailbox().fd();
    return ::read(fd, &count, sizeof count) == sizeof count ? count : 0;
  };
  engine.SleepOutside();
  CHECK(engine.mailbox().Post([] {}));
  CHECK(wakes() == 1);
  engine.mailbox().Take();

  engine.SleepOutside();
  engine.EnterTurns();  // ends the sleep
  CHECK(engine.mailbox().Post([] {}));
  engine.PushOwed({});
  engine.PushDirty({});
  engine.PushRetiring({});
  CHECK(wakes() == 0);
  CHECK(engine.mailbox().wakeups() == 1);
  engine.mailbox().Take();

  engine.SleepOutside();  // with work it does not sleep: the descriptor is ready at once
  CHECK(wakes() == 1);
}

TEST_CASE("a post in a turn writes nothing, when no post has ended the wait", "[loop][engine]") {
  OneEngine it;
  it.Wait(milliseconds(1));
  CHECK(it.engine.mailbox().Post([] {}));
  CHECK(it.engine.mailbox().wakeups() == 0);
}

TEST_CASE("work outside a turn makes the descriptor ready, once", "[loop][engine]") {
  OneEngine it;
  Engine& engine = it.engine;
  const auto wakes = [&] {
    std::uint64_t count = 0;
    const int fd = engine.mailbox().fd();
    return ::read(fd, &count, sizeof count) == sizeof count ? count : 0;
  };
  engine.SleepOutside();
  CHECK(wakes() == 0);
  SECTION("owed") {
    engine.PushOwed({});
    engine.PushOwed({});
  }
  SECTION("dirty") {
    engine.PushDirty({});
    engine.PushDirty({});
  }
  SECTION("retiring") {
    engine.PushRetiring({});
    engine.PushRetiring({});
  }
  CHECK(wakes() == 1);
}

TEST_CASE("with a timer armed the wait is rounded up too, and mail comes first", "[loop][engine]") {
  OneEngine it;
  it.engine.ArmTimer(milliseconds(20), Token{7, 1});
  CHECK(it.Wait(Duration::zero()) == 0);
  CHECK(it.Wait(-milliseconds(5)) == 0);
  CHECK(it.Wait(microseconds(1)) == 1);
  CHECK(it.Wait(milliseconds(7) + std::chrono::nanoseconds(1)) == 8);
  const int wait = it.Wait();
  CHECK(wait >= 20);
  CHECK(wait <= 21);
  weir::sys::fake::Advance(milliseconds(wait - 5) + microseconds(1));
  CHECK(it.Wait() == 5);  // not 4: it would be early
  CHECK(it.engine.mailbox().Post([] {}));
  CHECK(it.Wait() == 0);
  CHECK(it.Wait(milliseconds(7)) == 0);
  it.engine.mailbox().Take();
  weir::sys::fake::Advance(std::chrono::hours(2));
  CHECK(it.Wait() == 0);  // it is due
  CHECK(it.Wait(milliseconds(7)) == 0);
}

TEST_CASE("time is read anew between turns", "[loop][engine]") {
  OneEngine it;
  it.Wait();
  const auto now = it.engine.Now();
  it.engine.SleepOutside();
  for (int i = 1; i < 4; ++i) {
    weir::sys::fake::Advance(milliseconds(5));
    CHECK(it.engine.Now() == now + milliseconds(5 * i));
  }
  it.engine.EnterTurns();
  it.Wait(Duration::zero());
  const auto turn = it.engine.Now();
  weir::sys::fake::Advance(milliseconds(5));
  CHECK(it.engine.Now() == turn);
}
