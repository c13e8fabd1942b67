// Reading under edge-triggered epoll: whatever ends a turn, no byte may be left for which no event
// will ever come again. The wire is scripted, so that each trap is set on purpose rather than met
// by luck; test/net/real_*_test.cc set the same traps on real sockets.

#include <cerrno>
#include <random>
#include <string>
#include <vector>

#include "support/catch.h"
#include "support/death.h"
#include "support/one_connection.h"

using weir::CloseReason;
using weir::Connection;
using weir::test::Aborts;
using weir::test::EdgeBits;
using weir::test::OneConnection;
using weir::test::ScriptedWire;

using Calls = std::vector<std::string>;

TEST_CASE("a connection that fills its receive is owed another turn", "[net][read]") {
  OneConnection it{{.read_chunk = 8, .read_budget = 8}};
  it.wire.WillReceive("01234567").WillReceive("89abcdef").WillReceive("!");

  it.RaiseEdge();  // the only edge there will be

  SECTION("it stops after one receive, so that its neighbours are served") {
    CHECK(it.handler.text == "01234567");
    CHECK(it.HasWork());
  }
  SECTION("and it finishes in later turns, with no second edge") {
    it.RunUntilQuiet();
    CHECK(it.handler.text == "0123456789abcdef!");
  }
}

TEST_CASE("a short receive on TCP is not followed by another", "[net][read]") {
  OneConnection it;
  it.wire.WillReceive("hello");

  it.RaiseEdge();
  it.RunUntilQuiet();

  CHECK(it.wire.receives == 1);
}

TEST_CASE("a hang-up that came together with the last bytes is noticed", "[net][read]") {
  const std::size_t chunk = GENERATE(std::size_t{64}, std::size_t{2});  // one receive, or two
  OneConnection it{{.read_chunk = chunk}};
  it.wire.WillReceive("bye").ThenEnd();

  it.RaiseEdge({.readable = true, .peer_ended = true});
  it.RunUntilQuiet();

  CHECK(it.handler.text == "bye");
  CHECK(it.handler.ends == 1);
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kPeerEnd);
  CHECK_FALSE(it.handler.closed_with);  // a FIN is not an error
}

// ---- What shows that a socket is empty

TEST_CASE("on a Unix socket a short receive proves nothing", "[net][read]") {
  OneConnection it{{}, ScriptedWire::kUnix};
  it.wire.WillReceive("hello").WillReceive(", world");  // two messages, one edge

  it.RaiseEdge();
  it.RunUntilQuiet();

  CHECK(it.handler.text == "hello, world");
  CHECK(it.wire.receives == 3);  // the last would block
}

TEST_CASE("RDHUP, HUP, ERR and PRI void the short receive's proof for ever", "[net][read]") {
  const EdgeBits once = GENERATE(
      EdgeBits{.readable = true, .peer_ended = true}, EdgeBits{.readable = true, .hung_up = true},
      EdgeBits{.readable = true, .error = true}, EdgeBits{.readable = true, .urgent = true});
  OneConnection it;
  it.wire.WillReceive("first");
  it.RaiseEdge(once);
  it.RunUntilQuiet();
  CHECK(it.wire.receives == 2);

  it.wire.WillReceive("one").WillReceive("two");  // short, and with more behind
  it.RaiseEdge();                                 // which says none of the four
  it.RunUntilQuiet();

  CHECK(it.handler.text == "firstonetwo");
  CHECK(it.wire.receives == 5);
  CHECK(it.handler.closes == 0);
}

TEST_CASE("an end that stands right behind a full receive is found", "[net][read]") {
  OneConnection it{{.read_chunk = 8}};
  it.wire.WillReceive("01234567").ThenEnd();

  it.RaiseEdge();
  it.RunUntilQuiet();

  CHECK(it.handler.calls == Calls{"data 8", "end", "close", "batch"});
}

TEST_CASE("bytes behind an urgent one are read, though no edge says so again", "[net][read]") {
  OneConnection it;
  it.wire.WillReceive("before!").WillReceive("behind");  // a receive stops at the mark

  it.RaiseEdge({.readable = true, .urgent = true});
  it.RunUntilQuiet();

  CHECK(it.handler.text == "before!behind");
}

// ---- Paused

