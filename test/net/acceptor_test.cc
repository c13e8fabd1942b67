// Accepting, when the queue of clients is announced only once: budgets, and what accept(2) may
// say. The kernel is the real one; failures are put in front of it.

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "os/sys.h"
#include "support/catch.h"
#include "support/real_loop.h"

using std::chrono::milliseconds;
using weir::Clock;
using weir::sys::Calls;
using weir::sys::fake::FailNext;
using weir::test::Client;
using weir::test::RealLoop;
namespace fake = weir::sys::fake;

namespace {

// Planned failures that a test did not use up must not meet the next one.
struct FailNothingAfterwards {
  ~FailNothingAfterwards() { fake::FailNothing(); }
};

std::vector<Client> ConnectMany(RealLoop<>& it, std::size_t count) {
  std::vector<Client> clients;
  for (std::size_t i = 0; i < count; ++i) clients.push_back(it.Connect());
  return clients;
}

}  // namespace

TEST_CASE("a turn accepts at most accepts_per_turn, and no edge is needed for the rest",
          "[net][accept]") {
  RealLoop<> it{{.accepts_per_turn = 2}};
  const std::vector<Client> clients = ConnectMany(it, 7);
  for (const int opens : {2, 4, 6, 7}) {
    it.Turn();
    CHECK(it.handler.opens == opens);
  }
}

TEST_CASE("every passing error of accept means: the next one", "[net][accept]") {
  const int error = GENERATE(ECONNABORTED, EPROTO, EPERM, ENOPROTOOPT, EOPNOTSUPP, ENETDOWN,
                             ENETUNREACH, EHOSTDOWN, EHOSTUNREACH, ENONET, ETIMEDOUT);
  RealLoop<> it;
  FailNext(&Calls::accept, error);
  const std::vector<Client> clients = ConnectMany(it, 2);
  it.Turn();
  CHECK(it.handler.opens == 2);
  CHECK(it.loop.GetStats().accept_errors == 1);
}

TEST_CASE("without descriptors clients wait; a close of ours gives them another try",
          "[net][accept]") {
  const int error = GENERATE(EMFILE, ENFILE, ENOBUFS, ENOMEM);
  RealLoop<> it;
  const Client first = it.ConnectAndOpen();
  weir::Connection* const open = it.handler.last;
  FailNext(&Calls::accept, error);
  const std::vector<Client> clients = ConnectMany(it, 2);
  it.Turn();
  CHECK(it.handler.opens == 1);
  it.Turn();
  CHECK(it.handler.opens == 1);  // no spin: nobody asks again at once

  open->Abort();
  it.Turn();
  it.Turn();
  CHECK(it.handler.opens == 3);
}

TEST_CASE("a passing error at any place in the queue loses nobody", "[net][accept]") {
  constexpr int kQueued = 4;
  const int error = GENERATE(ECONNABORTED, EPROTO, EPERM, ENOPROTOOPT, EOPNOTSUPP, ENETDOWN,
                             ENETUNREACH, EHOSTDOWN, EHOSTUNREACH, ENONET, ETIMEDOUT);
  const int before = GENERATE(range(0, kQueued + 1));  // the last: where EAGAIN would come
  const int times = GENERATE(1, 3);
  CAPTURE(error, before, times);
  const FailNothingAfterwards clean;
  RealLoop<> it;
  const std::vector<Client> clients = ConnectMany(it, kQueued);
  if (before > 0) FailNext(&Calls::accept, 0, before);
  FailNext(&Calls::accept, error, times);
  it.Turn();
  CHECK(it.handler.opens == kQueued);
  CHECK(it.loop.GetStats().accept_errors == static_cast<std::uint64_t>(times));
  CHECK_FALSE(it.core().engine.HasWork());

  const Client next = it.Connect();  // the listener is still heard of
  it.Turn();
  CHECK(it.handler.opens == kQueued + 1);
}

TEST_CASE("more passing errors than a turn's budget keep nobody from being served",
          "[net][accept]") {
  const FailNothingAfterwards clean;
  RealLoop<> it{{.accepts_per_turn = 8}};
  const std::vector<Client> clients = ConnectMany(it, 2);
  FailNext(&Calls::accept, ECONNABORTED, 20);
  weir::sys::calls() = {};
  it.Turn();
  CHECK(weir::sys::calls().accept == 8);
  it.Turn();
  it.Turn();
  CHECK(it.handler.opens == 2);
}

