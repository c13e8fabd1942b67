// Listeners: who waits there, who is let in, and what becomes of the rest.

#include "simulation/conformance/watched.h"
#include "support/catch.h"

using weir::sim::conformance::Family;
using weir::sim::conformance::kAllEdges;
using weir::sim::conformance::kInEdges;
using weir::sim::conformance::Lockstep;

namespace {

Family EachFamily() {
  return static_cast<Family>(
      GENERATE(static_cast<int>(Family::kTcp), static_cast<int>(Family::kUnix)));
}

// A client that is connected, and not accepted yet.
int Arrive(Lockstep& it, Family family, int listener, std::string_view name) {
  const int client = it.Socket(family);
  it.Name(client, name);
  it.Connect(client, listener);
  return client;
}

}  // namespace

// ---- Waiting and accepting

TEST_CASE("a listener tells of its queue by level until it is empty", "[conformance][listener]") {
  Lockstep it;
  const Family family = EachFamily();
  const int listener = it.Listener(family);
  const int epoll = it.Epoll();
  it.Watch(epoll, listener, EPOLLIN);
  CHECK(it.Wait(epoll) == "nothing");
  CHECK(it.Accept(listener) == -EAGAIN);
  for (const char* const name : {"a", "b", "c"}) Arrive(it, family, listener, name);

  for (int i = 0; i < 3; ++i) {
    CHECK(it.Wait(epoll) == "listener IN");
    CHECK(it.Accept(listener) >= 0);
  }
  CHECK(it.Wait(epoll) == "nothing");
  CHECK(it.Accept(listener) == -EAGAIN);
}

TEST_CASE("by edge, three clients before a look are told of once", "[conformance][listener]") {
  Lockstep it;
  const Family family = EachFamily();
  const int listener = it.Listener(family);
  const int epoll = it.Epoll();
  it.Watch(epoll, listener, EPOLLIN | EPOLLET);
  for (const char* const name : {"a", "b", "c"}) Arrive(it, family, listener, name);

  CHECK(it.Wait(epoll) == "listener IN");
  CHECK(it.Accept(listener) >= 0);
  CHECK(it.Wait(epoll) == "nothing");
  Arrive(it, family, listener, "d");
  CHECK(it.Wait(epoll) == "listener IN");
}

TEST_CASE("a listener that is accepted empty before the look says nothing",
          "[conformance][listener]") {
  Lockstep it;
  const Family family = EachFamily();
  const int listener = it.Listener(family);
  const int epoll = it.Epoll();
  it.Watch(epoll, listener, EPOLLIN | EPOLLET);
  Arrive(it, family, listener, "a");

  CHECK(it.Accept(listener) >= 0);

  CHECK(it.Wait(epoll) == "nothing");
}

TEST_CASE("clients are accepted in the order of their coming", "[conformance][listener]") {
  Lockstep it;
  const Family family = EachFamily();
  const int listener = it.Listener(family);
  const int first = Arrive(it, family, listener, "first");
  const int second = Arrive(it, family, listener, "second");
  it.Send(second, "second");
  it.Send(first, "first");

  CHECK(it.Recv(it.Accept(listener)) == "'first'");
  CHECK(it.Recv(it.Accept(listener)) == "'second'");
}

TEST_CASE("an accepted socket knows who its peer is", "[conformance][listener]") {
  Lockstep it;

  CHECK(it.PeerOf(it.Connected(Family::kTcp)) == "tcp, the client");
  CHECK(it.PeerOf(it.Connected(Family::kUnix)) == "unix, the client");
}

TEST_CASE("a client without a descriptor for it stays queued", "[conformance][listener]") {
  Lockstep it;
  const Family family = EachFamily();
  const int listener = it.Listener(family);
  const int epoll = it.Epoll();
  it.Watch(epoll, listener, EPOLLIN);
  const int client = Arrive(it, family, listener, "client");

  it.SetLimit(3);
  CHECK(it.Accept(listener) == -EMFILE);
  CHECK(it.Wait(epoll) == "listener IN");
  it.SetLimit(100);

  const int server = it.Accept(listener);
  CHECK(server >= 0);
  it.Send(server, "welcome");
  CHECK(it.Recv(client) == "'welcome'");
}

TEST_CASE("EMFILE comes before EAGAIN", "[conformance][listener]") {
  Lockstep it;
  const int listener = it.Listener(EachFamily());
  it.SetLimit(1);

  CHECK(it.Accept(listener) == -EMFILE);

  it.SetLimit(100);
  CHECK(it.Accept(listener) == -EAGAIN);
}

TEST_CASE("who does not listen does not accept", "[conformance][listener]") {
  Lockstep it;
  const auto pair = it.Connected(EachFamily());

  CHECK(it.Accept(pair.server) == -EINVAL);
  CHECK(it.Accept(it.EventFd()) == -ENOTSOCK);
  CHECK(it.Accept(77) == -EBADF);
}

// ---- Closing

TEST_CASE("a listener that closes resets those that it did not accept", "[conformance][listener]") {
  Lockstep it;
  const Family family = EachFamily();
  const int listener = it.Listener(family);
  const int client = Arrive(it, family, listener, "client");
  const int epoll = it.Epoll();
  it.Watch(epoll, client, kInEdges);
  CHECK(it.Wait(epoll) == "nothing");

  it.Close(listener);

  CHECK(it.Wait(epoll) == "client IN|ERR|HUP|RDHUP");
  CHECK(it.Recv(client) == "ECONNRESET");
  CHECK(it.Recv(client) == "''");
}

