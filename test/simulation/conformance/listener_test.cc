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
