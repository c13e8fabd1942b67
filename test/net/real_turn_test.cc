// The turn, the mailbox and the stop, on the real kernel: with threads that post, signals that
// interrupt, and loops that sleep. Nothing here waits for time to pass; what blocks is ended by
// what is tested.

#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <memory>
#include <stdexcept>
#include <thread>

#include "os/sys.h"
#include "support/catch.h"
#include "support/real_loop.h"

using std::chrono::milliseconds;
using std::chrono::seconds;
using weir::Address;
using weir::Clock;
using weir::CloseReason;
using weir::Connection;
using weir::Duration;
using weir::EventLoop;
using weir::test::Client;
using weir::test::EchoRecorder;
using weir::test::RealLoop;
using weir::test::Recorder;
namespace sys = weir::sys;
namespace fake = weir::sys::fake;

namespace {

std::atomic<int> signals_taken{0};
std::atomic<EventLoop*> loop_to_stop{nullptr};

// A handler that interrupts what blocks: it is installed without SA_RESTART.
class InterruptBy {
 public:
  InterruptBy(int signal, void (*handler)(int)) : signal_(signal) {
    struct sigaction action {};
    action.sa_handler = handler;
    REQUIRE(::sigaction(signal, &action, &before_) == 0);
  }
  InterruptBy(const InterruptBy&) = delete;
  InterruptBy& operator=(const InterruptBy&) = delete;
  ~InterruptBy() { static_cast<void>(::sigaction(signal_, &before_, nullptr)); }

 private:
  int signal_;
  struct sigaction before_ {};
};

}  // namespace

// ---- The turn

TEST_CASE("OnBatchEnd comes once a turn, after all of its callbacks", "[net][real][turn]") {
  RealLoop it;
  std::vector<Client> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(it.ConnectAndOpen());
  it.RunUntilQuiet();
  it.handler.calls.clear();

  for (int i = 0; i < 4; ++i) clients[static_cast<std::size_t>(i)].Send("x");
  clients[4].Reset();
  it.TurnWhenReady();

  REQUIRE(it.handler.calls.size() == 6);
  CHECK(std::count(it.handler.calls.begin(), it.handler.calls.end(), "data 1") == 4);
  CHECK(it.handler.calls[4] == "close");
  CHECK(it.handler.calls[5] == "batch");
}

TEST_CASE("each of a loop's handlers has one OnBatchEnd a turn", "[net][real][turn]") {
  Recorder second;
  RealLoop it;
  const Address address = it.loop.ListenAddress(it.loop.Listen("tcp://127.0.0.1:0", second));
  std::vector<Client> clients;
  for (int i = 0; i < 3; ++i) {  // in turns, so that their edges are mixed
    clients.push_back(it.ConnectAndOpen());
    clients.emplace_back(address);
    it.RunUntil([&] { return second.opens == i + 1; });
  }
  it.RunUntilQuiet();
  it.handler.batches = second.batches = 0;

  for (Client& client : clients) client.Send("x");
  it.TurnWhenReady();

  CHECK(it.handler.text == "xxx");
  CHECK(second.text == "xxx");
  CHECK(it.handler.batches == 1);
  CHECK(second.batches == 1);
}

TEST_CASE("a turn without calls has no OnBatchEnd", "[net][real][turn]") {
  RealLoop it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  const int before = it.handler.batches;

  for (int i = 0; i < 10; ++i) it.Turn();

  CHECK(it.handler.batches == before);
}

TEST_CASE("posted tasks run in their order, a bounded number each turn", "[net][real][turn]") {
  RealLoop it{{.mail_per_turn = 10}};
  std::vector<int> ran;
  for (int i = 0; i < 25; ++i) it.loop.Post([&ran, i] { ran.push_back(i); });

  it.TurnWhenReady();
  CHECK(ran.size() == 10);
  it.TurnWhenReady();  // does not sleep on the rest
  it.TurnWhenReady();

  REQUIRE(ran.size() == 25);
  CHECK(std::is_sorted(ran.begin(), ran.end()));
}

