// Reading under edge-triggered epoll, on real sockets: each trap is set by what the peer does,
// before the loop looks. Whatever epoll says only once, no byte may be left for which it will
// never speak again. (test/net/connection_read_test.cc sets the same traps on a scripted wire.)

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <numeric>

#include "support/catch.h"
#include "support/real_loop.h"

using weir::CloseReason;
using weir::Connection;
using weir::Duration;
using weir::UniqueFd;
using weir::test::Client;
using weir::test::EchoRecorder;
using weir::test::RealLoop;

namespace {

const std::error_code kReset(ECONNRESET, std::system_category());

std::string Bytes(std::size_t count) {
  std::string bytes(count, '\0');
  std::iota(bytes.begin(), bytes.end(), '\0');
  return bytes;
}

// Sends `bytes`, and with their last one a descriptor (unix(7), SCM_RIGHTS).
void SendWithDescriptor(int socket, std::string bytes, int descriptor) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof descriptor)> control{};
  iovec piece{.iov_base = bytes.data(), .iov_len = bytes.size()};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof descriptor);
  std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  REQUIRE(::sendmsg(socket, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
}

std::string SocketUrl() { return "unix:@weir-read-test-" + std::to_string(::getpid()); }

}  // namespace

// ---- The end of the stream

TEST_CASE("on a socket, data and FIN in one edge are data, then the end", "[net][real][read]") {
  RealLoop it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();

  client.Send("bye");
  client.HalfClose();
  it.RunUntil([&] { return it.handler.closes == 1; });

  CHECK(it.handler.text == "bye");
  CHECK(it.handler.ends == 1);
  CHECK(it.handler.reason == CloseReason::kPeerEnd);
  CHECK_FALSE(it.handler.closed_with);
}

TEST_CASE("data and FIN that were queued before the accept are seen", "[net][real][read]") {
  RealLoop it;
  Client client = it.Connect();
  client.Send("bye");
  client.HalfClose();

  it.RunUntil([&] { return it.handler.closes == 1; });

  CHECK(it.handler.text == "bye");
  CHECK(it.handler.ends == 1);
}

TEST_CASE("a FIN behind a receive that was exactly full is seen", "[net][real][read]") {
  RealLoop it{{.read_chunk = 64}};
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  const std::string message = Bytes(64);

  client.Send(message);
  SECTION("it came with the bytes") { client.HalfClose(); }
  SECTION("it came after the receive, before the connection was looked at again") {
    it.TurnWhenReady();
    client.HalfClose();
  }
  SECTION("it came when all was quiet") {
    it.RunUntilQuiet();
    client.HalfClose();
  }
  it.RunUntil([&] { return it.handler.closes == 1; });

  CHECK(it.handler.text == message);
  CHECK(it.handler.ends == 1);
}

TEST_CASE("a connection that was never written to is ended by its peer's FIN alone",
          "[net][real][read]") {
  RealLoop it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();

  client.HalfClose();
  it.RunToEndOf(client);

  CHECK(it.handler.calls ==
        std::vector<std::string>{"start", "open", "batch", "end", "close", "batch"});
  CHECK(it.core().table.live() == 0);
}

// ---- Short receives that prove nothing

TEST_CASE("what stands behind an urgent byte is delivered", "[net][real][read]") {
  RealLoop it{{.read_chunk = 4096}};
  const std::string before(100, 'A');
  const std::string behind(50, 'B');
  Client client;

  SECTION("all of it was queued before the loop looked") { client = it.Connect(); }
  SECTION("the connection was registered and quiet") {
    client = it.ConnectAndOpen();
    it.RunUntilQuiet();
  }
  SECTION("an edge had come before") {
    client = it.ConnectAndOpen();
    client.Send("first");
    it.RunUntil([&] { return it.handler.text == "first"; });
    it.RunUntilQuiet();
    it.handler.text.clear();
  }
  client.Send(before);
  client.SendUrgent('!');
  client.Send(behind);

  it.RunUntil([&] { return it.handler.text.size() >= before.size() + behind.size(); });
  CHECK(it.handler.text == before + behind);  // the urgent byte is not in the stream
}

