// How long a connection may take: idle, read and write times, a peer that takes nothing, and what
// all that costs. The clock is the test's own, and moves by milliseconds.

#include <cerrno>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "os/sys.h"
#include "support/catch.h"
#include "support/one_connection.h"

using namespace std::chrono_literals;
using weir::Clock;
using weir::CloseReason;
using weir::Connection;
using weir::ConnectionImpl;
using weir::Duration;
using weir::Options;
using weir::TimeoutKind;
using weir::sys::fake::Advance;
using weir::test::OneConnection;
using weir::test::Recorder;
using weir::test::ScriptedLoop;
using weir::test::ScriptedWire;

namespace {

using Days = std::chrono::duration<std::int64_t, std::ratio<86'400>>;

// A connection whose timeouts are written down, "idle 41": in whole milliseconds since it opened.
class Timed : public OneConnection {
 public:
  explicit Timed(const Options& options = {}) : OneConnection(options) {
    handler.on_timeout = [this](Connection&, TimeoutKind kind) { Note(kind); };
  }

  void Note(TimeoutKind kind) {
    static constexpr const char* kNames[] = {"idle ", "read ", "write "};
    if (!told_.empty()) told_ += ", ";
    told_ += kNames[static_cast<std::size_t>(kind)] + std::to_string(Milliseconds());
  }
  [[nodiscard]] std::int64_t Milliseconds() const {
    return std::chrono::floor<std::chrono::milliseconds>(weir::sys::Now() - start_).count();
  }
  [[nodiscard]] Clock::time_point At(Duration since_start) const { return start_ + since_start; }

  // Time passes, a millisecond and a turn at a time.
  void RunTo(std::int64_t millisecond) {
    while (Milliseconds() < millisecond) {
      Advance(1ms);
      Turn();
      RunUntilQuiet();
    }
  }
  std::string TakeTold() { return std::exchange(told_, {}); }

  void Receive(std::string_view bytes = "x") {
    wire.WillReceive(bytes);
    RaiseEdge();
  }
  // The socket is full: so much output waits from here on.
  void Block(std::size_t size = 1000) {
    wire.WillTake(0);
    connection().Write(std::string(size, 'o'));
    RunUntilQuiet();
  }
  void Take(std::size_t bytes) {
    wire.WillTake(bytes);
    RaiseEdge({.writable = true});
  }

  [[nodiscard]] std::size_t Extensions() { return core().extensions.live(); }
  [[nodiscard]] bool HasTimers() { return core().engine.HasTimers(); }

 private:
  const Clock::time_point start_ = weir::sys::Now();
  std::string told_;
};

}  // namespace

// ---- Idle

TEST_CASE("a connection on which nothing moves is told so, once, and not early",
          "[net][deadline]") {
  const bool by_option = GENERATE(true, false);
  Timed it{by_option ? Options{.idle_timeout = 40ms} : Options{}};
  if (!by_option) it.connection().SetIdleTimeout(40ms);
  it.RunTo(41);
  CHECK(it.TakeTold() == "idle 41");
  CHECK(it.loop->NextTimeout() > 1ms);  // told, it does not spin
  it.RunTo(500);
  CHECK(it.TakeTold().empty());
  CHECK(it.loop->GetStats().timeouts == 1);
}

TEST_CASE("bytes either way end an idle stretch, and begin the next", "[net][deadline]") {
  const bool received = GENERATE(true, false);
  Timed it{{.idle_timeout = 40ms}};
  const auto move = [&] {
    if (received) {
      it.Receive();
    } else {
      it.connection().Write("x");
      it.Turn();
    }
  };
  it.RunTo(30);
  move();
  it.RunTo(60);
  move();
  it.RunTo(300);
  CHECK(it.TakeTold() == "idle 101");
  move();
  it.RunTo(600);
  CHECK(it.TakeTold() == "idle 341");
}

TEST_CASE("a byte that moves right after OnTimeout begins a stretch of full length",
          "[net][deadline]") {
  Timed it{{.idle_timeout = 40ms}};
  it.RunTo(41);
  CHECK(it.TakeTold() == "idle 41");
  it.RunTo(42);
  it.Receive();
  it.RunTo(82);
  CHECK(it.TakeTold().empty());
  it.RunTo(83);
  CHECK(it.TakeTold() == "idle 83");
}

TEST_CASE("a byte that moves at the end of a tick does not make the idle time early",
          "[net][deadline]") {
  Timed it{{.idle_timeout = 40ms}};
  Advance(10ms + 999us);
  it.Receive();
  Advance(39ms + 999us);
  it.Turn();
  CHECK(it.TakeTold().empty());  // 39.999 ms
  Advance(1ms);
  it.Turn();
  CHECK(it.TakeTold() == "idle 51");
}

TEST_CASE("bytes that are queued, and edges that bring none, are no activity", "[net][deadline]") {
  Timed it{{.idle_timeout = 40ms}};
  it.RunTo(10);
  it.Block();
  it.RunTo(30);
  it.RaiseEdge();
  it.wire.WillTake(0);
  it.RaiseEdge({.writable = true});
  it.RunTo(100);
  CHECK(it.TakeTold() == "idle 41");
}

TEST_CASE("an idle time is cleared by zero, and by more than can be counted", "[net][deadline]") {
  const Duration none =
      GENERATE(Duration(0ms), Duration(-5ms), Duration(Days(25)), Duration::max(), Duration::min());
  Timed it{{.idle_timeout = 40ms}};
  it.connection().SetIdleTimeout(none);
  it.RunTo(200);
  Advance(Days(100));
  it.Turn();
  CHECK(it.TakeTold().empty());
  CHECK(it.Extensions() == 0);
  CHECK_FALSE(it.HasTimers());
}

