// Group commit: with Flush::kBatch, what OnBatchEnd makes durable is acknowledged only after it. So
// no byte may leave before it has returned, whatever its size and whichever way it was written.

#include <array>
#include <chrono>
#include <memory>
#include <random>
#include <string>

#include "support/catch.h"
#include "support/one_connection.h"

using namespace std::chrono_literals;
using weir::Connection;
using weir::EventLoop;
using weir::Flush;
using weir::Options;
using weir::test::OneConnection;
using weir::test::Recorder;
using weir::test::ScriptedLoop;
using weir::test::ScriptedWire;

namespace {

// Counts what has left at the end of each batch: by then nothing of that turn may have.
struct BatchLoop {
  Recorder handler;
  std::array<ScriptedWire, 3> wires;
  ScriptedLoop loop{Options{.flush = Flush::kBatch}};
  std::array<weir::ConnectionImpl*, 3> connections{};
  std::size_t written = 0;  // so far
  std::size_t allowed = 0;  // what had been written when OnBatchEnd last returned
  bool early = false;

  BatchLoop() {
    for (std::size_t i = 0; i < wires.size(); ++i) connections[i] = &loop.Open(wires[i], handler);
    loop.RunUntilQuiet();
    handler.on_batch_end = [this](EventLoop&) {
      early |= Sent() > allowed;
      allowed = written;
    };
  }

  [[nodiscard]] std::size_t Sent() const {
    std::size_t sum = 0;
    for (const ScriptedWire& wire : wires) sum += wire.sent.size();
    return sum;
  }
};

}  // namespace

TEST_CASE("in batch mode nothing leaves before OnBatchEnd, whatever its size", "[net][batch]") {
  const std::size_t size = GENERATE(std::size_t{1}, std::size_t{40'000}, std::size_t{5'000'000});
  OneConnection it{{.write_budget = 64 << 20, .high_water = 64 << 20, .flush = Flush::kBatch}};
  std::size_t sent_at_batch_end = 1;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    switch (GENERATE_COPY(0, 1, 2, 3)) {
      case 0:
        connection.Write(std::string(size, 'w'));
        break;
      case 1:
        connection.WriteOwned(std::string(size, 'o'));
        break;
      case 2:
        connection.WriteShared(std::make_shared<const std::string>(size, 's'));
        break;
      default: {
        const std::span<char> room = connection.Reserve(size);
        std::fill(room.begin(), room.end(), 'r');
        connection.Commit(size);
      }
    }
    connection.FlushNow();
    return in.size();
  };
  it.handler.on_batch_end = [&](EventLoop&) { sent_at_batch_end = it.wire.sent.size(); };

  it.wire.WillReceive("request");
  it.RaiseEdge();

  CHECK(sent_at_batch_end == 0);
  CHECK(it.wire.sent.size() == size);  // and in the same turn it leaves
}

TEST_CASE("what batch mode queued does not leave with an OUT edge", "[net][batch]") {
  OneConnection it{{.flush = Flush::kBatch}};
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    connection.Write(in);
    return in.size();
  };
  it.wire.WillTake(2).WillReceive("first");
  it.RaiseEdge();
  REQUIRE(it.wire.sent == "fi");  // and the socket is full

  std::string sent_at_batch_end = "?";
  it.handler.on_batch_end = [&](EventLoop&) { sent_at_batch_end = it.wire.sent; };
  it.wire.WillReceive("second");
  it.RaiseEdge({.readable = true, .writable = true});

  CHECK(sent_at_batch_end == "fi");
  CHECK(it.wire.sent == "firstsecond");
}

TEST_CASE("what a task writes in batch mode waits for OnBatchEnd, too", "[net][batch]") {
  OneConnection it{{.flush = Flush::kBatch}};
  std::string sent_at_batch_end = "?";
  it.handler.on_batch_end = [&](EventLoop&) { sent_at_batch_end = it.wire.sent; };
  it.loop->Post([&] { it.connection().Write("from a task"); });
  it.Turn();
  CHECK(sent_at_batch_end.empty());
  CHECK(it.wire.sent == "from a task");
}

