// What follows an exception out of the program's code.

#include <chrono>
#include <stdexcept>

#include "support/catch.h"
#include "support/death.h"
#include "support/one_connection.h"
#include "support/real_loop.h"

using namespace std::chrono_literals;
using weir::CloseReason;
using weir::Connection;
using weir::EventLoop;
using weir::OnException;
using weir::Options;
using weir::test::Client;
using weir::test::OneConnection;
using weir::test::RealLoop;
using weir::test::Recorder;
using weir::test::ScriptedWire;

namespace {

[[noreturn]] void Throw(const char* what) { throw std::runtime_error(what); }

}  // namespace

TEST_CASE("an exception out of a callback closes that connection, and no other",
          "[net][exception]") {
  RealLoop<> it;
  it.handler.on_data = [](Connection& connection, std::string_view in) -> std::size_t {
    connection.Write("before");
    if (in == "throw") Throw("data");
    return in.size();
  };
  Client bad = it.ConnectAndOpen();
  Client good = it.ConnectAndOpen();
  bad.Send("throw");
  good.Send("fine");
  it.RunUntil([&] {
    bad.Receive();
    good.Receive();
    return bad.ended && good.received == "before";
  });
  CHECK(bad.received == "before");  // what was queued is sent
  bad.Close();
  it.RunUntil([&] { return it.handler.closes == 1; });
  CHECK(it.handler.reason == CloseReason::kException);
  CHECK(it.loop.GetStats().exceptions == 1);
  CHECK(it.loop.GetStats().connections == 1);
}

TEST_CASE("an exception out of OnClose is counted, and the slot is freed", "[net][exception]") {
  OneConnection it;
  it.handler.on_close = [](Connection&) { Throw("close"); };
  it.connection().Abort();
  it.RunUntilQuiet();
  CHECK(it.loop->GetStats().exceptions == 1);
  CHECK(it.core().table.live() == 0);
}

TEST_CASE("an exception that is no std::exception is one all the same", "[net][exception]") {
  OneConnection it;
  it.handler.on_data = [](Connection&, std::string_view) -> std::size_t { throw 42; };
  it.wire.WillReceive("x");
  it.RaiseEdge();
  it.RunUntilQuiet();
  CHECK(it.handler.reason == CloseReason::kException);
}

TEST_CASE("finish-turn-then-rethrow finishes the turn, then throws its first", "[net][exception]") {
  Recorder handler;
  ScriptedWire first_wire;
  ScriptedWire second_wire;
  weir::test::ScriptedLoop it{Options{.on_exception = OnException::kFinishTurnThenRethrow}};
  const auto first = it.Open(first_wire, handler).token;
  const auto second = it.Open(second_wire, handler).token;
  it.RunUntilQuiet();
  handler.on_data = [](Connection& connection, std::string_view in) -> std::size_t {
    connection.Write("reply");
    Throw(std::string(in).c_str());
  };
  first_wire.WillReceive("one");
  second_wire.WillReceive("two");
  it.poller.Report(first, EPOLLIN);
  it.poller.Report(second, EPOLLIN);

  std::string thrown;
  try {
    it.Turn();
  } catch (const std::runtime_error& error) {
    thrown = error.what();
  }
  CHECK(thrown == "one");
  CHECK(first_wire.sent == "reply");
  CHECK(second_wire.sent == "reply");  // the turn went on
  CHECK(it.loop->GetStats().exceptions == 2);

  it.RunUntilQuiet();  // and the loop can be run again
  CHECK(handler.closes == 2);
  CHECK(handler.reason == CloseReason::kException);
}

TEST_CASE("tasks, timers and OnBatchEnd are rethrown, too", "[net][exception]") {
  const int place = GENERATE(0, 1, 2);
  OneConnection it{{.on_exception = OnException::kFinishTurnThenRethrow}};
  if (place == 0) it.loop->Post([] { Throw("task"); });
  if (place == 1) it.loop->RunAfter(0ms, [] { Throw("timer"); });
  if (place == 2) {
    it.handler.on_batch_end = [](EventLoop&) { Throw("batch"); };
    it.wire.WillReceive("x");
    it.poller.Report(it.token(), EPOLLIN);
  }
  CHECK_THROWS_AS(it.Turn(), std::runtime_error);
  it.handler.on_batch_end = nullptr;
  CHECK_NOTHROW(it.Turn());
}

TEST_CASE("Run rethrows, too, and can be called again", "[net][exception]") {
  RealLoop<> it{Options{.on_exception = OnException::kFinishTurnThenRethrow}};
  bool next_ran = false;
  it.loop.Post([] { Throw("task"); });
  it.loop.Post([&] {
    next_ran = true;
    it.loop.Stop(0ms);
  });
  CHECK_THROWS_AS(it.loop.Run(), std::runtime_error);
  CHECK(next_ran);  // the turn was finished
  CHECK_NOTHROW(it.loop.Run());
  CHECK(it.loop.IsStopped());
}

TEST_CASE("terminate terminates where it was caught", "[net][exception]") {
  // The loop is the child's own: it would not let a forked child use another's.
  CHECK(weir::test::Aborts([] {
    OneConnection it{{.on_exception = OnException::kTerminate}};
    it.loop->Post([] { Throw("task"); });
    it.Turn();
  }));
}

TEST_CASE("what OnStart throws stops the start, and leaves Run", "[net][exception]") {
  RealLoop<> it;
  it.handler.on_start = [](EventLoop&) { Throw("start"); };
  CHECK_THROWS_AS(it.loop.Run(), std::runtime_error);
}
