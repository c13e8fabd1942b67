// Writing, on real sockets: no byte waits for an event that does not come, none is lost at the end
// of a connection, and the kernel is asked no more than it must be.

#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <numeric>
#include <thread>

#include "os/sys.h"
#include "support/catch.h"
#include "support/real_loop.h"

using weir::Address;
using weir::CloseReason;
using weir::Connection;
using weir::ConnRef;
using weir::Duration;
using weir::EventLoop;
using weir::test::Client;
using weir::test::EchoRecorder;
using weir::test::RealLoop;
using weir::test::Recorder;
namespace sys = weir::sys;

namespace {

std::string Bytes(std::size_t count) {
  std::string bytes(count, '\0');
  std::uint32_t seed = 1;
  for (char& byte : bytes) byte = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
  return bytes;
}

std::string SocketUrl() { return "unix:@weir-write-test-" + std::to_string(::getpid()); }

// As a server must survive it: by the default a write to a broken socket kills.
class DefaultSigPipe {
 public:
  DefaultSigPipe() : before_(std::signal(SIGPIPE, SIG_DFL)) {}
  DefaultSigPipe(const DefaultSigPipe&) = delete;
  DefaultSigPipe& operator=(const DefaultSigPipe&) = delete;
  ~DefaultSigPipe() { static_cast<void>(std::signal(SIGPIPE, before_)); }

 private:
  void (*before_)(int);
};

}  // namespace

// ---- The loop does not sleep on output

TEST_CASE("a task that writes on a silent server wakes it, and the bytes leave at once",
          "[net][real][write][threads]") {
  Recorder handler;
  EventLoop loop;
  ConnRef connection;  // the loop's thread writes it before it answers
  handler.on_open = [&](Connection& opened) {
    connection = opened.Ref();
    opened.Write("welcome");
  };
  const Address address = loop.ListenAddress(loop.Listen("tcp://127.0.0.1:0", handler));
  std::thread server([&] { loop.Run(); });
  Client client(address);
  client.Await(7);

  for (int i = 0; i < 100; ++i) {  // each time the loop has gone to sleep, or is about to
    loop.Post([&] { connection.Get()->Write("news"); });
    client.Await(4);
  }
  loop.Stop(Duration::zero());
  server.join();

  CHECK(client.received.substr(0, 11) == "welcomenews");
  CHECK(client.received.size() == 7 + 400);
}

TEST_CASE("what a task writes leaves in the turn that ran it", "[net][real][write]") {
  RealLoop it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();

  it.loop.Post([&] { it.handler.last->Write("news"); });
  it.TurnWhenReady();

  client.Await(4);
  CHECK(client.received == "news");
}

TEST_CASE("what an OnClose writes to another connection leaves in the same turn",
          "[net][real][write]") {
  RealLoop it;
  Client stays = it.ConnectAndOpen();
  Connection& other = *it.handler.last;
  Client leaves = it.ConnectAndOpen();
  it.RunUntilQuiet();
  it.handler.on_close = [&](Connection&) { other.Write("it has left"); };

  leaves.Reset();
  it.TurnWhenReady();

  REQUIRE(it.handler.closes == 1);
  stays.Await(11);  // no further turn is made
  CHECK(stays.received == "it has left");
}

TEST_CASE("what an OnClose closes is told in the same turn", "[net][real][write]") {
  RealLoop it;
  std::vector<Client> clients;
  std::vector<Connection*> connections;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(it.ConnectAndOpen());
    connections.push_back(it.handler.last);
  }
  it.RunUntilQuiet();
  it.handler.on_close = [&](Connection& closed) {
    for (Connection* const connection : connections) {
      if (connection != &closed && connection->IsOpen()) return connection->Close();
    }
  };

  clients[0].Reset();
  it.TurnWhenReady();

  CHECK(it.handler.closes == 5);
}

TEST_CASE("what OnBatchEnd writes leaves in the same turn", "[net][real][write]") {
  RealLoop it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  it.handler.on_batch_end = [&](EventLoop&) { it.handler.last->Write("answer"); };

  client.Send("request");
  it.TurnWhenReady();

  client.Await(6);
  CHECK(client.received == "answer");
}

TEST_CASE("what the test writes outside of any turn leaves with the next one",
          "[net][real][write]") {
  RealLoop it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();

  CHECK(it.handler.last->Write("hello"));
  CHECK(it.handler.last->Pending() == 5);
  it.TurnWhenReady();  // does not sleep

  client.Await(5);
  CHECK(it.handler.last->Pending() == 0);
}

