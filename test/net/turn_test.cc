// A turn as a whole: what comes in which turn, and that the loop never sleeps on work. The order
// of the steps by itself is tested in test/loop/turn_order_test.cc.

#include <csignal>
#include <cstdlib>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "os/sys.h"
#include "support/catch.h"
#include "support/death.h"
#include "support/one_connection.h"

using std::chrono::milliseconds;
using weir::CloseReason;
using weir::Connection;
using weir::ConnectionImpl;
using weir::Duration;
using weir::EventLoop;
using weir::Token;
using weir::test::Aborts;
using weir::test::LivesThrough;
using weir::test::OneConnection;
using weir::test::Recorder;
using weir::test::ScriptedLoop;
using weir::test::ScriptedWire;

using Calls = std::vector<std::string>;

namespace {

// Two open, registered, quiet connections of one handler.
struct Pair {
  explicit Pair(const weir::Options& options = {})
      : loop(options),
        first(loop.Open(first_wire, handler)),
        second(loop.Open(second_wire, handler)) {
    loop.RunUntilQuiet();
    loop.Turn();
    handler.calls.clear();
    first_wire.log.clear();
    second_wire.log.clear();
    first_wire.receives = second_wire.receives = 0;
    loop.poller.timeouts.clear();
    loop.poller.log.clear();
  }
  Recorder handler;
  ScriptedWire first_wire;
  ScriptedWire second_wire;
  ScriptedLoop loop;
  ConnectionImpl& first;
  ConnectionImpl& second;
};

// Waits as Run() does: for ever, if the loop may. (The scripted poller returns at once.)
int LongTurn(EventLoop& loop) { return loop.RunOnce(Duration::max()); }

}  // namespace

// ---- Waiting

TEST_CASE("with nothing to do a loop waits for ever", "[net][turn]") {
  Pair it;
  LongTurn(*it.loop.loop);
  CHECK(it.loop.poller.timeouts == std::vector<int>{-1});
}

TEST_CASE("what OnBatchEnd closes retires in the next turn, and nobody waits before it",
          "[net][turn]") {
  Pair it;
  it.handler.on_batch_end = [&](EventLoop&) { it.first.CloseLocally(); };
  it.first_wire.WillReceive("x");
  it.loop.poller.Report(it.first.token, EPOLLIN);
  LongTurn(*it.loop.loop);
  CHECK(it.handler.closes == 0);
  LongTurn(*it.loop.loop);
  CHECK(it.handler.closes == 1);
  CHECK(it.loop.poller.timeouts == std::vector<int>{-1, 0});
}

TEST_CASE("what OnBatchEnd writes leaves in the same turn", "[net][turn]") {
  Pair it;
  it.handler.on_batch_end = [&](EventLoop&) { it.second.Write("batched"); };
  it.first_wire.WillReceive("x");
  it.loop.poller.Report(it.first.token, EPOLLIN);
  LongTurn(*it.loop.loop);
  CHECK(it.second_wire.sent == "batched");
  CHECK_FALSE(it.loop.HasWork());
}

TEST_CASE("what the flush closes retires in the next turn, and nobody waits before it",
          "[net][turn]") {
  Pair it;
  it.loop.loop->Post([&] {
    it.first.Write("bye");
    it.first.CloseLocally();
  });
  LongTurn(*it.loop.loop);
  CHECK(it.first_wire.sent == "bye");
  CHECK(it.handler.closes == 0);
  LongTurn(*it.loop.loop);
  CHECK(it.handler.closes == 1);
  CHECK(it.loop.poller.timeouts == std::vector<int>{0, 0});  // the first: mail
}

TEST_CASE("a posted task that posts is served without a sleep", "[net][turn]") {
  Pair it{{.mail_per_turn = 1}};
  std::string ran;
  it.loop.loop->Post([&] {
    ran += "a";
    it.loop.loop->Post([&] { ran += "b"; });
  });
  LongTurn(*it.loop.loop);
  CHECK(ran == "a");
  LongTurn(*it.loop.loop);
  CHECK(ran == "ab");
  LongTurn(*it.loop.loop);
  CHECK(it.loop.poller.timeouts == std::vector<int>{0, 0, -1});
}