TEST_CASE("a task that posts itself for ever keeps nobody from being served", "[net][real][turn]") {
  RealLoop<EchoRecorder> it;
  int again = 0;
  std::function<void()> task = [&] {
    ++again;
    it.loop.Post([&] { task(); });
  };
  it.loop.Post([&] { task(); });
  Client client = it.ConnectAndOpen();

  client.Send("ping");
  it.RunUntil([&] { return client.Receive(), client.received == "ping"; }, 1000);

  CHECK(again > 0);
}

TEST_CASE("RunOnce waits as long as it is told, and no longer", "[net][real][turn]") {
  RealLoop it;
  const Clock::time_point before = fake::Now();

  CHECK(it.loop.RunOnce(milliseconds(30)) == 0);

  CHECK(fake::Now() - before == milliseconds(30));
}

TEST_CASE("Now() is read once a turn, and between turns each time anew", "[net][real][turn]") {
  RealLoop it;
  Clock::time_point now;
  it.loop.Post([&] {
    now = it.loop.Now();
    fake::Advance(seconds(1));
    CHECK(it.loop.Now() == now);
  });
  it.Turn();
  CHECK(it.loop.Now() == now + seconds(1));
  fake::Advance(seconds(1));
  CHECK(it.loop.Now() == now + seconds(2));
}

TEST_CASE("Current() is the loop of the callback that runs, and nobody's outside",
          "[net][real][turn]") {
  RealLoop it;
  EventLoop* inside = nullptr;
  it.handler.on_open = [&](Connection& connection) {
    inside = EventLoop::Current();
    CHECK(&connection.Loop() == inside);
  };
  Client client = it.ConnectAndOpen();

  CHECK(inside == &it.loop);
  CHECK(EventLoop::Current() == nullptr);
}

// ---- Threads

TEST_CASE("each post of four threads runs once, those of one thread in their order",
          "[net][real][turn][threads]") {
  constexpr int kThreads = 4;
  constexpr int kPosts = 20'000;
  EventLoop loop;
  std::array<int, kThreads> next{};
  int out_of_order = 0;
  int total = 0;
  std::vector<std::thread> posters;
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    posters.emplace_back([&, thread] {
      for (int i = 0; i < kPosts; ++i) {
        while (!loop.Post([&, thread, i] {
          out_of_order += next[thread] == i ? 0 : 1;
          next[thread] = i + 1;
          if (++total == kThreads * kPosts) loop.Stop();
        })) {
        }
      }
    });
  }

  loop.Run();
  for (std::thread& poster : posters) poster.join();

  CHECK(total == kThreads * kPosts);
  CHECK(out_of_order == 0);
  CHECK_FALSE(loop.Post([] {}));
}

TEST_CASE("posts to a loop that is awake wake nobody", "[net][real][turn]") {
  RealLoop it;
  it.loop.Post([&] {
    for (int i = 0; i < 100; ++i) it.loop.Post([] {});
  });
  it.RunUntilQuiet();

  CHECK(it.loop.GetStats().wakeups == 0);
  CHECK(it.loop.GetStats().mail == 101);
}

TEST_CASE("posts between two turns, when another loop may sleep on PollFd, wake it once",
          "[net][real][turn]") {
  RealLoop it;
  it.Turn();
  for (int i = 0; i < 100; ++i) it.loop.Post([] {});
  it.TurnWhenReady();

  CHECK(it.loop.GetStats().wakeups == 1);
  CHECK(it.loop.GetStats().mail == 100);
}

// ---- Signals

TEST_CASE("signals that interrupt the wait do no harm", "[net][real][turn][threads]") {
  const InterruptBy interrupt(SIGUSR1, [](int) { ++signals_taken; });
  signals_taken = 0;
  EchoRecorder handler;
  EventLoop loop;
  const Address address = loop.ListenAddress(loop.Listen("tcp://127.0.0.1:0", handler));
  std::thread server([&] { loop.Run(); });
  Client client(address);
  client.Send("a");
  client.Await(1);

  for (int i = 1; i <= 200; ++i) {
    REQUIRE(::pthread_kill(server.native_handle(), SIGUSR1) == 0);
    while (signals_taken < i) std::this_thread::yield();
    if (i % 10 != 0) continue;
    client.Send("a");
    client.Await(1);
  }
  loop.Stop(Duration::zero());
  server.join();

  CHECK(client.received.size() == 21);
  CHECK(handler.closes == 1);
}

