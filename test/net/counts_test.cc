// What the loop costs, counted at the seam: system calls and heap allocations. Counts, not times,
// so that a change which makes each request dearer fails here, on any machine.

#include <poll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "os/sys.h"
#include "support/allocations.h"
#include "support/catch.h"
#include "support/real_loop.h"

using weir::Connection;
using weir::Duration;
using weir::EventLoop;
using weir::Handler;
using weir::test::Allocations;
using weir::test::Client;
using weir::test::RealLoop;
namespace sys = weir::sys;

namespace {

constexpr std::string_view kRequest =
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

// An echo that allocates nothing itself.
class Echo final : public Handler {
 public:
  int opens = 0;
  int deliveries = 0;
  int closes = 0;
  Connection* last = nullptr;

  void OnOpen(Connection& connection) override {
    ++opens;
    last = &connection;
  }
  std::size_t OnData(Connection& connection, std::string_view in) override {
    ++deliveries;
    connection.Write(in);
    return in.size();
  }
  void OnClose(Connection&, weir::CloseReason, std::error_code) override { ++closes; }
};

class Accumulator final : public Handler {
 public:
  int opens = 0;
  std::string received;

  void OnOpen(Connection&) override { ++opens; }
  // Takes whole requests, so that a part of one waits in the connection's own memory.
  std::size_t OnData(Connection& connection, std::string_view in) override {
    const std::size_t whole = in.size() / kRequest.size() * kRequest.size();
    connection.Write(in.substr(0, whole));
    return whole;
  }
};

// One request and its reply, without a heap allocation of the client's.
void Ask(const Client& client) {
  if (::send(client.fd(), kRequest.data(), kRequest.size(), MSG_NOSIGNAL) < 0) FAIL("send");
}
void TakeReply(const Client& client, std::size_t count = kRequest.size()) {
  std::array<char, 4096> room;
  while (count > 0) {
    const ssize_t n = ::recv(client.fd(), room.data(), std::min(count, room.size()), 0);
    if (n <= 0) FAIL("recv");
    count -= static_cast<std::size_t>(n);
  }
}

}  // namespace

TEST_CASE("with one request in flight a request costs three system calls", "[net][counts]") {
  RealLoop<Echo> it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();

  sys::calls() = {};
  for (int i = 0; i < 1000; ++i) {
    Ask(client);
    it.TurnWhenReady();
    TakeReply(client);
  }

  CHECK(sys::calls().epoll_wait == 1000);
  CHECK(sys::calls().recv == 1000);
  CHECK(sys::calls().send == 1000);
  CHECK(sys::calls().all == 3000);
}

TEST_CASE("16 pipelined requests cost one recv and one send", "[net][counts]") {
  RealLoop<Accumulator> it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();

  std::string batch;
  for (int i = 0; i < 16; ++i) batch += kRequest;
  sys::calls() = {};
  for (int i = 0; i < 100; ++i) {
    client.Send(batch);
    it.TurnWhenReady();
    TakeReply(client, batch.size());
  }

  CHECK(sys::calls().recv == 100);
  CHECK(sys::calls().send == 100);
  CHECK(sys::calls().all == 300);
}

TEST_CASE("ten writes in one callback are one send", "[net][counts]") {
  RealLoop it;
  it.handler.on_data = [](Connection& connection, std::string_view in) {
    for (int i = 0; i < 10; ++i) connection.Write("a piece of the reply ");
    return in.size();
  };
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();

  client.Send("request");
  sys::calls() = {};
  it.TurnWhenReady();

  CHECK(sys::calls().send == 1);
  client.Await(10 * 21);
}

TEST_CASE("ten writes from elsewhere are one send, at the turn's end", "[net][counts]") {
  RealLoop it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();

  for (int i = 0; i < 10; ++i) {
    it.loop.Post([&] { it.handler.last->Write("a piece of the reply "); });
  }
  sys::calls() = {};
  it.TurnWhenReady();

  CHECK(sys::calls().send == 1);
  CHECK(sys::calls().write_eventfd == 0);
  client.Await(10 * 21);
}

