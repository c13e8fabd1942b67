// How connections begin and end, and that nothing of them is left. Random lives are in
// connection_model_test.cc.

#include <array>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "os/sys.h"
#include "support/catch.h"
#include "support/death.h"
#include "support/one_connection.h"

using std::chrono::milliseconds;
using weir::CloseReason;
using weir::Connection;
using weir::ConnRef;
using weir::Handler;
using weir::State;
using weir::Token;
using weir::test::Aborts;
using weir::test::OneConnection;
using weir::test::Recorder;
using weir::test::ScriptedLoop;
using weir::test::ScriptedWire;

using Calls = std::vector<std::string>;

namespace {

constexpr milliseconds kLinger{100};

void Pass(OneConnection& it, milliseconds time) {
  weir::sys::fake::Advance(time);
  it.Turn();
}

bool IsGone(OneConnection& it) { return it.core().table.Find(it.token()) == nullptr; }

// A connection that has just been opened, with its handler's OnOpen.
struct Newborn {
  explicit Newborn(std::function<void(Connection&)> on_open) {
    handler.on_open = std::move(on_open);
    loop.poller.log.clear();  // of the loop's own sources
    loop.poller.tokens.clear();
  }
  void Open() {
    loop.Open(wire, handler);
    loop.RunUntilQuiet();
  }
  Recorder handler;
  ScriptedWire wire;
  ScriptedLoop loop;
};

}  // namespace

// ---- Opened

TEST_CASE("OnOpen comes first, then the first receive, and only then epoll hears of it",
          "[net][life]") {
  Newborn it([](Connection& connection) { connection.Write("welcome"); });
  it.wire.WillReceive("hello");
  it.loop.poller.on_wait = [&](int) { CHECK(it.loop.poller.log.empty()); };
  it.loop.Open(it.wire, it.handler);
  CHECK(it.handler.calls == Calls{"open"});
  CHECK(it.wire.sent == "welcome");
  it.loop.Turn();

  CHECK(it.handler.calls == Calls{"open", "data 5", "batch"});
  CHECK(it.wire.log == Calls{"send 7/7", "receive 5/262144"});
  CHECK(it.loop.poller.log == Calls{"add 1000 read"});
}

TEST_CASE("a connection is registered with EPOLLOUT only if output waits already", "[net][life]") {
  Newborn it([](Connection& connection) { connection.Write("welcome"); });
  it.wire.WillTake(3);
  it.Open();
  CHECK(it.loop.poller.log == Calls{"add 1000 read+write"});
  it.loop.poller.Report(it.loop.poller.tokens.front(), EPOLLOUT);
  it.loop.Turn();
  CHECK(it.wire.sent == "welcome");
  CHECK(it.loop.poller.log.size() == 1);  // it is sticky
}

TEST_CASE("Close in OnOpen sends what was written, then FIN, then comes OnClose", "[net][life]") {
  Newborn it([](Connection& connection) {
    connection.Write("busy");
    connection.Close();
  });
  it.wire.WillReceive("ignored").ThenEnd();
  it.Open();
  CHECK(it.handler.calls == Calls{"open", "close", "batch"});
  CHECK(it.wire.sent == "busy");
  CHECK(it.wire.log[1] == "fin");
  CHECK_FALSE(it.wire.closed);

  it.loop.poller.Report(it.loop.poller.tokens.front(), EPOLLIN | EPOLLRDHUP);
  it.loop.RunUntilQuiet();
  CHECK(it.wire.closed);
  CHECK_FALSE(it.wire.reset);
  CHECK(it.loop.core().table.live() == 0);
}

TEST_CASE("Abort in OnOpen resets, reads nothing and never meets epoll", "[net][life]") {
  Newborn it([](Connection& connection) {
    connection.Write("dropped");
    connection.Abort();
  });
  it.wire.WillReceive("ignored");
  it.Open();
  CHECK(it.handler.calls == Calls{"open", "close", "batch"});
  CHECK(it.wire.log == Calls{"reset"});
  CHECK(it.loop.poller.log.empty());
  CHECK(it.loop.core().table.live() == 0);
}

