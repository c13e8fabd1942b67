// How a TCP connection ends, and what is told of it: FIN, RST, shutdown, close.

#include "simulation/conformance/watched.h"
#include "support/catch.h"

using weir::sim::conformance::Family;
using weir::sim::conformance::kAllEdges;
using weir::sim::conformance::kInEdges;
using weir::sim::conformance::Lockstep;
using weir::sim::conformance::Pair;

namespace {

struct Watched : weir::sim::conformance::Watched {
  explicit Watched(std::uint32_t events = kInEdges)
      : weir::sim::conformance::Watched(Family::kTcp, events) {}

  void ClientResets() {
    it.LingerNot(pair.client);
    it.Close(pair.client);
  }
  std::string Error() { return it.Error(pair.server); }
};

}  // namespace

// ---- FIN

TEST_CASE("on TCP, data and FIN before a look are one edge", "[conformance][tcp][end]") {
  Watched it;
  it.ClientSends("bye");
  it.it.Shutdown(it.pair.client, SHUT_WR);

  CHECK(it.Wait() == "server IN|RDHUP");
  CHECK(it.Recv() == "'bye'");
  CHECK(it.Recv() == "''");
  CHECK(it.Recv() == "''");
}

TEST_CASE("on TCP, a FIN alone is an edge with IN", "[conformance][tcp][end]") {
  Watched it;
  it.it.Shutdown(it.pair.client, SHUT_WR);

  CHECK(it.Wait() == "server IN|RDHUP");
  CHECK(it.Recv() == "''");
  CHECK(it.Wait() == "nothing");
  CHECK(it.it.Unread(it.pair.server) == "0");
}

TEST_CASE("on TCP, a close with nothing unread is a FIN", "[conformance][tcp][end]") {
  Watched it(kAllEdges);
  it.it.Close(it.pair.client);

  CHECK(it.Wait() == "server IN|OUT|RDHUP");
  CHECK(it.it.Poll(it.pair.server) == "IN|OUT|RDNORM|WRNORM|RDHUP");
  CHECK(it.Recv() == "''");
  CHECK(it.Error() == "0");
}

TEST_CASE("on TCP, the second FIN hangs both ends up", "[conformance][tcp][end]") {
  Watched it;
  it.it.Watch(it.epoll, it.pair.client, kInEdges);

  SECTION("the client's came first") {
    it.it.Shutdown(it.pair.client, SHUT_WR);
    CHECK(it.Wait() == "server IN|RDHUP");
    it.it.Shutdown(it.pair.server, SHUT_WR);
  }
  SECTION("the server's came first") {
    it.it.Shutdown(it.pair.server, SHUT_WR);
    CHECK(it.Wait() == "client IN|RDHUP");
    it.it.Shutdown(it.pair.client, SHUT_WR);
  }
  CHECK(it.Wait() == "client IN|HUP|RDHUP, server IN|HUP|RDHUP");
  CHECK(it.Error() == "0");
  CHECK(it.Send("x") == "EPIPE");
  CHECK(it.Recv() == "''");
}

TEST_CASE("on TCP, a half-closed connection carries bytes the other way",
          "[conformance][tcp][end]") {
  Watched it;
  it.it.Shutdown(it.pair.server, SHUT_WR);

  CHECK(it.Wait() == "nothing");
  CHECK(it.ClientSends("still") == "5");
  CHECK(it.Wait() == "server IN");
  CHECK(it.Recv() == "'still'");
  CHECK(it.Send("x") == "EPIPE");
}

TEST_CASE("on TCP, an own shutdown wakes the own epoll", "[conformance][tcp][end]") {
  Watched it(kAllEdges);

  SECTION("for writing") {
    it.it.Shutdown(it.pair.server, SHUT_WR);
    CHECK(it.Wait() == "server OUT");
  }
  SECTION("for reading") {
    it.it.Shutdown(it.pair.server, SHUT_RD);
    CHECK(it.Wait() == "server IN|OUT|RDHUP");
    CHECK(it.Recv() == "''");
  }
  SECTION("for both") {
    it.it.Shutdown(it.pair.server, SHUT_RDWR);
    CHECK(it.Wait() == "server IN|OUT|HUP|RDHUP");
    CHECK(it.Send("x") == "EPIPE");
    CHECK(it.Recv() == "''");
  }
  SECTION("a second time, too") {
    it.it.Shutdown(it.pair.server, SHUT_WR);
    it.Wait();
    CHECK(it.it.Shutdown(it.pair.server, SHUT_WR) == "0");
    CHECK(it.Wait() == "server OUT");
  }
}

TEST_CASE("on TCP, what arrives after an own SHUT_RD can be read", "[conformance][tcp][end]") {
  Watched it;
  it.it.Shutdown(it.pair.server, SHUT_RD);
  it.Wait();

  it.ClientSends("still");

  CHECK(it.Wait() == "server IN|RDHUP");
  CHECK(it.Recv() == "'still'");
  CHECK(it.Recv() == "''");
}

