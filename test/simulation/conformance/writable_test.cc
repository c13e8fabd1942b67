// EPOLLOUT: when there is room, and when that is said.

#include "simulation/conformance/watched.h"
#include "support/catch.h"

using weir::sim::conformance::Family;
using weir::sim::conformance::kInEdges;
using weir::sim::conformance::Lockstep;
using weir::sim::conformance::Watched;

namespace {

constexpr std::uint32_t kOutEdges = EPOLLOUT | EPOLLET;

Family EachFamily() {
  return static_cast<Family>(
      GENERATE(static_cast<int>(Family::kTcp), static_cast<int>(Family::kUnix)));
}

}  // namespace

TEST_CASE("a socket that is registered when it is writable says so once",
          "[conformance][writable]") {
  Lockstep it;
  const auto pair = it.Connected(EachFamily());
  const int epoll = it.Epoll();
  it.Watch(epoll, pair.server, kOutEdges);

  CHECK(it.Wait(epoll) == "server OUT");
  CHECK(it.Wait(epoll) == "nothing");
}

TEST_CASE("who did not ask for OUT is not told of it", "[conformance][writable]") {
  Lockstep it;
  const auto pair = it.Connected(EachFamily());
  const int epoll = it.Epoll();
  it.Watch(epoll, pair.server, kInEdges);

  CHECK(it.Wait(epoll) == "nothing");
}

TEST_CASE("a change of interest tells again what is ready", "[conformance][writable]") {
  Watched it(EachFamily());
  it.ClientSends("x");
  CHECK(it.Wait() == "server IN");

  it.it.Modify(it.epoll, it.pair.server, kInEdges | EPOLLOUT);
  CHECK(it.Wait() == "server IN|OUT");
  it.it.Modify(it.epoll, it.pair.server, kInEdges | EPOLLOUT);
  CHECK(it.Wait() == "server IN|OUT");
  it.it.Modify(it.epoll, it.pair.server, EPOLLRDHUP | EPOLLET);
  CHECK(it.Wait() == "nothing");
}

TEST_CASE("an edge carries OUT along, where that is asked", "[conformance][writable]") {
  Watched it(EachFamily(), kInEdges | EPOLLOUT);

  it.ClientSends("x");

  CHECK(it.Wait() == "server IN|OUT");
}

TEST_CASE("on TCP a peer's read makes no edge for who has room", "[conformance][writable]") {
  Watched it(Family::kTcp, kOutEdges);
  it.Send("abc");
  CHECK(it.Wait() == "nothing");

  it.it.Recv(it.pair.client);

  CHECK(it.Wait() == "nothing");
}

TEST_CASE("on AF_UNIX each message that a peer has read is an edge, room or not",
          "[conformance][writable]") {
  Watched it(Family::kUnix, kOutEdges);
  it.Send("abc");
  CHECK(it.Wait() == "nothing");

  CHECK(it.it.Recv(it.pair.client, 2) == "'ab'");
  CHECK(it.Wait() == "nothing");  // not yet to its end
  CHECK(it.it.Recv(it.pair.client) == "'c'");
  CHECK(it.Wait() == "server OUT");
}

TEST_CASE("on AF_UNIX a read tells nobody who did not ask for OUT", "[conformance][writable]") {
  Watched it(Family::kUnix, kInEdges);
  it.Send("abc");

  it.it.Recv(it.pair.client);

  CHECK(it.Wait() == "nothing");
}

TEST_CASE("a full socket has an edge when the peer has read", "[conformance][writable]") {
  Watched it(EachFamily(), kOutEdges);
  it.it.IgnoreSizes();

  it.it.Fill(it.pair.server);
  CHECK(it.Send("x") == "EAGAIN");
  CHECK(it.it.Poll(it.pair.server) == "0");
  CHECK(it.Wait() == "nothing");
  it.it.Drain(it.pair.client, it.pair.server);

  CHECK(it.Wait() == "server OUT");
  CHECK(it.Send("x") == "1");
}

TEST_CASE("a full socket that is registered says nothing until it has room",
          "[conformance][writable]") {
  Lockstep it;
  it.IgnoreSizes();
  const auto pair = it.Connected(EachFamily());
  const int epoll = it.Epoll();
  it.Fill(pair.server);
  it.Watch(epoll, pair.server, kOutEdges);
  CHECK(it.Wait(epoll) == "nothing");

  it.Drain(pair.client, pair.server);

  CHECK(it.Wait(epoll) == "server OUT");
}

TEST_CASE("a full socket is writable when its peer has reset it", "[conformance][writable]") {
  Watched it(EachFamily(), kInEdges | EPOLLOUT);
  it.it.IgnoreSizes();
  it.it.Fill(it.pair.server);
  it.Wait();

  it.it.Close(it.pair.client);

  CHECK(it.Wait() == "server IN|OUT|ERR|HUP|RDHUP");
  CHECK(it.it.Error(it.pair.server) == "ECONNRESET");
  CHECK(it.Send("x") == "EPIPE");
}