TEST_CASE("mail is bounded by mail_per_turn", "[net][turn]") {
  Pair it{{.mail_per_turn = 3}};
  int ran = 0;
  for (int i = 0; i < 7; ++i) it.loop.loop->Post([&] { ++ran; });
  CHECK(it.loop.Turn() == 3);
  CHECK(ran == 3);
  it.loop.Turn();
  it.loop.Turn();
  CHECK(ran == 7);
}

TEST_CASE("what a task throws is counted, and the loop goes on", "[net][turn]") {
  Pair it;
  bool ran = false;
  it.loop.loop->Post([] { throw std::runtime_error("a task"); });
  it.loop.loop->Post([&] { ran = true; });
  it.handler.on_batch_end = [](EventLoop&) { throw 7; };
  it.first_wire.WillReceive("x");
  it.loop.poller.Report(it.first.token, EPOLLIN);
  it.loop.Turn();
  CHECK(ran);
  CHECK(it.loop.loop->GetStats().exceptions == 2);
  CHECK(it.first.state() == weir::State::kOpen);
}

// ---- OnClose and others

TEST_CASE("what an OnClose writes to another connection leaves in the same turn", "[net][turn]") {
  Pair it;
  it.handler.on_close = [&](Connection&) { it.second.Write("it left"); };
  it.loop.loop->Post([&] { it.first.Abort(CloseReason::kLocal); });
  it.loop.Turn();
  CHECK(it.handler.closes == 1);
  CHECK(it.second_wire.sent == "it left");
}

TEST_CASE("an OnClose that closes others brings their OnClose in the same turn", "[net][turn]") {
  Pair it;
  it.handler.on_close = [&](Connection& closing) {
    if (&closing == &it.first) it.second.CloseLocally();
  };
  it.first_wire.WillReceive("x");
  it.handler.on_data = [](Connection& connection, std::string_view in) {
    connection.Abort();
    return in.size();
  };
  it.loop.poller.Report(it.first.token, EPOLLIN);
  it.loop.Turn();
  CHECK(it.handler.calls == Calls{"data 1", "close", "close", "batch"});
}

TEST_CASE("OnBatchEnd comes once a turn to each handler that was called, OnClose included",
          "[net][turn]") {
  Recorder other;
  ScriptedWire other_wire;
  Pair it;
  ConnectionImpl& third = it.loop.Open(other_wire, other);
  it.loop.RunUntilQuiet();
  it.handler.calls.clear();
  other.calls.clear();
  it.first_wire.WillReceive("a");
  it.second_wire.WillReceive("b");
  other_wire.WillReceive("c");
  it.loop.poller.Report(it.first.token, EPOLLIN);
  it.loop.poller.Report(third.token, EPOLLIN);
  it.loop.poller.Report(it.second.token, EPOLLIN);
  it.loop.Turn();
  CHECK(it.handler.calls == Calls{"data 1", "data 1", "batch"});
  CHECK(other.calls == Calls{"data 1", "batch"});

  it.loop.Turn();
  CHECK(it.handler.calls.size() == 3);  // nobody was called

  third.Abort(CloseReason::kLocal);
  it.loop.Turn();
  CHECK(other.calls == Calls{"data 1", "batch", "close", "batch"});
}

// ---- Slots and tokens

TEST_CASE("an event of the same batch, for a connection that was aborted before it, finds nobody",
          "[net][turn]") {
  Pair it;
  it.first_wire.WillReceive("x");
  it.second_wire.WillReceive("never read");
  it.handler.on_data = [&](Connection&, std::string_view in) {
    it.second.Abort(CloseReason::kLocal);
    return in.size();
  };
  it.loop.poller.Report(it.first.token, EPOLLIN);
  it.loop.poller.Report(it.second.token, EPOLLIN | EPOLLRDHUP);
  it.loop.Turn();
  CHECK(it.handler.calls == Calls{"data 1", "close", "batch"});
  CHECK(it.second_wire.log == Calls{"reset"});
}