TEST_CASE("an idle time of 24 days is kept, over any number of them", "[net][deadline]") {
  Timed it;
  it.connection().SetIdleTimeout(Days(24));
  for (int i = 0; i < 6; ++i) {  // 120 days: more than 32 bits of milliseconds
    Advance(Days(20));
    it.Receive();
    it.Turn();
  }
  CHECK(it.TakeTold().empty());
  Advance(Days(24));
  it.Turn();
  CHECK(it.TakeTold().empty());
  Advance(1ms);
  it.Turn();
  CHECK(it.handler.timeouts == 1);
}

TEST_CASE("an idle time below a millisecond is one", "[net][deadline]") {
  Timed it;
  it.connection().SetIdleTimeout(1us);
  it.RunTo(50);
  CHECK(it.TakeTold() == "idle 2");
}

TEST_CASE("an idle time counts from the call that sets it", "[net][deadline]") {
  Timed it{{.idle_timeout = 40ms}};
  it.RunTo(30);
  it.connection().SetIdleTimeout(20ms);
  it.RunTo(50);
  CHECK(it.TakeTold().empty());
  it.RunTo(51);
  CHECK(it.TakeTold() == "idle 51");
  it.connection().SetIdleTimeout(100ms);
  it.RunTo(300);
  CHECK(it.TakeTold() == "idle 152");
}

TEST_CASE("between two turns a time counts from the present, not from an earlier call",
          "[net][deadline]") {
  Timed it;
  it.connection().SetIdleTimeout(40ms);  // the first to ask for the time, outside a turn
  Advance(100ms);
  it.connection().SetIdleTimeout(40ms);
  it.Turn();
  CHECK(it.TakeTold().empty());
  it.RunTo(500);
  CHECK(it.TakeTold() == "idle 141");
}

// ---- Idle, told, and left alive

TEST_CASE("an idle connection that was told wakes the loop no more", "[net][deadline]") {
  Timed it{{.idle_timeout = 40ms, .write_stall = 0s}};
  SECTION("with nothing on it") {}
  SECTION("with output that nobody takes") { it.Block(); }
  it.RunTo(41);
  REQUIRE(it.TakeTold() == "idle 41");
  SECTION("whatever edges say that bring nothing") {
    it.RaiseEdge();
    it.wire.WillTake(0);
    it.RaiseEdge({.readable = true, .writable = true});
  }
  CHECK_FALSE(it.HasTimers());
  CHECK(it.Extensions() == 1);
  CHECK(it.loop->NextTimeout() == Duration::max());
  it.poller.timeouts.clear();
  it.loop->RunOnce(Duration::max());
  CHECK(it.poller.timeouts == std::vector<int>{-1});
  Advance(Days(30));
  it.Turn();
  CHECK(it.TakeTold().empty());
  CHECK(it.loop->GetStats().timeouts == 1);
}

