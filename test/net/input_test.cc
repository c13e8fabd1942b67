// How input comes to a handler that does not consume all of it at once (framing).

#include <string>
#include <vector>

#include "support/catch.h"
#include "support/one_connection.h"
#include "support/real_loop.h"

using weir::CloseReason;
using weir::Connection;
using weir::Handler;
using weir::test::Client;
using weir::test::OneConnection;
using weir::test::RealLoop;
using weir::test::Recorder;

namespace {

// Consumes whole lines; remembers each OnData's input, and how much of it was scanned before.
void ConsumeLines(OneConnection& it, std::vector<std::string>& lines) {
  it.handler.on_data = [&lines](Connection&, std::string_view in) {
    std::size_t consumed = 0;
    for (std::size_t end; (end = in.find('\n', consumed)) != in.npos; consumed = end + 1) {
      lines.emplace_back(in.substr(consumed, end - consumed));
    }
    return consumed;
  };
}

void Receive(OneConnection& it, std::string_view bytes) {
  it.wire.WillReceive(bytes);
  it.RaiseEdge();
  it.RunUntilQuiet();
}

}  // namespace

TEST_CASE("what was not consumed comes back in front of more, and not by itself", "[net][input]") {
  OneConnection it;
  std::vector<std::string> lines;
  ConsumeLines(it, lines);

  Receive(it, "one\ntw");
  CHECK(it.handler.calls == std::vector<std::string>{"data 6", "batch"});
  CHECK(it.connection().Input() == "tw");
  Receive(it, "o\nthree\n");

  CHECK(lines == std::vector<std::string>{"one", "two", "three"});
  CHECK(it.connection().Input().empty());
}

TEST_CASE("Scanned says how much of the input an earlier call has seen", "[net][input]") {
  OneConnection it;
  std::vector<std::size_t> scanned;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    scanned.push_back(connection.Scanned());
    const std::size_t end = in.find('\n');
    return end == in.npos ? 0 : end + 1;
  };
  Receive(it, "abc");
  CHECK(it.connection().Scanned() == 3);
  Receive(it, "de");
  Receive(it, "\nxy");
  CHECK(it.connection().Scanned() == 2);
  Receive(it, "z");
  CHECK(scanned == std::vector<std::size_t>{0, 3, 5, 2});

  it.connection().Consume(2);
  CHECK(it.connection().Scanned() == 1);
}

TEST_CASE("NeedAtLeast holds OnData back until there is enough, once", "[net][input]") {
  OneConnection it;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    if (in.size() < 10) {
      connection.NeedAtLeast(10);
      return std::size_t{0};
    }
    it.handler.text += in.substr(0, 10);
    return std::size_t{10};
  };
  Receive(it, "1");
  Receive(it, "2345");
  Receive(it, "6789");
  CHECK(it.handler.calls == std::vector<std::string>{"data 1", "batch"});
  CHECK(it.connection().Input() == "123456789");

  Receive(it, "0ab");
  CHECK(it.handler.text == "1234567890");
  CHECK(it.connection().Input() == "ab");
  const std::size_t calls = it.handler.calls.size();
  Receive(it, "c");  // it was cleared by the OnData that satisfied it
  CHECK(it.handler.calls[calls] == "data 3");
}

TEST_CASE("bytes that NeedAtLeast held back were not scanned", "[net][input]") {
  OneConnection it;
  std::vector<std::size_t> scanned;
  it.handler.on_data = [&](Connection& connection, std::string_view) {
    scanned.push_back(connection.Scanned());
    connection.NeedAtLeast(6);
    return std::size_t{0};
  };
  Receive(it, "ab");
  Receive(it, "cd");
  CHECK(it.connection().Scanned() == 2);
  Receive(it, "ef");
  CHECK(scanned == std::vector<std::size_t>{0, 2});
}

TEST_CASE("NeedAtLeast set before any byte came holds the first ones back", "[net][input]") {
  OneConnection it;
  it.connection().NeedAtLeast(4);
  Receive(it, "abc");
  CHECK(it.handler.calls.empty());
  Receive(it, "d");
  CHECK(it.handler.text == "abcd");
}

TEST_CASE("at the end with less than was needed OnEnd comes, and Input holds the rest",
          "[net][input]") {
  OneConnection it;
  std::string rest;
  it.handler.on_end = [&](Connection& connection) {
    rest = connection.Input();
    connection.Close();
  };
  std::string rest_at_close;
  it.handler.on_close = [&](Connection& connection) { rest_at_close = connection.Input(); };
  it.connection().NeedAtLeast(100);
  it.wire.WillReceive("half a message").ThenEnd();
  it.RaiseEdge({.readable = true, .peer_ended = true});
  it.RunUntilQuiet();

  CHECK(it.handler.text.empty());
  CHECK(it.handler.ends == 1);
  CHECK(rest == "half a message");
  CHECK(rest_at_close == "half a message");
}