TEST_CASE("those that were accepted outlive their listener", "[conformance][listener]") {
  Lockstep it;
  const int listener = it.Listener(EachFamily());
  const auto pair = it.Connected(listener);

  it.Close(listener);

  CHECK(it.Send(pair.client, "still") == "5");
  CHECK(it.Recv(pair.server) == "'still'");
}

TEST_CASE("shutdown of a TCP listener ends it at once", "[conformance][listener]") {
  Lockstep it;
  const int listener = it.Listener(Family::kTcp);
  const int client = Arrive(it, Family::kTcp, listener, "client");
  const int epoll = it.Epoll();
  it.Watch(epoll, listener, kInEdges);
  CHECK(it.Wait(epoll) == "listener IN");

  CHECK(it.Shutdown(listener, SHUT_RD) == "0");

  CHECK(it.Wait(epoll) == "listener HUP");
  CHECK(it.Accept(listener) == -EINVAL);
  CHECK(it.Recv(client) == "ECONNRESET");
}

TEST_CASE("shutdown of a Unix listener for reading refuses who comes later, and lets in who came",
          "[conformance][listener]") {
  Lockstep it;
  const int listener = it.Listener(Family::kUnix);
  const int early = Arrive(it, Family::kUnix, listener, "early");
  const int epoll = it.Epoll();
  it.Watch(epoll, listener, kInEdges);
  it.Wait(epoll);

  CHECK(it.Shutdown(listener, SHUT_RD) == "0");

  CHECK(it.Wait(epoll) == "listener IN|RDHUP");
  CHECK(it.Connect(it.Socket(Family::kUnix), listener) == "ECONNREFUSED");
  const int server = it.Accept(listener);
  CHECK(server >= 0);
  it.Send(server, "welcome");
  CHECK(it.Recv(early) == "'welcome'");
  CHECK(it.Accept(listener) == -EAGAIN);
}

TEST_CASE("a TCP listener whose filter drops SYNs lets in only who came before",
          "[conformance][listener]") {
  Lockstep it;
  const int listener = it.Listener(Family::kTcp);
  const int early = Arrive(it, Family::kTcp, listener, "early");
  CHECK(it.DropSyns(listener) == "0");
  const int late = it.Socket(Family::kTcp);
  const int epoll = it.Epoll();
  it.Watch(epoll, late, kAllEdges);
  CHECK(it.Wait(epoll) == "socket OUT|HUP");

  CHECK(it.Connect(late, listener) == "EINPROGRESS");

  CHECK(it.Wait(epoll) == "nothing");
  CHECK(it.Poll(late) == "0");
  CHECK(it.Error(late) == "0");
  CHECK(it.Recv(late) == "EAGAIN");
  CHECK(it.Send(late, "x") == "EAGAIN");
  CHECK(it.Accept(listener) >= 0);
  CHECK(it.Accept(listener) == -EAGAIN);
  CHECK(it.Send(early, "x") == "1");
  it.Close(late);
}

TEST_CASE("a connect that is not answered is given up by a shutdown", "[conformance][listener]") {
  Lockstep it;
  const int listener = it.Listener(Family::kTcp);
  it.DropSyns(listener);
  const int late = Arrive(it, Family::kTcp, listener, "late");
  const int epoll = it.Epoll();
  it.Watch(epoll, late, kAllEdges);

  CHECK(it.Shutdown(late, SHUT_WR) == "0");

  CHECK(it.Wait(epoll) == "late OUT|ERR|HUP");
  CHECK(it.Error(late) == "ECONNRESET");
}

// ---- Connecting

TEST_CASE("a connect to a TCP port where nobody listens is refused", "[conformance][listener]") {
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

TEST_CASE("a TCP connect that succeeds is an edge with OUT", "[conformance][listener]") {
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

TEST_CASE("a connect to a Unix name that nobody has", "[conformance][listener]") {
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

TEST_CASE("a Unix listener whose queue is full says EAGAIN", "[conformance][listener]") {
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

TEST_CASE("an address that somebody has is in use", "[conformance][listener]") {
  Lockstep it;
  const Family family = EachFamily();
  const int listener = it.Listener(family);
  const int second = it.Socket(family);

  CHECK(it.BindLike(second, listener) == "EADDRINUSE");
  CHECK(it.BindLike(listener, listener) == "EINVAL");  // it has one
  it.Close(listener);
}

TEST_CASE("a Unix name is free when its socket is closed, its file when it is unlinked",
          "[conformance][listener]") {
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

TEST_CASE("listeners share a port if all of them say so", "[conformance][listener]") {
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

TEST_CASE("to listen without an address", "[conformance][listener]") {
  Lockstep it;

  CHECK(it.Listen(it.Socket(Family::kUnix), 1) == "EINVAL");
  CHECK(it.Listen(it.Socket(Family::kTcp), 1) == "0");  // TCP takes a free port
  CHECK(it.Listen(it.Connected(Family::kTcp).client, 1) == "EINVAL");
}
