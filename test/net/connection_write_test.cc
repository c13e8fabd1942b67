// Writing under edge-triggered epoll: how often the kernel is called, in which order bytes leave,
// and that nothing is left behind when it takes a part.

#include <algorithm>
#include <cerrno>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.h"
#include "support/one_connection.h"

using weir::CloseReason;
using weir::Connection;
using weir::Duration;
using weir::Staging;
using weir::test::OneConnection;
using weir::test::Recorder;
using weir::test::ScriptedWire;

using Calls = std::vector<std::string>;

namespace {

// Runs `act` inside an OnData of the connection.
void InOnData(OneConnection& it, std::function<void(Connection&)> act) {
  it.handler.on_data = [act = std::move(act)](Connection& connection, std::string_view in) {
    act(connection);
    return in.size();
  };
  it.wire.WillReceive("go");
  it.RaiseEdge();
  it.handler.on_data = nullptr;
}

std::string Large(char fill = 'L') { return std::string(Staging::kLargePiece, fill); }

}  // namespace

// ---- When output leaves

TEST_CASE("ten writes in one callback are one send, in order", "[net][write]") {
  OneConnection it;
  InOnData(it, [&](Connection& connection) {
    for (int i = 0; i < 10; ++i) connection.Write(std::to_string(i));
    CHECK(it.wire.sends == 0);
    CHECK(connection.Pending() == 10);
  });
  CHECK(it.wire.sends == 1);
  CHECK(it.wire.sent == "0123456789");
  CHECK(it.core().buffers.bytes_in_use() == 0);  // no ring is needed for it
}

TEST_CASE("written in a posted task, output leaves at the flush of the same turn, in one send",
          "[net][write]") {
  OneConnection it;
  it.loop->Post([&] {
    it.connection().Write("one ");
    it.connection().Write("two");
    CHECK(it.wire.sends == 0);
  });
  it.Turn();
  CHECK(it.wire.sends == 1);
  CHECK(it.wire.sent == "one two");
  CHECK_FALSE(it.HasWork());
}

TEST_CASE("written in another connection's callback, output leaves in the same turn, in one send",
          "[net][write]") {
  Recorder other_handler;
  ScriptedWire other_wire;
  OneConnection it;
  Connection& other = it.Open(other_wire, other_handler);
  it.RunUntilQuiet();

  InOnData(it, [&](Connection& connection) {
    other.Write("to the ");
    connection.Write("to me");
    other.Write("other");
    CHECK(other_wire.sends == 0);
  });

  CHECK(other_wire.sends == 1);
  CHECK(other_wire.sent == "to the other");
  CHECK(it.wire.sent == "to me");
}

TEST_CASE("written before a turn and in its callback, output keeps its order", "[net][write]") {
  OneConnection it;
  it.connection().Write("first ");
  InOnData(it, [](Connection& connection) { connection.Write("second"); });
  CHECK(it.wire.sent == "first second");
  CHECK(it.wire.sends == 1);
}

TEST_CASE("FlushNow sends at once, in a callback and elsewhere", "[net][write]") {
  OneConnection it;
  InOnData(it, [&](Connection& connection) {
    connection.Write("now");
    connection.FlushNow();
    CHECK(it.wire.sent == "now");
    CHECK(connection.Pending() == 0);
    connection.Write(" then");
  });
  CHECK(it.wire.sent == "now then");

  it.connection().Write(" there");
  it.connection().FlushNow();
  CHECK(it.wire.sent == "now then there");
  it.Turn();
  CHECK(it.wire.sends == 3);  // the flush finds nothing left
}

TEST_CASE("a write of nothing is taken, and sends nothing", "[net][write]") {
  OneConnection it;
  InOnData(it, [](Connection& connection) { CHECK(connection.Write("")); });
  CHECK(it.connection().Write(""));
  it.RunUntilQuiet();
  CHECK(it.wire.sends == 0);
}

// ---- Large pieces

TEST_CASE("a large piece goes at once, together with what was staged before it", "[net][write]") {
  OneConnection it;
  InOnData(it, [&](Connection& connection) {
    connection.Write("head ");
    connection.Write(Large());
    CHECK(it.wire.sends == 1);
    CHECK((it.wire.sent == "head " + Large()));
    CHECK(connection.Pending() == 0);
    connection.Write(" tail");
  });
  CHECK((it.wire.sent == "head " + Large() + " tail"));
  CHECK(it.wire.sends == 2);
  CHECK(it.core().buffers.bytes_in_use() == 0);  // nothing was copied to a ring
}

TEST_CASE("a large piece from elsewhere goes at once if nothing is queued before it",
          "[net][write]") {
  OneConnection it;
  it.connection().Write(Large());
  CHECK(it.wire.sends == 1);

  it.connection().Write("small ");
  it.connection().Write(Large('M'));  // behind it
  CHECK(it.wire.sends == 1);
  it.Turn();
  CHECK((it.wire.sent == Large() + "small " + Large('M')));
}

