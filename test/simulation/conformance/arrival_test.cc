// Edges that arriving bytes make: on TCP and on AF_UNIX they are the same.

#include "simulation/conformance/watched.h"
#include "support/catch.h"

using weir::sim::conformance::Family;
using weir::sim::conformance::kInEdges;
using weir::sim::conformance::Lockstep;
using weir::sim::conformance::Watched;

namespace {

Family EachFamily() {
  return static_cast<Family>(
      GENERATE(static_cast<int>(Family::kTcp), static_cast<int>(Family::kUnix)));
}

}  // namespace

TEST_CASE("each arrival is an edge, read or not", "[conformance][arrival]") {
  Watched it(EachFamily());

  it.ClientSends("one");
  CHECK(it.Wait() == "server IN");
  it.ClientSends("two");
  CHECK(it.Wait() == "server IN");
}

TEST_CASE("two arrivals before a look are one edge", "[conformance][arrival]") {
  Watched it(EachFamily());

  it.ClientSends("one");
  it.ClientSends("two");

  CHECK(it.Wait() == "server IN");
  CHECK(it.Recv() == "'onetwo'");
  CHECK(it.Recv() == "EAGAIN");
}

TEST_CASE("a read that leaves bytes makes no edge", "[conformance][arrival]") {
  Watched it(EachFamily());
  it.ClientSends("abcdef");
  it.Wait();

  CHECK(it.Recv(2) == "'ab'");

  CHECK(it.Wait() == "nothing");
  CHECK(it.it.Unread(it.pair.server) == "4");
  CHECK(it.Recv() == "'cdef'");
}

TEST_CASE("data after EAGAIN is an edge", "[conformance][arrival]") {
  Watched it(EachFamily());
  CHECK(it.Recv() == "EAGAIN");

  it.ClientSends("late");

  CHECK(it.Wait() == "server IN");
}

TEST_CASE("an edge whose bytes were read before the look is not told", "[conformance][arrival]") {
  Watched it(EachFamily());
  it.ClientSends("gone");

  CHECK(it.Recv() == "'gone'");

  CHECK(it.Wait() == "nothing");
}

TEST_CASE("what arrived before the registration is told by it", "[conformance][arrival]") {
  Lockstep it;
  const auto pair = it.Connected(EachFamily());
  const int epoll = it.Epoll();
  it.Send(pair.client, "early");

  it.Watch(epoll, pair.server, kInEdges);

  CHECK(it.Wait(epoll) == "server IN");
}

TEST_CASE("what arrived before the accept is told by the registration", "[conformance][arrival]") {
  Lockstep it;
  const Family family = EachFamily();
  const int listener = it.Listener(family);
  const int client = it.Socket(family);
  it.Connect(client, listener);
  CHECK(it.Send(client, "early") == "5");
  it.Shutdown(client, SHUT_WR);

  const int server = it.Accept(listener);
  const int epoll = it.Epoll();
  it.Watch(epoll, server, kInEdges);

  CHECK(it.Wait(epoll) == "accepted IN|RDHUP");
  CHECK(it.Recv(server) == "'early'");
  CHECK(it.Recv(server) == "''");
}

TEST_CASE("an interest without IN is told of no data", "[conformance][arrival]") {
  Watched it(EachFamily(), EPOLLRDHUP | EPOLLET);

  it.ClientSends("data");

  CHECK(it.Wait() == "nothing");
}

TEST_CASE("level-triggered data is told until it is read", "[conformance][arrival]") {
  Watched it(EachFamily(), EPOLLIN);

  it.ClientSends("data");

  CHECK(it.Wait() == "server IN");
  CHECK(it.Wait() == "server IN");
  CHECK(it.Recv(2) == "'da'");
  CHECK(it.Wait() == "server IN");
  CHECK(it.Recv() == "'ta'");
  CHECK(it.Wait() == "nothing");
}

TEST_CASE("pieces of a message arrive as one", "[conformance][arrival]") {
  Watched it(EachFamily());

  CHECK(it.it.SendMessage(it.pair.client, {"one", "", "two", "three"}) == "11");

  CHECK(it.Wait() == "server IN");
  CHECK(it.Recv() == "'onetwothree'");
}

TEST_CASE("what is unread is counted over messages", "[conformance][arrival]") {
  Watched it(EachFamily());
  it.ClientSends("abc");
  it.ClientSends("defg");

  CHECK(it.it.Unread(it.pair.server) == "7");
  CHECK(it.Recv(5) == "'abcde'");
  CHECK(it.it.Unread(it.pair.server) == "2");
  CHECK(it.Recv() == "'fg'");
  CHECK(it.it.Unread(it.pair.server) == "0");
}

TEST_CASE("sends and receives of nothing change nothing", "[conformance][arrival]") {
  Watched it(EachFamily());

  CHECK(it.ClientSends("") == "0");
  CHECK(it.Wait() == "nothing");
  CHECK(it.Recv(0) == "EAGAIN");
  it.ClientSends("x");
  CHECK(it.Recv(0) == "''");
  CHECK(it.Recv() == "'x'");
}

TEST_CASE("bytes go both ways at once", "[conformance][arrival]") {
  Watched it(EachFamily());
  it.it.Watch(it.epoll, it.pair.client, kInEdges);

  it.ClientSends("ping");
  it.Send("pong");

  CHECK(it.Wait() == "client IN, server IN");
  CHECK(it.Recv() == "'ping'");
  CHECK(it.it.Recv(it.pair.client) == "'pong'");
}