// ---- Close

TEST_CASE(
    "Close sends the queued output, then FIN, then comes OnClose; the descriptor stays until "
    "the peer's end",
    "[net][life]") {
  OneConnection it;
  it.wire.WillTake(3);
  it.connection().Write("output");
  it.Turn();
  it.connection().Close();
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 0);
  CHECK_FALSE(it.wire.fin);

  it.RaiseEdge({.writable = true});
  it.Turn();
  CHECK(it.wire.log == Calls{"send 3/6", "send 3/3", "fin"});
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kLocal);
  CHECK_FALSE(it.handler.closed_with);
  CHECK(it.loop->GetStats().lingering == 1);
  CHECK(it.loop->GetStats().connections == 0);
  CHECK(it.core().buffers.bytes_in_use() == 0);

  it.wire.WillReceive("late").ThenEnd();
  it.RaiseEdge({.readable = true, .peer_ended = true});
  it.RunUntilQuiet();
  CHECK(it.wire.log.back() == "close");
  CHECK(it.loop->GetStats().lingering == 0);
  CHECK(IsGone(it));
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.text.empty());
}

TEST_CASE("Close after the peer's FIN needs no shutdown, and does not linger", "[net][life]") {
  OneConnection it;
  it.handler.on_end = [](Connection&) {};
  it.wire.WillReceive("bye").ThenEnd();
  it.RaiseEdge({.readable = true, .peer_ended = true});
  it.RunUntilQuiet();
  REQUIRE(it.handler.ends == 1);
  CHECK(it.connection().Write("answer"));  // writable all the same
  it.Turn();

  it.connection().Close();
  it.Turn();
  CHECK(it.wire.sent == "answer");
  CHECK_FALSE(it.wire.fin);
  CHECK(it.wire.closed);
  CHECK_FALSE(it.wire.reset);
  CHECK(it.handler.reason == CloseReason::kPeerEnd);
  CHECK(IsGone(it));
}

TEST_CASE("Close inside OnEnd sends what OnEnd wrote", "[net][life]") {
  OneConnection it;
  it.handler.on_end = [](Connection& connection) {
    connection.Write("goodbye");
    connection.Close();
  };
  it.wire.ThenEnd();
  it.RaiseEdge({.readable = true, .peer_ended = true});
  CHECK(it.handler.calls == Calls{"end", "close", "batch"});
  CHECK(it.wire.sent == "goodbye");
  CHECK(it.wire.closed);
}

TEST_CASE("a reset while lingering ends it, and is not told", "[net][life]") {
  OneConnection it;
  it.connection().Close();
  it.RunUntilQuiet();
  REQUIRE(it.handler.closes == 1);
  it.wire.ThenFail(ECONNRESET);
  it.RaiseEdge({.readable = true, .hung_up = true, .error = true});
  it.RunUntilQuiet();
  CHECK(IsGone(it));
  CHECK(it.handler.closes == 1);
}

TEST_CASE("calls on a closed connection do nothing", "[net][life]") {
  OneConnection it;
  it.handler.on_close = [](Connection& connection) {
    connection.PauseRead();  // would wait for ever for the peer's end
    connection.ResumeRead();
    connection.PauseRead();
    connection.ShutdownWrite();
    connection.FlushNow();
    connection.Close();
    CHECK_FALSE(connection.Write("late"));
  };
  it.connection().Close();
  it.connection().PauseRead();
  it.RunUntilQuiet();
  it.wire.ThenEnd();
  it.RaiseEdge({.readable = true, .peer_ended = true});
  it.RunUntilQuiet();
  CHECK(IsGone(it));
  CHECK(it.handler.closes == 1);
  CHECK(it.wire.sent.empty());
}

