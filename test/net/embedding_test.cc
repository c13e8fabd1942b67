// A loop inside another loop: PollFd tells the host when to call, NextTimeout how long to sleep.

#include <poll.h>

#include <chrono>
#include <thread>

#include "os/sys.h"
#include "support/catch.h"
#include "support/real_loop.h"

using namespace std::chrono_literals;
using weir::Connection;
using weir::Duration;
using weir::test::Client;
using weir::test::EchoRecorder;
using weir::test::RealLoop;

namespace {

bool IsReady(int fd, int milliseconds = 0) {
  pollfd wanted{fd, POLLIN, 0};
  return ::poll(&wanted, 1, milliseconds) == 1;
}

// As a host does it: only when told to.
template <class Loop>
int TurnIfDue(Loop& it) {
  if (!IsReady(it.loop.PollFd()) && it.loop.NextTimeout() > Duration::zero()) return 0;
  return it.Turn();
}

}  // namespace

TEST_CASE("a quiet loop is not ready, and may be slept on for ever", "[net][embed]") {
  RealLoop<EchoRecorder> it;
  const Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  CHECK_FALSE(IsReady(it.loop.PollFd()));
  CHECK(it.loop.NextTimeout() == Duration::max());
}

TEST_CASE("what comes from a client makes PollFd ready", "[net][embed]") {
  RealLoop<EchoRecorder> it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  client.Send("hello");
  CHECK(IsReady(it.loop.PollFd(), 10'000));
  for (int i = 0; i < 100 && client.received != "hello"; ++i) {
    TurnIfDue(it);
    client.Receive();
  }
  CHECK(client.received == "hello");
  CHECK_FALSE(IsReady(it.loop.PollFd()));
}

TEST_CASE("a post from another thread makes PollFd ready, with one write", "[net][embed]") {
  RealLoop<EchoRecorder> it;
  it.RunUntilQuiet();
  const auto before = it.loop.GetStats().wakeups;
  int ran = 0;
  std::thread poster([&] {
    for (int i = 0; i < 100; ++i) it.loop.Post([&] { ++ran; });
  });
  poster.join();
  CHECK(it.loop.NextTimeout() == Duration::zero());
  CHECK(IsReady(it.loop.PollFd(), 10'000));
  CHECK(it.loop.GetStats().wakeups == before + 1);
  it.Turn();
  CHECK(ran == 100);
  CHECK_FALSE(IsReady(it.loop.PollFd()));
}

TEST_CASE("what the host writes between two turns leaves without any other event", "[net][embed]") {
  RealLoop<EchoRecorder> it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  it.handler.last->Write("from the host");
  CHECK(it.loop.NextTimeout() == Duration::zero());
  CHECK(IsReady(it.loop.PollFd()));
  TurnIfDue(it);
  client.Await(13);
  CHECK(client.received == "from the host");
  it.RunUntilQuiet();
  CHECK_FALSE(IsReady(it.loop.PollFd()));
}

TEST_CASE("closing, aborting and resuming between two turns are work, too", "[net][embed]") {
  RealLoop<EchoRecorder> it;
  const Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  Connection& connection = *it.handler.last;
  const int what = GENERATE(0, 1, 2);
  if (what == 0) connection.Close();
  if (what == 1) connection.Abort();
  if (what == 2) {
    connection.PauseRead();
    const_cast<Client&>(client).Send("x");
    it.RunUntilQuiet();
    connection.ResumeRead();
  }
  CHECK(it.loop.NextTimeout() == Duration::zero());
  CHECK(IsReady(it.loop.PollFd()));
}

TEST_CASE("NextTimeout is the time to the next timer", "[net][embed]") {
  RealLoop<EchoRecorder> it;
  it.RunUntilQuiet();
  int runs = 0;
  it.loop.RunAfter(50ms, [&] { ++runs; });
  CHECK(it.loop.NextTimeout() <= Duration(51ms));
  CHECK(it.loop.NextTimeout() > Duration(40ms));
  CHECK_FALSE(IsReady(it.loop.PollFd()));
  for (int i = 0; i < 10 && runs == 0; ++i) {
    weir::sys::fake::Advance(std::chrono::ceil<std::chrono::milliseconds>(it.loop.NextTimeout()));
    it.Turn();
  }
  CHECK(runs == 1);
  CHECK(it.loop.NextTimeout() == Duration::max());
}

TEST_CASE("a stop makes PollFd ready, and a stopped loop is quiet for ever", "[net][embed]") {
  RealLoop<EchoRecorder> it;
  it.RunUntilQuiet();
  it.loop.Stop();
  CHECK(IsReady(it.loop.PollFd()));
  it.RunUntilQuiet();
  CHECK(it.loop.NextTimeout() <= 100ms);  // for handshakes that had begun
  weir::sys::fake::Advance(101ms);
  it.RunUntil([&] { return it.loop.IsStopped(); });
  CHECK(it.loop.NextTimeout() == Duration::max());
}