TEST_CASE("an urgent byte, data and FIN, all before the loop looks, are all seen",
          "[net][real][read]") {
  RealLoop it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();

  client.Send("AAAA");
  client.SendUrgent('!');
  client.Send("BBBB");
  client.HalfClose();
  it.RunUntil([&] { return it.handler.closes == 1; });

  CHECK(it.handler.text == "AAAABBBB");
  CHECK(it.handler.ends == 1);
}

TEST_CASE("on AF_UNIX a receive that stops at a descriptor is followed by another",
          "[net][real][read]") {
  RealLoop it{{}, SocketUrl()};
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  std::array<int, 2> pipe{};
  REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
  UniqueFd read_end(pipe[0]);
  UniqueFd write_end(pipe[1]);

  client.Send("before ");
  SendWithDescriptor(client.fd(), "with ", write_end.get());
  SendWithDescriptor(client.fd(), "and ", write_end.get());
  client.Send("after");
  write_end.reset();
  it.RunUntil([&] { return it.handler.text.size() >= 21; });

  CHECK(it.handler.text == "before with and after");
  char byte = 0;
  CHECK(::read(read_end.get(), &byte, 1) == 0);  // the passed descriptors are closed, not leaked
}

// ---- Resets

TEST_CASE("data that stands before a reset is delivered, then ECONNRESET", "[net][real][read]") {
  const std::size_t chunk = GENERATE(std::size_t{4096}, std::size_t{16});
  RealLoop it{{.read_chunk = chunk}};
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  const std::string message = Bytes(100);

  client.Send(message);
  client.Reset();
  it.RunUntil([&] { return it.handler.closes == 1; });

  CHECK(it.handler.text == message);
  CHECK(it.handler.ends == 0);
  CHECK(it.handler.reason == CloseReason::kError);
  CHECK(it.handler.closed_with == kReset);
}

TEST_CASE("data that stands before a reset is delivered although a reply to it fails",
          "[net][real][read]") {
  RealLoop<EchoRecorder> it{{.read_chunk = 16}};
  Client client;
  SECTION("on an open connection") {
    client = it.ConnectAndOpen();
    it.RunUntilQuiet();
  }
  SECTION("on one that is not yet accepted") { client = it.Connect(); }
  SECTION("when OnOpen writes, too") {
    it.handler.on_open = [](Connection& connection) { connection.Write("hello"); };
    client = it.Connect();
  }
  const std::string message = Bytes(100);

  client.Send(message);
  client.Reset();
  it.RunUntil([&] { return it.handler.closes == 1; });

  CHECK(it.handler.text == message);
  CHECK(it.handler.reason == CloseReason::kError);
  CHECK(it.handler.closed_with == kReset);
}

// ---- Pauses

TEST_CASE("what happens while reading is paused comes after ResumeRead", "[net][real][read]") {
  RealLoop it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  it.handler.last->PauseRead();

  SECTION("bytes") {
    client.Send("while ");
    it.RunUntilQuiet();
    client.Send("paused");
    it.RunUntilQuiet();
    CHECK(it.handler.text.empty());

    it.handler.last->ResumeRead();
    it.RunUntilQuiet();
    CHECK(it.handler.text == "while paused");
  }
  SECTION("bytes, and the end") {
    client.Send("bye");
    client.HalfClose();
    it.RunUntilQuiet();
    CHECK(it.handler.text.empty());
    CHECK(it.handler.ends == 0);

    it.handler.last->ResumeRead();
    it.RunUntil([&] { return it.handler.closes == 1; });
    CHECK(it.handler.text == "bye");
    CHECK(it.handler.ends == 1);
  }
  SECTION("the end alone") {
    client.HalfClose();
    it.RunUntilQuiet();
    CHECK(it.handler.ends == 0);

    it.handler.last->ResumeRead();
    it.RunUntil([&] { return it.handler.closes == 1; });
    CHECK(it.handler.ends == 1);
  }
}

