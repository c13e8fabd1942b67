// Every way to write, in one order, and how a writer hears that the peer does not keep up.

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "support/catch.h"
#include "support/death.h"
#include "support/one_connection.h"
#include "support/real_loop.h"

using weir::Connection;
using weir::Options;
using weir::test::Aborts;
using weir::test::Client;
using weir::test::OneConnection;
using weir::test::RealLoop;
using weir::test::Recorder;
using weir::test::ScriptedLoop;
using weir::test::ScriptedWire;

namespace {

// Runs `body` inside an OnData of the connection.
template <class Body>
void InCallback(OneConnection& it, Body body) {
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    body(connection);
    return in.size();
  };
  it.wire.WillReceive("x");
  it.RaiseEdge();
}

}  // namespace

TEST_CASE("all ways to write keep one order, and one callback is one send", "[net][output]") {
  OneConnection it;
  const auto shared = std::make_shared<const std::string>(3000, 's');
  InCallback(it, [&](Connection& connection) {
    connection.Write("a");
    connection.WriteOwned("bb");
    connection.WriteOwned(std::string(4000, 'o'));
    connection.Writev({"c", "dd", "eee"});
    connection.WriteShared(shared);
    const std::span<char> room = connection.Reserve(10);
    REQUIRE(room.size() == 10);
    std::fill_n(room.begin(), 4, 'r');
    connection.Commit(4);
    connection.Write("z");
  });
  CHECK(it.wire.sent == "abb" + std::string(4000, 'o') + "cddeee" + *shared + "rrrrz");
  CHECK(it.wire.sends == 1);
  CHECK(it.core().buffers.bytes_in_use() == 0);
  CHECK(it.core().contexts.in_use() == 0);
}