TEST_CASE("on TCP, data to one who shut both ways down resets both", "[conformance][tcp][end]") {
  Watched it;
  it.it.Shutdown(it.pair.server, SHUT_RDWR);
  it.Wait();

  it.ClientSends("unwanted");

  CHECK(it.Wait() == "server IN|ERR|HUP|RDHUP");
  CHECK(it.Error() == "ECONNRESET");
  CHECK(it.it.Error(it.pair.client) == "EPIPE");
}

// ---- RST

TEST_CASE("on TCP, a close with unread bytes resets the peer", "[conformance][tcp][end]") {
  Watched it;
  it.Send("unread");
  it.it.Close(it.pair.client);

  CHECK(it.Wait() == "server IN|ERR|HUP|RDHUP");
  CHECK(it.Recv() == "ECONNRESET");
  CHECK(it.Recv() == "''");
}

TEST_CASE("on TCP, a close without linger resets the peer", "[conformance][tcp][end]") {
  Watched it(kAllEdges);
  it.ClientResets();

  CHECK(it.Wait() == "server IN|OUT|ERR|HUP|RDHUP");
  CHECK(it.Error() == "ECONNRESET");
  CHECK(it.Wait() == "nothing");
  CHECK(it.it.Poll(it.pair.server) == "IN|OUT|HUP|RDNORM|WRNORM|RDHUP");
  CHECK(it.Error() == "0");
}

TEST_CASE("on TCP, what arrived before a reset can be read", "[conformance][tcp][end]") {
  Watched it;
  it.ClientSends("last words");
  it.ClientResets();

  CHECK(it.Wait() == "server IN|ERR|HUP|RDHUP");
  CHECK(it.it.Unread(it.pair.server) == "10");
  CHECK(it.Recv(4) == "'last'");
  CHECK(it.Recv() == "' words'");
  CHECK(it.Recv() == "ECONNRESET");
  CHECK(it.Recv() == "''");
}

TEST_CASE("on TCP, a reset after a FIN is EPIPE, and no receive tells", "[conformance][tcp][end]") {
  Watched it;
  it.Send("will not be read");
  it.ClientSends("bye");
  it.it.Shutdown(it.pair.client, SHUT_WR);
  CHECK(it.Wait() == "server IN|RDHUP");
  it.it.Close(it.pair.client);

  CHECK(it.Wait() == "server IN|ERR|HUP|RDHUP");
  CHECK(it.Recv() == "'bye'");
  CHECK(it.Recv() == "''");
  CHECK(it.Recv() == "''");
  CHECK(it.Error() == "EPIPE");
  CHECK(it.Error() == "0");
}

TEST_CASE("on TCP, data to a closed socket resets the sender", "[conformance][tcp][end]") {
  Watched it;
  it.it.Close(it.pair.client);
  it.Wait();

  CHECK(it.Send("x") == "1");

  CHECK(it.Wait() == "server IN|ERR|HUP|RDHUP");
  CHECK(it.Send("x") == "EPIPE");  // the reset's own error, which is the same
  CHECK(it.Error() == "0");
}

TEST_CASE("on TCP, a send after a reset tells it, and then EPIPE", "[conformance][tcp][end]") {
  Watched it;
  it.ClientResets();

  CHECK(it.Send("x") == "ECONNRESET");
  CHECK(it.Send("x") == "EPIPE");
  CHECK(it.Recv() == "''");
}

TEST_CASE("on TCP, a shutdown after a reset is ENOTCONN", "[conformance][tcp][end]") {
  Watched it;
  it.ClientResets();
  it.Wait();

  CHECK(it.it.Shutdown(it.pair.server, SHUT_WR) == "ENOTCONN");
  CHECK(it.Wait() == "server IN|ERR|HUP|RDHUP");  // it wakes all the same
  CHECK(it.Recv() == "ECONNRESET");
}

TEST_CASE("on TCP, a reset before the accept is met after it", "[conformance][tcp][end]") {
  Lockstep it;
  const int listener = it.Listener(Family::kTcp);
  const int client = it.Socket(Family::kTcp);
  it.Connect(client, listener);
  it.Send(client, "gone");
  it.LingerNot(client);
  it.Close(client);

  const int server = it.Accept(listener);

  CHECK(it.Recv(server) == "'gone'");
  CHECK(it.Recv(server) == "ECONNRESET");
}

TEST_CASE("on TCP, a socket without linger that saw both FINs resets nobody",
          "[conformance][tcp][end]") {
  Watched it;
  it.it.Shutdown(it.pair.server, SHUT_WR);
  it.it.Shutdown(it.pair.client, SHUT_WR);
  it.Wait();

  it.ClientResets();

  CHECK(it.Wait() == "nothing");
  CHECK(it.Error() == "0");
}