TEST_CASE("a byte either way starts the idle time of one that was told, each time, and not early",
          "[net][deadline]") {
  const std::string way =
      GENERATE("received, straight", "received", "sent at once", "flushed", "sent at last");
  CAPTURE(way);
  Timed it{{.idle_timeout = 40ms, .write_stall = 0s}};
  if (way == "sent at last") it.Block();
  const auto move = [&] {
    if (way == "received, straight") return it.Receive();
    if (way == "sent at last") return it.Take(1);
    if (way == "received") {
      it.wire.WillReceive("x");
      it.poller.Report(it.token(), EPOLLIN | EPOLLRDNORM);  // refused by the straight path
    } else {
      it.connection().Write("x");
      if (way == "sent at once") return it.connection().FlushNow();
    }
    it.Turn();
  };
  it.RunTo(41);
  REQUIRE(it.TakeTold() == "idle 41");
  for (const std::int64_t then : {1000, 5000, 90'000}) {
    Advance(it.At(std::chrono::milliseconds(then)) - weir::sys::Now());
    it.Turn();
    REQUIRE(it.TakeTold().empty());
    Advance(999us);
    move();
    CHECK(it.HasTimers());
    Advance(39ms + 999us);
    it.Turn();
    CHECK(it.TakeTold().empty());  // 39.999 ms
    it.RunTo(then + 50);
    CHECK(it.TakeTold() == "idle " + std::to_string(then + 41));
    CHECK_FALSE(it.HasTimers());
  }
}

TEST_CASE("once its idle time runs again, a connection is read straight, and bytes move its end",
          "[net][deadline]") {
  Timed it{{.idle_timeout = 40ms}};
  it.RunTo(100);
  CHECK(it.TakeTold() == "idle 41");
  it.Receive();
  it.RunTo(130);
  it.Receive();
  it.RunTo(170);
  CHECK(it.TakeTold().empty());
  it.RunTo(300);
  CHECK(it.TakeTold() == "idle 171");
}

TEST_CASE("what OnTimeout itself writes starts the idle time again", "[net][deadline]") {
  Timed it{{.idle_timeout = 40ms}};
  it.handler.on_timeout = [&](Connection& connection, TimeoutKind kind) {
    it.Note(kind);
    connection.Write("are you there?");
  };
  it.RunTo(130);
  CHECK(it.TakeTold() == "idle 41, idle 82, idle 123");
}

TEST_CASE("an idle time that is set again after it was told starts again", "[net][deadline]") {
  Timed it{{.idle_timeout = 40ms}};
  it.RunTo(100);
  CHECK(it.TakeTold() == "idle 41");
  CHECK_FALSE(it.HasTimers());
  it.connection().SetIdleTimeout(20ms);
  CHECK(it.HasTimers());
  it.RunTo(120);
  CHECK(it.TakeTold().empty());
  it.RunTo(500);
  CHECK(it.TakeTold() == "idle 121");
  CHECK_FALSE(it.HasTimers());
}

TEST_CASE("an idle time that is cleared after it was told gives all back", "[net][deadline]") {
  const bool runs_again = GENERATE(true, false);
  Timed it{{.idle_timeout = 40ms}};
  it.RunTo(41);
  CHECK(it.TakeTold() == "idle 41");
  CHECK(it.Extensions() == 1);
  it.connection().SetIdleTimeout({});
  CHECK(it.Extensions() == 0);
  CHECK_FALSE(it.HasTimers());
  it.Receive();
  it.RunTo(200);
  CHECK(it.TakeTold().empty());
  if (!runs_again) return;
  it.connection().SetIdleTimeout(40ms);
  it.RunTo(500);
  CHECK(it.TakeTold() == "idle 241");
}

TEST_CASE("another time of a connection that was told leaves its idle time alone",
          "[net][deadline]") {
  Timed it{{.idle_timeout = 40ms}};
  it.RunTo(41);
  it.connection().SetReadDeadline(it.At(60ms));
  it.RunTo(200);
  CHECK(it.TakeTold() == "idle 41, read 60");
  CHECK_FALSE(it.HasTimers());
  it.Receive();
  it.RunTo(500);
  CHECK(it.TakeTold() == "idle 241");
}

TEST_CASE("one that was told lingers no longer than others when it closes", "[net][deadline]") {
  const bool blocked = GENERATE(true, false);
  Timed it{{.idle_timeout = 40ms, .write_stall = 0s, .close_linger = 100ms}};
  if (blocked) it.Block();
  it.RunTo(200);
  CHECK(it.TakeTold() == "idle 41");
  it.connection().Close();
  if (blocked) {
    it.RunTo(250);
    it.Take(1000);
  }
  it.RunTo(blocked ? 350 : 300);
  CHECK_FALSE(it.wire.closed);
  it.RunTo(blocked ? 351 : 301);
  CHECK(it.wire.closed);
  CHECK(it.TakeTold().empty());
  CHECK_FALSE(it.HasTimers());
}

// ---- Read

TEST_CASE("a read deadline comes whatever arrives, once", "[net][deadline]") {
  Timed it;
  it.connection().SetReadDeadline(it.At(40ms));
  while (it.Milliseconds() < 200) {
    it.RunTo(it.Milliseconds() + 1);
    it.Receive();
  }
  CHECK(it.TakeTold() == "read 40");
  it.connection().SetReadDeadline(it.At(250ms));
  it.RunTo(400);
  CHECK(it.TakeTold() == "read 250");
}

TEST_CASE("a read deadline is not early by a part of a tick", "[net][deadline]") {
  Timed it;
  it.connection().SetReadDeadline(it.At(40ms + 1ns));
  it.RunTo(100);
  CHECK(it.TakeTold() == "read 41");
}

TEST_CASE("a read deadline may be moved either way, and cleared", "[net][deadline]") {
  Timed it;
  it.connection().SetReadDeadline(it.At(40ms));
  it.connection().SetReadDeadline(it.At(60ms));
  it.RunTo(59);
  CHECK(it.TakeTold().empty());
  it.connection().SetReadDeadline(it.At(500ms));
  it.connection().SetReadDeadline(it.At(70ms));
  it.RunTo(100);
  CHECK(it.TakeTold() == "read 70");
  it.connection().SetReadDeadline(it.At(120ms));
  it.connection().SetReadDeadline({});
  it.RunTo(200);
  CHECK(it.TakeTold().empty());
}

TEST_CASE("a read deadline that has passed is told soon, but not inside the call",
          "[net][deadline]") {
  Timed it;
  it.RunTo(100);
  const std::size_t which = GENERATE(0U, 1U, 2U, 3U);
  const Clock::time_point past[] = {it.At(99ms), it.At(-10s), Clock::time_point::min(),
                                    Clock::time_point(1ns)};
  it.connection().SetReadDeadline(past[which]);
  CHECK(it.handler.timeouts == 0);
  CHECK(it.loop->NextTimeout() == Duration::zero());
  it.Turn();
  CHECK(it.TakeTold() == "read 100");
}

TEST_CASE("a deadline at the end of time does not come", "[net][deadline]") {
  Timed it;
  it.connection().SetReadDeadline(Clock::time_point::max());
  it.connection().SetWriteDeadline(Clock::time_point::max());
  it.Block();
  Advance(50s);
  it.Turn();
  CHECK(it.TakeTold().empty());
}

TEST_CASE("a deadline that OnTimeout sets in the past is told in the next turn",
          "[net][deadline]") {
  Timed it;
  it.handler.on_timeout = [&](Connection& connection, TimeoutKind kind) {
    it.Note(kind);
    if (it.handler.timeouts < 3) connection.SetReadDeadline(it.At(1ms));
  };
  it.connection().SetReadDeadline(it.At(40ms));
  Advance(40ms);
  for (int told = 1; told <= 3; ++told) {
    it.Turn();
    CHECK(it.handler.timeouts == told);
  }
  it.Turn();
  CHECK(it.handler.timeouts == 3);
}

// ---- Write

TEST_CASE("a write deadline comes while output waits for the peer", "[net][deadline]") {
  Timed it{{.write_stall = GENERATE(Duration(60s), Duration(0s))}};
  const bool waits_first = GENERATE(true, false);
  if (waits_first) it.Block();
  it.connection().SetWriteDeadline(it.At(40ms));
  if (!waits_first) it.Block();
  it.RunTo(20);
  it.Take(1);  // what the peer takes does not move it
  it.RunTo(500);
  CHECK(it.TakeTold() == "write 40");
}

TEST_CASE("a write deadline that has passed comes as soon as output waits, not before",
          "[net][deadline]") {
  Timed it{{.write_stall = GENERATE(Duration(60s), Duration(0s))}};
  it.connection().SetWriteDeadline(it.At(40ms));
  it.RunTo(100);
  it.connection().Write("taken at once");
  it.RunTo(200);
  CHECK(it.TakeTold().empty());
  it.wire.WillTake(0);
  it.connection().Write("waits");
  CHECK(it.handler.timeouts == 0);
  it.Turn();
  it.Turn();
  CHECK(it.TakeTold() == "write 200");
  it.Take(5);
  it.Block();
  it.RunTo(300);
  CHECK(it.TakeTold().empty());  // once for each setting
}

TEST_CASE("another time that comes does not bring a write deadline along", "[net][deadline]") {
  Timed it;
  it.connection().SetWriteDeadline(it.At(20ms));
  it.connection().SetReadDeadline(it.At(40ms));
  it.RunTo(100);
  CHECK(it.TakeTold() == "read 40");
}

TEST_CASE("output that left in time meets no write deadline; what waits later does",
          "[net][deadline]") {
  Timed it;
  it.connection().SetWriteDeadline(it.At(40ms));
  it.Block();
  it.RunTo(39);
  it.Take(1000);
  it.RunTo(100);
  CHECK(it.TakeTold().empty());
  it.Block();
  it.Turn();
  CHECK(it.TakeTold() == "write 100");
}

TEST_CASE("a write deadline is cleared and moved", "[net][deadline]") {
  Timed it;
  it.Block();
  it.connection().SetWriteDeadline(it.At(40ms));
  it.connection().SetWriteDeadline({});
  it.RunTo(100);
  CHECK(it.TakeTold().empty());
  it.connection().SetWriteDeadline(it.At(300ms));
  it.connection().SetWriteDeadline(it.At(200ms));
  it.RunTo(400);
  CHECK(it.TakeTold() == "write 200");
}

TEST_CASE("output that a failed send has dropped waits for nobody", "[net][deadline]") {
  Timed it{{.read_chunk = 1, .read_budget = 1}};
  it.Block();
  it.connection().SetWriteDeadline(it.At(40ms));
  it.wire.WillReceive("what came before the reset").WillFailSend(ECONNRESET);
  it.wire.ThenFail(ECONNRESET);
  it.RaiseEdge({.readable = true, .writable = true});
  Advance(50ms);
  it.RunUntilQuiet();
  CHECK(it.TakeTold().empty());
  CHECK(it.handler.text == "what came before the reset");
  CHECK(it.handler.reason == CloseReason::kError);
}

// ---- write_stall

TEST_CASE("a peer that takes nothing of what is queued is reset", "[net][deadline]") {
  Timed it{{.write_stall = 100ms}};
  it.RunTo(10);
  it.Block();
  it.RunTo(110);
  CHECK(it.handler.closes == 0);
  it.RunTo(111);
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.timeouts == 0);
  CHECK(it.handler.reason == CloseReason::kTimeout);
  CHECK(it.handler.closed_with.value() == ETIMEDOUT);
  CHECK(it.wire.reset);
  CHECK(it.loop->GetStats().timeouts == 1);
  CHECK_FALSE(it.HasTimers());
  CHECK(it.Extensions() == 0);
}

