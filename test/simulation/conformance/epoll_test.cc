// epoll itself: what may be registered, and what a wait reports. eventfd.

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

// ---- Registering

TEST_CASE("an epoll refuses what it cannot do", "[conformance][epoll]") {
  Lockstep it;
  const auto pair = it.Connected(Family::kTcp);
  const int epoll = it.Epoll();

  CHECK(it.Modify(epoll, pair.server, EPOLLIN) == "ENOENT");
  CHECK(it.Unwatch(epoll, pair.server) == "ENOENT");
  CHECK(it.Watch(epoll, pair.server, EPOLLIN) == "0");
  CHECK(it.Watch(epoll, pair.server, EPOLLIN) == "EEXIST");
  CHECK(it.Watch(epoll, 77, EPOLLIN) == "EBADF");
  CHECK(it.Watch(77, pair.server, EPOLLIN) == "EBADF");
  CHECK(it.Watch(epoll, epoll, EPOLLIN) == "EINVAL");
  CHECK(it.Watch(pair.client, pair.server, EPOLLIN) == "EINVAL");  // it is no epoll
  CHECK(it.Wait(77) == "EBADF");
  CHECK(it.Wait(pair.client) == "EINVAL");
  CHECK(it.Unwatch(epoll, pair.server) == "0");
  CHECK(it.Unwatch(epoll, pair.server) == "ENOENT");
}

TEST_CASE("EPOLLEXCLUSIVE has rules of its own", "[conformance][epoll]") {
  Lockstep it;
  const int listener = it.Listener(EachFamily());
  const int epoll = it.Epoll();
  constexpr std::uint32_t kExclusive = EPOLLIN | EPOLLET | EPOLLEXCLUSIVE;

  CHECK(it.Watch(epoll, listener, kExclusive | EPOLLRDHUP) == "EINVAL");
  CHECK(it.Watch(epoll, listener, kExclusive | EPOLLPRI) == "EINVAL");
  CHECK(it.Modify(epoll, listener, kExclusive) == "EINVAL");  // though it is not there
  CHECK(it.Watch(epoll, listener, kExclusive) == "0");
  CHECK(it.Watch(epoll, listener, kExclusive | EPOLLRDHUP) == "EINVAL");
  CHECK(it.Watch(epoll, listener, kExclusive) == "EEXIST");
  CHECK(it.Modify(epoll, listener, EPOLLIN) == "EINVAL");
  CHECK(it.Unwatch(epoll, listener) == "0");
  CHECK(it.Watch(epoll, listener, EPOLLIN) == "0");
  CHECK(it.Modify(epoll, listener, kExclusive) == "EINVAL");
  CHECK(it.Watch(epoll, it.Epoll(), EPOLLIN | EPOLLEXCLUSIVE) == "EINVAL");
}

TEST_CASE("two epolls hear of the same, where nobody is asleep", "[conformance][epoll]") {
  Lockstep it;
  const Family family = EachFamily();
  const int listener = it.Listener(family);
  const std::uint32_t events = GENERATE(std::uint32_t{EPOLLIN}, std::uint32_t{EPOLLIN | EPOLLET},
                                        std::uint32_t{EPOLLIN | EPOLLEXCLUSIVE});
  const int one = it.Epoll();
  const int two = it.Epoll();
  it.Watch(one, listener, events);
  it.Watch(two, listener, events);

  it.Connect(it.Socket(family), listener);

  CHECK(it.Wait(one) == "listener IN");
  CHECK(it.Wait(two) == "listener IN");
}

TEST_CASE("what nobody asked for is told all the same: ERR and HUP", "[conformance][epoll]") {
  Watched it(EachFamily(), EPOLLET);
  SECTION("as it was registered") {}
  SECTION("as it was changed") { it.it.Modify(it.epoll, it.pair.server, EPOLLET); }
  it.Send("unread");

  it.it.Close(it.pair.client);

  CHECK(it.Wait() == "server ERR|HUP");
}

// ---- Waiting

TEST_CASE("a wait with less room than there are events leaves the rest to the next",
          "[conformance][epoll]") {
  Lockstep it;
  const int epoll = it.Epoll();
  const int listener = it.Listener(EachFamily());
  const bool by_edge = GENERATE(true, false);
  for (int i = 0; i < 5; ++i) {
    const auto pair = it.Connected(listener);
    it.Watch(epoll, pair.server, EPOLLIN | (by_edge ? std::uint32_t{EPOLLET} : 0));
    it.Send(pair.client, "x");
  }

  if (by_edge) {
    CHECK(it.WaitInBatches(epoll, 2, 4) ==
          "2+2+1+0: server IN, server2 IN, server3 IN, server4 IN, server5 IN");
  } else {  // round and round
    CHECK(it.WaitInBatches(epoll, 2, 3) ==
          "2+2+2: server IN, server2 IN, server3 IN, server4 IN, server5 IN");
  }
}