// ---- Abort

TEST_CASE("Abort drops what is queued and resets", "[net][life]") {
  OneConnection it;
  it.wire.WillTake(0);
  it.connection().Write("queued");
  it.Turn();
  it.connection().Abort();
  CHECK(it.handler.closes == 0);
  CHECK_FALSE(it.wire.closed);  // OnClose may still look at Fd()
  it.Turn();
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kLocal);
  CHECK(it.wire.sent.empty());
  CHECK(it.wire.log.back() == "reset");
  CHECK(it.core().buffers.bytes_in_use() == 0);
  CHECK(IsGone(it));
}

TEST_CASE("Abort behind Close or ShutdownWrite sends no FIN before the reset", "[net][life]") {
  OneConnection it;
  const bool close = GENERATE(true, false);
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    connection.Write("dropped");
    if (close) {
      connection.Close();
    } else {
      connection.ShutdownWrite();
    }
    connection.Abort();
    return in.size();
  };
  it.wire.WillReceive("go");
  it.RaiseEdge();
  CHECK(it.wire.log == Calls{"receive 2/262144", "reset"});  // a peer that reads an end believes it
}

TEST_CASE("Abort ends a lingering connection, also from its own OnClose", "[net][life]") {
  OneConnection it;
  it.handler.on_close = [](Connection& connection) { connection.Abort(); };
  it.connection().Close();
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 1);
  CHECK(it.wire.reset);
  CHECK(IsGone(it));
  CHECK(it.loop->GetStats().lingering == 0);
}

// ---- Time

TEST_CASE("closing without progress is reset after close_linger", "[net][life]") {
  OneConnection it{{.close_linger = kLinger}};
  it.wire.WillTake(0);
  it.connection().Write("output");
  it.Turn();
  it.connection().Close();

  Pass(it, kLinger - milliseconds(1));
  CHECK(it.handler.closes == 0);
  Pass(it, milliseconds(2));
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kLocal);
  CHECK(it.handler.closed_with == std::errc::timed_out);
  CHECK(it.wire.reset);
  CHECK(IsGone(it));
}

TEST_CASE("each byte that the peer takes gives a closing connection more time", "[net][life]") {
  OneConnection it{{.close_linger = kLinger}};
  it.wire.WillTake(1);
  it.connection().Write("abcdef");
  it.Turn();
  it.connection().Close();
  for (int i = 0; i < 4; ++i) {
    Pass(it, kLinger - milliseconds(10));
    it.wire.WillTake(1);
    it.RaiseEdge({.writable = true});
    REQUIRE(it.handler.closes == 0);
  }
  Pass(it, kLinger - milliseconds(10));
  CHECK(it.handler.closes == 0);
  Pass(it, milliseconds(20));
  CHECK(it.handler.closes == 1);
  CHECK(it.wire.reset);
  CHECK(it.wire.sent == "abcde");
}

TEST_CASE("lingering ends after close_linger, without a reset", "[net][life]") {
  OneConnection it{{.close_linger = kLinger}};
  it.connection().Close();
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 1);
  Pass(it, kLinger - milliseconds(1));
  CHECK_FALSE(it.wire.closed);
  Pass(it, milliseconds(2));
  CHECK(it.wire.closed);
  CHECK_FALSE(it.wire.reset);
  CHECK(IsGone(it));

  it.poller.timeouts.clear();
  it.loop->RunOnce(weir::Duration::max());
  CHECK(it.poller.timeouts == std::vector<int>{-1});  // no timer is left
}

TEST_CASE("a close_linger of zero waits for nobody", "[net][life]") {
  OneConnection it{{.close_linger = milliseconds(0)}};
  it.connection().Close();
  it.RunUntilQuiet();
  it.Turn();
  CHECK(it.handler.closes == 1);
  CHECK(IsGone(it));
}

// ---- Rejected, thrown