TEST_CASE("by default a stalled peer has a minute", "[net][deadline]") {
  Timed it;
  it.Block();
  Advance(60s);
  it.Turn();
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 0);
  Advance(1ms);
  it.Turn();
  it.RunUntilQuiet();
  CHECK(it.handler.reason == CloseReason::kTimeout);
}

TEST_CASE("a peer that takes a byte now and then is not stalled", "[net][deadline]") {
  Timed it{{.write_stall = 100ms}};
  it.Block();
  for (int i = 0; i < 5; ++i) {
    it.RunTo(it.Milliseconds() + 100);
    it.Take(1);
  }
  CHECK(it.handler.closes == 0);
  it.RunTo(600);
  CHECK(it.handler.closes == 0);
  it.RunTo(601);
  CHECK(it.handler.closes == 1);
}

TEST_CASE("a peer that sends but takes nothing is stalled all the same", "[net][deadline]") {
  Timed it{{.auto_pause = false, .idle_timeout = 50ms, .write_stall = 100ms}};
  it.Block();
  while (it.handler.closes == 0 && it.Milliseconds() < 500) {
    it.RunTo(it.Milliseconds() + 10);
    if (it.handler.closes != 0) break;
    it.Receive();
    it.wire.WillTake(0);  // an edge that was in vain is no progress either
    it.RaiseEdge({.writable = true});
  }
  CHECK(it.Milliseconds() == 110);
  CHECK(it.handler.reason == CloseReason::kTimeout);
}

TEST_CASE("output that waits anew has the whole time again", "[net][deadline]") {
  Timed it{{.write_stall = 100ms}};
  it.Block();
  it.RunTo(90);
  it.Take(1000);
  it.RunTo(99);
  it.Block();
  it.RunTo(199);
  CHECK(it.handler.closes == 0);
  it.RunTo(200);
  CHECK(it.handler.closes == 1);
}

TEST_CASE("without write_stall a peer may take as long as it likes", "[net][deadline]") {
  Timed it{{.write_stall = 0s}};
  it.Block();
  CHECK(it.Extensions() == 0);
  CHECK_FALSE(it.HasTimers());
  SECTION("whatever else is timed") { it.connection().SetIdleTimeout(1h); }
  Advance(50min);
  it.Turn();
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 0);
}

// ---- What OnTimeout does

TEST_CASE("by default idle and read times close, after all output", "[net][deadline]") {
  const bool idle = GENERATE(true, false);
  Timed it;
  it.handler.on_timeout = {};
  if (idle) it.connection().SetIdleTimeout(40ms);
  if (!idle) it.connection().SetReadDeadline(it.At(40ms));
  it.Block();
  it.RunTo(50);
  CHECK(it.handler.timeouts == 1);
  CHECK(it.handler.closes == 0);
  it.Take(1000);
  it.RunUntilQuiet();
  CHECK(it.wire.fin);
  CHECK_FALSE(it.wire.reset);
  CHECK(it.handler.reason == CloseReason::kTimeout);
  CHECK_FALSE(it.handler.closed_with);
}