TEST_CASE("to need more than max_input closes at once", "[net][input]") {
  OneConnection it{{.max_input = 1000}};
  it.connection().NeedAtLeast(1000);
  CHECK(it.connection().IsOpen());
  it.connection().NeedAtLeast(1001);
  CHECK_FALSE(it.connection().IsOpen());
  it.RunUntilQuiet();
  CHECK(it.handler.reason == CloseReason::kInputLimit);
}

TEST_CASE("more than max_input unconsumed closes with kInputLimit", "[net][input]") {
  OneConnection it{{.read_chunk = 64, .max_input = 100}};
  it.handler.on_data = [](Connection&, std::string_view) { return std::size_t{0}; };
  Receive(it, std::string(60, 'a'));
  Receive(it, std::string(40, 'b'));
  CHECK(it.handler.closes == 0);
  CHECK(it.connection().Input().size() == 100);

  SECTION("one byte more") {
    Receive(it, "c");
    CHECK(it.handler.closes == 1);
    CHECK(it.handler.reason == CloseReason::kInputLimit);
  }
  SECTION("but the end is an end") {
    it.wire.ThenEnd();
    it.RaiseEdge({.readable = true, .peer_ended = true});
    it.RunUntilQuiet();
    CHECK(it.handler.ends == 1);
    CHECK(it.handler.reason == CloseReason::kPeerEnd);
  }
}

TEST_CASE("a first receive that leaves more than max_input closes", "[net][input]") {
  OneConnection it{{.max_input = 10}};
  it.handler.on_data = [](Connection&, std::string_view) { return std::size_t{1}; };
  Receive(it, "0123456789a");
  CHECK(it.handler.closes == 0);
  CHECK(it.connection().Input().size() == 10);
  it.connection().Consume(10);
  Receive(it, "0123456789ab");
  CHECK(it.handler.reason == CloseReason::kInputLimit);
}

TEST_CASE("resuming delivers what is unconsumed again, without new bytes", "[net][input]") {
  OneConnection it;
  int calls = 0;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    if (++calls == 1) {
      connection.PauseRead();  // busy: the rest must wait
      return std::size_t{3};
    }
    it.handler.text += in;
    return in.size();
  };
  Receive(it, "onetwo");
  CHECK(calls == 1);
  it.connection().ResumeRead();
  CHECK(calls == 1);  // not inside the call
  it.RunUntilQuiet();
  CHECK(it.handler.text == "two");
}

TEST_CASE("resuming does not deliver less than is needed", "[net][input]") {
  OneConnection it;
  int calls = 0;
  it.handler.on_data = [&](Connection& connection, std::string_view) {
    ++calls;
    connection.PauseRead();
    connection.NeedAtLeast(10);
    return std::size_t{0};
  };
  Receive(it, "onetwo");
  it.connection().ResumeRead();
  it.RunUntilQuiet();
  CHECK(calls == 1);
}

TEST_CASE("another handler gets what is unconsumed, and all that comes later", "[net][input]") {
  Recorder upgraded;
  OneConnection it;
  it.handler.on_data = [&](Connection& connection, std::string_view) {
    connection.SetHandler(upgraded);
    return std::size_t{8};  // "UPGRADE\n"
  };
  Receive(it, "UPGRADE\nhello");
  CHECK(upgraded.text == "hello");
  Receive(it, " again");
  CHECK(upgraded.text == "hello again");
  CHECK(upgraded.opens == 0);

  it.wire.ThenEnd();
  it.RaiseEdge({.readable = true, .peer_ended = true});
  it.RunUntilQuiet();
  CHECK(upgraded.ends == 1);
  CHECK(upgraded.closes == 1);
  CHECK(it.handler.closes == 0);
}

TEST_CASE("a handler that is set after the end gets no OnData", "[net][input]") {
  Recorder upgraded;
  OneConnection it;
  it.handler.on_data = [](Connection&, std::string_view) { return std::size_t{0}; };
  it.handler.on_end = [&](Connection& connection) { connection.SetHandler(upgraded); };
  it.wire.WillReceive("left over").ThenEnd();
  it.RaiseEdge({.readable = true, .peer_ended = true});
  it.RunUntilQuiet();
  CHECK(upgraded.calls.empty());
  CHECK(it.connection().Input() == "left over");
  it.connection().Close();
  it.RunUntilQuiet();
  CHECK(upgraded.closes == 1);
}