TEST_CASE("50 connections that are ready together share one epoll_wait", "[net][counts]") {
  RealLoop<Echo> it;
  std::vector<Client> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(it.ConnectAndOpen());
  it.RunUntilQuiet();

  for (const Client& client : clients) Ask(client);
  sys::calls() = {};
  it.TurnWhenReady();

  CHECK(it.handler.deliveries == 50);
  CHECK(sys::calls().epoll_wait == 1);
  CHECK(sys::calls().recv == 50);
  CHECK(sys::calls().send == 50);
  CHECK(sys::calls().all == 101);
}

TEST_CASE("a loop without events makes one epoll_wait a turn, and nothing else", "[net][counts]") {
  RealLoop<Echo> it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();

  sys::calls() = {};
  for (int i = 0; i < 10; ++i) CHECK(it.Turn() == 0);

  CHECK(sys::calls().epoll_wait == 10);
  CHECK(sys::calls().all == 10);
}

TEST_CASE("pausing and resuming cost no system call but the receive that was put off",
          "[net][counts]") {
  RealLoop<Echo> it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();

  sys::calls() = {};
  for (int i = 0; i < 100; ++i) {
    it.handler.last->PauseRead();
    it.handler.last->ResumeRead();
  }
  CHECK(sys::calls().all == 0);

  it.handler.last->PauseRead();
  Ask(client);
  it.TurnWhenReady();
  CHECK(sys::calls().all == 1);  // the wait
  it.handler.last->ResumeRead();
  it.Turn();
  CHECK(sys::calls().recv == 1);
}

TEST_CASE("a request costs no heap allocation", "[net][counts]") {
  RealLoop<Echo> it;
  Client client = it.ConnectAndOpen();
  const auto ask = [&] {
    Ask(client);
    it.TurnWhenReady();
    TakeReply(client);
  };
  for (int i = 0; i < 100; ++i) ask();

  const std::size_t before = Allocations();
  for (int i = 0; i < 1000; ++i) ask();

  CHECK(Allocations() == before);
}

TEST_CASE("a request that arrives in parts, and a reply that is blocked, cost no heap allocation",
          "[net][counts]") {
  RealLoop<Accumulator> it{{.send_buffer = 16 << 10}};
  Client client = it.ConnectAndOpen(16 << 10);
  const auto ask_in_parts = [&] {
    for (const std::string_view part : {kRequest.substr(0, 10), kRequest.substr(10)}) {
      if (::send(client.fd(), part.data(), part.size(), MSG_NOSIGNAL) < 0) FAIL("send");
      it.TurnWhenReady();
    }
    TakeReply(client);
  };
  const auto ask_much = [&] {
    for (int i = 0; i < 2000; ++i) {
      Ask(client);
      it.Turn();
    }
    std::array<char, 4096> room;
    for (std::size_t left = 2000 * kRequest.size(); left > 0;) {
      const ssize_t n = ::recv(client.fd(), room.data(), room.size(), MSG_DONTWAIT);
      if (n > 0) left -= static_cast<std::size_t>(n);
      it.Turn();
    }
  };
  for (int i = 0; i < 20; ++i) ask_in_parts();
  for (int i = 0; i < 3; ++i) ask_much();

  const std::size_t before = Allocations();
  for (int i = 0; i < 100; ++i) ask_in_parts();
  for (int i = 0; i < 3; ++i) ask_much();

  CHECK(Allocations() == before);
  CHECK(it.core().buffers.bytes_in_use() == 0);
}

TEST_CASE("a post costs no heap allocation", "[net][counts]") {
  RealLoop<Echo> it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  int ran = 0;
  const auto post = [&] {
    for (int i = 0; i < 10; ++i) it.loop.Post([&ran] { ++ran; });
    it.TurnWhenReady();
  };
  for (int i = 0; i < 10; ++i) post();

  const std::size_t before = Allocations();
  for (int i = 0; i < 100; ++i) post();

  CHECK(Allocations() == before);
  CHECK(ran == 1100);
}