TEST_CASE("signals that interrupt whatever a loop does lose no byte of an echo",
          "[net][real][turn][threads]") {
  const InterruptBy interrupt(SIGUSR1, [](int) { ++signals_taken; });
  signals_taken = 0;
  constexpr std::size_t kTotal = std::size_t{8} << 20;
  Recorder handler;
  handler.on_data = [](Connection& connection, std::string_view in) {
    connection.Write(in);
    return in.size();
  };
  // An interrupted wait with a time-out passes it on the fake clock: so no time may be set.
  EventLoop loop({.write_stall = Duration::zero(), .send_buffer = 64 << 10});
  const Address address = loop.ListenAddress(loop.Listen("tcp://127.0.0.1:0", handler));
  std::thread server([&] { loop.Run(); });
  std::atomic<bool> enough{false};
  std::thread signaller([&] {
    for (int sent = 0; !enough; ++sent) {
      static_cast<void>(::pthread_kill(server.native_handle(), SIGUSR1));
      while (signals_taken <= sent && !enough) std::this_thread::yield();
    }
  });
  Client client(address, 64 << 10);
  std::string bytes(kTotal, '\0');
  std::uint32_t seed = 1;
  for (char& byte : bytes) byte = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
  std::string_view rest = bytes;
  bool failed = false;
  while (client.received.size() < kTotal && !failed) {
    pollfd wanted{client.fd(), static_cast<short>(rest.empty() ? POLLIN : POLLIN | POLLOUT), 0};
    failed = ::poll(&wanted, 1, 20'000) != 1;
    rest.remove_prefix(client.TrySend(rest.substr(0, 100'000)));
    client.Receive();
    failed = failed || client.error != 0 || client.ended;
  }
  enough = true;
  signaller.join();
  loop.Stop(Duration::zero());
  server.join();

  CHECK_FALSE(failed);
  CHECK((client.received == bytes));
  CHECK(signals_taken > 10);
  CHECK(handler.closes == 1);
}

TEST_CASE("Stop in a signal handler ends the loop that runs on that thread",
          "[net][real][turn][stop]") {
  const InterruptBy stop(SIGUSR1, [](int) { loop_to_stop.load()->Stop(); });
  RealLoop<EchoRecorder> it;
  Client client = it.ConnectAndOpen();
  loop_to_stop = &it.loop;
  it.handler.on_data = [](Connection& connection, std::string_view in) {
    static_cast<void>(std::raise(SIGUSR1));
    connection.Write("last words");
    return in.size();
  };

  client.Send("x");
  it.loop.Run();

  client.Await(10);
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kShutdown);
}

TEST_CASE("a signal whose handler stops a sleeping loop ends it",
          "[net][real][turn][stop][threads]") {
  const InterruptBy stop(SIGUSR1, [](int) { loop_to_stop.load()->Stop(); });
  for (int i = 0; i < 100; ++i) {
    EventLoop loop;
    loop_to_stop = &loop;
    std::atomic<bool> runs{false};
    loop.Post([&] { runs = true; });
    std::thread server([&] { loop.Run(); });
    while (!runs) std::this_thread::yield();
    REQUIRE(::pthread_kill(server.native_handle(), SIGUSR1) == 0);
    server.join();
    CHECK(loop.IsStopped());
  }
}

// ---- Stop

TEST_CASE("Stop from another thread always ends a sleeping loop",
          "[net][real][turn][stop][threads]") {
  for (int i = 0; i < 1000; ++i) {
    EventLoop loop;
    std::thread server([&] { loop.Run(); });
    loop.Stop();
    server.join();
    REQUIRE(loop.IsStopped());
  }
}

TEST_CASE("posts that meet a stop are refused, or run or destroyed on the loop's thread",
          "[net][real][turn][stop][threads]") {
  struct Ends {
    std::atomic<int> on_loop{0};
    std::atomic<int> elsewhere{0};
    std::thread::id loop;
  };
  struct EndsIt {
    explicit EndsIt(Ends& at) : ends(&at) {}
    void operator()(int* unused) const {
      ++(std::this_thread::get_id() == ends->loop ? ends->on_loop : ends->elsewhere);
      delete unused;
    }
    Ends* ends;
  };
  for (int i = 0; i < 200; ++i) {
    EventLoop loop;
    Ends ends;
    std::atomic<bool> runs{false};
    int accepted = 0;
    loop.Post([&] {
      ends.loop = std::this_thread::get_id();
      runs = true;
    });
    std::thread server([&] { loop.Run(); });
    while (!runs) std::this_thread::yield();
    std::thread poster([&] {
      for (int n = 0; n < 50; ++n) {
        std::unique_ptr<int, EndsIt> mail(new int(n), EndsIt(ends));
        if (loop.Post([mail = std::move(mail)] {})) ++accepted;
      }
    });
    loop.Stop();
    server.join();
    poster.join();
    REQUIRE(ends.on_loop == accepted);
    REQUIRE(ends.elsewhere == 50 - accepted);
  }
}

TEST_CASE("a stop before Run drains and returns", "[net][real][turn][stop]") {
  RealLoop<EchoRecorder> it;
  Client client = it.Connect();
  client.Send("early");
  it.loop.Stop();

  it.loop.Run();

  client.Await(5);
  CHECK(client.received == "early");
  CHECK(it.handler.closes == 1);
  CHECK(it.loop.IsStopped());
  CHECK(it.loop.RunOnce(seconds(1)) == 0);
  it.loop.Run();  // returns at once
}

TEST_CASE("a request that had arrived before Stop gets its reply", "[net][real][turn][stop]") {
  RealLoop<EchoRecorder> it{{.read_chunk = 64}};
  Client served = it.ConnectAndOpen();
  Client silent = it.ConnectAndOpen();
  it.RunUntilQuiet();
  const std::string request(1000, 'r');
  Client queued = it.Connect();

  served.Send(request);
  queued.Send(request);
  it.loop.Stop();
  it.loop.Run();

  for (Client* const client : {&served, &queued}) {
    client->Await(request.size());
    CHECK(client->received == request);
    CHECK(client->Receive() == 0);
    CHECK(client->ended);
  }
  CHECK(silent.Receive() == 0);
  CHECK(silent.ended);
  CHECK(it.handler.closes == 3);
  CHECK(it.handler.reason == CloseReason::kShutdown);
  CHECK(std::count(it.handler.calls.begin(), it.handler.calls.end(), "stop") == 1);
}

TEST_CASE("Stop takes what is queued on the listener, beyond one budget",
          "[net][real][turn][stop]") {
  RealLoop<EchoRecorder> it{{.accepts_per_turn = 4}};
  std::vector<Client> clients;
  for (int i = 0; i < 30; ++i) {
    clients.push_back(it.Connect());
    clients.back().Send("hello");
  }

  it.loop.Stop();
  it.loop.Run();

  CHECK(it.handler.closes == 30);
  for (Client& client : clients) {
    client.Await(5);
    CHECK(client.received == "hello");
  }
}

TEST_CASE("a connection that is owed its unread input gets it before a drain closes it",
          "[net][real][turn][stop]") {
  RealLoop it;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {  // one byte, then a rest
    it.handler.text += in[0];
    connection.PauseRead();
    return std::size_t{1};
  };
  Client client = it.ConnectAndOpen();
  client.Send("ab");
  it.RunUntil([&] { return it.handler.text == "a"; });

  SECTION("resumed before the stop") {
    it.handler.last->ResumeRead();  // OnData is due again
    it.loop.Stop();
  }
  SECTION("resumed by OnStop, which then drains") {
    it.handler.on_stop = [&](EventLoop& loop) {
      it.handler.last->ResumeRead();
      loop.DrainAll();
    };
    it.loop.Stop();
  }
  it.loop.Run();

  CHECK(it.handler.text == "ab");
}

TEST_CASE("DrainAll in OnData: that connection, too, gets all that had arrived",
          "[net][real][turn][stop]") {
  RealLoop it{{.read_chunk = 8, .read_budget = 8}};
  bool first = true;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    if (std::exchange(first, false)) connection.Loop().DrainAll();
    it.handler.text += in;
    return in.size();
  };
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();

  client.Send("0123456789abcdef");
  it.RunUntil([&] { return it.handler.closes == 1; });

  CHECK(it.handler.text == "0123456789abcdef");
}

TEST_CASE("Stop(0) resets at once", "[net][real][turn][stop]") {
  RealLoop it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  it.handler.last->Write(std::string(10'000'000, 'x'));

  SECTION("as the first call") { it.loop.Stop(Duration::zero()); }
  SECTION("as the second call") {
    it.loop.Stop();
    it.loop.Stop();
  }
  SECTION("as the second call, while the first is under way") {
    it.loop.Stop();
    it.RunUntilQuiet();
    REQUIRE_FALSE(it.loop.IsStopped());
    it.loop.Stop();
  }
  const Clock::time_point before = fake::Now();
  it.loop.Run();

  CHECK(fake::Now() == before);
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kShutdown);
  while (client.Receive() > 0) {
  }
  CHECK(client.error == ECONNRESET);
  CHECK(std::count(it.handler.calls.begin(), it.handler.calls.end(), "stop") == 1);
}

TEST_CASE("a drain resets what is left when its grace is over", "[net][real][turn][stop]") {
  RealLoop it{{.close_linger = seconds(1000), .drain = seconds(30)}};
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  Duration grace{};
  SECTION("Options::drain") {
    it.loop.Stop();
    grace = seconds(30);
  }
  SECTION("Stop's own") {
    it.loop.Stop(seconds(7));
    grace = seconds(7);
  }
  it.handler.on_stop = [](EventLoop&) {};  // an override that lets all go on
  const Clock::time_point before = fake::Now();

  it.loop.Run();

  CHECK(fake::Now() - before >= grace);
  CHECK(fake::Now() - before < grace + milliseconds(100));
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kShutdown);
  CHECK(client.Receive() == 0);
  CHECK(client.error == ECONNRESET);
}