TEST_CASE("a wait has to have room", "[conformance][epoll]") {
  Lockstep it;

  CHECK(it.WaitInBatches(it.Epoll(), 0, 1) == "EINVAL: nothing");
}

TEST_CASE("a change of the data is told with the next event", "[conformance][epoll]") {
  Watched it(EachFamily());
  it.ClientSends("x");

  it.it.Modify(it.epoll, it.pair.server, kInEdges, "renamed");

  CHECK(it.Wait() == "renamed IN");
}

TEST_CASE("an event that is waiting is forgotten with its registration", "[conformance][epoll]") {
  Watched it(EachFamily());
  it.ClientSends("x");

  it.it.Unwatch(it.epoll, it.pair.server);

  CHECK(it.Wait() == "nothing");
  it.it.Watch(it.epoll, it.pair.server, kInEdges);
  CHECK(it.Wait() == "server IN");
}

// ---- An epoll inside an epoll

TEST_CASE("an epoll is readable while it has something to report", "[conformance][epoll]") {
  Watched it(EachFamily(), EPOLLIN);
  const int outer = it.it.Epoll();
  it.it.Name(outer, "outer");
  CHECK(it.it.Watch(outer, it.epoll, EPOLLIN, "inner") == "0");
  CHECK(it.it.Wait(outer) == "nothing");

  it.ClientSends("x");

  CHECK(it.it.Wait(outer) == "inner IN");
  CHECK(it.it.Poll(it.epoll) == "IN|RDNORM");
  CHECK(it.Wait() == "server IN");
  CHECK(it.it.Wait(outer) == "inner IN");
  CHECK(it.Recv() == "'x'");
  CHECK(it.it.Wait(outer) == "nothing");
  CHECK(it.it.Poll(it.epoll) == "0");
}

TEST_CASE("an inner epoll's edge is an edge of the outer one", "[conformance][epoll]") {
  Watched it(EachFamily());
  const int outer = it.it.Epoll();
  it.it.Name(outer, "outer");
  it.it.Watch(outer, it.epoll, kInEdges, "inner");

  it.ClientSends("x");
  CHECK(it.it.Wait(outer) == "inner IN");
  it.ClientSends("y");  // nobody has asked the inner one yet
  CHECK(it.it.Wait(outer) == "inner IN");
  CHECK(it.Wait() == "server IN");
  CHECK(it.it.Wait(outer) == "nothing");
}

// ---- eventfd

TEST_CASE("each write to an eventfd is an edge, read or not", "[conformance][eventfd]") {
  Lockstep it;
  const int event = it.EventFd();
  const int epoll = it.Epoll();
  it.Watch(epoll, event, EPOLLIN | EPOLLET);
  CHECK(it.Wait(epoll) == "nothing");

  it.WriteEventFd(event);
  CHECK(it.Wait(epoll) == "eventfd IN");
  it.WriteEventFd(event);
  CHECK(it.Wait(epoll) == "eventfd IN");
  CHECK(it.ReadEventFd(event) == "2");
  CHECK(it.ReadEventFd(event) == "EAGAIN");
  CHECK(it.Wait(epoll) == "nothing");
}

TEST_CASE("a read of an eventfd is an edge for who asks for OUT", "[conformance][eventfd]") {
  Lockstep it;
  const int event = it.EventFd();
  const int epoll = it.Epoll();
  it.Watch(epoll, event, EPOLLIN | EPOLLOUT | EPOLLET);
  CHECK(it.Wait(epoll) == "eventfd OUT");

  it.WriteEventFd(event);
  CHECK(it.Wait(epoll) == "eventfd IN|OUT");
  it.ReadEventFd(event);
  CHECK(it.Wait(epoll) == "eventfd OUT");
}

TEST_CASE("a level-triggered eventfd is told until it is read", "[conformance][eventfd]") {
  Lockstep it;
  const int event = it.EventFd();
  const int epoll = it.Epoll();
  it.WriteEventFd(event);
  it.Watch(epoll, event, EPOLLIN);

  CHECK(it.Wait(epoll) == "eventfd IN");
  CHECK(it.Wait(epoll) == "eventfd IN");
  it.ReadEventFd(event);
  CHECK(it.Wait(epoll) == "nothing");
}