// A client that connects, asks, reads the reply and resets: so that no TIME_WAIT is left.
TEST_CASE("after a burst of posts most of its memory goes back to the heap", "[net][counts]") {
  constexpr int kBurst = 50'000;
  RealLoop<Handler> it;
  int runs = 0;
  const auto burst = [&] {
    const int done = runs + kBurst;
    for (int i = 0; i < kBurst; ++i) it.loop.Post([&] { ++runs; });
    while (runs < done) it.Turn();
  };
  burst();
  const std::size_t before = Allocations();
  burst();
  CHECK(runs == 2 * kBurst);
  CHECK(Allocations() - before > kBurst / 2);
}

TEST_CASE("a short connection costs at most 6.6 system calls and no heap allocation",
          "[net][counts]") {
  RealLoop<Echo> it;
  const auto visit = [&](std::size_t count) {
    std::array<Client, 16> clients;
    REQUIRE(count <= clients.size());
    for (std::size_t i = 0; i < count; ++i) {
      clients[i] = it.Connect();
      Ask(clients[i]);
    }
    const int closed = it.handler.closes + static_cast<int>(count);
    it.TurnWhenReady();
    for (std::size_t i = 0; i < count; ++i) {
      TakeReply(clients[i]);
      clients[i].Reset();
    }
    while (it.handler.closes < closed) it.TurnWhenReady();
  };
  for (int i = 0; i < 20; ++i) visit(16);  // warm

  sys::calls() = {};
  constexpr int kRounds = 20;
  std::size_t before = 0;
  std::size_t allocations = 0;
  for (int i = 0; i < kRounds; ++i) {
    before = Allocations();
    visit(16);
    allocations += Allocations() - before;
  }

  CHECK(allocations == 0);
  const double calls = static_cast<double>(sys::calls().all) / (16 * kRounds);
  INFO("accept " << sys::calls().accept << " recv " << sys::calls().recv << " send "
                 << sys::calls().send << " add " << sys::calls().epoll_ctl_add << " close "
                 << sys::calls().close << " wait " << sys::calls().epoll_wait << " getters "
                 << sys::calls().getters);
  CHECK(calls <= 6.6);
  CHECK(sys::calls().epoll_ctl_add == 16 * kRounds);
  CHECK(sys::calls().epoll_ctl_mod == 0);
  CHECK(sys::calls().epoll_ctl_del == 0);
  CHECK(sys::calls().close == 16 * kRounds);
  CHECK(sys::calls().shutdown == 0);
}

TEST_CASE("a short connection whose peer closes costs at most 6.6 system calls and no allocation",
          "[net][counts]") {
  // Connect, one request, the peer's FIN: with and without times that are set for everybody.
  const auto idle = GENERATE(std::chrono::seconds(0), std::chrono::seconds(30));
  CAPTURE(idle.count());
  RealLoop<Echo> it{{.idle_timeout = idle}};
  constexpr std::size_t kCrowd = 16;
  const auto visit = [&] {
    std::array<Client, kCrowd> clients;
    for (Client& client : clients) {
      client = it.Connect();
      Ask(client);
    }
    const int closed = it.handler.closes + static_cast<int>(kCrowd);
    it.TurnWhenReady();
    for (Client& client : clients) {
      TakeReply(client);
      client.Close();
    }
    while (it.handler.closes < closed) it.TurnWhenReady();
  };
  for (int i = 0; i < 10; ++i) visit();  // warm

  sys::calls() = {};
  constexpr int kRounds = 10;
  std::size_t allocations = 0;
  for (int i = 0; i < kRounds; ++i) {
    const std::size_t before = Allocations();
    visit();
    allocations += Allocations() - before;
  }

  CHECK(allocations == 0);
  constexpr int kVisits = static_cast<int>(kCrowd) * kRounds;
  CHECK(static_cast<double>(sys::calls().all) / kVisits <= 6.6);
  CHECK(sys::calls().recv == 2 * kVisits);  // the request, the end
  CHECK(sys::calls().send == kVisits);
  CHECK(sys::calls().epoll_ctl_add == kVisits);
  CHECK(sys::calls().epoll_ctl_mod == 0);
  CHECK(sys::calls().epoll_ctl_del == 0);
  CHECK(sys::calls().shutdown == 0);  // close() sends the FIN
  CHECK(sys::calls().close == kVisits);
}