TEST_CASE("kReject sends what is queued, then closes with kRejected", "[net][life]") {
  OneConnection it;
  const std::size_t answer =
      GENERATE(std::size_t{Handler::kReject}, std::size_t{4}, Handler::kReject - 1);
  it.wire.WillReceive("bad").WillReceive("more");
  it.handler.on_data = [&](Connection& connection, std::string_view) {
    connection.Write("400");
    return answer;  // or one more than there is: a bug of the handler
  };
  it.RaiseEdge();
  it.RunUntilQuiet();
  CHECK(it.handler.calls == Calls{"data 3", "close", "batch"});
  CHECK(it.wire.sent == "400");
  CHECK(it.wire.fin);
  CHECK(it.handler.reason == CloseReason::kRejected);
  CHECK_FALSE(it.handler.closed_with);
}

TEST_CASE("after Close the answer of OnData is ignored", "[net][life]") {
  OneConnection it;
  it.wire.WillReceive("abc");
  it.handler.on_data = [&](Connection& connection, std::string_view) {
    connection.Close();
    return Handler::kReject;
  };
  it.RaiseEdge();
  it.RunUntilQuiet();
  CHECK(it.handler.reason == CloseReason::kLocal);
}

TEST_CASE("what a callback throws closes its own connection only, and is counted", "[net][life]") {
  Recorder neighbour;
  ScriptedWire neighbours_wire;
  OneConnection it;
  it.Open(neighbours_wire, neighbour);
  it.RunUntilQuiet();
  const std::string where = GENERATE("data", "end", "close");
  CAPTURE(where);
  it.handler.on_data = [&](Connection& connection, std::string_view in) -> std::size_t {
    connection.Write("written before");
    if (where == "data") throw std::runtime_error("data");
    return in.size();
  };
  it.handler.on_end = [&](Connection& connection) {
    if (where == "end") throw 7;  // no std::exception
    connection.Close();
  };
  it.handler.on_close = [&](Connection&) {
    if (where == "close") throw std::runtime_error("close");
  };

  it.wire.WillReceive("x").ThenEnd();
  it.RaiseEdge({.readable = true, .peer_ended = true});
  it.RunUntilQuiet();

  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == (where == "close" ? CloseReason::kPeerEnd : CloseReason::kException));
  CHECK(it.wire.sent == "written before");
  CHECK(it.wire.closed);
  CHECK(it.loop->GetStats().exceptions == 1);
  CHECK(neighbour.closes == 0);
  CHECK(neighbour.last->IsOpen());
}

TEST_CASE("what OnOpen throws closes the connection, and OnClose comes", "[net][life]") {
  Newborn it([](Connection& connection) {
    connection.Write("hi");
    throw std::runtime_error("open");
  });
  it.Open();
  CHECK(it.handler.calls == Calls{"open", "close", "batch"});
  CHECK(it.handler.reason == CloseReason::kException);
  CHECK(it.wire.sent == "hi");
  CHECK(it.wire.fin);
}

TEST_CASE("an exception after Abort changes nothing", "[net][life]") {
  OneConnection it;
  it.wire.WillReceive("x");
  it.handler.on_data = [](Connection& connection, std::string_view) -> std::size_t {
    connection.Abort();
    throw std::runtime_error("late");
  };
  it.RaiseEdge();
  CHECK(it.handler.reason == CloseReason::kLocal);
  CHECK(it.wire.reset);
  CHECK(it.loop->GetStats().exceptions == 1);
}

// ---- Contexts

namespace {

struct Counted {
  static inline int alive = 0;
  explicit Counted(int number, bool fails = false) : value(number) {
    if (fails) throw std::runtime_error("Counted");
    ++alive;
  }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --alive; }
  int value;
};

struct alignas(128) Wide {
  std::array<char, 200> bytes{};
};

}  // namespace

