// Handlers that are not written as a class: of lambdas, and one object for each connection.

#include <chrono>
#include <string>

#include "os/sys.h"
#include "support/catch.h"
#include "support/real_loop.h"

using weir::CallbackHandler;
using weir::CloseReason;
using weir::Connection;
using weir::EventLoop;
using weir::SessionHandler;
using weir::test::Client;

namespace {

struct Loop {
  EventLoop loop;
  int listener;

  explicit Loop(weir::Handler& handler) : listener(loop.Listen("tcp://127.0.0.1:0", handler)) {}
  [[nodiscard]] Client Connect() const { return Client(loop.ListenAddress(listener)); }
  template <class Done>
  void RunUntil(Done done) {
    bool is_done = done();
    for (int i = 0; i < 200'000 && !is_done; ++i) {
      loop.RunOnce(weir::Duration::zero());
      is_done = done();
    }
    REQUIRE(is_done);
  }
};

}  // namespace

TEST_CASE("a handler of lambdas calls those that are set", "[net][handlers]") {
  std::string calls;
  CallbackHandler handler({
      .on_start = [&](EventLoop&) { calls += "start "; },
      .on_open = [&](Connection&) { calls += "open "; },
      .on_data =
          [&](Connection& connection, std::string_view in) {
            calls += "data ";
            connection.Write(in);
            return in.size();
          },
      .on_close = [&](Connection&, CloseReason, std::error_code) { calls += "close "; },
  });
  Loop it(handler);
  Client client = it.Connect();
  client.Send("hello");
  it.RunUntil([&] {
    client.Receive();
    return client.received == "hello";
  });
  client.HalfClose();  // on_end is not set: the default closes
  it.RunUntil([&] {
    client.Receive();
    return client.ended;
  });
  CHECK(calls == "start open data close ");
}

TEST_CASE("an empty handler of lambdas reads and discards, and stops", "[net][handlers]") {
  CallbackHandler handler({});
  Loop it(handler);
  Client client = it.Connect();
  client.Send("hello");
  it.RunUntil([&] { return it.loop.GetStats().bytes_in == 5; });
  it.loop.Stop();
  it.RunUntil([&] {
    client.Receive();
    if (client.ended) client.Close();
    weir::sys::fake::Advance(std::chrono::milliseconds(1));
    return it.loop.IsStopped();
  });
}

namespace {

int sessions_alive = 0;

struct Counter {
  explicit Counter(Connection& connection) : fd(connection.Fd()) { ++sessions_alive; }
  Counter(const Counter&) = delete;
  Counter& operator=(const Counter&) = delete;
  ~Counter() { --sessions_alive; }

  std::size_t OnData(Connection& connection, std::string_view in) {
    bytes += in.size();
    connection.Write(std::to_string(bytes) + "\n");
    return in.size();
  }
  void OnClose(Connection& connection, CloseReason, std::error_code) {
    CHECK(connection.Fd() == fd);
    CHECK(sessions_alive > 0);  // destroyed after this call
  }

  int fd;
  std::size_t bytes = 0;
};

struct ThrowingSession {
  ThrowingSession() { throw std::runtime_error("no session"); }
  std::size_t OnData(Connection&, std::string_view in) { return in.size(); }
  void OnClose(Connection&, CloseReason, std::error_code) { FAIL("it was never made"); }
};

struct AllCalls {
  std::string* calls = nullptr;
  void OnOpen(Connection& connection) {
    connection.Write("hi");
    calls = &log;
    log += "open ";
  }
  std::size_t OnData(Connection&, std::string_view in) {
    *calls += "data ";
    return in.size();
  }
  void OnEnd(Connection& connection) {
    *calls += "end ";
    connection.Close();
  }
  static inline std::string log;
};

}  // namespace

TEST_CASE("each connection has a session of its own, destroyed after OnClose", "[net][handlers]") {
  SessionHandler<Counter> handler;
  Loop it(handler);
  Client first = it.Connect();
  Client second = it.Connect();
  first.Send("12345");
  second.Send("123");
  it.RunUntil([&] {
    first.Receive();
    second.Receive();
    return first.received == "5\n" && second.received == "3\n";
  });
  CHECK(sessions_alive == 2);
  first.Send("67");
  it.RunUntil([&] {
    first.Receive();
    return first.received == "5\n7\n";
  });
  first.Close();
  it.RunUntil([&] { return sessions_alive == 1; });
  second.Reset();
  it.RunUntil([&] { return sessions_alive == 0; });
}

TEST_CASE("a session whose constructor throws closes its connection", "[net][handlers]") {
  SessionHandler<ThrowingSession> handler;
  Loop it(handler);
  Client client = it.Connect();
  it.RunUntil([&] {
    client.Receive();
    return client.ended;
  });
  CHECK(it.loop.GetStats().exceptions == 1);
}

TEST_CASE("a session gets the calls that it has", "[net][handlers]") {
  SessionHandler<AllCalls> handler;
  Loop it(handler);
  Client client = it.Connect();
  client.Send("x");
  client.HalfClose();
  it.RunUntil([&] {
    client.Receive();
    return client.ended;
  });
  CHECK(client.received == "hi");
  CHECK(AllCalls::log == "open data end ");
}