TEST_CASE("a connection that we close, and which lingers, costs no heap allocation once warm",
          "[net][counts]") {
  class Once final : public Handler {
   public:
    int closes = 0;
    std::size_t OnData(Connection& connection, std::string_view in) override {
      connection.SetReadDeadline(connection.Loop().Now() + std::chrono::seconds(5));
      connection.Write(in);
      connection.Close();
      return in.size();
    }
    void OnClose(Connection&, weir::CloseReason, std::error_code) override { ++closes; }
  };
  RealLoop<Once> it{{.idle_timeout = std::chrono::seconds(30)}};
  const auto visit = [&] {
    std::array<Client, 16> clients;
    for (Client& client : clients) {
      client = it.Connect();
      Ask(client);
    }
    it.TurnWhenReady();
    for (Client& client : clients) TakeReply(client);
    if (it.loop.GetStats().lingering != 16) FAIL("all linger");
    for (Client& client : clients) client.Close();
    while (it.core().table.live() != 0) it.Turn();
  };
  for (int i = 0; i < 10; ++i) visit();

  sys::calls() = {};
  const std::size_t before = Allocations();
  for (int i = 0; i < 10; ++i) visit();

  CHECK(Allocations() == before);
  CHECK(it.handler.closes == 20 * 16);
  CHECK(sys::calls().shutdown == 160);
  CHECK(sys::calls().epoll_ctl_mod == 0);
  CHECK(it.core().extensions.live() == 0);
}