TEST_CASE("while paused an edge costs no receive, and is not lost", "[net][read]") {
  OneConnection it;
  it.wire.WillReceive("hello");
  it.connection().PauseRead();

  it.RaiseEdge();
  CHECK(it.wire.receives == 0);
  CHECK_FALSE(it.HasWork());

  it.connection().ResumeRead();
  CHECK(it.wire.receives == 0);  // no callback inside the call
  it.RunUntilQuiet();
  CHECK(it.handler.text == "hello");
}

TEST_CASE("pausing inside OnData stops the reading at once", "[net][read]") {
  OneConnection it{{.read_chunk = 4}};
  it.wire.WillReceive("abcd").WillReceive("efgh");
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    it.handler.text += in;
    connection.PauseRead();
    return in.size();
  };

  it.RaiseEdge();
  it.RunUntilQuiet();
  CHECK(it.handler.text == "abcd");
  CHECK(it.wire.receives == 1);

  it.connection().ResumeRead();
  it.RunUntilQuiet();
  CHECK(it.handler.text == "abcdefgh");
}

TEST_CASE("pausing and resuming inside OnData loses nothing", "[net][read]") {
  OneConnection it{{.read_chunk = 4}};
  it.wire.WillReceive("abcd").WillReceive("ef");
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    it.handler.text += in;
    connection.PauseRead();
    connection.ResumeRead();
    return in.size();
  };

  it.RaiseEdge();
  it.RunUntilQuiet();

  CHECK(it.handler.text == "abcdef");
}

TEST_CASE("paused from elsewhere, a connection that is owed a receive does not get it",
          "[net][read]") {
  OneConnection it{{.read_chunk = 4, .read_budget = 4}};
  it.wire.WillReceive("abcd").WillReceive("ef");
  it.RaiseEdge();
  REQUIRE(it.HasWork());

  it.connection().PauseRead();
  it.RunUntilQuiet();
  CHECK(it.handler.text == "abcd");

  it.connection().ResumeRead();
  it.RunUntilQuiet();
  CHECK(it.handler.text == "abcdef");
}

TEST_CASE("the end of the stream waits for ResumeRead", "[net][read]") {
  const EdgeBits end = GENERATE(EdgeBits{.readable = true, .peer_ended = true},
                                EdgeBits{.readable = true, .peer_ended = true, .hung_up = true});
  OneConnection it;
  it.wire.WillReceive("last words").ThenEnd();
  it.connection().PauseRead();

  it.RaiseEdge(end);
  it.RunUntilQuiet();
  CHECK(it.handler.calls.empty());

  it.connection().ResumeRead();
  it.RunUntilQuiet();
  CHECK(it.handler.text == "last words");
  CHECK(it.handler.ends == 1);
}

TEST_CASE("an error does not wait for ResumeRead", "[net][read]") {
  OneConnection it;
  it.wire.WillReceive("lost").ThenFail(ECONNRESET);
  it.wire.pending_error = ECONNRESET;
  it.connection().PauseRead();

  it.RaiseEdge({.readable = true, .peer_ended = true, .hung_up = true, .error = true});
  it.RunUntilQuiet();

  CHECK(it.handler.calls == Calls{"close", "batch"});
  CHECK(it.handler.reason == CloseReason::kError);
  CHECK(it.handler.closed_with == std::errc::connection_reset);
  CHECK(it.wire.receives == 0);
}

TEST_CASE("an error that came with the bytes of an OnData that pauses does not wait either",
          "[net][read]") {
  OneConnection it;
  it.wire.WillReceive("hello").ThenFail(ECONNRESET);
  it.wire.pending_error = ECONNRESET;
  it.handler.on_data = [](Connection& connection, std::string_view in) {
    connection.PauseRead();
    return in.size();
  };

  it.RaiseEdge({.readable = true, .error = true});  // ERR is not said again
  it.RunUntilQuiet();

  CHECK(it.handler.closes == 1);
  CHECK(it.handler.closed_with == std::errc::connection_reset);
}

// ---- Errors

TEST_CASE("bytes that stand before an error are delivered first", "[net][read]") {
  OneConnection it;
  it.wire.WillReceive("last words").ThenFail(ECONNRESET);

  it.RaiseEdge({.readable = true, .peer_ended = true, .hung_up = true, .error = true});
  it.RunUntilQuiet();

  CHECK(it.handler.text == "last words");
  CHECK(it.handler.ends == 0);
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kError);
  CHECK(it.handler.closed_with == std::errc::connection_reset);
}