TEST_CASE("a slot that was freed in a turn is not used again before the next wait", "[net][turn]") {
  ScriptedWire wire;
  Pair it;
  const Token old = it.second.token;
  it.handler.on_close = [&](Connection&) {
    it.handler.on_batch_end = [&](EventLoop&) {
      REQUIRE(it.loop.core().table.Find(old) == nullptr);  // it is free
      CHECK(it.loop.Open(wire, it.handler).token.slot != old.slot);
      it.handler.on_batch_end = nullptr;
    };
  };
  it.loop.loop->Post([&] { it.second.Abort(CloseReason::kLocal); });
  it.loop.Turn();
  CHECK(it.handler.opens == 3);
  it.loop.Turn();
  ScriptedWire& reused = it.second_wire;
  const Token next = it.loop.Open(reused, it.handler).token;
  CHECK(next.slot == old.slot);
  CHECK(next.generation == old.generation + 1);
}

TEST_CASE("an event for the slot's former owner is counted as stale, and finds nobody",
          "[net][turn]") {
  Pair it;
  const Token first = it.first.token;
  const Token second = it.second.token;
  it.first.Abort(CloseReason::kLocal);
  it.second.Abort(CloseReason::kLocal);
  it.loop.RunUntilQuiet();
  it.loop.Turn();
  it.second_wire.WillReceive("of the next owner");
  ConnectionImpl& next = it.loop.Open(it.second_wire, it.handler);
  next.PauseRead();
  it.loop.RunUntilQuiet();
  const std::uint64_t stale = it.loop.loop->GetStats().stale_events;

  it.loop.poller.Report(first, EPOLLIN);
  it.loop.poller.Report(second, EPOLLIN | EPOLLERR);
  it.loop.Turn();
  CHECK(it.loop.loop->GetStats().stale_events == stale + 2);
  CHECK(next.state() == weir::State::kOpen);
}

TEST_CASE("an owed entry of a connection that is gone does not serve the slot's next owner",
          "[net][turn]") {
  Pair it{{.read_chunk = 4, .read_budget = 4, .turn_budget = 4}};
  it.first_wire.WillReceive("abcd").WillReceive("efgh");
  it.loop.poller.Report(it.first.token, EPOLLIN);
  it.loop.Turn();
  REQUIRE(it.loop.HasWork());
  it.first.Abort(CloseReason::kLocal);
  it.loop.RunUntilQuiet();
  CHECK(it.handler.calls == Calls{"data 4", "batch", "close", "batch"});
  CHECK(it.first_wire.receives == 1);
}

// ---- Stopping

TEST_CASE("Stop closes what is open, and Post is refused once Run has returned", "[net][stop]") {
  Pair it;
  CHECK_FALSE(it.loop.loop->IsStopped());
  it.loop.loop->Stop();
  it.second_wire.ThenEnd();
  for (int i = 0; i < 3; ++i) it.loop.Turn();
  CHECK(it.handler.closes == 2);
  CHECK(it.handler.reason == CloseReason::kShutdown);
  CHECK_FALSE(it.loop.loop->IsStopped());  // they linger
  CHECK(it.loop.loop->Post([] {}));

  it.first_wire.ThenEnd();
  it.loop.poller.Report(it.first.token, EPOLLIN | EPOLLRDHUP);
  it.loop.poller.Report(it.second.token, EPOLLIN | EPOLLRDHUP);
  it.loop.loop->Run();
  CHECK(it.loop.loop->IsStopped());
  CHECK_FALSE(it.loop.loop->Post([] {}));
  CHECK(it.loop.loop->RunOnce(Duration::max()) == 0);
}

TEST_CASE("a drain reads and delivers what had arrived, and no more", "[net][stop]") {
  OneConnection it{{.read_chunk = 4}};
  it.wire.WillReceive("abcd").WillReceive("efgh");
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    it.handler.text += in;
    it.wire.WillReceive("more");  // a peer that never stops
    connection.Write(in);
    return in.size();
  };
  it.loop->Stop();
  it.RunUntilQuiet(100);
  CHECK(it.handler.text == "abcdefgh");
  CHECK(it.wire.sent == "abcdefgh");
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kShutdown);
}

TEST_CASE("a drain delivers what ResumeRead has made due", "[net][stop]") {
  OneConnection it;
  it.wire.WillReceive("abc");
  it.handler.on_data = [](Connection& connection, std::string_view) {
    connection.PauseRead();
    return std::size_t{0};
  };
  it.RaiseEdge();
  it.RunUntilQuiet();
  it.handler.on_data = nullptr;

  it.connection().ResumeRead();
  it.loop->DrainAll();
  it.RunUntilQuiet();

  CHECK(it.handler.text == "abc");
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kShutdown);
}