TEST_CASE("a context is found by its type, and destroyed after OnClose", "[net][life]") {
  OneConnection it;
  Connection& connection = it.connection();
  CHECK(connection.TryGet<Counted>() == nullptr);
  Counted& made = connection.Emplace<Counted>(7);
  CHECK(&connection.Get<Counted>() == &made);
  CHECK(connection.TryGet<Counted>()->value == 7);
  CHECK(connection.TryGet<int>() == nullptr);

  int in_close = 0;
  it.handler.on_close = [&](Connection& closing) { in_close = closing.Get<Counted>().value; };
  connection.Close();
  CHECK(Counted::alive == 1);
  it.Turn();
  CHECK(in_close == 7);
  CHECK(Counted::alive == 0);  // though the connection lingers
  CHECK(it.core().contexts.in_use() == 0);
}

TEST_CASE("a second Emplace destroys the first, whatever its type", "[net][life]") {
  OneConnection it;
  it.connection().Emplace<Counted>(1);
  it.connection().Emplace<std::string>("two");
  CHECK(Counted::alive == 0);
  CHECK(it.connection().TryGet<Counted>() == nullptr);
  CHECK(it.connection().Get<std::string>() == "two");
  it.connection().Emplace<Counted>(3);
  CHECK(it.connection().Get<Counted>().value == 3);
  CHECK(it.core().contexts.in_use() == 1);
}

TEST_CASE("a context whose constructor throws leaves none", "[net][life]") {
  OneConnection it;
  it.connection().Emplace<std::string>("before");
  CHECK_THROWS_AS(it.connection().Emplace<Counted>(1, true), std::runtime_error);
  CHECK(it.connection().TryGet<Counted>() == nullptr);
  CHECK(it.connection().TryGet<std::string>() == nullptr);
  CHECK(it.core().contexts.in_use() == 0);
  CHECK(Counted::alive == 0);
}

TEST_CASE("an over-aligned context is aligned", "[net][life]") {
  OneConnection it;
  for (int i = 0; i < 3; ++i) {
    Wide& wide = it.connection().Emplace<Wide>();
    CHECK(reinterpret_cast<std::uintptr_t>(&wide) % alignof(Wide) == 0);
    CHECK(&it.connection().Get<Wide>() == &wide);
  }
  CHECK(it.core().contexts.in_use() == 1);
}

TEST_CASE("Get of a type that the context is not fails a check", "[net][life]") {
  CHECK(Aborts([] {
    OneConnection it;
    it.connection().Emplace<int>(1);
    static_cast<void>(it.connection().Get<long>());
  }));
  CHECK(Aborts([] {
    OneConnection it;
    static_cast<void>(it.connection().Get<int>());
  }));
}

TEST_CASE("a loop that is destroyed calls no handler, and destroys contexts", "[net][life]") {
  Recorder handler;
  ScriptedWire wire;
  ScriptedWire lingering;
  {
    ScriptedLoop loop;
    loop.Open(wire, handler).Emplace<Counted>(1);
    loop.Open(lingering, handler).Emplace<Counted>(2);
    loop.RunUntilQuiet();
    wire.WillTake(0);
    loop.core().table.At(0).Write("unsent");
    loop.core().table.At(1).CloseLocally();
    loop.Turn();
    handler.calls.clear();
    CHECK(Counted::alive == 1);
  }
  CHECK(handler.calls.empty());
  CHECK(Counted::alive == 0);
  CHECK(wire.reset);
  CHECK(lingering.closed);
}

// ---- References