TEST_CASE("by default a write time aborts", "[net][deadline]") {
  Timed it;
  it.handler.on_timeout = {};
  it.connection().SetWriteDeadline(it.At(40ms));
  it.Block();
  it.RunTo(50);
  CHECK(it.handler.reason == CloseReason::kTimeout);
  CHECK(it.wire.reset);
  CHECK_FALSE(it.handler.closed_with);
}

TEST_CASE("what OnTimeout closes has the reason kTimeout; what it closes elsewhere has not",
          "[net][deadline]") {
  const bool aborts = GENERATE(true, false);
  Recorder other_handler;
  ScriptedWire other_wire;
  Timed it;
  ConnectionImpl& other = it.Open(other_wire, other_handler);
  it.RunUntilQuiet();
  it.handler.on_timeout = [&](Connection& connection, TimeoutKind) {
    for (Connection* const each : {&connection, static_cast<Connection*>(&other)}) {
      aborts ? each->Abort() : each->Close();
    }
  };
  it.connection().SetReadDeadline(it.At(40ms));
  it.RunTo(50);
  CHECK(it.handler.reason == CloseReason::kTimeout);
  CHECK(other_handler.reason == CloseReason::kLocal);
  CHECK(it.handler.closes + other_handler.closes == 2);
}

TEST_CASE("after OnTimeout has returned, or thrown, closing is the program's own",
          "[net][deadline]") {
  Timed it;
  it.connection().SetReadDeadline(it.At(40ms));
  it.RunTo(50);
  it.connection().Close();
  it.RunUntilQuiet();
  CHECK(it.handler.reason == CloseReason::kLocal);
}

TEST_CASE("what OnTimeout throws closes that connection, and is counted", "[net][deadline]") {
  Recorder other_handler;
  ScriptedWire other_wire;
  Timed it;
  ConnectionImpl& other = it.Open(other_wire, other_handler);
  it.RunUntilQuiet();
  const bool closed_before = GENERATE(true, false);
  it.handler.on_timeout = [&](Connection& connection, TimeoutKind) {
    if (closed_before) connection.Close();
    throw std::runtime_error("on purpose");
  };
  it.connection().SetReadDeadline(it.At(40ms));
  it.connection().SetIdleTimeout(10s);
  it.RunTo(50);
  CHECK(it.handler.reason == (closed_before ? CloseReason::kTimeout : CloseReason::kException));
  CHECK(it.loop->GetStats().exceptions == 1);
  static_cast<Connection&>(other).Close();
  it.RunUntilQuiet();
  CHECK(other_handler.reason == CloseReason::kLocal);
}

TEST_CASE("what OnTimeout writes leaves in one send, when it returns", "[net][deadline]") {
  Timed it;
  it.handler.on_timeout = [&](Connection& connection, TimeoutKind) {
    connection.Write("still ");
    connection.Write("there?");
    CHECK(it.wire.sends == 0);
  };
  it.connection().SetReadDeadline(it.At(40ms));
  it.RunTo(50);
  CHECK(it.wire.sent == "still there?");
  CHECK(it.wire.sends == 1);
}

TEST_CASE("OnTimeout may answer and close", "[net][deadline]") {
  Timed it;
  it.handler.on_timeout = [&](Connection& connection, TimeoutKind) {
    connection.Write("408");
    connection.Close();
  };
  it.connection().SetIdleTimeout(40ms);
  it.RunTo(50);
  CHECK(it.wire.sent == "408");
  CHECK(it.wire.fin);
  CHECK(it.handler.reason == CloseReason::kTimeout);
}

TEST_CASE("OnTimeout may pause, and resume", "[net][deadline]") {
  Timed it;
  it.handler.on_timeout = [&](Connection& connection, TimeoutKind) {
    it.handler.timeouts == 1 ? connection.PauseRead() : connection.ResumeRead();
  };
  it.connection().SetReadDeadline(it.At(40ms));
  it.RunTo(50);
  it.Receive("abc");
  CHECK(it.handler.text.empty());
  it.connection().SetReadDeadline(it.At(60ms));
  it.RunTo(60);
  CHECK(it.handler.text == "abc");
}

TEST_CASE("OnTimeout may set any other time, and its own", "[net][deadline]") {
  Timed it{{.write_stall = 0s}};
  it.handler.on_timeout = [&](Connection& connection, TimeoutKind kind) {
    it.Note(kind);
    switch (it.handler.timeouts) {
      case 1:
        return connection.SetIdleTimeout(10ms);  // 40 + 11
      case 2:
        connection.SetIdleTimeout({});
        return connection.SetReadDeadline(it.At(60ms));
      case 3:
        return connection.SetWriteDeadline(it.At(70ms));
      case 4:
        return connection.SetWriteDeadline(it.At(80ms));
      default:
        return;
    }
  };
  it.Block();
  it.connection().SetReadDeadline(it.At(40ms));
  it.RunTo(300);
  CHECK(it.TakeTold() == "read 40, idle 51, read 60, write 70, write 80");
}

TEST_CASE("an idle time that OnTimeout sets again is told again", "[net][deadline]") {
  Timed it{{.idle_timeout = 40ms}};
  it.handler.on_timeout = [&](Connection& connection, TimeoutKind kind) {
    it.Note(kind);
    connection.SetIdleTimeout(40ms);
  };
  it.RunTo(130);
  CHECK(it.TakeTold() == "idle 41, idle 82, idle 123");
}