TEST_CASE("an error that a read finds closes with a reset, unless it was one", "[net][read]") {
  const bool is_over = GENERATE(true, false);
  const int error = is_over ? GENERATE(ECONNRESET, EPIPE)
                            : GENERATE(ENOBUFS, ENOMEM, EHOSTUNREACH, ENETDOWN, ETIMEDOUT);
  CAPTURE(error);
  OneConnection it;
  it.connection().Write("a part");
  it.Turn();
  SECTION("where bytes were said to be") {
    it.wire.ThenFail(error);
    it.RaiseEdge();
  }
  SECTION("behind bytes") {
    it.wire.WillReceive("bytes").ThenFail(error);
    it.RaiseEdge({.readable = true, .error = true});
  }
  SECTION("though nothing is to be read") {
    it.wire.pending_error = error;
    it.RaiseEdge({.readable = true, .error = true});
  }
  SECTION("though reading is paused") {
    it.connection().PauseRead();
    it.wire.pending_error = error;
    it.RaiseEdge({.readable = true, .error = true});
  }
  it.RunUntilQuiet();
  CHECK_FALSE(it.wire.fin);
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kError);
  CHECK(it.handler.closed_with.value() == error);
  CHECK(it.wire.log.back() == (is_over ? "close" : "reset"));
}

TEST_CASE("an error behind our FIN does not reset: all is said", "[net][read]") {
  const bool lingers = GENERATE(true, false);
  OneConnection it;
  it.connection().Write("all");
  it.Turn();
  if (lingers) {
    it.connection().Close();
  } else {
    it.connection().ShutdownWrite();
  }
  it.RunUntilQuiet();
  REQUIRE(it.wire.fin);
  it.wire.ThenFail(ETIMEDOUT);
  it.RaiseEdge({.readable = true, .hung_up = true, .error = true});
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == (lingers ? CloseReason::kLocal : CloseReason::kError));
  CHECK(it.wire.log.back() == "close");
}

TEST_CASE("an error that no receive tells is asked for", "[net][read]") {
  OneConnection it;
  it.wire.pending_error = ETIMEDOUT;

  it.RaiseEdge({.error = true});
  it.RunUntilQuiet();

  CHECK(it.handler.closes == 1);
  CHECK(it.handler.closed_with == std::errc::timed_out);
}

TEST_CASE("ERR without an errno closes nothing, and is not looked at twice", "[net][read]") {
  OneConnection it;  // so an error queue announces itself
  it.RaiseEdge({.error = true});
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 0);
  CHECK(it.wire.receives == 1);
  CHECK_FALSE(it.HasWork());
}

TEST_CASE("an error that came together with the end follows OnEnd", "[net][read]") {
  OneConnection it;
  it.handler.on_end = [](Connection&) {};  // goes on writing, one day
  it.wire.WillReceive("bye").ThenEnd();
  it.wire.pending_error = EPIPE;  // FIN, then RST

  it.RaiseEdge({.readable = true, .peer_ended = true, .hung_up = true, .error = true});
  it.RunUntilQuiet();

  CHECK(it.handler.ends == 1);
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.closed_with == std::errc::broken_pipe);
}

TEST_CASE("after a failed send, what the peer had sent is delivered before OnClose",
          "[net][read]") {
  OneConnection it{{.read_chunk = 4}};
  it.wire.WillReceive("abcd").WillReceive("ef").ThenFail(ECONNRESET);
  it.wire.WillFailSend(EPIPE);
  int answers = 0;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    it.handler.text += in;
    answers += connection.Write("answer") ? 1 : 0;
    return in.size();
  };

  it.RaiseEdge();
  it.RunUntilQuiet();

  CHECK(it.handler.text == "abcdef");
  CHECK(answers == 1);  // the second Write() says that it is of no use
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kError);
  CHECK(it.handler.closed_with == std::errc::broken_pipe);  // the send's, not the receive's
}

TEST_CASE("after a failed send the peer's end, too, closes with the send's errno", "[net][read]") {
  OneConnection it;
  it.wire.WillReceive("hello").ThenEnd();
  it.wire.WillFailSend(EPIPE);

  it.connection().Write("x");
  it.RunUntilQuiet();

  CHECK(it.handler.calls == Calls{"data 5", "close", "batch"});
  CHECK(it.handler.closed_with == std::errc::broken_pipe);
}

TEST_CASE("a failed send of a paused connection closes it at once", "[net][read]") {
  OneConnection it;
  it.wire.WillFailSend(EPIPE);
  it.connection().PauseRead();
  it.connection().Write("x");
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.closed_with == std::errc::broken_pipe);
}