TEST_CASE("Run returns when the peers have ended, or after close_linger",
          "[net][real][turn][stop]") {
  RealLoop it{{.close_linger = seconds(5)}};
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  const Clock::time_point before = fake::Now();
  it.loop.Stop();
  it.RunToEndOf(client);
  REQUIRE_FALSE(it.loop.IsStopped());

  SECTION("their FIN") {
    client.HalfClose();
    it.loop.Run();
    CHECK(fake::Now() - before <= milliseconds(101));  // the listener's own end
  }
  SECTION("the linger") {
    it.loop.Run();
    CHECK(fake::Now() - before >= seconds(5));
    CHECK(fake::Now() - before < seconds(6));
  }
  CHECK(it.handler.closes == 1);
  CHECK(client.error == 0);
}

TEST_CASE("an OnStop may let its connections finish their work", "[net][real][turn][stop]") {
  RealLoop<EchoRecorder> it;
  it.handler.on_stop = [](EventLoop&) {};
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();

  it.loop.Stop();
  it.RunUntilQuiet();
  client.Send("one more");
  it.RunUntil([&] { return client.Receive(), client.received == "one more"; });
  CHECK_FALSE(it.loop.IsStopped());
  client.Close();
  it.loop.Run();

  CHECK(it.handler.reason == CloseReason::kPeerEnd);
}

TEST_CASE("what OnStart throws surfaces from Run", "[net][real][turn]") {
  RealLoop it;
  it.handler.on_start = [](EventLoop&) { throw std::runtime_error("no database"); };

  CHECK_THROWS_AS(it.loop.Run(), std::runtime_error);
}