TEST_CASE("no descriptors at any place in the queue: a timer takes those that wait, once",
          "[net][accept]") {
  constexpr int kQueued = 4;
  const int error = GENERATE(EMFILE, ENFILE, ENOBUFS, ENOMEM);
  const int before = GENERATE(range(0, kQueued + 1));
  CAPTURE(error, before);
  const FailNothingAfterwards clean;
  RealLoop<> it;
  const std::vector<Client> clients = ConnectMany(it, kQueued);
  if (before > 0) FailNext(&Calls::accept, 0, before);
  FailNext(&Calls::accept, error);
  it.Turn();
  CHECK(it.handler.opens == before);
  it.RunUntilQuiet();
  CHECK(it.handler.opens == before);  // in no time nobody asks again

  const Clock::time_point start = fake::Now();
  weir::sys::calls() = {};
  for (int i = 0; i < 100 && fake::Now() - start < milliseconds(5); ++i) it.TurnWhenReady();
  CHECK(it.handler.opens == kQueued);
  CHECK(fake::Now() - start <= milliseconds(6));
  CHECK(weir::sys::calls().epoll_wait <= 3);
  CHECK(weir::sys::calls().accept == kQueued - before + 1);
  it.RunUntilQuiet();
  CHECK(it.loop.NextTimeout() == weir::Duration::max());  // and it is not asked again
}

TEST_CASE("without descriptors for a second accept is asked some 13 times, whatever the error",
          "[net][accept]") {
  const int error = GENERATE(EMFILE, ENFILE, ENOBUFS, ENOMEM, EIO);  // and what nobody knows
  const FailNothingAfterwards clean;
  RealLoop<> it;
  const std::vector<Client> clients = ConnectMany(it, 3);
  FailNext(&Calls::accept, error, 1'000'000);
  weir::sys::calls() = {};
  const Clock::time_point start = fake::Now();
  while (fake::Now() - start < std::chrono::seconds(1)) it.TurnWhenReady();
  // After 5, 10, 20, 40, 80 ms, then each 100 ms.
  CHECK(weir::sys::calls().accept >= 12);
  CHECK(weir::sys::calls().accept <= 15);
  CHECK(weir::sys::calls().epoll_wait <= 30);
  CHECK(it.handler.opens == 0);

  // A client that comes meanwhile is an edge, and one more try; afterwards all are served, and the
  // next shortage begins anew at 5 ms.
  fake::FailNothing();
  const Client edge = it.Connect();
  it.Turn();
  CHECK(it.handler.opens == 4);
  it.RunUntilQuiet();
  FailNext(&Calls::accept, error);
  const Client again = it.Connect();
  it.Turn();
  const Clock::time_point shortage = fake::Now();
  while (it.handler.opens == 4) it.TurnWhenReady();
  CHECK(fake::Now() - shortage <= milliseconds(6));
}

TEST_CASE("each listener that waits for descriptors has its try after a close", "[net][accept]") {
  const FailNothingAfterwards clean;
  RealLoop<> it;
  const int second = it.loop.Listen("tcp://127.0.0.1:0", it.handler);
  const Client first = it.ConnectAndOpen();
  weir::Connection* const open = it.handler.last;
  it.RunUntilQuiet();
  FailNext(&Calls::accept, EMFILE, 2);
  const Client one = it.Connect();
  const Client other(it.loop.ListenAddress(second));
  it.Turn();
  it.RunUntilQuiet();
  REQUIRE(it.handler.opens == 1);
  const Clock::time_point before = fake::Now();
  open->Abort();
  for (int i = 0; i < 3; ++i) it.Turn();
  CHECK(it.handler.opens == 3);
  CHECK(fake::Now() == before);
}

TEST_CASE("beyond max_connections OnAccept is not asked", "[net][accept]") {
  RealLoop<> it{{.max_connections = 1}};
  const std::vector<Client> clients = ConnectMany(it, 3);
  int asked = 0;
  it.handler.on_accept = [&](const weir::Accepted&) { return ++asked > 0; };
  it.Turn();
  CHECK(it.handler.opens == 1);
  CHECK(asked == 1);  // beyond the limit the handler is not asked
  CHECK(it.loop.GetStats().refused == 2);
  CHECK(it.loop.GetStats().accepted == 1);
}

TEST_CASE("what OnAccept throws refuses that client, and is counted", "[net][accept]") {
  RealLoop<> it;
  it.handler.on_accept = [&](const weir::Accepted&) -> bool {
    if (it.loop.GetStats().exceptions == 0) throw 7;
    return true;
  };
  const std::vector<Client> clients = ConnectMany(it, 2);
  it.Turn();
  CHECK(it.handler.opens == 1);
  CHECK(it.loop.GetStats().exceptions == 1);
  CHECK(it.loop.GetStats().refused == 1);
}