TEST_CASE("pausing after a failed send does not hide the failure", "[net][read]") {
  OneConnection it;
  it.wire.WillFailSend(EPIPE);
  it.connection().Write("x");
  it.connection().FlushNow();
  it.connection().PauseRead();
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.closed_with == std::errc::broken_pipe);
}

TEST_CASE("ShutdownWrite after a failed send neither drops input nor hides the errno",
          "[net][read]") {
  OneConnection it;
  it.wire.WillReceive("hello").WillFailSend(EPIPE);
  it.wire.shutdown_error = ENOTCONN;  // as a socket that was reset has it
  it.connection().Write("x");
  it.connection().FlushNow();
  it.connection().ShutdownWrite();

  it.RunUntilQuiet();

  CHECK(it.handler.text == "hello");
  CHECK(it.handler.closed_with == std::errc::broken_pipe);
}

TEST_CASE("a failed ShutdownWrite, too, delivers what the peer had sent", "[net][read]") {
  OneConnection it;
  it.wire.WillReceive("last words").ThenFail(ECONNRESET);
  it.wire.shutdown_error = ENOTCONN;
  it.connection().ShutdownWrite();
  it.RunUntilQuiet();
  CHECK(it.handler.text == "last words");
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.closed_with == std::errc::not_connected);
}

// ---- Closed inside OnData

TEST_CASE("after Abort() inside OnData nothing is touched any more", "[net][read]") {
  OneConnection it{{.read_chunk = 4}};
  it.wire.WillReceive("abcd").WillReceive("efgh");
  it.handler.on_data = [](Connection& connection, std::string_view in) {
    connection.Write("dropped");
    connection.Abort();
    return in.size();
  };

  it.RaiseEdge({.readable = true, .writable = true, .error = true});
  it.RunUntilQuiet();

  CHECK(it.wire.log == Calls{"receive 4/4", "reset"});
  CHECK(it.handler.calls == Calls{"data 4", "close", "batch"});
}

TEST_CASE("after Close() inside OnData input is discarded, and no callback is given it",
          "[net][read]") {
  OneConnection it{{.read_chunk = 4}};
  it.wire.WillReceive("abcd").WillReceive("efgh").WillReceive("ij");
  it.handler.on_data = [](Connection& connection, std::string_view) {
    connection.Close();
    return std::size_t{0};
  };

  it.RaiseEdge();
  it.RunUntilQuiet();

  CHECK(it.handler.calls == Calls{"data 4", "close", "batch"});
  CHECK(it.wire.receives == 3);  // so that the reply does not become a reset
  CHECK(it.core().buffers.bytes_in_use() == 0);
}

// ---- Input that is not consumed

TEST_CASE("an idle connection owns no buffer, before and after traffic", "[net][read]") {
  OneConnection it;
  CHECK(it.core().buffers.bytes_in_use() == 0);

  it.wire.WillReceive("hello");
  it.handler.on_data = [&](Connection&, std::string_view in) {
    CHECK(it.core().buffers.bytes_in_use() == 0);
    return in.size();
  };
  it.RaiseEdge();
  it.RunUntilQuiet();

  CHECK(it.core().buffers.bytes_in_use() == 0);
}

TEST_CASE("what OnData leaves comes back in front of what arrives next", "[net][read]") {
  OneConnection it;
  std::vector<std::string> seen;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    CHECK(connection.Input() == in);
    seen.emplace_back(in);
    return in.ends_with('.') ? in.size() : std::size_t{1};
  };

  it.wire.WillReceive("abc");
  it.RaiseEdge();
  it.RunUntilQuiet();
  CHECK(it.connection().Input() == "bc");
  CHECK(it.core().buffers.bytes_in_use() > 0);
  CHECK(seen.size() == 1);  // it is not called again by itself

  it.wire.WillReceive("d.");
  it.RaiseEdge();
  it.RunUntilQuiet();
  CHECK(seen == Calls{"abc", "bcd."});
  CHECK(it.core().buffers.bytes_in_use() == 0);
}

TEST_CASE("unread bytes do not travel through the shared buffer", "[net][read]") {
  OneConnection it{{.read_chunk = 8}};
  it.handler.on_data = [](Connection&, std::string_view) { return std::size_t{0}; };
  it.wire.WillReceive("abc");
  it.RaiseEdge();
  it.wire.WillReceive("def");
  it.RaiseEdge();
  it.RunUntilQuiet();

  CHECK(it.wire.log == Calls{"receive 3/8", "receive 3/2048"});  // the second: into the ring
  CHECK(it.connection().Input() == "abcdef");
}