// ---- Order

TEST_CASE("small, large and flushed pieces keep their order", "[net][real][write]") {
  RealLoop it{{.send_buffer = 32 << 10}};
  const std::string bytes = Bytes(2'000'000);
  it.handler.on_open = [&](Connection& connection) {
    std::string_view rest = bytes;
    const auto write = [&](std::size_t count) {
      connection.Write(rest.substr(0, count));
      rest.remove_prefix(std::min(count, rest.size()));
    };
    while (!rest.empty()) {
      for (const std::size_t size : {1U, 1000U, 31U, 40'000U, 7U, 30'000U, 30'000U, 30'000U})
        write(size);
      connection.FlushNow();
    }
  };
  Client client = it.Connect(32 << 10);

  it.RunUntil([&] { return client.Receive(), client.received.size() == bytes.size(); });

  CHECK(client.received == bytes);
  CHECK(it.handler.last->Pending() == 0);
  CHECK(it.core().buffers.bytes_in_use() == 0);
}

TEST_CASE("pieces written from inside and outside of a connection's callbacks keep their order",
          "[net][real][write]") {
  RealLoop it;
  Client client = it.ConnectAndOpen();
  Connection& first = *it.handler.last;
  Client other = it.ConnectAndOpen();
  it.RunUntilQuiet();
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    first.Write(&connection == &first ? "own " : "foreign ");
    return in.size();
  };

  it.loop.Post([&] { first.Write("posted "); });
  other.Send("x");
  client.Send("x");
  it.RunUntil([&] { return client.Receive(), client.received.size() >= 19; });

  CHECK(client.received.starts_with("posted "));  // then the two in the order of their edges
  CHECK(client.received.size() == 19);
}

TEST_CASE("to write nothing is fine and sends nothing", "[net][real][write]") {
  RealLoop it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  it.handler.on_data = [](Connection& connection, std::string_view in) {
    CHECK(connection.Write({}));
    CHECK(connection.Write(std::string_view()));
    return in.size();
  };

  client.Send("x");
  sys::calls() = {};
  it.TurnWhenReady();
  CHECK(it.handler.last->Write({}));
  it.Turn();

  CHECK(sys::calls().send == 0);
}

// ---- Slow readers

TEST_CASE("16 MiB from OnOpen and then Close: all of it arrives, then FIN", "[net][real][write]") {
  RealLoop it{{.send_buffer = 64 << 10}};
  const std::string bytes = Bytes(std::size_t{16} << 20);
  it.handler.on_open = [&](Connection& connection) {
    CHECK(connection.Write(bytes));
    connection.Close();
    CHECK_FALSE(connection.Write("more"));
  };
  Client client = it.Connect(64 << 10);
  client.received.reserve(bytes.size());

  it.RunUntil([&] { return it.handler.opens == 1; });
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 0);  // not before all output is with the kernel
  it.RunToEndOf(client, 2'000'000);

  CHECK(client.error == 0);
  CHECK(client.received == bytes);
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kLocal);
  CHECK_FALSE(it.handler.closed_with);
  client.Close();
  it.RunUntil([&] { return it.core().table.live() == 0; });
  CHECK(it.core().buffers.bytes_in_use() == 0);
}