TEST_CASE("a handler that is set while what was left is delivered again gets it before the end",
          "[net][input]") {
  Recorder upgraded;
  OneConnection it;
  it.handler.on_data = [](Connection& connection, std::string_view) {
    connection.PauseRead();
    return std::size_t{0};
  };
  Receive(it, "hello");
  it.wire.ThenEnd();
  it.RaiseEdge({.readable = true, .peer_ended = true});
  it.RunUntilQuiet();
  REQUIRE(it.handler.ends == 0);

  it.handler.on_data = [&](Connection& connection, std::string_view) {
    connection.SetHandler(upgraded);
    return std::size_t{0};
  };
  it.connection().ResumeRead();
  it.RunUntilQuiet();
  CHECK(upgraded.calls == std::vector<std::string>{"data 5", "end", "close", "batch"});
}

TEST_CASE("to consume more than there is closes, and is no reason to read on", "[net][input]") {
  OneConnection it;
  it.handler.on_data = [](Connection& connection, std::string_view in) {
    connection.Write("reply");
    return in.size() + 1;
  };
  Receive(it, "x");
  CHECK(it.handler.reason == CloseReason::kRejected);
  CHECK(it.wire.sent == "reply");
  CHECK(it.wire.fin);
}

TEST_CASE("kReject sends what is queued, then closes", "[net][input]") {
  OneConnection it;
  it.handler.on_data = [](Connection& connection, std::string_view) {
    connection.Write("400");
    return Handler::kReject;
  };
  it.wire.WillTake(1);
  Receive(it, "nonsense");
  CHECK(it.handler.closes == 0);
  it.RaiseEdge({.writable = true});
  it.RunUntilQuiet();
  CHECK(it.wire.sent == "400");
  CHECK(it.handler.reason == CloseReason::kRejected);
}

TEST_CASE("a frame of 1 MiB that comes byte by byte costs linear time", "[net][input]") {
  constexpr std::size_t kFrame = 1 << 20;
  OneConnection it{{.max_input = kFrame + 1}};
  std::size_t compared = 0;
  std::size_t frames = 0;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    const std::size_t scanned = connection.Scanned();
    compared += in.size() - scanned;
    const std::size_t end = in.find('\n', scanned);
    if (end == in.npos) return std::size_t{0};
    ++frames;
    return end + 1;
  };
  const std::string byte = "x";
  for (std::size_t i = 0; i + 1 < kFrame; ++i) {
    it.wire.WillReceive(byte);
    it.RaiseEdge();
  }
  Receive(it, "\n");

  CHECK(frames == 1);
  CHECK(compared == kFrame);                             // each byte once
  CHECK(it.core().buffers.bytes_moved() <= 2 * kFrame);  // and moved less than twice
}

TEST_CASE("a real peer's half-close leaves the other half open, both ways", "[net][input]") {
  RealLoop<> it;
  it.handler.on_data = [](Connection&, std::string_view in) { return in.size() / 2; };
  std::string rest;
  it.handler.on_end = [&](Connection& connection) {
    rest = connection.Input();
    connection.Write("got your end");
    connection.ShutdownWrite();  // and ours: but the connection is open until it is closed
  };
  Client client = it.ConnectAndOpen();
  client.Send("abcdef");
  client.HalfClose();
  it.RunUntil([&] {
    client.Receive();
    return client.ended;
  });
  CHECK(rest == "def");
  CHECK(client.received == "got your end");
  CHECK(it.handler.closes == 0);
  it.handler.last->Close();
  it.RunUntil([&] { return it.handler.closes == 1; });
  CHECK(it.handler.reason == CloseReason::kPeerEnd);
}

TEST_CASE("frames split anywhere by a real socket arrive whole", "[net][input]") {
  RealLoop<> it;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    std::size_t consumed = 0;
    while (in.size() - consumed >= 1) {
      const std::size_t length = static_cast<unsigned char>(in[consumed]);
      if (in.size() - consumed < 1 + length) {
        connection.NeedAtLeast(1 + length);
        break;
      }
      it.handler.text += in.substr(consumed + 1, length);
      consumed += 1 + length;
    }
    return consumed;
  };
  Client client = it.ConnectAndOpen();
  std::string stream;
  std::string expected;
  for (int i = 0; i < 200; ++i) {
    const std::string payload(static_cast<std::size_t>(i), static_cast<char>('a' + i % 26));
    stream += static_cast<char>(i);
    stream += payload;
    expected += payload;
  }
  for (std::size_t at = 0, step = 1; at < stream.size(); at += step, step = step % 37 + 1) {
    client.Send(std::string_view(stream).substr(at, step));
    it.Turn();
  }
  it.RunUntil([&] { return it.handler.text.size() == expected.size(); });
  CHECK(it.handler.text == expected);
}