TEST_CASE("times that come together are told write, read, idle; and not to one that is closed",
          "[net][deadline]") {
  const int closing = GENERATE(0, 1, 2, 3);
  const bool aborts = GENERATE(true, false);
  Timed it;
  it.handler.on_timeout = [&](Connection& connection, TimeoutKind kind) {
    it.Note(kind);
    if (it.handler.timeouts == closing) aborts ? connection.Abort() : connection.Close();
  };
  it.Block();
  it.connection().SetReadDeadline(it.At(41ms));
  it.connection().SetWriteDeadline(it.At(41ms));
  it.connection().SetIdleTimeout(40ms);
  it.RunTo(100);
  const std::string expected[] = {"write 41, read 41, idle 41", "write 41", "write 41, read 41",
                                  "write 41, read 41, idle 41"};
  CHECK(it.TakeTold() == expected[closing]);
}

TEST_CASE("OnTimeout may clear what is due beside it", "[net][deadline]") {
  Timed it;
  it.handler.on_timeout = [&](Connection& connection, TimeoutKind kind) {
    it.Note(kind);
    connection.SetReadDeadline({});
    connection.SetIdleTimeout({});
  };
  it.Block();
  it.connection().SetReadDeadline(it.At(41ms));
  it.connection().SetWriteDeadline(it.At(41ms));
  it.connection().SetIdleTimeout(40ms);
  it.RunTo(300);
  CHECK(it.TakeTold() == "write 41");
}

TEST_CASE("a time that OnTimeout sets for another connection does not become its own",
          "[net][deadline]") {
  Recorder other_handler;
  ScriptedWire other_wire;
  Timed it;
  ConnectionImpl& other = it.Open(other_wire, other_handler);
  it.RunUntilQuiet();
  it.handler.on_timeout = [&](Connection& connection, TimeoutKind kind) {
    it.Note(kind);
    connection.SetReadDeadline({});  // nothing of its own is left
    other.SetIdleTimeout(10ms);
  };
  it.connection().SetReadDeadline(it.At(40ms));
  it.RunTo(50);
  CHECK(it.TakeTold() == "read 40");
  CHECK(other_handler.timeouts == 0);
  it.RunTo(51);
  CHECK(other_handler.timeouts == 1);
}

TEST_CASE("OnTimeout may set a handler, which is told from then on", "[net][deadline]") {
  Recorder second;
  Timed it;
  second.on_timeout = [](Connection&, TimeoutKind) {};
  it.handler.on_timeout = [&](Connection& connection, TimeoutKind) {
    connection.SetHandler(second);
  };
  it.connection().SetReadDeadline(it.At(40ms));
  it.connection().SetIdleTimeout(60ms);
  it.RunTo(100);
  CHECK(it.handler.timeouts == 1);
  CHECK(second.timeouts == 1);
  it.Receive("abc");
  CHECK(second.text == "abc");
  it.loop->Stop(Duration::zero());
  it.RunUntilQuiet();
}

TEST_CASE("OnTimeout may set watermarks", "[net][deadline]") {
  Timed it;
  it.Block(500);
  it.handler.on_timeout = [&](Connection& connection, TimeoutKind) {
    connection.SetWatermarks(100, 10);
    CHECK(connection.Congested());
  };
  it.connection().SetReadDeadline(it.At(40ms));
  it.RunTo(50);
  it.Receive("abc");
  CHECK(it.handler.text.empty());
  it.Take(490);
  it.RunUntilQuiet();
  CHECK(it.handler.drains == 1);
  CHECK(it.handler.text == "abc");
}

TEST_CASE("times run on after the peer's end, and end with Close", "[net][deadline]") {
  Timed it{{.idle_timeout = 40ms}};
  it.handler.on_end = [](Connection&) {};
  it.wire.ThenEnd();
  it.RaiseEdge({.readable = true, .peer_ended = true});
  it.connection().SetReadDeadline(it.At(60ms));
  it.RunTo(50);
  CHECK(it.TakeTold() == "idle 41");
  it.RunTo(70);
  CHECK(it.TakeTold() == "read 60");
  it.Block();
  it.connection().SetReadDeadline(it.At(80ms));
  it.connection().SetWriteDeadline(it.At(80ms));
  it.connection().Close();
  it.RunTo(1000);
  CHECK(it.TakeTold().empty());
}

TEST_CASE("times that are set after the end change nothing", "[net][deadline]") {
  Timed it;
  const bool aborts = GENERATE(true, false);
  Connection& connection = it.connection();
  it.Block();
  aborts ? connection.Abort() : connection.Close();
  const std::size_t extensions = it.Extensions();
  connection.SetIdleTimeout(1ms);
  connection.SetReadDeadline(it.At(1ms));
  connection.SetWriteDeadline(it.At(1ms));
  connection.SetWatermarks(10, 5);
  CHECK(it.Extensions() == extensions);
  it.RunTo(100);
  CHECK(it.handler.timeouts == 0);
  CHECK(it.handler.closes == (aborts ? 1 : 0));
}

// ---- Closing

TEST_CASE("a peer that takes nothing after Close is reset by close_linger, whatever was armed",
          "[net][deadline]") {
  const Duration idle = GENERATE(Duration(0s), Duration(20ms), Duration(10s));
  Timed it{{.idle_timeout = idle, .write_stall = 70ms, .close_linger = 100ms}};
  it.Block();
  it.RunTo(10);
  it.connection().Close();
  it.RunTo(60);
  it.Receive();  // what it sends does not help
  it.RunTo(90);
  it.Take(1);  // what it takes does
  it.RunTo(150);
  it.Receive();
  it.RunTo(190);
  CHECK(it.handler.closes == 0);
  CHECK_FALSE(it.wire.closed);
  it.RunTo(191);
  CHECK(it.wire.reset);
  CHECK(it.handler.reason == CloseReason::kLocal);
  CHECK(it.handler.closed_with.value() == ETIMEDOUT);
  CHECK(it.TakeTold().empty());
  CHECK_FALSE(it.HasTimers());
}