TEST_CASE("a reset ends a connection whose reading is paused", "[net][real][read]") {
  RealLoop it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  it.handler.last->PauseRead();

  client.Send("never read");
  client.Reset();
  it.RunUntil([&] { return it.handler.closes == 1; });

  CHECK(it.handler.text.empty());
  CHECK(it.handler.reason == CloseReason::kError);
  CHECK(it.handler.closed_with == kReset);
}

TEST_CASE("a pause in the middle of a reset's data does not hide the reset", "[net][real][read]") {
  RealLoop<EchoRecorder> it{{.read_chunk = 4}};
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  int deliveries = 0;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    connection.Write(in);  // fails: the error is told once, here
    if (++deliveries == 2) connection.PauseRead();
    return in.size();
  };

  client.Send("012345678901234567");
  client.Reset();
  it.RunUntil([&] { return it.handler.closes == 1; });

  CHECK(deliveries == 2);
  CHECK(it.handler.reason == CloseReason::kError);
}

TEST_CASE("a pause in OnOpen holds what was queued before the accept", "[net][real][read]") {
  RealLoop it;
  it.handler.on_open = [](Connection& connection) { connection.PauseRead(); };
  Client client = it.Connect();
  client.Send("early");
  it.RunUntil([&] { return it.handler.opens == 1; });
  it.RunUntilQuiet();
  CHECK(it.handler.text.empty());

  it.handler.last->ResumeRead();
  it.RunUntilQuiet();

  CHECK(it.handler.text == "early");
}

TEST_CASE("a handler that pauses in each OnData still gets every byte", "[net][real][read]") {
  RealLoop it{{.read_chunk = 1000}};
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    it.handler.text += in;
    connection.PauseRead();
    it.loop.Post([ref = connection.Ref()] {
      if (Connection* const open = ref.Get()) open->ResumeRead();
    });
    return in.size();
  };
  Client client = it.ConnectAndOpen();
  const std::string message = Bytes(30'500);

  client.Send(message);
  client.HalfClose();
  it.RunUntil([&] { return it.handler.closes == 1; });

  CHECK(it.handler.text == message);
  CHECK(it.handler.ends == 1);
}

// ---- What is left unread

TEST_CASE("bytes that OnData leaves stand in front of those that arrive next",
          "[net][real][read]") {
  RealLoop it;
  std::vector<std::string> lines;
  it.handler.on_data = [&](Connection&, std::string_view in) {
    const std::size_t end = in.find('\n');
    if (end == std::string_view::npos) return std::size_t{0};
    lines.emplace_back(in.substr(0, end));
    return end + 1;
  };
  Client client = it.ConnectAndOpen();
  const std::string text = "a line that comes in pieces\nx";

  for (const char& byte : text) {
    client.Send({&byte, 1});
    it.RunUntilQuiet();
  }

  CHECK(lines == std::vector<std::string>{"a line that comes in pieces"});
  CHECK(it.handler.last->Input() == "x");
}

TEST_CASE("a message of many receives is delivered whole, and its memory given back",
          "[net][real][read]") {
  RealLoop it{{.read_chunk = 1024, .max_input = std::size_t{4} << 20}};
  const std::string message = Bytes(std::size_t{3} << 20);
  it.handler.on_data = [&](Connection&, std::string_view in) {
    if (in.size() < message.size()) return std::size_t{0};
    it.handler.text = in;
    return in.size();
  };
  Client client = it.ConnectAndOpen();

  for (std::string_view rest = message; !rest.empty();) {
    rest.remove_prefix(client.TrySend(rest));
    it.Turn();
  }
  it.RunUntil([&] { return !it.handler.text.empty(); });

  CHECK(it.handler.text == message);
  CHECK(it.core().buffers.bytes_in_use() == 0);
}