TEST_CASE("a large write to another connection leaves alone what this callback has staged",
          "[net][output]") {
  Recorder neighbour;
  ScriptedWire neighbours_wire;
  OneConnection it;
  Connection& other = it.Open(neighbours_wire, neighbour);
  it.RunUntilQuiet();
  InCallback(it, [&](Connection& connection) {
    connection.Write("mine");
    other.Write(std::string(40'000, 'n'));
    connection.Write(" too");
  });
  CHECK(it.wire.sent == "mine too");
  CHECK(neighbours_wire.sent.size() == 40'000);
}

TEST_CASE("a shared string is one buffer for many connections, until its last byte",
          "[net][output]") {
  Recorder handler;
  std::vector<ScriptedWire> wires(10);
  ScriptedLoop it;
  std::vector<weir::ConnectionImpl*> connections;
  for (ScriptedWire& wire : wires) {
    wire.WillTake(0);  // the socket is full
    connections.push_back(&it.Open(wire, handler));
  }
  it.RunUntilQuiet();
  auto text = std::make_shared<const std::string>(50'000, 't');
  for (weir::ConnectionImpl* connection : connections) REQUIRE(connection->WriteShared(text));
  CHECK(text.use_count() == 11);
  it.RunUntilQuiet();
  CHECK(text.use_count() == 11);
  CHECK(it.core().buffers.bytes_in_use() == 0);  // no copy anywhere

  for (weir::ConnectionImpl* connection : connections) {
    it.poller.Report(connection->token, EPOLLOUT);
  }
  it.RunUntilQuiet();
  CHECK(text.use_count() == 1);
  for (const ScriptedWire& wire : wires) CHECK(wire.sent == *text);
}

TEST_CASE("closing gives back what was to be sent", "[net][output]") {
  OneConnection it;
  auto text = std::make_shared<const std::string>(50'000, 't');
  it.wire.WillTake(0).WillTake(0);
  it.connection().WriteShared(text);
  it.connection().WriteOwned(std::string(5000, 'o'));
  it.connection().Write("copied");
  CHECK(text.use_count() == 2);
  it.connection().Abort();
  it.RunUntilQuiet();
  CHECK(text.use_count() == 1);
  CHECK(it.handler.closes == 1);
}

TEST_CASE("random writes of all kinds and random sends give the same stream", "[net][output]") {
  OneConnection it{{.high_water = 1 << 30}};
  std::mt19937 random(GENERATE(21U, 22U, 23U));
  const auto below = [&](std::size_t n) { return std::size_t{random()} % n; };
  std::string expected;
  unsigned char next = 0;
  const auto make = [&] {
    static constexpr std::size_t kSizes[] = {10, 1000, 3000, 10'000, 40'000};
    std::string made(below(kSizes[below(5)]), '\0');
    for (char& c : made) c = static_cast<char>(next++);
    expected += made;
    return made;
  };
  const auto write = [&](Connection& connection) {
    std::string text = make();
    switch (below(6)) {
      case 0:
        REQUIRE(connection.Write(text));
        break;
      case 1:
        REQUIRE(connection.WriteOwned(std::move(text)));
        break;
      case 2:
        REQUIRE(connection.WriteShared(std::make_shared<const std::string>(text)));
        break;
      case 3: {
        const std::string_view view = text;
        const std::size_t cut = below(view.size() + 1);
        REQUIRE(connection.Writev({view.substr(0, cut), view.substr(cut)}));
        break;
      }
      case 4: {
        const std::span<char> room = connection.Reserve(text.size() + below(100));
        std::copy(text.begin(), text.end(), room.begin());
        if (!room.empty()) connection.Commit(text.size());
        break;
      }
      default:
        REQUIRE(connection.Write(text));
        connection.FlushNow();
    }
  };
  for (int step = 0; step < 800; ++step) {
    for (std::size_t i = below(3); i > 0; --i) it.wire.WillTake(below(30'000));
    if (below(3) == 0) {
      write(it.connection());
    } else {
      InCallback(it, [&](Connection& connection) {
        for (std::size_t i = below(4); i > 0; --i) write(connection);
      });
    }
    if (below(2) == 0) it.RaiseEdge({.writable = true});
    REQUIRE(it.wire.sent.size() + it.connection().Pending() == expected.size());
  }
  for (int i = 0; i < 10'000 && it.connection().Pending() > 0; ++i)
    it.RaiseEdge({.writable = true});
  CHECK((it.wire.sent == expected));
}

TEST_CASE("what is reserved and not committed never was", "[net][output]") {
  OneConnection it;
  InCallback(it, [&](Connection& connection) {
    connection.Write("a");
    static_cast<void>(connection.Reserve(100));
    connection.Write("b");
    std::span<char> room = connection.Reserve(100'000);  // larger than the staging buffer
    REQUIRE(room.size() == 100'000);
    room[0] = 'c';
    connection.Commit(1);
    room = connection.Reserve(5);
    connection.Commit(0);
  });
  CHECK(it.wire.sent == "abc");
}

TEST_CASE("what is committed after the end is not sent", "[net][output]") {
  OneConnection it;
  InCallback(it, [&](Connection& connection) {
    const std::span<char> room = connection.Reserve(5);
    std::fill(room.begin(), room.end(), 'x');
    connection.ShutdownWrite();
    connection.Commit(5);
  });
  it.RunUntilQuiet();
  CHECK(it.wire.sent.empty());
  CHECK(it.wire.fin);
}

TEST_CASE("a reservation ends with its callback", "[net][output]") {
  CHECK(Aborts([] {
    OneConnection it;  // the child's own: it may not run another's loop
    InCallback(it, [](Connection& connection) { static_cast<void>(connection.Reserve(10)); });
    it.connection().Commit(1);
  }));
}

TEST_CASE("a commit without its reservation fails a check", "[net][output]") {
  CHECK(Aborts([] { OneConnection().connection().Commit(1); }));
  CHECK(Aborts([] {
    OneConnection it;
    static_cast<void>(it.connection().Reserve(10));
    it.connection().Commit(11);
  }));
  CHECK(Aborts([] {
    OneConnection it;
    InCallback(it, [](Connection& connection) {
      static_cast<void>(connection.Reserve(10));
      connection.Write("in between");
      connection.Commit(1);
    });
  }));
}

TEST_CASE("no way to write takes anything once output is over", "[net][output]") {
  OneConnection it;
  const int end = GENERATE(0, 1, 2);
  Connection& connection = it.connection();
  if (end == 0) connection.Close();
  if (end == 1) connection.Abort();
  if (end == 2) connection.ShutdownWrite();
  CHECK_FALSE(connection.Write("x"));
  CHECK_FALSE(connection.WriteOwned(std::string(5000, 'x')));
  CHECK_FALSE(connection.WriteShared(std::make_shared<const std::string>(5000, 'x')));
  CHECK_FALSE(connection.Writev({"x", "y"}));
  CHECK_FALSE(connection.Writev({}));
  CHECK(connection.Reserve(10).empty());
  CHECK(connection.Pending() == 0);
}

TEST_CASE("OnDrain comes once for each crossing, from the owed list", "[net][backpressure]") {
  OneConnection it{{.high_water = 1000, .low_water = 100}};
  it.wire.WillTake(0);
  it.connection().Write(std::string(900, 'a'));
  it.RunUntilQuiet();
  CHECK_FALSE(it.connection().Congested());
  it.connection().Write(std::string(200, 'b'));
  CHECK(it.connection().Congested());
  CHECK(it.handler.drains == 0);

  it.wire.WillTake(500);
  it.RaiseEdge({.writable = true});
  it.RunUntilQuiet();
  CHECK(it.connection().Pending() == 600);  // below high, above low
  CHECK(it.connection().Congested());
  CHECK(it.handler.drains == 0);

  it.wire.WillTake(550);
  it.RaiseEdge({.writable = true});
  it.RunUntilQuiet();
  CHECK(it.handler.drains == 1);
  CHECK_FALSE(it.connection().Congested());
  it.RaiseEdge({.writable = true});
  it.RunUntilQuiet();
  CHECK(it.handler.drains == 1);

  it.wire.WillTake(0);
  it.connection().Write(std::string(2000, 'c'));
  it.RunUntilQuiet();
  it.RaiseEdge({.writable = true});
  it.RunUntilQuiet();
  CHECK(it.handler.drains == 2);
}

TEST_CASE("a crossing within one callback, all sent at its end, drains too",
          "[net][backpressure]") {
  OneConnection it{{.high_water = 1000, .low_water = 100}};
  bool congested = false;
  InCallback(it, [&](Connection& connection) {
    connection.Write(std::string(1001, 'a'));
    congested = connection.Congested();
  });
  it.RunUntilQuiet();
  CHECK(congested);  // a codec has stopped on it, and waits
  CHECK(it.handler.drains == 1);
}

TEST_CASE("OnDrain may write, and go above high water again", "[net][backpressure]") {
  OneConnection it{{.high_water = 1000, .low_water = 100}};
  int left = 5;
  it.handler.on_drain = [&](Connection& connection) {
    if (--left > 0) connection.Write(std::string(2000, 'd'));
  };
  it.connection().Write(std::string(2000, 'd'));
  it.RunUntilQuiet();
  CHECK(left == 0);
  CHECK(it.wire.sent.size() == 5 * 2000);
}

TEST_CASE("OnDrain does not come after Close", "[net][backpressure]") {
  OneConnection it{{.high_water = 1000, .low_water = 100}};
  it.wire.WillTake(0);
  it.connection().Write(std::string(2000, 'd'));
  it.RunUntilQuiet();
  it.connection().Close();
  it.RaiseEdge({.writable = true});
  it.RunUntilQuiet();
  CHECK(it.handler.drains == 0);
  CHECK(it.handler.closes == 1);
}

TEST_CASE("a real slow reader is told by OnDrain, and gets every byte", "[net][backpressure]") {
  RealLoop<> it{Options{.high_water = 100'000, .low_water = 10'000, .send_buffer = 8192}};
  std::string expected;
  int chunks = 0;
  const auto fill = [&](Connection& connection) {
    while (!connection.Congested() && chunks < 200) {
      std::string chunk(10'000, static_cast<char>('a' + chunks % 26));
      expected += chunk;
      ++chunks;
      chunks % 2 == 0 ? connection.WriteOwned(std::move(chunk)) : connection.Write(chunk);
    }
    if (chunks == 200) connection.Close();
  };
  it.handler.on_open = fill;
  it.handler.on_drain = fill;
  Client client = it.ConnectAndOpen(8192);
  std::size_t most = 0;
  it.RunUntil([&] {
    if (it.handler.last != nullptr) most = std::max(most, it.handler.last->Pending());
    client.Receive();
    return client.ended;
  });
  CHECK((client.received == expected));
  CHECK(most <= 110'000);
  CHECK(it.handler.drains >= 3);
}