TEST_CASE("a peer that never ends is closed by close_linger after our FIN, whatever was armed",
          "[net][deadline]") {
  const Duration idle = GENERATE(Duration(0s), Duration(20ms), Duration(10s));
  Timed it{{.idle_timeout = idle, .close_linger = 100ms}};
  it.RunTo(10);
  it.connection().Close();
  it.RunUntilQuiet();
  CHECK(it.wire.fin);
  it.RunTo(60);
  it.Receive();
  it.RunTo(110);
  CHECK_FALSE(it.wire.closed);
  it.RunTo(111);
  CHECK(it.wire.closed);
  CHECK_FALSE(it.wire.reset);
  CHECK_FALSE(it.HasTimers());
  CHECK(it.Extensions() == 0);
}

TEST_CASE("a lingering that waits for nobody ends at once", "[net][deadline]") {
  Timed it{{.idle_timeout = 10s, .close_linger = 0s}};
  it.connection().Close();
  it.RunUntilQuiet();
  it.Turn();
  it.Turn();
  CHECK(it.wire.closed);
}

TEST_CASE("after the last of the output its linger begins anew", "[net][deadline]") {
  Timed it{{.close_linger = 100ms}};
  it.Block();
  it.connection().Close();
  it.RunTo(90);
  it.Take(1000);
  it.RunTo(190);
  CHECK_FALSE(it.wire.closed);
  it.RunTo(191);
  CHECK(it.wire.closed);
  CHECK_FALSE(it.wire.reset);
}

// ---- What it costs

TEST_CASE("activity touches no timer", "[net][deadline]") {
  Timed it{{.idle_timeout = 40ms}};
  for (int millisecond = 1; millisecond <= 40; ++millisecond) {
    it.RunTo(millisecond);
    for (int i = 0; i < 2500; ++i) it.Receive("x");  // 100'000 in all
    it.connection().Write("y");
    it.Turn();
    // A timer that follows activity would stand 41 ms from here.
    REQUIRE(it.loop->NextTimeout() == std::chrono::milliseconds(41 - millisecond));
  }
  it.RunTo(41);
  CHECK(it.TakeTold().empty());
  it.RunTo(81);
  CHECK(it.TakeTold() == "idle 81");
}

TEST_CASE("a connection without times has no timer, and no extension", "[net][deadline]") {
  Timed it;
  it.Receive();
  it.connection().Write("x");
  it.Turn();
  CHECK(it.Extensions() == 0);
  CHECK_FALSE(it.HasTimers());
}

TEST_CASE("all times of a connection share one timer", "[net][deadline]") {
  Timed it;
  it.Block();
  it.connection().SetIdleTimeout(50ms);
  it.connection().SetReadDeadline(it.At(60ms));
  it.connection().SetWriteDeadline(it.At(40ms));
  it.connection().SetReadDeadline(it.At(30ms));
  CHECK(it.loop->NextTimeout() == 30ms);
  it.connection().SetReadDeadline(it.At(35ms));
  CHECK(it.loop->NextTimeout() == 30ms);  // it comes too soon, and then knows better
  it.connection().SetReadDeadline(it.At(20ms));
  CHECK(it.loop->NextTimeout() == 20ms);
  it.RunTo(45);
  CHECK(it.TakeTold() == "read 20, write 40");
  it.connection().Abort();
  it.RunUntilQuiet();
  CHECK_FALSE(it.HasTimers());
}

TEST_CASE("the extension is given back when nothing needs it any more", "[net][deadline]") {
  Timed it{{.write_stall = 100ms}};
  Connection& connection = it.connection();
  SECTION("a read deadline that was told") { connection.SetReadDeadline(it.At(40ms)); }
  SECTION("a read deadline that was cleared") {
    connection.SetReadDeadline(it.At(40ms));
    connection.SetReadDeadline({});
  }
  SECTION("an idle time that was cleared") {
    connection.SetIdleTimeout(40ms);
    connection.SetIdleTimeout({});
  }
  SECTION("a write deadline that was told") {
    connection.SetWriteDeadline(it.At(40ms));
    it.Block();
    it.RunTo(50);
    it.Take(1000);
  }
  SECTION("output that has left") {
    it.Block();
    it.RunTo(50);
    it.Take(1000);
  }
  SECTION("a write deadline that was cleared") {
    connection.SetWriteDeadline(it.At(40ms));
    connection.SetWriteDeadline({});
  }
  SECTION("what was cleared before it was set") {
    connection.SetReadDeadline({});
    connection.SetWriteDeadline({});
    connection.SetIdleTimeout({});
    CHECK(it.Extensions() == 0);
  }
  SECTION("times that OnTimeout clears") {
    connection.SetIdleTimeout(40ms);
    it.handler.on_timeout = [](Connection& self, TimeoutKind) {
      self.SetIdleTimeout({});
      self.SetReadDeadline({});
    };
    it.RunTo(50);
    CHECK(it.Extensions() == 0);
  }
  it.RunTo(300);
  CHECK(it.Extensions() == 0);
  CHECK_FALSE(it.HasTimers());
  it.Receive();
  CHECK(it.handler.closes == 0);
}

