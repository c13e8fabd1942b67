// Lives and ends of connections, on real sockets: OnClose exactly once and last, whoever closes
// whom and from where; nothing of an old connection ever reaches the next owner of its slot or
// descriptor.

#include <unistd.h>

#include <functional>
#include <memory>
#include <stdexcept>

#include "os/sys.h"
#include "support/catch.h"
#include "support/real_loop.h"

using std::chrono::milliseconds;
using std::chrono::seconds;
using weir::Address;
using weir::Clock;
using weir::CloseReason;
using weir::Connection;
using weir::ConnRef;
using weir::Duration;
using weir::EventLoop;
using weir::Handler;
using weir::UniqueFd;
using weir::test::Client;
using weir::test::EchoRecorder;
using weir::test::RealLoop;
using weir::test::Recorder;
namespace sys = weir::sys;
namespace fake = weir::sys::fake;

namespace {

// Turns, each of which waits if it must: the fake clock goes on.
template <class Loop, class Done>
void LetTimePassUntil(Loop& it, Done done, int most = 1000) {
  for (int i = 0; i < most && !done(); ++i) it.TurnWhenReady();
  REQUIRE(done());
}

}  // namespace

// ---- Stale events

TEST_CASE("events of a descriptor whose dup lives on reach nobody", "[net][real][life]") {
  RealLoop it;
  UniqueFd copy;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    copy.reset(::dup(connection.Fd()));
    connection.Abort();
    return in.size();
  };
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  client.Send("x");
  it.RunUntil([&] { return it.handler.closes == 1; });
  REQUIRE(it.core().table.live() == 0);

  // The slot's next owner; its descriptor has the same number.
  it.handler.on_data = nullptr;
  Client next = it.ConnectAndOpen();
  it.RunUntilQuiet();
  client.Send("to nobody");
  it.RunUntil([&] { return it.loop.GetStats().stale_events == 1; });
  next.Send("to me");
  it.RunUntil([&] { return it.handler.text == "to me"; });
  it.RunUntilQuiet();

  CHECK(it.loop.GetStats().stale_events == 1);  // and no spin
  CHECK(it.handler.opens == 2);
  CHECK(it.handler.closes == 1);
}

TEST_CASE("what is closed earlier in a batch gets none of the batch's later events",
          "[net][real][life]") {
  RealLoop it;
  std::vector<Client> clients;
  std::vector<ConnRef> refs;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(it.ConnectAndOpen());
    refs.push_back(it.handler.last->Ref());
  }
  it.RunUntilQuiet();
  int deliveries = 0;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    ++deliveries;
    for (const ConnRef ref : refs) {
      if (ref == connection.Ref()) continue;
      if (Connection* const other = ref.Get()) other->Abort();
    }
    return in.size();
  };
  Client late = it.Connect();  // accepted in the same batch
  for (Client& client : clients) client.Send("x");

  it.TurnWhenReady();

  CHECK(deliveries == 1);
  CHECK(it.handler.closes == 3);
  CHECK(it.handler.opens == 5);
  CHECK(it.core().table.live() == 2);
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 3);
  late.Send("y");
  it.RunUntil([&] { return deliveries == 2; });
}

TEST_CASE("many connections that open, close each other and come back in one batch stay apart",
          "[net][real][life]") {
  RealLoop it;
  std::vector<ConnRef> refs;
  std::uint32_t seed = 1;
  const auto pick = [&seed](std::size_t below) {
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % below;
  };
  int strangers = 0;
  it.handler.on_open = [&](Connection& connection) {
    connection.Emplace<char>('\0');
    refs.push_back(connection.Ref());
  };
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    char& first = connection.Get<char>();
    if (first == '\0') first = in[0];
    for (const char byte : in) strangers += byte != first ? 1 : 0;  // each client sends one letter
    if (Connection* const other = refs[pick(refs.size())].Get()) {
      pick(2) == 0 ? other->Abort() : other->Close();
    }
    return in.size();
  };
  std::vector<Client> clients(20);
  std::vector<char> letters(clients.size(), 'a');
  char letter = 'a';
  for (int round = 0; round < 2000; ++round) {
    const std::size_t i = pick(clients.size());
    if (!clients[i] || pick(8) == 0) {
      clients[i] = it.Connect();
      letters[i] = letter = letter == 'z' ? 'a' : static_cast<char>(letter + 1);
    }
    clients[i].TrySend({&letters[i], 1});
    if (pick(4) == 0) it.Turn();
  }
  clients.clear();
  it.RunUntil([&] { return it.core().table.live() == 0; });

  CHECK(strangers == 0);
  CHECK(it.handler.opens == it.handler.closes);
  CHECK(it.handler.opens > 100);
}