TEST_CASE("sends that succeed change nothing in epoll, and no timer", "[net][counts]") {
  RealLoop<Echo> it{{.idle_timeout = std::chrono::seconds(30)}};
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  const std::string large(200'000, 'l');
  sys::calls() = {};
  const std::size_t before = Allocations();
  for (int i = 0; i < 20; ++i) {
    Ask(client);
    it.TurnWhenReady();
    TakeReply(client);
    it.handler.last->Write(large);
    it.Turn();
    TakeReply(client, large.size());
  }
  CHECK(Allocations() == before);
  CHECK(sys::calls().epoll_ctl_mod == 0);
  CHECK(sys::calls().send == 40);
}

TEST_CASE("an idle connection owns no buffer, no extension and 128 bytes at most",
          "[net][counts]") {
  // Hot, cold, and the slot's link.
  static_assert(sizeof(weir::ConnectionImpl) == 64);
  static_assert(sizeof(weir::ConnectionCold) <= 48);
  struct Link {
    std::uint32_t next;
    std::uint32_t generation;
  };
  static_assert(sizeof(weir::ConnectionImpl) + sizeof(weir::ConnectionCold) + sizeof(Link) <= 128);

  RealLoop<Echo> it;
  std::vector<Client> clients;
  for (int i = 0; i < 100; ++i) {
    clients.push_back(it.ConnectAndOpen());
    Ask(clients.back());
    it.RunUntilQuiet(2);
    TakeReply(clients.back());
  }
  CHECK(it.handler.deliveries == 100);
  CHECK(it.core().table.live() == 100);
  CHECK(it.core().extensions.live() == 0);
  CHECK(it.core().buffers.bytes_in_use() == 0);
  CHECK(it.core().Buffered() == 0);
  CHECK(it.loop.NextTimeout() == Duration::max());  // and no timer
}

TEST_CASE("the first request of a connection needs no epoll_wait of its own", "[net][counts]") {
  RealLoop<Echo> it;
  Client client = it.Connect();
  Ask(client);

  sys::calls() = {};
  it.TurnWhenReady();

  CHECK(it.handler.deliveries == 1);
  CHECK(sys::calls().epoll_wait == 1);
  TakeReply(client);
}

TEST_CASE("50 requests that wait together cost 101 system calls and no allocation, every time",
          "[net][counts]") {
  RealLoop<Echo> it;
  std::vector<Client> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(it.ConnectAndOpen());
  it.RunUntilQuiet();
  const auto round = [&] {
    for (const Client& client : clients) Ask(client);
    it.TurnWhenReady();
    for (const Client& client : clients) TakeReply(client);
  };
  for (int i = 0; i < 10; ++i) round();  // warm

  constexpr int kRounds = 20;
  const weir::Stats stats = it.loop.GetStats();
  sys::calls() = {};
  const std::size_t before = Allocations();
  for (int i = 0; i < kRounds; ++i) round();

  CHECK(Allocations() == before);
  CHECK(sys::calls().epoll_wait == kRounds);  // a 50th a request
  CHECK(sys::calls().recv == 50 * kRounds);
  CHECK(sys::calls().send == 50 * kRounds);
  CHECK(sys::calls().send_message == 0);
  CHECK(sys::calls().all == 101 * kRounds);
  const weir::Stats now = it.loop.GetStats();
  CHECK(now.turns - stats.turns == kRounds);
  CHECK(now.receives - stats.receives == 50 * kRounds);
  CHECK(now.sends - stats.sends == 50 * kRounds);
  CHECK(now.bytes_in - stats.bytes_in == 50 * kRounds * kRequest.size());
  CHECK(now.bytes_out - stats.bytes_out == 50 * kRounds * kRequest.size());
  CHECK(now.owed == stats.owed);
  CHECK(now.would_block == stats.would_block);
}

TEST_CASE("a posted callable of 32 bytes costs no heap allocation, by loop and by ref",
          "[net][counts]") {
  RealLoop<Echo> it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  const weir::ConnRef ref = it.handler.last->Ref();
  int ran = 0;
  struct Callable {
    int* ran;
    std::array<char, 24> rest;
    void operator()() const { ++*ran; }
    void operator()(Connection&) const { ++*ran; }
  };
  static_assert(sizeof(Callable) == 32);
  const auto post = [&] {
    for (int i = 0; i < 10; ++i) {
      if (!it.loop.Post(Callable{&ran, {}}) || !ref.Post(Callable{&ran, {}})) FAIL("refused");
    }
    it.TurnWhenReady();
  };
  for (int i = 0; i < 10; ++i) post();

  sys::calls() = {};
  const std::size_t before = Allocations();
  for (int i = 0; i < 100; ++i) post();

  CHECK(Allocations() == before);
  CHECK(ran == 2200);
  CHECK(sys::calls().write_eventfd == 100);  // one a turn: the loop slept in between
}

TEST_CASE("what a ref sends, and asks, costs no heap allocation beyond the string, and its piece",
          "[net][counts]") {
  RealLoop<Echo> it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  const weir::ConnRef ref = it.handler.last->Ref();
  const auto size = static_cast<std::size_t>(GENERATE(10, 100, 2047, 2048, 20'000));
  CAPTURE(size);
  const auto shared = std::make_shared<const std::string>(size, 's');
  constexpr std::size_t kSends = 10;
  const auto send = [&] {
    for (std::size_t i = 0; i < kSends; ++i) {
      if (!ref.Send(std::string(size, 'x')) || !ref.Send(shared) || !ref.Wake()) FAIL("refused");
    }
    it.TurnWhenReady();
    TakeReply(client, 2 * kSends * size);
  };
  for (int i = 0; i < 10; ++i) send();

  // (A large one stands in the queue as a piece: on an empty queue that is one more.)
  const std::size_t of_string = size <= std::string().capacity() ? 0 : size < 2048 ? 1 : 3;
  const std::size_t before = Allocations();
  for (int i = 0; i < 20; ++i) send();
  CHECK(Allocations() - before == 20 * kSends * of_string);
}