TEST_CASE("what is still needed keeps the extension, whatever else is over", "[net][deadline]") {
  Timed it{{.write_stall = 0s}};
  Connection& connection = it.connection();
  connection.SetReadDeadline(it.At(10ms));
  SECTION("watermarks") {
    connection.SetWatermarks(100, 10);
    it.RunTo(50);
    it.Block(101);
    CHECK(connection.Congested());
  }
  SECTION("a write deadline without output") {
    connection.SetWriteDeadline(it.At(20ms));
    it.RunTo(50);
    it.Block();
    it.Turn();
    CHECK(it.TakeTold() == "read 10, write 50");
  }
  SECTION("output that waits, which a write deadline may come to") {
    it.Block();
    it.RunTo(50);
    connection.SetWriteDeadline(it.At(60ms));
    it.RunTo(70);
    CHECK(it.TakeTold() == "read 10, write 60");
  }
  SECTION("an idle time that was told") {
    connection.SetIdleTimeout(20ms);
    it.RunTo(100);
    it.Receive();
    it.RunTo(200);
    CHECK(it.TakeTold() == "read 10, idle 21, idle 121");
  }
  SECTION("a drain") {
    connection.PauseRead();
    it.Receive("abc");
    it.loop->Stop();
    it.Turn();
    it.RunTo(50);
    CHECK(it.handler.closes == 0);
    CHECK(it.Extensions() == 1);
    connection.ResumeRead();
    it.RunUntilQuiet();
    CHECK(it.handler.text == "abc");
    CHECK(it.handler.reason == CloseReason::kShutdown);
  }
  CHECK(it.Extensions() == 1);
}

TEST_CASE("the extensions of many are kept apart, and used again", "[net][deadline]") {
  Recorder handler;
  std::vector<ScriptedWire> wires(20);
  ScriptedLoop it;
  std::vector<std::pair<Connection*, int>> members;
  std::vector<int> told;
  for (ScriptedWire& wire : wires) {
    members.emplace_back(&it.Open(wire, handler), static_cast<int>(members.size()));
  }
  it.RunUntilQuiet();
  handler.on_timeout = [&](Connection& connection, TimeoutKind) {
    for (const auto& [member, number] : members) {
      if (member == &connection) told.push_back(number);
    }
  };
  for (int round = 0; round < 3; ++round) {
    const Clock::time_point now = weir::sys::Now();
    std::vector<int> expected;
    for (const auto& [member, number] : members) {
      member->SetReadDeadline(now + std::chrono::milliseconds(10 + number));
      expected.push_back(number);
    }
    CHECK(it.core().extensions.live() == 20);
    for (int i = 0; i < 40; ++i) {
      Advance(1ms);
      it.Turn();
    }
    CHECK(std::exchange(told, {}) == expected);
    CHECK(it.core().extensions.live() == 0);
  }
  CHECK(it.core().extensions.slots() <= 20);
}

TEST_CASE("a connection that ends leaves no timer and no extension", "[net][deadline]") {
  Timed it;
  Connection& connection = it.connection();
  connection.SetIdleTimeout(1h);
  connection.SetReadDeadline(it.At(1min));
  connection.SetWriteDeadline(it.At(1min));
  connection.SetWatermarks(100, 10);
  it.Block();
  SECTION("by Abort") { connection.Abort(); }
  SECTION("by an error") {
    it.wire.WillFailSend(EPIPE);
    it.wire.pending_error = EPIPE;
    it.RaiseEdge({.readable = true, .writable = true, .hung_up = true, .error = true});
  }
  SECTION("by Close, and the peer's end") {
    connection.Close();
    it.Take(1000);
    it.wire.ThenEnd();
    it.RaiseEdge({.readable = true, .peer_ended = true});
  }
  SECTION("by Stop") { it.loop->Stop(Duration::zero()); }
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 1);
  CHECK(it.core().table.live() == 0);
  CHECK(it.Extensions() == 0);
  CHECK_FALSE(it.HasTimers());
}

TEST_CASE("the slot's next owner inherits no time", "[net][deadline]") {
  Recorder second;
  ScriptedWire second_wire;
  Timed it;
  it.connection().SetIdleTimeout(50ms);
  it.connection().SetWatermarks(1, 0);
  it.connection().Abort();
  it.RunUntilQuiet();
  it.Turn();
  ConnectionImpl& next = it.Open(second_wire, second);
  it.RunUntilQuiet();
  CHECK(next.token.slot == it.token().slot);
  it.RunTo(200);
  CHECK(second.timeouts == 0);
  next.Write("abc");
  CHECK_FALSE(next.Congested());
  it.RunUntilQuiet();
}

// ---- Handlers that are no class

namespace {

struct PatientSession {
  std::size_t OnData(Connection&, std::string_view in) { return in.size(); }
  void OnTimeout(Connection& connection, TimeoutKind kind) {
    connection.Write(kind == TimeoutKind::kRead ? "read" : "other");
  }
};
struct PlainSession {
  std::size_t OnData(Connection&, std::string_view in) { return in.size(); }
};

void TimeOut(weir::Handler& handler, ScriptedWire& wire) {
  ScriptedLoop it;
  Connection& connection = it.Open(wire, handler);
  it.RunUntilQuiet();
  connection.SetReadDeadline(weir::sys::Now() + 5ms);
  Advance(5ms);
  it.Turn();
  it.RunUntilQuiet();
}

}  // namespace

TEST_CASE("lambdas and sessions are told of timeouts, or do what a handler does",
          "[net][deadline]") {
  ScriptedWire wire;
  SECTION("a lambda") {
    weir::CallbackHandler handler({.on_timeout = [](Connection& connection, TimeoutKind kind) {
      connection.Write(kind == TimeoutKind::kRead ? "read" : "other");
    }});
    TimeOut(handler, wire);
    CHECK(wire.sent == "read");
    CHECK_FALSE(wire.fin);
  }
  SECTION("no lambda") {
    weir::CallbackHandler handler({});
    TimeOut(handler, wire);
    CHECK(wire.fin);
  }
  SECTION("a session") {
    weir::SessionHandler<PatientSession> handler;
    TimeOut(handler, wire);
    CHECK(wire.sent == "read");
    CHECK_FALSE(wire.fin);
  }
  SECTION("a session without it") {
    weir::SessionHandler<PlainSession> handler;
    TimeOut(handler, wire);
    CHECK(wire.fin);
  }
}