TEST_CASE("a ref finds its connection while it is open, and never the slot's next owner",
          "[net][life]") {
  Recorder handler;
  ScriptedWire second_wire;
  OneConnection it;
  const ConnRef first = it.connection().Ref();
  CHECK(first.Get() == &it.connection());
  CHECK(first == it.connection().Ref());
  CHECK(ConnRef().Get() == nullptr);
  CHECK(ConnRef().Id() == 0);

  it.connection().Close();
  CHECK(first.Get() == nullptr);
  it.connection().Abort();
  it.RunUntilQuiet();
  CHECK(first.Get() == nullptr);

  it.Turn();
  Connection& second = it.Open(second_wire, handler);
  CHECK(it.core().table.live() == 1);
  CHECK(static_cast<weir::ConnectionImpl&>(second).token.slot == it.token().slot);
  CHECK(first.Get() == nullptr);
  CHECK(second.Ref().Get() == &second);
  CHECK(first.Id() != second.Ref().Id());
}

TEST_CASE("a connection knows what came and went", "[net][life]") {
  OneConnection it;
  it.wire.WillReceive("hello").WillTake(2);
  it.handler.on_data = [](Connection& connection, std::string_view in) {
    connection.Write("answer");
    return in.size();
  };
  it.RaiseEdge();
  CHECK(it.connection().BytesIn() == 5);
  CHECK(it.connection().BytesOut() == 2);
  CHECK(&it.connection().Loop() == it.loop.get());
  CHECK(it.connection().Fd() == 1000);
  const weir::Stats stats = it.loop->GetStats();
  CHECK(stats.bytes_in == 5);
  CHECK(stats.bytes_out == 2);
}

TEST_CASE("a close with nothing to wait for arms no timer", "[net][life]") {
  OneConnection it;
  bool armed = true;
  it.handler.on_close = [&](Connection&) { armed = it.core().engine.HasTimers(); };
  it.wire.WillReceive("bye").ThenEnd();
  it.RaiseEdge({.readable = true, .peer_ended = true});
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 1);
  CHECK_FALSE(armed);
}

TEST_CASE("a drain delivers what had arrived behind an urgent byte, too", "[net][life][drain]") {
  const bool is_next = GENERATE(false, true);  // nothing is in front of it
  const bool was_told = GENERATE(false, true);
  const bool paused = GENERATE(false, true);
  CAPTURE(is_next, was_told, paused);
  OneConnection it;
  if (!is_next) it.wire.WillReceive("front");
  it.wire.ThenUrgent().WillReceive("behind").WillReceive("and more");
  it.connection().PauseRead();
  if (was_told) it.RaiseEdge({.readable = true, .urgent = true});
  if (!paused) it.connection().ResumeRead();
  it.loop->DrainAll();
  it.RunUntilQuiet();
  if (paused) {
    REQUIRE(it.handler.closes == 0);
    it.connection().ResumeRead();
    it.RunUntilQuiet();
  }
  CHECK(it.handler.text == (is_next ? "behindand more" : "frontbehindand more"));
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kShutdown);
}

TEST_CASE("a handler that is set while a connection drains gets what the other one has left",
          "[net][life][drain]") {
  const bool with_more = GENERATE(false, true);  // in the kernel, which arrived with it
  Recorder upgraded;
  OneConnection it;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    CHECK(in == "getframe");
    connection.SetHandler(upgraded);
    return std::size_t{3};
  };
  it.wire.WillReceive("getframe");
  if (with_more) it.wire.WillReceive("frame");
  it.loop->DrainAll();
  it.RunUntilQuiet();
  CHECK(upgraded.text == (with_more ? "frameframe" : "frame"));
  CHECK(upgraded.closes == 1);
  CHECK(upgraded.reason == CloseReason::kShutdown);
}

TEST_CASE("a drain waits for a connection that is paused, though nothing of it is unread",
          "[net][life][drain]") {
  OneConnection it;
  it.connection().PauseRead();  // while its answer is being made elsewhere
  it.loop->DrainAll();
  it.RunUntilQuiet();
  REQUIRE(it.handler.closes == 0);
  it.connection().Write("the answer");
  it.connection().ResumeRead();
  it.RunUntilQuiet();
  CHECK(it.wire.sent == "the answer");
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kShutdown);
}
