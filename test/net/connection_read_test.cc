// Reading under edge-triggered epoll: whatever ends a turn, no byte may be left for which no event will
// ever come again. The wire is scripted, so that each trap is set on purpose rather than met by luck;
// test/net/real_*_test.cc set the same traps on real sockets.

#include "support/catch.h"
#include "support/one_connection.h"

using weir::CloseReason;
using weir::test::OneConnection;
using weir::test::ScriptedWire;

TEST_CASE("a connection that fills its receive is owed another turn", "[net][read]") {
  OneConnection it{{.read_chunk = 8, .read_budget = 8}};
  it.wire.WillReceive("01234567").WillReceive("89abcdef").WillReceive("!");

  it.RaiseEdge();  // the only edge there will be

  SECTION("it stops after one receive, so that its neighbours are served") {
    CHECK(it.handler.text == "01234567");
    CHECK(it.HasWork());
  }
  SECTION("and it finishes in later turns, with no second edge") {
    it.RunUntilQuiet();
    CHECK(it.handler.text == "0123456789abcdef!");
  }
}

TEST_CASE("a short receive on TCP is not followed by another", "[net][read]") {
  OneConnection it;
  it.wire.WillReceive("hello");

  it.RaiseEdge();
  it.RunUntilQuiet();

  CHECK(it.wire.receives == 1);
}

TEST_CASE("a hang-up that came together with the last bytes is noticed", "[net][read]") {
  const std::size_t chunk = GENERATE(std::size_t{64}, std::size_t{2});  // one receive, or two
  OneConnection it{{.read_chunk = chunk}};
  it.wire.WillReceive("bye").ThenEnd();

  it.RaiseEdge({.readable = true, .peer_ended = true});
  it.RunUntilQuiet();

  CHECK(it.handler.text == "bye");
  CHECK(it.handler.ends == 1);
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kPeerEnd);
  CHECK_FALSE(it.handler.closed_with);  // a FIN is not an error
}