TEST_CASE("a ConnRef is null once its connection is closed, and for its slot's next owner",
          "[net][real][life]") {
  RealLoop it;
  Client client = it.ConnectAndOpen();
  const ConnRef old = it.handler.last->Ref();
  CHECK(old.Get() == it.handler.last);

  it.handler.last->Close();
  CHECK(old.Get() == nullptr);
  client.Close();
  it.RunUntil([&] { return it.core().table.live() == 0; });
  Client next = it.ConnectAndOpen();

  CHECK(old.Get() == nullptr);
  CHECK(it.handler.last->Ref().Id() != old.Id());
  CHECK(it.handler.last->Ref() != old);
  CHECK(ConnRef().Get() == nullptr);
}

// ---- OnClose comes once and last

TEST_CASE("OnClose comes once and last, whatever a callback does", "[net][real][life]") {
  struct Action {
    const char* name;
    std::function<void(Connection&)> run;
  };
  const auto action = GENERATE(
      Action{"Close", [](Connection& c) { c.Close(); }},
      Action{"Abort", [](Connection& c) { c.Abort(); }},
      Action{"Close twice, Abort", [](Connection& c) { c.Close(), c.Close(), c.Abort(); }},
      Action{"Abort, Write, Close", [](Connection& c) { c.Abort(), c.Write("x"), c.Close(); }},
      Action{"Write, Close, Write", [](Connection& c) { c.Write("x"), c.Close(), c.Write("y"); }},
      Action{"large Write, Close",
             [](Connection& c) { c.Write(std::string(100'000, 'x')), c.Close(); }},
      Action{"Close, Pause, Resume",
             [](Connection& c) { c.Close(), c.PauseRead(), c.ResumeRead(); }},
      Action{"ShutdownWrite", [](Connection& c) { c.ShutdownWrite(), c.ShutdownWrite(); }},
      Action{"ShutdownWrite, Close", [](Connection& c) { c.ShutdownWrite(), c.Close(); }},
      Action{"FlushNow, Write, FlushNow, Abort",
             [](Connection& c) { c.FlushNow(), c.Write("x"), c.FlushNow(), c.Abort(); }},
      Action{"throw", [](Connection&) { throw std::runtime_error("thrown by a test"); }},
      Action{"throw no exception", [](Connection&) { throw 1; }},
      Action{"Write, throw", [](Connection& c) {
               c.Write("x");
               throw std::runtime_error("thrown by a test");
             }});
  const std::string where = GENERATE("open", "data", "end", "close", "other", "task");
  INFO(action.name << " in " << where);
  RealLoop it;
  Client client = it.ConnectAndOpen();
  Connection* const first = it.handler.last;
  it.RunUntilQuiet();
  std::vector<std::string> calls;
  it.handler.on_open = [&](Connection& connection) {
    calls.emplace_back("open");
    if (where == "open") action.run(connection);
  };
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    if (&connection == first) {
      if (where == "other") action.run(*it.handler.last);
      return in.size();
    }
    calls.emplace_back("data");
    if (where == "data") action.run(connection);
    return in.size();
  };
  it.handler.on_end = [&](Connection& connection) {
    if (&connection == first) return;
    calls.emplace_back("end");
    if (where == "end") action.run(connection);
    connection.Close();
  };
  it.handler.on_close = [&](Connection& connection) {
    if (&connection == first) return;
    calls.emplace_back("close");
    if (where == "close") action.run(connection);
  };

  Client second = it.ConnectAndOpen();
  second.TrySend("x");
  client.Send("x");
  it.Turn();
  if (where == "task") {
    it.loop.Post([&, ref = it.handler.last == nullptr ? ConnRef() : it.handler.last->Ref()] {
      if (Connection* const connection = ref.Get()) action.run(*connection);
    });
  }
  it.RunUntilQuiet();
  static_cast<void>(::shutdown(second.fd(), SHUT_WR));  // fails after a reset
  it.RunUntilQuiet();
  second.Close();
  it.RunUntilQuiet();

  REQUIRE_FALSE(calls.empty());
  CHECK(calls.front() == "open");
  CHECK(std::count(calls.begin(), calls.end(), "close") == 1);
  CHECK(calls.back() == "close");
  client.Reset();
  it.RunUntil([&] { return it.core().table.live() == 0; });
  CHECK(it.handler.opens == it.handler.closes);
  CHECK(it.core().buffers.bytes_in_use() == 0);
}

TEST_CASE("each callback may close all connections", "[net][real][life]") {
  RealLoop it;
  std::vector<Client> clients;
  std::vector<ConnRef> refs;
  it.handler.on_open = [&](Connection& connection) { refs.push_back(connection.Ref()); };
  for (int i = 0; i < 30; ++i) clients.push_back(it.ConnectAndOpen());
  it.RunUntilQuiet();
  const auto close_all = [&](Connection&) {
    for (const ConnRef ref : refs) {
      if (Connection* const connection = ref.Get()) connection->Close();
    }
  };
  SECTION("OnData") {
    it.handler.on_data = [&](Connection& connection, std::string_view in) {
      close_all(connection);
      return in.size();
    };
    for (Client& client : clients) client.Send("x");
  }
  SECTION("OnEnd") {
    it.handler.on_end = close_all;
    for (Client& client : clients) client.HalfClose();
  }
  SECTION("OnClose") {
    it.handler.on_close = close_all;
    clients[7].Reset();
  }

  it.RunUntil([&] { return it.handler.closes == 30; });
  clients.clear();
  it.RunUntil([&] { return it.core().table.live() == 0; });
  CHECK(it.handler.closes == 30);
}

TEST_CASE("the context lives until after OnClose", "[net][real][life]") {
  struct Context {
    explicit Context(std::shared_ptr<int> counter) : alive(std::move(counter)) {}
    std::shared_ptr<int> alive;
  };
  const auto alive = std::make_shared<int>();
  RealLoop it;
  long in_close = 0;
  it.handler.on_open = [&](Connection& connection) { connection.Emplace<Context>(alive); };
  it.handler.on_close = [&](Connection& connection) {
    in_close = connection.Get<Context>().alive.use_count();
    CHECK(connection.Fd() >= 0);
    CHECK(connection.TryGet<int>() == nullptr);
  };
  Client client = it.ConnectAndOpen();
  CHECK(alive.use_count() == 2);

  client.Reset();
  it.RunUntil([&] { return it.handler.closes == 1; });

  CHECK(in_close == 2);
  CHECK(alive.use_count() == 1);
}

TEST_CASE("an exception closes its connection, and the loop goes on", "[net][real][life]") {
  RealLoop<EchoRecorder> it;
  Client bad = it.ConnectAndOpen();
  Client good = it.ConnectAndOpen();
  it.RunUntilQuiet();
  const auto echo = it.handler.on_data;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    if (in == "throw") throw std::runtime_error("thrown by a test");
    return echo(connection, in);
  };

  bad.Send("throw");
  it.RunToEndOf(bad);
  CHECK(it.handler.reason == CloseReason::kException);
  CHECK(it.loop.GetStats().exceptions == 1);
  it.loop.Post([] { throw std::runtime_error("thrown by a test"); });
  it.handler.on_batch_end = [](EventLoop&) { throw std::runtime_error("thrown by a test"); };
  good.Send("hello");
  it.RunUntil([&] { return good.Receive(), good.received == "hello"; });

  CHECK(it.loop.GetStats().exceptions >= 3);
  CHECK(it.handler.closes == 1);
}

TEST_CASE("kReject sends what is queued, then closes", "[net][real][life]") {
  RealLoop it;
  std::size_t answer = 0;
  it.handler.on_data = [&](Connection& connection, std::string_view) {
    connection.Write("400 Bad Request");
    return answer;
  };
  SECTION("by kReject") { answer = Handler::kReject; }
  SECTION("by more than there was") { answer = 1000; }
  Client client = it.ConnectAndOpen();

  client.Send("?");
  it.RunToEndOf(client);

  CHECK(client.received == "400 Bad Request");
  CHECK(client.error == 0);
  CHECK(it.handler.reason == CloseReason::kRejected);
}

// ---- Lingering

TEST_CASE("a closed connection waits for its peer's end, but no longer than close_linger",
          "[net][real][life]") {
  RealLoop it{{.close_linger = seconds(5)}};
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  const Clock::time_point closed = fake::Now();
  it.handler.last->Close();
  it.Turn();
  it.RunToEndOf(client);
  CHECK(it.handler.closes == 1);
  CHECK(it.core().table.live() == 1);
  CHECK(it.loop.GetStats().lingering == 1);

  SECTION("the peer ends") {
    client.Close();
    it.RunUntil([&] { return it.core().table.live() == 0; });
    CHECK(fake::Now() == closed);
  }
  SECTION("the peer does not") {
    LetTimePassUntil(it, [&] { return it.core().table.live() == 0; });
    CHECK(fake::Now() - closed >= seconds(5));
    CHECK(fake::Now() - closed < seconds(6));
  }
  SECTION("the peer sends for ever") {
    while (it.core().table.live() != 0) {
      client.TrySend("more");
      fake::Advance(milliseconds(100));
      it.Turn();
      REQUIRE(fake::Now() - closed < seconds(6));
    }
    CHECK(fake::Now() - closed >= seconds(5));
  }
  CHECK(it.loop.GetStats().lingering == 0);
  CHECK(it.handler.closes == 1);
}

TEST_CASE("a closed connection whose peer accepts nothing is reset after close_linger",
          "[net][real][life]") {
  RealLoop it{{.close_linger = seconds(5), .send_buffer = 16 << 10}};
  Client client = it.ConnectAndOpen(16 << 10);
  it.RunUntilQuiet();
  it.handler.last->Write(std::string(1'000'000, 'x'));
  it.handler.last->Close();
  it.RunUntilQuiet();
  Clock::time_point progress = fake::Now();
  CHECK(it.handler.closes == 0);

  SECTION("from its Close on") {}
  SECTION("from the last byte that it took on") {
    fake::Advance(seconds(4));
    client.Receive(300'000);
    it.RunUntil([&] { return client.Receive(), client.received.size() > 100'000; });
    it.RunUntilQuiet();
    progress = fake::Now();
    fake::Advance(seconds(2));
    it.RunUntilQuiet();
    REQUIRE(it.handler.closes == 0);
  }
  LetTimePassUntil(it, [&] { return it.handler.closes == 1; });

  CHECK(fake::Now() - progress >= seconds(5));
  CHECK(fake::Now() - progress < seconds(6));
  CHECK(it.handler.closed_with == std::error_code(ETIMEDOUT, std::system_category()));
  CHECK(it.core().table.live() == 0);
  while (client.Receive() > 0) {
  }
  CHECK(client.error == ECONNRESET);
}

// ---- The loop's end

TEST_CASE("a loop that is destroyed calls no handler, resets its peers, destroys contexts",
          "[net][real][life]") {
  const auto alive = std::make_shared<int>();
  Recorder handler;
  handler.on_open = [&](Connection& connection) {
    connection.Emplace<std::shared_ptr<int>>(alive);
    connection.Write(std::string(5'000'000, 'x'));
  };
  Client client;
  {
    EventLoop loop;
    const Address address = loop.ListenAddress(loop.Listen("tcp://127.0.0.1:0", handler));
    client = Client(address);
    while (handler.opens == 0) loop.RunOnce(Duration::zero());
    loop.Post([alive] {});
    CHECK(alive.use_count() == 3);
  }

  CHECK(handler.closes == 0);
  CHECK(alive.use_count() == 1);
  while (client.Receive() > 0) {
  }
  CHECK(client.error == ECONNRESET);
}
