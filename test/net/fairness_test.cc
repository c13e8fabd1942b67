// Nobody starves: what one connection may take before the others have had their turn.

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.h"
#include "support/one_connection.h"

using weir::Connection;
using weir::ConnectionImpl;
using weir::Options;
using weir::test::Recorder;
using weir::test::ScriptedLoop;
using weir::test::ScriptedWire;

namespace {

constexpr std::size_t kChunk = 8;

// Some open, quiet connections. `order` is who was given data, by letter, one for each OnData.
struct Crowd {
  explicit Crowd(std::size_t count, Options options = {},
                 ScriptedWire::Traits traits = ScriptedWire::kTcp)
      : loop(WithChunk(options)) {
    handler.on_data = [this](Connection& connection, std::string_view in) {
      for (std::size_t i = 0; i < members.size(); ++i) {
        if (members[i] == &connection) order += static_cast<char>('a' + i);
      }
      return in.size();
    };
    for (std::size_t i = 0; i < count; ++i) {
      wires.push_back(std::make_unique<ScriptedWire>(traits));
      members.push_back(&loop.Open(*wires.back(), handler));
    }
    loop.RunUntilQuiet();
    order.clear();
    loop.poller.timeouts.clear();
  }
  static Options WithChunk(Options options) {
    options.read_chunk = kChunk;
    return options;
  }

  void Flood(std::size_t member, int pieces, std::size_t size = kChunk) {
    for (int i = 0; i < pieces; ++i) wires[member]->WillReceive(std::string(size, 'x'));
    Report(member);
  }
  void Report(std::size_t member) { loop.poller.Report(members[member]->token, EPOLLIN); }
  std::string TakeOrder() { return std::exchange(order, {}); }

  Recorder handler;
  std::vector<std::unique_ptr<ScriptedWire>> wires;
  ScriptedLoop loop;
  std::vector<ConnectionImpl*> members;
  std::string order;
};

}  // namespace

TEST_CASE("an edge earns one receive, then the others come", "[net][fairness]") {
  Crowd it(3);
  for (std::size_t i = 0; i < 3; ++i) it.Flood(i, 3);
  it.loop.Turn();
  CHECK(it.order == "abcabcabc");  // first in, first out
}

TEST_CASE("one connection takes at most read_budget of a turn", "[net][fairness]") {
  Crowd it(1, {.read_budget = 3 * kChunk});
  it.Flood(0, 7);
  it.loop.Turn();
  CHECK(it.TakeOrder() == "aaa");
  it.loop.Turn();
  CHECK(it.TakeOrder() == "aaa");
  it.loop.Turn();
  CHECK(it.TakeOrder() == "a");
}

TEST_CASE("the owed list takes at most turn_budget of a turn", "[net][fairness]") {
  Crowd it(4, {.read_budget = 100 * kChunk, .turn_budget = 2 * kChunk});
  for (std::size_t i = 0; i < 4; ++i) it.Flood(i, 3);
  it.loop.Turn();
  CHECK(it.TakeOrder() == "abcdab");  // an edge's receive is no owed one
  it.loop.Turn();
  CHECK(it.TakeOrder() == "cd");  // and who waits goes on first
  it.loop.Turn();
  CHECK(it.TakeOrder() == "ab");
}

TEST_CASE("whoever has spent its budget does not cut short the budget of others",
          "[net][fairness]") {
  // On a Unix socket every receive earns the next, so that small ones and full ones mix.
  Crowd it(2, {.read_budget = kChunk}, ScriptedWire::kUnix);
  it.Flood(0, 2);
  it.Flood(1, 20, 1);
  it.loop.Turn();
  CHECK(it.order == "a" + std::string(kChunk, 'b'));
}

TEST_CASE("between its owed turns the loop polls, and does not wait", "[net][fairness]") {
  Crowd it(1, {.read_budget = kChunk});
  it.Flood(0, 4);
  for (int i = 0; i < 6; ++i) it.loop.loop->RunOnce(weir::Duration::max());
  CHECK(it.loop.poller.timeouts == std::vector<int>{-1, 0, 0, 0, 0, -1});
}

TEST_CASE("a neighbour of floods is served in the turn of its edge", "[net][fairness]") {
  Crowd it(5, {.read_budget = 4 * kChunk, .turn_budget = 8 * kChunk});
  for (std::size_t i = 0; i < 4; ++i) it.Flood(i, 200);
  for (int round = 0; round < 20; ++round) {
    it.Flood(4, 1, 2);  // a small request
    it.loop.Turn();
    const std::string order = it.TakeOrder();
    CHECK(order.find('e') != std::string::npos);
    CHECK(order.find('e') <= 4);
  }
}

TEST_CASE("floods share a turn equally", "[net][fairness]") {
  Crowd it(3, {.read_budget = 100 * kChunk, .turn_budget = 30 * kChunk});
  for (std::size_t i = 0; i < 3; ++i) it.Flood(i, 100);
  for (int i = 0; i < 5; ++i) {
    it.loop.Turn();
    const std::string order = it.TakeOrder();
    const auto first = std::count(order.begin(), order.end(), 'a');
    const auto last = std::count(order.begin(), order.end(), 'c');
    CHECK(first - last <= 1);
    CHECK(last - first <= 1);
  }
}

TEST_CASE("an edge for a connection that is owed only leaves its mark", "[net][fairness]") {
  Crowd it(2, {.read_budget = kChunk});
  it.Flood(0, 4);
  it.loop.Turn();
  CHECK(it.TakeOrder() == "a");
  it.Report(0);
  it.Flood(1, 1);
  it.loop.Turn();
  CHECK(it.TakeOrder() == "ba");  // in its turn, once
}

TEST_CASE("two connections that resume each other let a turn end", "[net][fairness]") {
  Crowd it(2, {.turn_budget = 100 * kChunk});
  int calls = 0;
  it.handler.on_data = [&](Connection& connection, std::string_view) {
    ConnectionImpl* const other = it.members[&connection == it.members[0] ? 1 : 0];
    other->PauseRead();
    other->ResumeRead();
    if (++calls > 10'000) connection.Abort();  // a turn without an end
    return std::size_t{0};
  };
  it.Flood(0, 1);
  it.Flood(1, 1);
  it.loop.Turn();
  CHECK(calls < 200);
  CHECK(it.loop.HasWork());
}
