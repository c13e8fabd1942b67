// Nobody starves, on real sockets, by counting turns: a small client among many that always have a
// request in flight, and beside one that floods.

#include <sys/resource.h>

#include <algorithm>
#include <string>
#include <vector>

#include "loop/engine.h"
#include "support/catch.h"
#include "support/real_loop.h"

using weir::Connection;
using weir::Engine;
using weir::Handler;
using weir::Options;
using weir::test::Client;
using weir::test::RealLoop;

namespace {

class Echo : public Handler {
 public:
  int opens = 0;
  int deliveries = 0;

  void OnOpen(Connection&) override { ++opens; }
  std::size_t OnData(Connection& connection, std::string_view in) override {
    ++deliveries;
    connection.Write(in);
    return in.size();
  }
};

// Answers a small message, and counts what comes in large ones.
class Sink : public Handler {
 public:
  static constexpr std::size_t kPing = 4;
  int opens = 0;
  std::size_t flooded = 0;

  void OnOpen(Connection&) override { ++opens; }
  std::size_t OnData(Connection& connection, std::string_view in) override {
    if (in.size() == kPing) {
      connection.Write(in);
    } else {
      flooded += in.size();
    }
    return in.size();
  }
};

// Two descriptors for each.
std::size_t AsManyAs(std::size_t wanted) {
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  return std::min<std::size_t>(wanted, (limit.rlim_cur - 100) / 2);
}

}  // namespace

TEST_CASE("a client among 1,000 that are always busy is served within turns that can be counted",
          "[net][real][fairness]") {
  RealLoop<Echo> it;
  const std::size_t count = AsManyAs(1000);
  std::vector<Client> busy;
  for (std::size_t i = 0; i < count; ++i) busy.push_back(it.ConnectAndOpen());
  it.RunUntilQuiet();
  std::vector<char> room(64);
  const auto turn = [&] {
    it.Turn();
    for (Client& client : busy) {  // whoever has its reply asks again
      if (::recv(client.fd(), room.data(), room.size(), MSG_DONTWAIT) > 0) client.Send("r");
    }
  };
  for (Client& client : busy) client.Send("r");
  for (int i = 0; i < 10; ++i) turn();

  // A wait takes up to kEventsPerTurn edges, first come first served: so within so many turns each
  // of those that were ready before has had its turn, and then the listener has; who is accepted is
  // read in the same turn.
  const std::size_t most = (count + Engine::kEventsPerTurn) / Engine::kEventsPerTurn + 1;
  for (int round = 0; round < 5; ++round) {
    Client first = it.Connect();
    Client second = it.Connect();
    first.Send("1");
    second.Send("2");
    std::size_t turns = 0;
    while ((first.received.empty() || second.received.empty()) && turns < 10 * most) {
      turn();
      ++turns;
      first.Receive();
      second.Receive();
    }
    CHECK(turns <= most);
    CHECK(first.received == "1");
    CHECK(second.received == "2");

    // And then, as an open connection, by its own edge.
    first.Send("x");
    turns = 0;
    while (first.received.size() < 2 && turns < 10 * most) {
      turn();
      ++turns;
      first.Receive();
    }
    CHECK(turns <= most);
    first.Reset();
    second.Reset();
  }
}

TEST_CASE("a flood takes its budget of each turn, and pings beside it are answered in theirs",
          "[net][real][fairness]") {
  const bool is_unix = GENERATE(false, true);
  const Options options{.read_chunk = 16 << 10, .read_budget = 64 << 10, .turn_budget = 256 << 10};
  RealLoop<Sink> it{
      options, is_unix ? "unix:@weir-fairness-" + std::to_string(::getpid()) : "tcp://127.0.0.1:0"};
  Client flood = it.ConnectAndOpen();
  std::vector<Client> pings;
  for (int i = 0; i < 8; ++i) pings.push_back(it.ConnectAndOpen());
  it.RunUntilQuiet();

  const std::string much(1 << 20, 'f');
  std::size_t most = 0;
  std::size_t all = 0;
  for (int i = 0; i < 200; ++i) {
    while (flood.TrySend(much) > 0) {
    }
    for (Client& ping : pings) ping.Send("ping");
    it.handler.flooded = 0;
    it.Turn();
    most = std::max(most, it.handler.flooded);
    all += it.handler.flooded;
    // One turn: all edges are served before anything that is owed, and nine fit in a wait.
    for (Client& ping : pings) {
      ping.Receive();
      REQUIRE(ping.received == "ping");
      ping.received.clear();
    }
  }
  // A visit begins only while less than read_budget is spent, and receives one chunk.
  CHECK(most < options.read_budget + options.read_chunk);
  CHECK(all >= 200 * options.read_chunk / 2);  // the flood, too, goes on
}

TEST_CASE("many floods share a turn's budget, and a ping beside them is answered in one turn",
          "[net][real][fairness]") {
  constexpr std::size_t kFloods = 20;
  const Options options{.read_chunk = 16 << 10, .read_budget = 64 << 10, .turn_budget = 128 << 10};
  RealLoop<Sink> it{options};
  std::vector<Client> floods;
  for (std::size_t i = 0; i < kFloods; ++i) floods.push_back(it.ConnectAndOpen());
  Client ping = it.ConnectAndOpen();
  it.RunUntilQuiet();

  const std::string much(1 << 20, 'f');
  std::size_t most = 0;
  for (int i = 0; i < 100; ++i) {
    for (Client& flood : floods) static_cast<void>(flood.TrySend(much));
    ping.Send("ping");
    it.handler.flooded = 0;
    it.Turn();
    most = std::max(most, it.handler.flooded);
    ping.Receive();
    REQUIRE(ping.received == "ping");
    ping.received.clear();
  }
  // An edge earns each one chunk; the owed list stops once turn_budget is spent.
  CHECK(most < kFloods * options.read_chunk + options.turn_budget + options.read_chunk);
  CHECK(most > options.turn_budget);
}

TEST_CASE("a flood of clients does not keep an open connection waiting", "[net][real][fairness]") {
  const Options options{.accepts_per_turn = 4};
  RealLoop<Echo> it{options};
  Client ping = it.ConnectAndOpen();
  it.RunUntilQuiet();
  std::vector<Client> crowd;
  for (int i = 0; i < 10; ++i) {
    for (int j = 0; j < 10; ++j) crowd.push_back(it.Connect());
    const int opens = it.handler.opens;
    ping.Send("p");
    it.Turn();
    CHECK(ping.Receive() == 1);
    CHECK(it.handler.opens - opens <= 2 * options.accepts_per_turn);
  }
  it.RunUntil([&] { return it.handler.opens == 101; });
}