TEST_CASE("a drain waits for a paused connection that holds unread input, and delivers it",
          "[net][stop]") {
  OneConnection it;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    if (in == "request") {
      connection.PauseRead();  // busy with something else
      return std::size_t{0};
    }
    return in.size();
  };
  it.wire.WillReceive("request");
  it.RaiseEdge();
  it.loop->Stop();
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 0);

  it.handler.on_data = nullptr;
  it.connection().ResumeRead();
  it.RunUntilQuiet();
  CHECK(it.handler.text == "request");
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kShutdown);
}

TEST_CASE("a drain waits for a paused connection until the grace is over", "[net][stop]") {
  OneConnection it;
  it.wire.WillReceive("abc");
  it.connection().PauseRead();
  it.loop->Stop(milliseconds(50));
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 0);

  SECTION("it resumes") {
    it.connection().ResumeRead();
    it.RunUntilQuiet();
    CHECK(it.handler.text == "abc");
    CHECK(it.handler.closes == 1);
  }
  SECTION("it does not") {
    weir::sys::fake::Advance(milliseconds(51));
    it.Turn();
    CHECK(it.handler.text.empty());
    CHECK(it.handler.closes == 1);
    CHECK(it.handler.reason == CloseReason::kShutdown);
    CHECK(it.wire.reset);
    CHECK(it.loop->IsStopped());
  }
}

TEST_CASE("Stop(0), and a second Stop, reset at once", "[net][stop]") {
  OneConnection it;
  it.wire.WillReceive("abc").WillTake(0);
  it.connection().PauseRead();
  it.connection().Write("queued");
  it.Turn();
  const bool twice = GENERATE(false, true);
  if (twice) {
    it.loop->Stop();
    it.Turn();
    CHECK(it.handler.closes == 0);
    it.loop->Stop();
  } else {
    it.loop->Stop(Duration::zero());
  }
  it.Turn();
  CHECK(it.handler.closes == 1);
  CHECK(it.wire.reset);
  CHECK(it.loop->IsStopped());
}

TEST_CASE("a loop that has ended after Stop has no timer left", "[net][stop]") {
  OneConnection it;
  const bool by_default = GENERATE(true, false);
  CAPTURE(by_default);
  const auto stop = [&] { by_default ? it.loop->Stop() : it.loop->Stop(milliseconds(50)); };
  SECTION("its connections have finished") {
    it.wire.ThenEnd();
    it.poller.Report(it.token(), EPOLLIN | EPOLLRDHUP);
    stop();
    it.RunUntilQuiet();
  }
  SECTION("it had none") {
    it.connection().Abort();
    it.RunUntilQuiet();
    stop();
    it.Turn();
  }
  SECTION("the grace was over") {
    it.connection().PauseRead();
    stop();
    it.Turn();
    CHECK(it.core().engine.HasTimers());
    weir::sys::fake::Advance(std::chrono::seconds(31));
    it.Turn();
  }
  SECTION("Stop came twice") {
    it.connection().PauseRead();
    stop();
    it.Turn();
    stop();
    it.loop->Stop(Duration::zero());
    it.Turn();
  }
  REQUIRE(it.loop->IsStopped());
  CHECK(it.handler.closes == 1);
  CHECK_FALSE(it.core().engine.HasTimers());
  CHECK(it.loop->NextTimeout() == Duration::max());
}

TEST_CASE("the end of a stop leaves the program's timers alone", "[net][stop]") {
  OneConnection it;
  it.connection().PauseRead();
  it.loop->Stop(milliseconds(50));
  it.Turn();
  // What the grace armed is used again: by the time the loop ends it is the program's.
  it.handler.on_close = [&](Connection& connection) {
    connection.Loop().RunAfter(std::chrono::hours(1), [] {});
  };
  weir::sys::fake::Advance(milliseconds(51));
  it.Turn();
  REQUIRE(it.loop->IsStopped());
  CHECK(it.core().engine.HasTimers());
}

