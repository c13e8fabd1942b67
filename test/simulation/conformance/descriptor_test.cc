// Descriptors: their numbers, two of one file, and what of them an epoll forgets.

#include <utility>

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

TEST_CASE("closing the only descriptor removes it from the epoll", "[conformance][descriptor]") {
  Watched it(EachFamily());
  it.ClientSends("x");

  it.it.Close(it.pair.server);

  CHECK(it.Wait() == "nothing");
  CHECK(it.it.Unwatch(it.epoll, it.pair.server) == "EBADF");
}

TEST_CASE("closing one of two descriptors does not: its events go on",
          "[conformance][descriptor]") {
  Watched it(EachFamily());
  const int other = it.it.Dup(it.pair.server);
  it.it.Close(it.pair.server);

  it.ClientSends("x");
  CHECK(it.Wait() == "server IN");
  CHECK(it.it.Unwatch(it.epoll, it.pair.server) == "EBADF");
  CHECK(it.it.Unwatch(it.epoll, other) == "ENOENT");
  CHECK(it.it.Recv(other) == "'x'");
  it.ClientSends("y");
  CHECK(it.Wait() == "server IN");
  it.it.Close(other);
  CHECK(it.Wait() == "nothing");
}

TEST_CASE("a peer hears of the last close only", "[conformance][descriptor]") {
  Watched it(EachFamily());
  const int other = it.it.Dup(it.pair.client);

  it.it.Close(it.pair.client);
  CHECK(it.Wait() == "nothing");
  it.it.Close(other);
  CHECK(it.Recv() == "''");
}

TEST_CASE("two descriptors of one socket are two registrations", "[conformance][descriptor]") {
  Watched it(EachFamily());
  const int other = it.it.Dup(it.pair.server);
  CHECK(it.it.Watch(it.epoll, other, kInEdges, "other") == "0");

  it.ClientSends("x");

  CHECK(it.Wait() == "other IN, server IN");
  it.it.Unwatch(it.epoll, it.pair.server);
  it.ClientSends("y");
  CHECK(it.Wait() == "other IN");
}

TEST_CASE("a number that is used again has none of the old one's events",
          "[conformance][descriptor]") {
  Lockstep it;
  const int listener = it.Listener(EachFamily());
  const auto old = it.Connected(listener);
  const int epoll = it.Epoll();
  it.Watch(epoll, old.server, kInEdges);
  it.Send(old.client, "stale");
  it.Close(old.server);

  const auto next = it.Connected(listener);
  CHECK(next.client == old.server);
  CHECK(it.Wait(epoll) == "nothing");
  CHECK(it.Watch(epoll, next.client, kInEdges, "new") == "0");
  CHECK(it.Wait(epoll) == "nothing");
  it.Send(next.server, "fresh");
  CHECK(it.Wait(epoll) == "new IN");
}

TEST_CASE("an old registration and a new one may have the same number",
          "[conformance][descriptor]") {
  Watched it(EachFamily());
  const int other = it.it.Dup(it.pair.server);
  it.it.Close(it.pair.server);
  const int event = it.it.EventFd();
  CHECK(event == it.pair.server);
  CHECK(it.it.Watch(it.epoll, event, kInEdges, "new") == "0");

  it.ClientSends("x");
  it.it.WriteEventFd(event);

  CHECK(it.Wait() == "new IN, server IN");
  CHECK(it.it.Unwatch(it.epoll, event) == "0");
  CHECK(it.it.Unwatch(it.epoll, event) == "ENOENT");
  CHECK(it.it.Recv(other) == "'x'");
}

TEST_CASE("descriptors are the lowest that are free, below the limit",
          "[conformance][descriptor]") {
  Lockstep it;
  const int a = it.EventFd();
  const int b = it.Epoll();
  const int c = it.Socket(Family::kTcp);
  CHECK(a == 0);
  CHECK(b == 1);
  CHECK(c == 2);
  it.Close(b);
  it.Close(a);

  it.SetLimit(1);  // c is open beyond it
  CHECK(it.EventFd() == 0);
  CHECK(it.Dup(c) == -EMFILE);
  it.SetLimit(2);
  CHECK(it.Dup(c) == 1);
  CHECK(it.Dup(c) == -EMFILE);
  CHECK(it.Dup(77) == -EBADF);
}

TEST_CASE("a closed number is EBADF, and what is no socket ENOTSOCK", "[conformance][descriptor]") {
  Lockstep it;
  const int closed = it.EventFd();
  const int event = it.EventFd();
  it.Close(closed);

  for (const auto& [fd, why] : {std::pair(closed, "EBADF"), std::pair(event, "ENOTSOCK")}) {
    CHECK(it.Recv(fd) == why);
    CHECK(it.Send(fd, "x") == why);
    CHECK(it.Shutdown(fd, SHUT_WR) == why);
    CHECK(it.Listen(fd, 1) == why);
    CHECK(it.Bind(fd) == why);
    CHECK(it.Error(fd) == why);
    CHECK(it.Set(fd, SO_REUSEPORT, 1) == why);
  }
  CHECK(it.Close(closed) == "EBADF");
  CHECK(it.Unread(closed) == "EBADF");
  CHECK(it.WriteEventFd(closed) == "EBADF");
  CHECK(it.ReadEventFd(closed) == "EBADF");
  CHECK(it.Poll(closed) == "NVAL");
}