TEST_CASE("Input() in OnEnd and OnClose is what was left unread", "[net][real][read]") {
  RealLoop it;
  std::vector<std::string> left;
  it.handler.on_data = [](Connection&, std::string_view) { return std::size_t{1}; };
  it.handler.on_end = [&](Connection& connection) {
    left.emplace_back(connection.Input());
    connection.Close();
  };
  it.handler.on_close = [&](Connection& connection) { left.emplace_back(connection.Input()); };
  Client client = it.ConnectAndOpen();

  client.Send("abc");
  client.HalfClose();
  it.RunUntil([&] { return it.handler.closes == 1; });

  CHECK(left == std::vector<std::string>{"bc", "bc"});
}

// ---- Fairness

TEST_CASE("a flood takes its budget of a turn, and its neighbour is served in that turn",
          "[net][real][read]") {
  constexpr std::size_t kBudget = 16 << 10;
  RealLoop it{{.read_chunk = 4096, .read_budget = kBudget}};
  std::size_t flood = 0;
  std::string quiet;
  it.handler.on_data = [&](Connection&, std::string_view in) {
    if (in.starts_with('f')) {
      flood += in.size();
    } else {
      quiet += in;
    }
    return in.size();
  };
  Client flooder = it.ConnectAndOpen();
  Client neighbour = it.ConnectAndOpen();
  it.RunUntilQuiet();

  std::size_t sent = 0;
  for (std::size_t n = 1; n > 0; sent += n) n = flooder.TrySend(std::string(1 << 16, 'f'));
  REQUIRE(sent > 4 * kBudget);
  neighbour.Send("ping");
  it.TurnWhenReady();

  CHECK(flood == kBudget);
  CHECK(quiet == "ping");
  it.RunUntil([&] { return flood == sent; });  // without a further byte, hence without an edge
}

TEST_CASE("many floods share the turn's budget, and none is forgotten", "[net][real][read]") {
  RealLoop it{{.read_chunk = 4096, .read_budget = 8192, .turn_budget = 16384}};
  std::size_t received = 0;
  it.handler.on_data = [&](Connection&, std::string_view in) {
    received += in.size();
    return in.size();
  };
  std::vector<Client> clients;
  for (int i = 0; i < 8; ++i) clients.push_back(it.ConnectAndOpen());
  it.RunUntilQuiet();

  std::size_t sent = 0;
  for (Client& client : clients) {
    client.Send(std::string(40'000, 'f'));
    sent += 40'000;
  }
  it.TurnWhenReady();

  CHECK(received <= 8 * 4096 + 16384);  // each one's edge, and then the budget
  it.RunUntil([&] { return received == sent; });
}

// ---- Half-close

TEST_CASE("a peer that shuts down its write side gets all output that is pending",
          "[net][real][read][write]") {
  RealLoop<EchoRecorder> it{{.auto_pause = false, .send_buffer = 16 << 10}};
  Client client = it.ConnectAndOpen(/*receive_buffer=*/16 << 10);
  const std::string message = Bytes(std::size_t{4} << 20);

  for (std::string_view rest = message; !rest.empty();) {  // and reads nothing
    rest.remove_prefix(client.TrySend(rest));
    it.Turn();
  }
  client.HalfClose();
  it.RunUntil([&] { return it.handler.ends == 1; });
  REQUIRE(it.handler.closes == 0);
  it.RunToEndOf(client);

  CHECK(client.error == 0);
  CHECK(client.received == message);
  it.RunUntil([&] { return it.handler.closes == 1; });
  CHECK(it.handler.reason == CloseReason::kPeerEnd);
}

TEST_CASE("after its peer's end a connection still writes, and still notices a reset",
          "[net][real][read][write]") {
  RealLoop it;
  it.handler.on_end = [](Connection& connection) { connection.Write("I go on"); };
  Client client = it.ConnectAndOpen();

  client.Send("x");
  client.HalfClose();
  it.RunUntil([&] { return client.Receive(), client.received == "I go on"; });
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 0);
  it.handler.last->Write(" and on");
  it.RunUntil([&] { return client.Receive(), client.received == "I go on and on"; });
  client.Reset();
  it.RunUntil([&] { return it.handler.closes == 1; });

  CHECK(it.handler.ends == 1);
  CHECK(it.handler.reason == CloseReason::kError);
  CHECK(it.handler.closed_with);
}
