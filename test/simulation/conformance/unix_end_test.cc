// How a connection of AF_UNIX ends, and what is told of it.

#include "simulation/conformance/watched.h"
#include "support/catch.h"

using weir::sim::conformance::Family;
using weir::sim::conformance::kAllEdges;
using weir::sim::conformance::kInEdges;
using weir::sim::conformance::Lockstep;

namespace {

struct Watched : weir::sim::conformance::Watched {
  explicit Watched(std::uint32_t events = kInEdges)
      : weir::sim::conformance::Watched(Family::kUnix, events) {}

  std::string Error() { return it.Error(pair.server); }
};

}  // namespace

TEST_CASE("on AF_UNIX, a close is an end with HUP", "[conformance][unix][end]") {
  Watched it(kAllEdges);
  it.ClientSends("bye");
  it.it.Close(it.pair.client);

  CHECK(it.Wait() == "server IN|OUT|HUP|RDHUP");
  CHECK(it.Recv() == "'bye'");
  CHECK(it.Recv() == "''");
  CHECK(it.Error() == "0");
  CHECK(it.Send("x") == "EPIPE");
}

TEST_CASE("on AF_UNIX, a close with unread bytes is ECONNRESET, once", "[conformance][unix][end]") {
  Watched it;
  it.Send("unread");
  it.ClientSends("last words");
  it.it.Close(it.pair.client);

  CHECK(it.Wait() == "server IN|ERR|HUP|RDHUP");
  CHECK(it.Send("x") == "EPIPE");  // which takes no error
  SECTION("after the data, by a receive") {
    CHECK(it.Recv() == "'last words'");
    CHECK(it.Recv() == "ECONNRESET");
    CHECK(it.Recv() == "''");
  }
  SECTION("by SO_ERROR") {
    CHECK(it.Error() == "ECONNRESET");
    CHECK(it.Error() == "0");
    CHECK(it.Recv() == "'last words'");
    CHECK(it.Recv() == "''");
  }
}

TEST_CASE("on AF_UNIX, SO_LINGER changes nothing", "[conformance][unix][end]") {
  Watched it;
  it.it.LingerNot(it.pair.client);
  it.it.Close(it.pair.client);

  CHECK(it.Wait() == "server IN|HUP|RDHUP");
  CHECK(it.Error() == "0");
}

TEST_CASE("on AF_UNIX, a half-close is an edge, and the other way goes on",
          "[conformance][unix][end]") {
  Watched it;
  it.it.Shutdown(it.pair.client, SHUT_WR);

  CHECK(it.Wait() == "server IN|RDHUP");
  CHECK(it.Recv() == "''");
  CHECK(it.ClientSends("x") == "EPIPE");
  CHECK(it.Send("still") == "5");
  CHECK(it.it.Recv(it.pair.client) == "'still'");
}

TEST_CASE("on AF_UNIX, both half-closes hang both ends up", "[conformance][unix][end]") {
  Watched it;
  it.it.Watch(it.epoll, it.pair.client, kInEdges);
  it.it.Shutdown(it.pair.client, SHUT_WR);
  CHECK(it.Wait() == "server IN|RDHUP");
  it.it.Shutdown(it.pair.server, SHUT_WR);

  CHECK(it.Wait() == "client IN|HUP|RDHUP, server IN|HUP|RDHUP");
}

TEST_CASE("on AF_UNIX, an own shutdown wakes the own epoll", "[conformance][unix][end]") {
  Watched it(kAllEdges);

  SECTION("for writing") {
    it.it.Shutdown(it.pair.server, SHUT_WR);
    CHECK(it.Wait() == "server OUT");
    CHECK(it.Send("x") == "EPIPE");
  }
  SECTION("for reading") {
    it.it.Shutdown(it.pair.server, SHUT_RD);
    CHECK(it.Wait() == "server IN|OUT|RDHUP");
    CHECK(it.ClientSends("x") == "EPIPE");
  }
  SECTION("for both, a second time, too") {
    it.it.Shutdown(it.pair.server, SHUT_RDWR);
    CHECK(it.Wait() == "server IN|OUT|HUP|RDHUP");
    CHECK(it.it.Shutdown(it.pair.server, SHUT_RDWR) == "0");
    CHECK(it.Wait() == "server IN|OUT|HUP|RDHUP");
  }
}

TEST_CASE("on AF_UNIX, a shutdown after the peer's close succeeds", "[conformance][unix][end]") {
  Watched it;
  it.it.Close(it.pair.client);
  it.Wait();

  CHECK(it.it.Shutdown(it.pair.server, SHUT_WR) == "0");
  CHECK(it.Wait() == "server IN|HUP|RDHUP");
}

TEST_CASE("on AF_UNIX, what was sent before an own SHUT_RD can be read",
          "[conformance][unix][end]") {
  Watched it;
  it.ClientSends("early");
  it.it.Shutdown(it.pair.server, SHUT_RD);

  CHECK(it.Wait() == "server IN|RDHUP");
  CHECK(it.Recv() == "'early'");
  CHECK(it.Recv() == "''");
}

TEST_CASE("on AF_UNIX, a close gives back what was not read: OUT", "[conformance][unix][end]") {
  Watched it(EPOLLOUT | EPOLLET);
  it.Send("unread");
  it.it.Close(it.pair.client);

  CHECK(it.Wait() == "server OUT|ERR|HUP");
}

TEST_CASE("a socket that was never connected", "[conformance][end]") {
  Lockstep it;
  const int epoll = it.Epoll();

  SECTION("on AF_UNIX") {
    const int fd = it.Socket(Family::kUnix);
    it.Watch(epoll, fd, kAllEdges);
    CHECK(it.Wait(epoll) == "socket OUT|HUP");
    CHECK(it.Recv(fd) == "EINVAL");
    CHECK(it.Send(fd, "x") == "ENOTCONN");
    CHECK(it.Shutdown(fd, SHUT_WR) == "0");
  }
  SECTION("on TCP") {
    const int fd = it.Socket(Family::kTcp);
    it.Watch(epoll, fd, kAllEdges);
    CHECK(it.Wait(epoll) == "socket OUT|HUP");
    CHECK(it.Recv(fd) == "ENOTCONN");
    CHECK(it.Send(fd, "x") == "EPIPE");
    CHECK(it.Shutdown(fd, SHUT_WR) == "ENOTCONN");
  }
}