TEST_CASE("ShutdownWrite sends FIN behind all output, and reading goes on", "[net][real][write]") {
  RealLoop it{{.send_buffer = 16 << 10}};
  const std::string bytes = Bytes(300'000);
  it.handler.on_open = [&](Connection& connection) {
    connection.Write(bytes);
    connection.ShutdownWrite();
    CHECK_FALSE(connection.Write("more"));
  };
  Client client = it.Connect(16 << 10);

  it.RunToEndOf(client);
  client.Send("still here");
  it.RunUntil([&] { return it.handler.text == "still here"; });

  CHECK(client.received == bytes);
  CHECK(it.handler.closes == 0);
  client.Close();
  it.RunUntil([&] { return it.core().table.live() == 0; });
  CHECK(it.handler.reason == CloseReason::kPeerEnd);
}

// ---- The end

TEST_CASE("Close with unread input is no reset: every byte arrives, then FIN",
          "[net][real][write]") {
  const std::string url = GENERATE(std::string("tcp://127.0.0.1:0"), SocketUrl());
  RealLoop it{{.send_buffer = 16 << 10}, url};
  const std::string reply = Bytes(500'000);
  it.handler.on_open = [&](Connection& connection) {
    connection.PauseRead();
    connection.Write(reply);
  };
  Client client = it.ConnectAndOpen();
  client.Send(std::string(30'000, 'x'));
  it.RunUntilQuiet();
  SECTION("closed from outside of its callbacks") { it.handler.last->Close(); }
  SECTION("closed in OnData") {
    it.handler.on_data = [](Connection& connection, std::string_view) {
      connection.Close();
      return std::size_t{0};
    };
    it.handler.last->ResumeRead();
  }
  it.Turn();
  client.TrySend(std::string(10'000, 'y'));  // and the peer goes on sending
  it.RunToEndOf(client);

  CHECK(client.error == 0);
  CHECK(client.received == reply);
  client.HalfClose();
  it.RunUntil([&] { return it.core().table.live() == 0; });
  CHECK(client.Receive() == 0);
  CHECK(client.error == 0);
}

TEST_CASE("a closed connection takes what its peer is stuck sending", "[net][real][write]") {
  const std::string url = GENERATE(std::string("tcp://127.0.0.1:0"), SocketUrl());
  RealLoop it{{.recv_buffer = 16 << 10, .send_buffer = 16 << 10}, url};
  const std::string much = Bytes(std::size_t{8} << 20);
  it.handler.on_open = [&](Connection& connection) {
    connection.PauseRead();
    connection.Write(much);
  };
  Client client = it.ConnectAndOpen();  // it reads nothing until it has sent everything
  std::string_view rest = much;
  const auto send = [&] {
    const std::size_t sent = client.TrySend(rest);
    rest.remove_prefix(sent);
    return sent;
  };
  while (send() > 0) it.RunUntilQuiet();
  REQUIRE_FALSE(rest.empty());

  it.handler.last->Close();
  it.RunUntil([&] { return send(), rest.empty(); });
  client.HalfClose();
  it.RunToEndOf(client);

  CHECK(client.error == 0);
  CHECK(client.received == much);
  it.RunUntil([&] { return it.core().table.live() == 0; });
}

TEST_CASE("Close and then PauseRead: the peer's end is seen all the same", "[net][real][write]") {
  RealLoop it;
  it.handler.on_data = [](Connection& connection, std::string_view) {
    connection.Write("bye");
    connection.Close();
    connection.PauseRead();  // a call made after Close does nothing
    return std::size_t{0};
  };
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();

  client.Send("hello");
  it.RunToEndOf(client);
  client.Send("more");
  client.HalfClose();
  it.RunUntilQuiet();

  CHECK(it.core().table.live() == 0);  // without waiting for close_linger
}

TEST_CASE("Abort: the peer sees ECONNRESET", "[net][real][write]") {
  RealLoop it;
  Client client;
  SECTION("in OnOpen") {
    it.handler.on_open = [](Connection& connection) { connection.Abort(); };
    client = it.Connect();
  }
  SECTION("in OnData, with output queued") {
    it.handler.on_data = [](Connection& connection, std::string_view) {
      connection.Write("never sent");
      connection.Abort();
      return std::size_t{0};
    };
    client = it.ConnectAndOpen();
    client.Send("x");
  }
  SECTION("from outside") {
    client = it.ConnectAndOpen();
    it.RunUntilQuiet();
    it.handler.last->Abort();
  }
  it.RunUntil([&] { return it.handler.closes == 1; });
  it.RunToEndOf(client);

  CHECK(client.error == ECONNRESET);
  CHECK(client.received.empty());
  CHECK(it.handler.reason == CloseReason::kLocal);
  CHECK_FALSE(it.handler.closed_with);
  CHECK(it.core().table.live() == 0);
}

TEST_CASE("a write to a peer that is gone does not kill by SIGPIPE", "[net][real][write]") {
  const DefaultSigPipe may_kill;
  RealLoop it;
  std::size_t size = 0;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    for (int i = 0; i < 3; ++i) {
      connection.Write(std::string(size, 'x'));
      connection.FlushNow();
    }
    return in.size();
  };
  SECTION("by small pieces") { size = 10; }
  SECTION("by large pieces") { size = 100'000; }
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();

  client.Send("x");
  client.Reset();
  it.RunUntil([&] { return it.handler.closes == 1; });

  CHECK(it.handler.reason == CloseReason::kError);
  CHECK(it.handler.closed_with);
}

TEST_CASE("a send of two pieces to a peer that is gone does not kill by SIGPIPE",
          "[net][real][write]") {
  const DefaultSigPipe may_kill;
  RealLoop it{{}, SocketUrl()};  // where the first write to such a peer is EPIPE already
  it.handler.on_data = [](Connection& connection, std::string_view in) {
    connection.Write("staged, and sent together with");
    connection.Write(std::string(100'000, 'x'));
    return in.size();
  };
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();

  client.Send("x");
  client.Close();
  sys::calls() = {};
  it.RunUntil([&] { return it.handler.closes == 1; });

  CHECK(sys::calls().send_message == 1);
  CHECK(it.handler.reason == CloseReason::kError);
  CHECK(it.handler.closed_with == std::error_code(EPIPE, std::system_category()));
}

// ---- What epoll is asked

TEST_CASE("no MOD while sends succeed", "[net][real][write]") {
  const std::string url = GENERATE(std::string("tcp://127.0.0.1:0"), SocketUrl());
  RealLoop<EchoRecorder> it{{}, url};
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();

  sys::calls() = {};
  for (int i = 0; i < 100; ++i) {
    client.Send("ping");
    it.TurnWhenReady();
    client.Await(4);
  }

  CHECK(sys::calls().epoll_ctl_mod == 0);
  CHECK(sys::calls().epoll_ctl_add == 0);
}

TEST_CASE("on TCP, EPOLLOUT is asked for once, however often output is blocked",
          "[net][real][write]") {
  RealLoop it{{.send_buffer = 16 << 10}};
  Client client = it.ConnectAndOpen(16 << 10);
  it.RunUntilQuiet();

  sys::calls() = {};
  for (int i = 0; i < 5; ++i) {
    it.handler.last->Write(std::string(500'000, 'x'));
    it.RunUntilQuiet();
    REQUIRE(it.handler.last->Pending() > 0);
    it.RunUntil([&] { return client.Receive(), it.handler.last->Pending() == 0; });
  }

  CHECK(sys::calls().epoll_ctl_mod == 1);
}

TEST_CASE("output that is blocked before the connection is registered needs no MOD",
          "[net][real][write]") {
  RealLoop it{{.send_buffer = 16 << 10}};
  const std::string bytes = Bytes(500'000);
  it.handler.on_open = [&](Connection& connection) { connection.Write(bytes); };

  sys::calls() = {};
  Client client = it.ConnectAndOpen(16 << 10);
  it.RunUntil([&] { return client.Receive(), client.received.size() == bytes.size(); });

  CHECK(client.received == bytes);
  CHECK(sys::calls().epoll_ctl_add == 1);
  CHECK(sys::calls().epoll_ctl_mod == 0);
}

TEST_CASE("on AF_UNIX, EPOLLOUT is asked for while output waits: two MODs each time",
          "[net][real][write]") {
  RealLoop it{{.send_buffer = 16 << 10}, SocketUrl()};
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();

  for (int i = 1; i <= 5; ++i) {
    sys::calls() = {};
    it.handler.last->Write(std::string(500'000, 'x'));
    it.RunUntilQuiet();
    REQUIRE(it.handler.last->Pending() > 0);
    it.RunUntil([&] { return client.Receive(), it.handler.last->Pending() == 0; });
    CHECK(sys::calls().epoll_ctl_mod == 2);
  }

  it.RunUntilQuiet();
  sys::calls() = {};
  while (client.Receive() > 0) CHECK(it.Turn() == 0);  // the peer's reads raise nothing now
}

TEST_CASE("no send is tried while the socket is known to be full", "[net][real][write]") {
  RealLoop it{{.send_buffer = 16 << 10}};
  Client client = it.ConnectAndOpen(16 << 10);
  it.RunUntilQuiet();
  it.handler.last->Write(std::string(500'000, 'x'));
  it.RunUntilQuiet();
  REQUIRE(it.handler.last->Pending() > 0);

  sys::calls() = {};
  for (int i = 0; i < 10; ++i) {
    it.handler.last->Write("more");
    it.handler.last->FlushNow();
    it.Turn();
  }

  CHECK(sys::calls().send == 0);
}
