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
using weir::test::OneConnection;
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

// ---- A visit that asks for another before it has received

namespace {

constexpr std::uint32_t kStraight = EPOLLIN;
constexpr std::uint32_t kRefused = EPOLLIN | EPOLLRDNORM;  // by the straight path

// So many receives that fill the buffer are one read budget.
Options Budget(int receives, std::size_t write_budget = 1 << 20) {
  return {.read_chunk = kChunk,
          .read_budget = static_cast<std::size_t>(receives) * kChunk,
          .write_budget = write_budget,
          .max_input = kChunk / 2,
          .high_water = 2,
          .low_water = 1};
}

// A flood comes with these bits. In each turn there is one read budget of it, and no more.
void CheckTurns(OneConnection& it, std::uint32_t bits, int receives) {
  constexpr int kTurns = 5;
  for (int i = 0; i < kTurns * receives; ++i) it.wire.WillReceive(std::string(kChunk, 'x'));
  it.poller.Report(it.token(), bits);
  for (int turn = 1; turn <= kTurns; ++turn) {
    it.Turn();
    CHECK(it.wire.receives == turn * receives);
    CHECK(it.HasWork());
  }
}

}  // namespace

TEST_CASE("a visit whose write budget is spent before it reads reads once in this turn",
          "[net][fairness]") {
  Options options = Budget(GENERATE(1, 3), 4);
  options.auto_pause = false;
  OneConnection it{options};
  it.wire.WillTake(0);
  it.connection().Write(std::string(1000, 'o'));
  it.RunUntilQuiet();
  CheckTurns(it, EPOLLIN | EPOLLOUT, 1);
  CHECK(it.wire.sent.size() == 5 * 4);
}

TEST_CASE("a visit that brings relief before it reads gets one read budget", "[net][fairness]") {
  const int receives = GENERATE(1, 3);
  Options options = Budget(receives);
  options.auto_pause = false;
  OneConnection it{options};
  it.wire.WillTake(0);
  it.connection().Write("out");
  it.RunUntilQuiet();
  CheckTurns(it, EPOLLIN | EPOLLOUT, receives);
  CHECK(it.handler.drains == 1);
}

TEST_CASE("a connection that closes in OnDrain discards one read budget a turn",
          "[net][fairness]") {
  const int receives = GENERATE(1, 3);
  OneConnection it{Budget(receives)};
  it.handler.on_drain = [](Connection& connection) { connection.Close(); };
  it.wire.WillTake(0);
  it.connection().Write("out");
  it.RunUntilQuiet();
  CheckTurns(it, EPOLLIN | EPOLLOUT, receives);
  CHECK(it.handler.calls == std::vector<std::string>{"drain", "close", "batch"});
}

TEST_CASE("a connection that OnData ends discards one read budget a turn", "[net][fairness]") {
  const std::uint32_t bits = GENERATE(kStraight, kRefused);
  const int receives = GENERATE(1, 3);
  CAPTURE(bits, receives);
  OneConnection it{Budget(receives)};
  const std::string how = GENERATE("leaves too much", "closes", "rejects", "throws");
  CAPTURE(how);
  it.handler.on_data = [&](Connection& connection, std::string_view in) -> std::size_t {
    if (how == "closes") connection.Close();
    if (how == "rejects") return weir::Handler::kReject;
    if (how == "throws") throw 7;
    return how == "leaves too much" ? 0 : in.size();
  };
  CheckTurns(it, bits, receives);
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason != weir::CloseReason::kError);
}

TEST_CASE("a connection that resumes in OnData gets one read budget a turn", "[net][fairness]") {
  const std::uint32_t bits = GENERATE(kStraight, kRefused);
  const int receives = GENERATE(1, 3);
  CAPTURE(bits, receives);
  OneConnection it{Budget(receives)};
  it.handler.on_data = [](Connection& connection, std::string_view in) {
    connection.PauseRead();
    connection.ResumeRead();
    return in.size();
  };
  CheckTurns(it, bits, receives);
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

TEST_CASE("whoever is drained after his visit has one read budget more in that turn",
          "[net][fairness]") {
  Crowd it(2, {.read_budget = 2 * kChunk});
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    if (&connection == it.members[1]) {
      for (int i = 0; i < 4; ++i) it.wires[0]->WillReceive(std::string(kChunk, 'x'));
      connection.Loop().DrainAll();
    }
    return in.size();
  };
  it.Flood(0, 1, kChunk - 1);  // short: with that its visit is over
  it.Flood(1, 1, kChunk - 1);
  it.wires[0]->receives = 0;
  it.loop.Turn();
  CHECK(it.wires[0]->receives == 1 + 2);
  it.loop.Turn();
  CHECK(it.wires[0]->receives == 1 + 4);
  it.loop.RunUntilQuiet();
  CHECK(it.handler.closes == 2);
}
