// TCP's urgent byte, which is not in the stream but stops those who read it.

#include "simulation/conformance/watched.h"
#include "support/catch.h"

using weir::sim::conformance::Family;
using weir::sim::conformance::kInEdges;

namespace {

struct Watched : weir::sim::conformance::Watched {
  explicit Watched(std::uint32_t events = kInEdges | EPOLLPRI)
      : weir::sim::conformance::Watched(Family::kTcp, events) {}

  std::string ClientSendsUrgent(std::string_view bytes) {
    return it.SendUrgent(pair.client, bytes);
  }
};

}  // namespace

TEST_CASE("an urgent byte alone is PRI, and nothing to read", "[conformance][urgent]") {
  Watched it;
  CHECK(it.ClientSendsUrgent("!") == "1");

  CHECK(it.Wait() == "server PRI");
  CHECK(it.it.Unread(it.pair.server) == "0");
  CHECK(it.Recv() == "EAGAIN");
  CHECK(it.it.Poll(it.pair.server) == "OUT|WRNORM");
}

TEST_CASE("an urgent byte is told to nobody who did not ask", "[conformance][urgent]") {
  Watched it(kInEdges);
  it.ClientSendsUrgent("!");

  CHECK(it.Wait() == "nothing");
}

TEST_CASE("a receive stops in front of an urgent byte, and the next one skips it",
          "[conformance][urgent]") {
  Watched it;
  it.ClientSends("before");
  it.ClientSendsUrgent("!");
  it.ClientSends("behind");

  CHECK(it.Wait() == "server IN|PRI");
  CHECK(it.it.Unread(it.pair.server) == "6");
  CHECK(it.Recv() == "'before'");
  CHECK(it.it.Unread(it.pair.server) == "0");
  CHECK(it.it.Poll(it.pair.server) == "IN|PRI|OUT|RDNORM|WRNORM");
  CHECK(it.Wait() == "nothing");
  CHECK(it.Recv() == "'behind'");
  CHECK(it.it.Poll(it.pair.server) == "OUT|WRNORM");
}

TEST_CASE("the last byte of an urgent send is the urgent one", "[conformance][urgent]") {
  Watched it;
  CHECK(it.ClientSendsUrgent("abc!") == "4");

  CHECK(it.it.Unread(it.pair.server) == "3");
  CHECK(it.Recv(2) == "'ab'");
  CHECK(it.Recv() == "'c'");
  CHECK(it.it.Poll(it.pair.server) == "PRI|OUT|WRNORM");
  CHECK(it.Recv() == "EAGAIN");
}

TEST_CASE("data behind a lone urgent byte is an edge with IN", "[conformance][urgent]") {
  Watched it;
  it.ClientSendsUrgent("!");
  it.Wait();

  it.ClientSends("x");

  CHECK(it.Wait() == "server IN|PRI");
  CHECK(it.Recv() == "'x'");
}

TEST_CASE("an urgent byte that was skipped makes room for another", "[conformance][urgent]") {
  Watched it;
  it.ClientSends("a");
  it.ClientSendsUrgent("!");
  it.ClientSends("b");
  CHECK(it.Recv() == "'a'");
  CHECK(it.Recv() == "'b'");
  it.Wait();

  it.ClientSendsUrgent("c?");

  CHECK(it.Wait() == "server IN|PRI");
  CHECK(it.Recv() == "'c'");
}

TEST_CASE("an urgent byte, data and FIN are all found", "[conformance][urgent]") {
  Watched it;
  it.ClientSends("AAAA");
  it.ClientSendsUrgent("!");
  it.ClientSends("BBBB");
  it.it.Shutdown(it.pair.client, SHUT_WR);

  CHECK(it.Wait() == "server IN|PRI|RDHUP");
  CHECK(it.Recv() == "'AAAA'");
  CHECK(it.Recv() == "'BBBB'");
  CHECK(it.Recv() == "''");
}

TEST_CASE("an urgent byte in front of a FIN is skipped by the receive that tells the end",
          "[conformance][urgent]") {
  Watched it;
  it.ClientSendsUrgent("!");
  it.it.Shutdown(it.pair.client, SHUT_WR);

  CHECK(it.Wait() == "server IN|PRI|RDHUP");
  CHECK(it.Recv() == "''");
  CHECK(it.it.Poll(it.pair.server) == "IN|OUT|RDNORM|WRNORM|RDHUP");
}

TEST_CASE("a close with nothing unread but an urgent byte resets the peer",
          "[conformance][urgent]") {
  Watched it;
  it.it.SendUrgent(it.pair.server, "!");
  it.it.Close(it.pair.client);

  CHECK(it.Wait() == "server IN|ERR|HUP|RDHUP");
}