TEST_CASE("Stop works from a callback and from a posted task", "[net][stop]") {
  OneConnection it;
  it.wire.WillReceive("x").ThenEnd();
  if (GENERATE(true, false)) {
    it.handler.on_data = [&](Connection&, std::string_view in) {
      it.loop->Stop();
      return in.size();
    };
  } else {
    it.loop->Post([&] { it.loop->Stop(); });
  }
  it.poller.Report(it.token(), EPOLLIN | EPOLLRDHUP);
  it.loop->Run();
  CHECK(it.handler.closes == 1);
  CHECK(it.loop->IsStopped());
}

TEST_CASE("Stop before Run makes Run return", "[net][stop]") {
  EventLoop loop;
  loop.Stop();
  loop.Run();
  CHECK(loop.IsStopped());
  loop.Run();
}

TEST_CASE("what was posted before Stop runs, in a loop that has nothing to drain", "[net][stop]") {
  EventLoop loop;
  bool ran = false;
  loop.Post([&] { ran = true; });
  loop.Stop();
  loop.Run();
  CHECK(ran);
}

TEST_CASE("a task that posts itself for ever does not keep a stopped loop running", "[net][stop]") {
  EventLoop loop;
  std::function<void()> again = [&] { loop.Post(again); };
  loop.Post(again);
  loop.RunOnce(Duration::zero());
  loop.Stop();
  for (int i = 0; i < 1000 && !loop.IsStopped(); ++i) loop.RunOnce(Duration::zero());
  CHECK(loop.IsStopped());
}

TEST_CASE("tasks that are left at the end are destroyed on the loop's thread, and not run",
          "[net][stop]") {
  struct Note {
    explicit Note(std::thread::id& where) : thread(&where) {}
    Note(Note&& other) noexcept : thread(std::exchange(other.thread, nullptr)) {}
    ~Note() {
      if (thread != nullptr) *thread = std::this_thread::get_id();
    }
    std::thread::id* thread;
  };
  std::thread::id destroyed_on;
  bool ran = false;
  EventLoop loop{{.mail_per_turn = 1}};
  loop.Post([&] { loop.Stop(Duration::zero()); });
  loop.Post([] {});
  std::thread([&] { loop.Post([&ran, note = Note(destroyed_on)] { ran = true; }); }).join();
  loop.Run();
  CHECK_FALSE(ran);
  CHECK(destroyed_on == std::this_thread::get_id());
}

// ---- Threads and processes

TEST_CASE("a loop is used by the thread that runs it", "[net][turn]") {
  CHECK(Aborts([] {
    EventLoop loop;
    loop.RunOnce(Duration::zero());
    std::thread([&] { loop.RunOnce(Duration::zero()); }).join();
  }));
  CHECK(LivesThrough([] {
    EventLoop loop;  // made here, run there
    std::thread([&] {
      loop.Stop();
      loop.Run();
    }).join();
  }));
}

TEST_CASE("a forked child that touches the loop fails a check", "[net][turn]") {
  OneConnection it;
  CHECK(Aborts([&] { it.loop->Post([] {}); }));
  CHECK(Aborts([&] { it.loop->Stop(); }));
  CHECK(Aborts([&] { it.Turn(); }));
  CHECK(Aborts([&] { it.loop->DrainAll(); }));
}

TEST_CASE("a forked child may destroy the loop, and the parent's goes on", "[net][turn]") {
  OneConnection it;
  it.connection().Emplace<std::string>(100U, 'x');
  CHECK(LivesThrough([&] {
    it.loop.reset();
    if (it.wire.reset || !it.wire.closed || it.handler.closes > 0) std::abort();
  }));
  it.wire.WillReceive("hello");
  it.RaiseEdge();
  CHECK(it.handler.text == "hello");
}

TEST_CASE("the current loop is known while it runs", "[net][turn]") {
  Pair it;
  EventLoop* seen = nullptr;
  it.loop.loop->Post([&] { seen = EventLoop::Current(); });
  CHECK(EventLoop::Current() == nullptr);
  it.loop.Turn();
  CHECK(seen == it.loop.loop.get());
  CHECK(EventLoop::Current() == nullptr);
}

TEST_CASE("a loop leaves SIGPIPE as it was", "[net][turn]") {
  struct sigaction before {};
  struct sigaction after {};
  ::sigaction(SIGPIPE, nullptr, &before);
  {
    EventLoop loop;
    loop.Stop();
    loop.Run();
  }
  ::sigaction(SIGPIPE, nullptr, &after);
  CHECK(before.sa_handler == after.sa_handler);
}