TEST_CASE("any consumption keeps exactly the rest, contiguous and in order", "[net][read]") {
  std::mt19937 random(7);
  const auto below = [&](std::size_t bound) { return std::size_t{random()} % bound; };
  OneConnection it{{.read_chunk = 1024}};
  std::string rest;  // the model
  bool equal = true;
  it.handler.on_data = [&](Connection&, std::string_view in) {
    equal = equal && in == rest;
    const std::size_t consumed = below(3) == 0 ? in.size() : below(in.size() + 1);
    rest.erase(0, consumed);
    return consumed;
  };

  for (int i = 0; i < 20'000 && equal; ++i) {
    std::string bytes(1 + below(below(10) == 0 ? 1024 : 60), '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    rest += bytes;
    it.wire.WillReceive(bytes);
    it.RaiseEdge();
    it.RunUntilQuiet();
    equal = equal && it.connection().Input() == rest;
    if (below(4) == 0 && !rest.empty()) {
      const std::size_t consumed = below(rest.size() + 1);
      it.connection().Consume(consumed);
      rest.erase(0, consumed);
    }
    equal = equal && rest.empty() == (it.core().buffers.bytes_in_use() == 0);
  }
  CHECK(equal);
}

TEST_CASE("ResumeRead brings back what is not consumed, from the owed list", "[net][read]") {
  OneConnection it;
  it.wire.WillReceive("abc");
  it.handler.on_data = [](Connection& connection, std::string_view) {
    connection.PauseRead();
    return std::size_t{1};
  };
  it.RaiseEdge();
  it.RunUntilQuiet();
  it.handler.calls.clear();
  it.handler.on_data = nullptr;

  it.connection().ResumeRead();
  CHECK(it.handler.calls.empty());
  CHECK(it.HasWork());
  it.RunUntilQuiet();

  CHECK(it.handler.calls == Calls{"data 2", "batch"});
  CHECK(it.handler.text == "bc");
  CHECK(it.core().buffers.bytes_in_use() == 0);
}

TEST_CASE("after OnEnd ResumeRead brings no OnData", "[net][read]") {
  OneConnection it;
  it.handler.on_data = [](Connection&, std::string_view) { return std::size_t{0}; };
  it.handler.on_end = [](Connection&) {};
  it.wire.WillReceive("half a line").ThenEnd();
  it.RaiseEdge({.readable = true, .peer_ended = true});
  it.RunUntilQuiet();
  REQUIRE(it.handler.ends == 1);

  it.connection().PauseRead();
  it.connection().ResumeRead();
  it.RunUntilQuiet();

  CHECK(it.handler.calls == Calls{"data 11", "end", "batch"});
  CHECK(it.connection().Input() == "half a line");  // still there to be looked at
}

TEST_CASE("Consume gives the ring back when nothing is left", "[net][read]") {
  OneConnection it;
  it.handler.on_data = [](Connection&, std::string_view) { return std::size_t{0}; };
  it.wire.WillReceive("abc");
  it.RaiseEdge();
  it.RunUntilQuiet();

  it.connection().Consume(2);
  CHECK(it.connection().Input() == "c");
  it.connection().Consume(1);
  CHECK(it.connection().Input().empty());
  CHECK(it.core().buffers.bytes_in_use() == 0);
}

TEST_CASE("Consume fails a check when it takes too much, or inside OnData", "[net][read]") {
  CHECK(Aborts([] {
    OneConnection it;
    it.connection().Consume(1);
  }));
  CHECK(Aborts([] {
    OneConnection it;
    it.wire.WillReceive("abc");
    it.handler.on_data = [](Connection& connection, std::string_view in) {
      if (in.size() > 3) connection.Consume(1);  // the ring holds as much
      return std::size_t{0};
    };
    it.RaiseEdge();
    it.wire.WillReceive("def");
    it.RaiseEdge();
  }));
}

TEST_CASE("Input still works in OnClose", "[net][read]") {
  OneConnection it;
  it.handler.on_data = [](Connection&, std::string_view) { return std::size_t{0}; };
  it.wire.WillReceive("abc");
  it.RaiseEdge();
  std::string left;
  it.handler.on_close = [&](Connection& connection) { left = connection.Input(); };

  it.connection().Close();
  it.RunUntilQuiet();

  CHECK(left == "abc");
  CHECK(it.core().buffers.bytes_in_use() == 0);
}