TEST_CASE("what is written between two turns in batch mode waits for OnBatchEnd", "[net][batch]") {
  OneConnection it{{.flush = Flush::kBatch}};
  std::string sent_at_batch_end = "?";
  it.handler.on_batch_end = [&](EventLoop&) { sent_at_batch_end = it.wire.sent; };
  it.connection().Write(std::string(100'000, 'x'));
  CHECK(it.wire.sent.empty());
  it.Turn();
  CHECK(sent_at_batch_end.empty());
  CHECK(it.wire.sent.size() == 100'000);
}

TEST_CASE("SetFlush holds back what the callback has staged before", "[net][batch]") {
  OneConnection it;
  std::string sent_at_batch_end = "?";
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    connection.Write("staged ");
    connection.SetFlush(Flush::kBatch);
    connection.Write("queued");
    return in.size();
  };
  it.handler.on_batch_end = [&](EventLoop&) { sent_at_batch_end = it.wire.sent; };
  it.wire.WillReceive("x");
  it.RaiseEdge();
  CHECK(sent_at_batch_end.empty());
  CHECK(it.wire.sent == "staged queued");

  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    connection.SetFlush(Flush::kCallback);
    connection.Write(" and back");
    return in.size();
  };
  it.wire.WillReceive("y");
  it.RaiseEdge();
  CHECK(sent_at_batch_end == "staged queued and back");
}

TEST_CASE("closing in batch mode sends what is queued, after OnBatchEnd, then FIN",
          "[net][batch]") {
  OneConnection it{{.flush = Flush::kBatch}};
  std::string sent_at_batch_end = "?";
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    connection.Write("bye");
    connection.Close();
    return in.size();
  };
  it.handler.on_batch_end = [&](EventLoop&) {
    if (sent_at_batch_end == "?") sent_at_batch_end = it.wire.sent + (it.wire.fin ? " fin" : "");
  };
  it.wire.WillReceive("x");
  it.RaiseEdge();
  it.RunUntilQuiet();
  CHECK(sent_at_batch_end.empty());
  CHECK(it.wire.sent == "bye");
  CHECK(it.wire.fin);
  CHECK(it.handler.closes == 1);
}

TEST_CASE("no byte of any connection leaves early, over random turns", "[net][batch]") {
  BatchLoop it;
  std::mt19937 random(GENERATE(1U, 2U, 3U, 4U));
  const auto below = [&](std::size_t n) { return std::size_t{random()} % n; };
  it.handler.on_data = [&](Connection&, std::string_view in) {
    // Anybody may be written to from anybody's callback.
    Connection& to = *it.connections[below(3)];
    const std::size_t size = below(below(4) == 0 ? 100'000 : 500) + 1;
    switch (below(4)) {
      case 0:
        to.Write(std::string(size, 'w'));
        break;
      case 1:
        to.WriteOwned(std::string(size, 'o'));
        break;
      case 2:
        to.WriteShared(std::make_shared<const std::string>(size, 's'));
        break;
      default:
        to.Writev({std::string_view(std::string(size, 'v'))});
        break;
    }
    it.written += size;
    if (below(3) == 0) to.FlushNow();
    return in.size();
  };
  for (int turn = 0; turn < 1000; ++turn) {
    for (std::size_t i = 0; i < 3; ++i) {
      if (below(2) == 0) it.wires[i].WillTake(below(50'000));
      if (below(2) == 0) continue;
      it.wires[i].WillReceive("x");
      it.loop.poller.Report(it.connections[i]->token, EPOLLIN | (below(2) == 0 ? EPOLLOUT : 0U));
    }
    it.loop.Turn();
    REQUIRE_FALSE(it.early);
    REQUIRE(it.Sent() <= it.allowed);
  }
}