TEST_CASE("of a large piece only what the kernel did not take is kept", "[net][write]") {
  OneConnection it;
  const std::size_t takes =
      GENERATE(std::size_t{0}, std::size_t{3}, std::size_t{5}, std::size_t{9});
  it.wire.WillTake(takes);
  InOnData(it, [&](Connection& connection) {
    connection.Write("head ");
    connection.Write(Large());
    CHECK(connection.Pending() == 5 + Staging::kLargePiece - takes);
    connection.Write(" tail");
  });
  it.RaiseEdge({.writable = true});
  CHECK((it.wire.sent == "head " + Large() + " tail"));
  CHECK(it.core().buffers.bytes_in_use() == 0);
}

TEST_CASE("what does not fit the staging buffer keeps its order", "[net][write]") {
  OneConnection it;
  std::string all;
  InOnData(it, [&](Connection& connection) {
    for (char fill = 'a'; fill <= 'z'; ++fill) {
      const std::string piece(20'000, fill);  // three fit
      connection.Write(piece);
      all += piece;
    }
  });
  CHECK((it.wire.sent == all));
}

// ---- The kernel takes a part

TEST_CASE("the unsent rest goes with the OUT edge, and no send is tried before it",
          "[net][write]") {
  const std::size_t taken = GENERATE(std::size_t{0}, std::size_t{4});  // EAGAIN, or a part
  OneConnection it;
  it.wire.WillTake(taken);
  InOnData(it, [](Connection& connection) { connection.Write("0123456789"); });
  CHECK(it.wire.sends == 1);
  CHECK(it.connection().Pending() == 10 - taken);
  CHECK_FALSE(it.HasWork());  // it may sleep: the OUT edge will come

  it.connection().Write("abc");  // behind it
  it.connection().FlushNow();
  it.wire.WillReceive("x");
  it.RaiseEdge();
  it.RunUntilQuiet();
  CHECK(it.wire.sends == 1);

  it.RaiseEdge({.writable = true});
  CHECK(it.wire.sends == 2);  // one, whole
  CHECK(it.wire.sent == "0123456789abc");
  CHECK(it.connection().Pending() == 0);
  CHECK(it.core().buffers.bytes_in_use() == 0);
}

TEST_CASE("an OUT edge with nothing to send sends nothing", "[net][write]") {
  OneConnection it;
  it.RaiseEdge({.writable = true});
  CHECK(it.wire.sends == 0);
  CHECK(it.wire.receives == 0);
}

TEST_CASE("an OUT edge sends before it reads", "[net][write]") {
  OneConnection it;
  it.wire.WillTake(0);
  it.connection().Write("out");
  it.Turn();
  it.wire.log.clear();
  it.wire.WillReceive("in");
  it.RaiseEdge({.readable = true, .writable = true});
  CHECK(it.wire.log == Calls{"send 3/3", "receive 2/262144"});
}

TEST_CASE("on TCP EPOLLOUT is asked for once, at the first send that falls short", "[net][write]") {
  OneConnection it;
  InOnData(it, [](Connection& connection) { connection.Write("all of it goes"); });
  CHECK(it.poller.log.empty());

  for (int i = 0; i < 3; ++i) {
    it.wire.WillTake(1);
    InOnData(it, [](Connection& connection) { connection.Write("abc"); });
    it.RaiseEdge({.writable = true});
    CHECK(it.connection().Pending() == 0);
  }
  CHECK(it.poller.log == Calls{"mod 1000 read+write"});
}

TEST_CASE("on a Unix socket EPOLLOUT is given back when the queue is empty", "[net][write]") {
  OneConnection it{{}, ScriptedWire::kUnix};
  for (int i = 0; i < 2; ++i) {
    it.poller.log.clear();
    it.wire.WillTake(1).WillTake(1);
    InOnData(it, [](Connection& connection) { connection.Write("abc"); });
    CHECK(it.poller.log == Calls{"mod 1000 read+write"});
    it.RaiseEdge({.writable = true});
    CHECK(it.connection().Pending() == 1);
    CHECK(it.poller.log.size() == 1);  // still needed
    it.RaiseEdge({.writable = true});
    CHECK(it.poller.log == Calls{"mod 1000 read+write", "mod 1000 read"});
  }
}

TEST_CASE("whatever parts the kernel takes, the stream is equal", "[net][write]") {
  std::mt19937 random(11);
  const auto below = [&](std::size_t bound) { return std::size_t{random()} % bound; };
  OneConnection it;
  std::string all;
  bool equal = true;
  const auto write_some = [&](Connection& connection) {
    for (std::size_t count = below(4); count > 0; --count) {
      std::string bytes(below(below(20) == 0 ? 50'000 : 300), '\0');
      for (char& byte : bytes) byte = static_cast<char>(random());
      all += bytes;
      connection.Write(bytes);
      if (below(8) == 0) connection.FlushNow();
      equal = equal && connection.Pending() == all.size() - it.wire.sent.size();
    }
  };
  for (int i = 0; i < 3000 && equal; ++i) {
    for (std::size_t count = below(3); count > 0; --count) it.wire.WillTake(below(2000));
    if (below(2) == 0) {
      InOnData(it, write_some);
    } else {
      it.loop->Post([&] { write_some(it.connection()); });
      it.Turn();
    }
    if (below(3) == 0) it.RaiseEdge({.writable = true});
    equal = equal && all.compare(0, it.wire.sent.size(), it.wire.sent) == 0;
  }
  for (int i = 0; i < 10'000 && it.connection().Pending() > 0; ++i)
    it.RaiseEdge({.writable = true});
  CHECK(equal);
  CHECK((it.wire.sent == all));
  CHECK(it.core().buffers.bytes_in_use() == 0);
}

// ---- After the end

TEST_CASE("Write is false once the connection is closed, shut down or has failed", "[net][write]") {
  OneConnection it;
  SECTION("closed") { it.connection().Close(); }
  SECTION("aborted") { it.connection().Abort(); }
  SECTION("shut down") { it.connection().ShutdownWrite(); }
  SECTION("failed") {
    it.wire.WillFailSend(EPIPE);
    it.connection().Write("x");
    it.connection().FlushNow();
    it.wire.sends = 0;
  }
  CHECK_FALSE(it.connection().Write("late"));
  CHECK_FALSE(it.connection().Write(Large()));
  CHECK(it.connection().Pending() == 0);
  it.RunUntilQuiet();
  CHECK(it.wire.sends == 0);
  CHECK(it.wire.sent.empty());
}

TEST_CASE("ShutdownWrite sends FIN behind what is queued, and reading goes on", "[net][write]") {
  OneConnection it;
  it.wire.WillTake(2);
  InOnData(it, [&](Connection& connection) {
    connection.Write("abcd");
    connection.ShutdownWrite();
    connection.ShutdownWrite();  // says nothing new
    CHECK_FALSE(it.wire.fin);
  });
  CHECK_FALSE(it.wire.fin);

  it.RaiseEdge({.writable = true});
  CHECK(it.wire.log.back() == "fin");
  CHECK(it.wire.sent == "abcd");

  it.wire.WillReceive("still reading");
  it.RaiseEdge();
  CHECK(it.handler.text == "still reading");
  CHECK(it.handler.closes == 0);
  CHECK(it.connection().IsOpen());

  it.connection().Close();
  it.RunUntilQuiet();
  CHECK(std::count(it.wire.log.begin(), it.wire.log.end(), "fin") == 1);
  CHECK(it.handler.closes == 1);
}

TEST_CASE("ShutdownWrite with nothing queued sends FIN at once", "[net][write]") {
  OneConnection it;
  it.connection().ShutdownWrite();
  CHECK(it.wire.fin);
  CHECK(it.connection().IsOpen());
}

// ---- Failures

TEST_CASE("a failed EPOLL_CTL_MOD closes with its errno", "[net][write]") {
  OneConnection it;
  it.poller.modify_error = ENOSPC;
  it.wire.WillTake(1);
  InOnData(it, [](Connection& connection) { connection.Write("abc"); });
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kError);
  CHECK(it.handler.closed_with == std::errc::no_space_on_device);
  CHECK(it.core().buffers.bytes_in_use() == 0);
}

TEST_CASE("a failed EPOLL_CTL_ADD closes with its errno, after the first receive", "[net][write]") {
  Recorder handler;
  ScriptedWire wire;
  weir::test::ScriptedLoop loop;
  loop.poller.add_error = ENOMEM;
  wire.WillReceive("hello");
  loop.Open(wire, handler);
  loop.RunUntilQuiet();
  CHECK(handler.text == "hello");
  CHECK(handler.closes == 1);
  CHECK(handler.closed_with == std::errc::not_enough_memory);
  CHECK(wire.closed);
}

TEST_CASE("a send that fails while closing is told with its errno", "[net][write]") {
  OneConnection it;
  it.wire.WillFailSend(ECONNRESET);
  InOnData(it, [](Connection& connection) {
    connection.Write("bye");
    connection.Close();
  });
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kLocal);
  CHECK(it.handler.closed_with == std::errc::connection_reset);
  CHECK(it.wire.closed);
}

TEST_CASE("a failed send closes with a reset, unless the connection was reset already",
          "[net][write]") {
  const bool is_over = GENERATE(true, false);
  const int error = is_over ? GENERATE(ECONNRESET, EPIPE)
                            : GENERATE(ENOBUFS, ENOMEM, EHOSTUNREACH, ENETDOWN, ETIMEDOUT);
  CAPTURE(error);
  OneConnection it;
  CloseReason reason = CloseReason::kError;
  it.wire.WillTake(3).WillFailSend(error);  // its peer has a part, and shall not take it for all
  SECTION("of a callback's output") {
    InOnData(it, [](Connection& connection) {
      connection.Write("abc");
      connection.FlushNow();
      connection.Write("def");
    });
  }
  SECTION("of what waited") {
    it.connection().Write("abcdef");
    it.Turn();
    it.RaiseEdge({.writable = true});
  }
  SECTION("of a large piece") {
    it.connection().Write("abc");
    it.Turn();
    it.connection().Write(Large());
  }
  SECTION("of a paused connection") {
    it.connection().PauseRead();
    it.connection().Write("abcdef");
    it.Turn();
    it.RaiseEdge({.writable = true});
  }
  SECTION("with the peer's end behind it") {
    InOnData(it, [](Connection& connection) { connection.Write("abcdef"); });
    it.wire.ThenEnd();
    it.RaiseEdge({.readable = true, .writable = true, .peer_ended = true});
  }
  SECTION("while it closes") {
    reason = CloseReason::kLocal;
    it.connection().Write("abcdef");
    it.connection().Close();
    it.Turn();
    it.RaiseEdge({.writable = true});
  }
  it.RunUntilQuiet();
  CHECK(it.wire.sent == "abc");
  CHECK_FALSE(it.wire.fin);
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == reason);
  CHECK(it.handler.closed_with.value() == error);
  CHECK(it.wire.log.back() == (is_over ? "close" : "reset"));
}

TEST_CASE("what the peer had sent is delivered before a failed send resets", "[net][write]") {
  OneConnection it;
  it.wire.WillFailSend(ENOBUFS).WillReceive("last words");
  it.connection().Write("lost");
  it.Turn();
  it.RunUntilQuiet();
  CHECK(it.handler.text == "last words");
  CHECK(it.wire.reset);
  CHECK(it.handler.closed_with.value() == ENOBUFS);
}

TEST_CASE("what epoll refuses closes with a reset, but not behind a FIN", "[net][write]") {
  SECTION("EPOLL_CTL_MOD") {
    OneConnection it;
    it.poller.modify_error = ENOSPC;
    it.wire.WillTake(1);
    InOnData(it, [](Connection& connection) { connection.Write("abc"); });
    it.RunUntilQuiet();
    CHECK(it.handler.closes == 1);
    CHECK(it.wire.log.back() == "reset");
  }
  SECTION("EPOLL_CTL_ADD") {
    const bool is_complete = GENERATE(true, false);
    Recorder handler;
    ScriptedWire wire;
    weir::test::ScriptedLoop loop;
    loop.poller.add_error = ENOMEM;
    handler.on_open = [&](Connection& connection) {
      connection.Write("all");
      if (is_complete) connection.ShutdownWrite();
    };
    loop.Open(wire, handler);
    loop.RunUntilQuiet();
    CHECK(handler.closes == 1);
    CHECK(wire.sent == "all");
    CHECK(wire.fin == is_complete);
    CHECK(wire.log.back() == (is_complete ? "close" : "reset"));
  }
}

TEST_CASE("no callback runs inside a call, whatever the call finds", "[net][write]") {
  OneConnection it;
  it.wire.WillReceive("unread").ThenFail(ECONNRESET);
  it.wire.pending_error = ECONNRESET;
  it.poller.modify_error = ENOMEM;
  Connection& connection = it.connection();
  const int call = GENERATE(range(0, 8));
  INFO("call " << call);
  switch (call) {
    case 0:
      connection.Close();
      break;
    case 1:
      connection.Abort();
      break;
    case 2:
      it.wire.WillFailSend(EPIPE);
      connection.Write(Large());
      break;
    case 3:
      it.wire.WillTake(1);
      connection.Write(Large());
      break;  // then the MOD fails
    case 4:
      it.wire.WillFailSend(EPIPE);
      connection.Write("x");
      connection.FlushNow();
      break;
    case 5:
      it.wire.shutdown_error = ENOTCONN;
      connection.ShutdownWrite();
      break;
    case 6:
      it.wire.shutdown_error = ENOTCONN;
      connection.Close();
      break;
    default:
      connection.PauseRead();
      connection.ResumeRead();
      break;
  }
  CHECK(it.handler.calls.empty());
  it.RunUntilQuiet();
  CHECK(it.handler.closes == (call == 7 ? 0 : 1));
}
