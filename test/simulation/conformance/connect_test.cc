// Connecting and binding: who is there, who is not, and whose name it is.

#include "simulation/conformance/watched.h"
#include "support/catch.h"

using weir::sim::conformance::Family;
using weir::sim::conformance::kAllEdges;
using weir::sim::conformance::Lockstep;

namespace {

Family EachFamily() {
  return static_cast<Family>(
      GENERATE(static_cast<int>(Family::kTcp), static_cast<int>(Family::kUnix)));
}

}  // namespace

// ---- Connecting

TEST_CASE("a connect to a TCP port where nobody listens is refused", "[conformance][connect]") {
  Lockstep it;
  const int bound = it.Socket(Family::kTcp);
  it.Name(bound, "bound");
  it.Bind(bound);
  const int client = it.Socket(Family::kTcp);
  const int epoll = it.Epoll();
  it.Watch(epoll, client, kAllEdges);
  it.Wait(epoll);

  CHECK(it.Connect(client, bound) == "EINPROGRESS");

  CHECK(it.Wait(epoll) == "socket IN|OUT|ERR|HUP|RDHUP");
  SECTION("SO_ERROR says it once") {
    CHECK(it.Error(client) == "ECONNREFUSED");
    CHECK(it.Error(client) == "0");
    CHECK(it.Send(client, "x") == "EPIPE");
  }
  SECTION("a receive says it") {
    CHECK(it.Recv(client) == "ECONNREFUSED");
    CHECK(it.Recv(client) == "''");
  }
  SECTION("a send says it") { CHECK(it.Send(client, "x") == "ECONNREFUSED"); }
}

TEST_CASE("a TCP connect that succeeds is an edge with OUT", "[conformance][connect]") {
  Lockstep it;
  const int listener = it.Listener(Family::kTcp);
  const int client = it.Socket(Family::kTcp);
  const int epoll = it.Epoll();
  it.Watch(epoll, client, kAllEdges);
  CHECK(it.Wait(epoll) == "socket OUT|HUP");

  it.Connect(client, listener);

  CHECK(it.Wait(epoll) == "socket OUT");
  CHECK(it.Error(client) == "0");
}

TEST_CASE("a connect to a Unix name that nobody has", "[conformance][connect]") {
  Lockstep it;
  const int client = it.Socket(Family::kUnix);

  CHECK(it.ConnectTo(client, "@nobody") == "ECONNREFUSED");
  CHECK(it.ConnectTo(client, "/nobody") == "ENOENT");

  const int bound = it.Socket(Family::kUnix);
  it.Bind(bound, "/bound");
  CHECK(it.ConnectTo(client, "/bound") == "ECONNREFUSED");  // it does not listen yet
  it.Listen(bound, 1);
  CHECK(it.ConnectTo(client, "/bound") == "0");
  CHECK(it.ConnectTo(client, "/bound") == "EISCONN");
  it.Close(bound);
  CHECK(it.ConnectTo(it.Socket(Family::kUnix), "/bound") == "ECONNREFUSED");  // the file stays
  CHECK(it.Unlink("/bound") == "0");
  CHECK(it.ConnectTo(it.Socket(Family::kUnix), "/bound") == "ENOENT");
  CHECK(it.Unlink("/bound") == "ENOENT");
}

TEST_CASE("a Unix listener whose queue is full says EAGAIN", "[conformance][connect]") {
  Lockstep it;
  const int backlog = GENERATE(0, 1, 3);
  const int listener = it.Listener(Family::kUnix, backlog);

  for (int i = 0; i <= backlog; ++i) {
    CHECK(it.Connect(it.Socket(Family::kUnix), listener) == "0");
  }
  const int late = it.Socket(Family::kUnix);
  CHECK(it.Connect(late, listener) == "EAGAIN");
  CHECK(it.Accept(listener) >= 0);
  CHECK(it.Connect(late, listener) == "0");
}

// ---- Binding

TEST_CASE("an address that somebody has is in use", "[conformance][connect]") {
  Lockstep it;
  const Family family = EachFamily();
  const int listener = it.Listener(family);
  const int second = it.Socket(family);

  CHECK(it.BindLike(second, listener) == "EADDRINUSE");
  CHECK(it.BindLike(listener, listener) == "EINVAL");  // it has one
  it.Close(listener);
}

TEST_CASE("a Unix name is free when its socket is closed, its file when it is unlinked",
          "[conformance][connect]") {
  Lockstep it;
  const int abstract = it.Socket(Family::kUnix);
  it.Bind(abstract, "@name");
  const int file = it.Socket(Family::kUnix);
  it.Bind(file, "/name");
  it.Close(abstract);
  it.Close(file);

  CHECK(it.Bind(it.Socket(Family::kUnix), "@name") == "0");
  CHECK(it.Bind(it.Socket(Family::kUnix), "/name") == "EADDRINUSE");
  it.Unlink("/name");
  CHECK(it.Bind(it.Socket(Family::kUnix), "/name") == "0");
}

TEST_CASE("listeners share a port if all of them say so", "[conformance][connect]") {
  Lockstep it;
  const int first = it.Socket(Family::kTcp);
  it.Name(first, "first");
  CHECK(it.Set(first, SO_REUSEPORT, 1) == "0");
  it.Bind(first);
  it.Listen(first, 1);
  const int second = it.Socket(Family::kTcp);
  CHECK(it.BindLike(second, first) == "EADDRINUSE");
  CHECK(it.Set(second, SO_REUSEPORT, 1) == "0");
  CHECK(it.BindLike(second, first) == "0");
  CHECK(it.Listen(second, 1) == "0");

  it.Close(first);
  const int client = it.Socket(Family::kTcp);
  it.Connect(client, second);
  CHECK(it.Accept(second) >= 0);
}

TEST_CASE("to listen without an address", "[conformance][connect]") {
  Lockstep it;

  CHECK(it.Listen(it.Socket(Family::kUnix), 1) == "EINVAL");
  CHECK(it.Listen(it.Socket(Family::kTcp), 1) == "0");  // TCP takes a free port
  CHECK(it.Listen(it.Connected(Family::kTcp).client, 1) == "EINVAL");
}
