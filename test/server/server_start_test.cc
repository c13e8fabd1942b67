// How a server's loops start together and end together: threads, handlers, exceptions, signals.

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <thread>

#include "support/catch.h"
#include "support/real_server.h"

using namespace weir::test;
using weir::Connection;
using weir::EventLoop;
using weir::Handler;
using weir::Server;
using OfLoop = Tally::OfLoop;

namespace {

constexpr const char* kAnyPort = "tcp://127.0.0.1:0";

std::string ErrorOf(const std::function<void()>& action) {
  try {
    action();
  } catch (const weir::Error& error) {
    CHECK(error.IsUsage());
    return error.what();
  }
  return "";
}

void RunOrStartAndJoin(Server& server, bool by_run) {
  if (by_run) {
    server.Run();
  } else {
    server.Start();
    server.Join();
  }
}

// Which thread called, by loop.
class Threads {
 public:
  void Note(const EventLoop& loop) {
    const std::lock_guard lock(mutex_);
    of_[loop.Index()].push_back(std::this_thread::get_id());
  }
  // One for each loop, and each loop's calls were all on it.
  [[nodiscard]] std::vector<std::thread::id> Distinct() {
    const std::lock_guard lock(mutex_);
    std::vector<std::thread::id> all;
    for (const auto& [loop, threads] : of_) {
      CHECK(std::count(threads.begin(), threads.end(), threads.front()) ==
            static_cast<std::ptrdiff_t>(threads.size()));
      CHECK(std::find(all.begin(), all.end(), threads.front()) == all.end());
      all.push_back(threads.front());
    }
    return all;
  }

 private:
  std::mutex mutex_;
  std::map<int, std::vector<std::thread::id>> of_;
};

}  // namespace

TEST_CASE("each loop has a handler of its own, made, called and destroyed on its thread",
          "[server][start]") {
  const bool by_run = GENERATE(true, false);
  Threads threads;
  std::atomic<bool> is_current = true;
  const auto note = [&](EventLoop& loop) {
    threads.Note(loop);
    is_current = is_current && EventLoop::Current() == &loop;
  };
  RealServer it({.loops = 3},
                {.on_make = note,
                 .on_start = note,
                 .on_stop = note,
                 .on_destroy = [&](EventLoop& loop) { threads.Note(loop); },
                 .on_accept =
                     [&](EventLoop& loop, const weir::Accepted&) {
                       threads.Note(loop);
                       return true;
                     },
                 .on_open = [&](Connection& connection) { threads.Note(connection.Loop()); }});
  CHECK(it.server.Loops() == 3);
  CHECK(it.server.Listen(kAnyPort) == 0);
  CHECK(it.tally.Sum(&OfLoop::made) == 0);

  std::thread client([&] {
    REQUIRE(it.tally.AwaitSum(&OfLoop::starts, 3));
    auto clients = it.ConnectAndOpen(20);
    for (Client& each : clients) CHECK(Replied(each, "hello") == "hello");
    it.server.Stop();
    for (Client& each : clients) ReadToEnd(each);
  });
  RunOrStartAndJoin(it.server, by_run);
  client.join();

  const std::vector<std::thread::id> distinct = threads.Distinct();
  CHECK(is_current);
  REQUIRE(distinct.size() == 3);
  CHECK((distinct[0] == std::this_thread::get_id()) == by_run);
  for (int i = 0; i < 3; ++i) {
    const OfLoop of = it.tally.Of(i);
    CHECK(of.made == 1);
    CHECK(of.starts == 1);
    CHECK(of.stops == 1);
    CHECK(of.destroyed == 1);
    CHECK(of.opens == of.closes);
    CHECK(it.server.Loop(i).Index() == i);
    CHECK(it.server.Loop(i).IsStopped());
  }
  CHECK(it.tally.Sum(&OfLoop::opens) == 20);
}

TEST_CASE("what a factory or OnStart throws stops the start on all loops", "[server][start]") {
  const bool by_run = GENERATE(true, false);
  const int bad = GENERATE(0, 1, 2);
  const bool in_factory = GENERATE(true, false);
  Threads threads;
  const auto throws = [&](EventLoop& loop) {
    if (loop.Index() == bad) throw std::runtime_error("no database");
  };
  TellingEcho::Hooks hooks;
  (in_factory ? hooks.on_make : hooks.on_start) = throws;
  hooks.on_destroy = [&](EventLoop& loop) { threads.Note(loop); };
  RealServer it({.loops = 3}, hooks);
  it.server.Listen(kAnyPort);
  Client client = it.Connect();

  CHECK_THROWS_WITH(RunOrStartAndJoin(it.server, by_run), "no database");

  CHECK(it.tally.Sum(&OfLoop::opens) == 0);
  CHECK(it.tally.Sum(&OfLoop::stops) == 0);
  // One that was never finished is not destroyed.
  CHECK(it.tally.Sum(&OfLoop::destroyed) == (in_factory ? 2 : 3));
  const auto distinct = threads.Distinct();
  const bool here =
      std::find(distinct.begin(), distinct.end(), std::this_thread::get_id()) != distinct.end();
  CHECK(here == (by_run && !(in_factory && bad == 0)));
  CHECK_NOTHROW(it.server.Join());  // told once
}

TEST_CASE("a factory that makes nothing is told", "[server][start]") {
  Server server([](EventLoop&) { return std::unique_ptr<Handler>(); }, {.loops = 2});
  server.Listen(kAnyPort);
  CHECK(ErrorOf([&] { server.Start(); }) == "Server: the factory made no handler");
}

TEST_CASE("an empty factory is told before anything starts", "[server][start]") {
  CHECK(ErrorOf([] { Server server{Server::Factory()}; }) == "Server: the factory is empty");
  Tally tally;
  RealServer it({});
  CHECK(ErrorOf([&] { it.server.Listen(kAnyPort, nullptr); }) ==
        std::string("listen ") + kAnyPort + ": the factory is empty");
}

TEST_CASE("with kFinishTurnThenRethrow an exception drains all loops and comes out",
          "[server][start]") {
  const bool by_run = GENERATE(true, false);
  std::atomic<bool> has_thrown = false;
  RealServer it({.loops = 2,
                 .balance = GENERATE(weir::Balance::kReusePort, weir::Balance::kRoundRobin),
                 .on_exception = weir::OnException::kFinishTurnThenRethrow},
                {.on_data = [&](Connection&, std::string_view in) {
                  if (in == "throw" && !has_thrown.exchange(true)) throw std::runtime_error("bug");
                }});
  it.server.Listen(kAnyPort);

  std::thread client([&] {
    REQUIRE(it.tally.AwaitSum(&OfLoop::starts, 2));
    auto clients = it.ConnectAndOpen(10);
    clients.front().Send("throw");
    for (Client& each : clients) {
      ReadToEnd(each);
      CHECK(each.error == 0);  // the others end in order, and so does the one whose callback threw
      each.Close();
    }
  });
  CHECK_THROWS_WITH(RunOrStartAndJoin(it.server, by_run), "bug");
  client.join();
  CHECK(it.tally.Sum(&OfLoop::closes) == 10);
  CHECK(it.tally.Sum(&OfLoop::destroyed) == 2);
  CHECK_NOTHROW(it.server.Join());
}

TEST_CASE("one handler serves one loop, and several if it is said to be shared",
          "[server][start]") {
  struct Counts : Handler {
    void OnStart(EventLoop&) override { ++starts; }
    void OnOpen(Connection&) override { ++opens; }
    std::size_t OnData(Connection& connection, std::string_view in) override {
      connection.Write(in);
      return in.size();
    }
    std::atomic<int> starts = 0, opens = 0;
  } handler;

  const std::string refused = ErrorOf([&] { Server server(handler, {.loops = 2}); });
  CHECK(refused.starts_with("Options::loops 2: several loops cannot share one handler"));
  CHECK(refused.find("factory") != std::string::npos);
  CHECK(refused.find("weir::Shared") != std::string::npos);

  const auto serve = [&](Server& server) {
    server.Listen(kAnyPort);
    server.Start();
    for (int i = 0; i < 30; ++i) {
      Client client(server.Addresses()[0]);
      CHECK(Replied(client, "x") == "x");
    }
    server.Stop();
    server.Join();
  };
  SECTION("one") {
    Server server(handler, {});
    serve(server);
    CHECK(handler.starts == 1);
  }
  SECTION("shared") {
    Server server(weir::Shared{handler}, {.loops = 3});
    serve(server);
    CHECK(handler.starts == 3);
  }
  CHECK(handler.opens == 30);
}

TEST_CASE("a number of loops that cannot be is told", "[server][start]") {
  Recorder handler;
  CHECK(ErrorOf([&] { Server server(handler, {.loops = -1}); }) ==
        "Options::loops: -1 is not in 0..1024");
  CHECK(ErrorOf([&] { Server server(weir::Shared{handler}, {.loops = 1025}); }) ==
        "Options::loops: 1025 is not in 0..1024");
  CHECK(ErrorOf([&] { Server server(handler, {.read_chunk = 0}); }) ==
        "Options::read_chunk: must not be 0");
}

TEST_CASE("listeners may have handlers of their own, and numbers that all loops know",
          "[server][start]") {
  RealServer it(
      {.loops = 2, .balance = GENERATE(weir::Balance::kReusePort, weir::Balance::kRoundRobin)});
  struct Second : Handler {
    std::size_t OnData(Connection& connection, std::string_view in) override {
      connection.Write("second " + std::to_string(connection.Listener()));
      return in.size();
    }
  };
  CHECK(it.server.Listen(kAnyPort) == 0);
  CHECK(it.server.Listen(kAnyPort, [](EventLoop&) { return std::make_unique<Second>(); }) == 1);
  it.server.Start();
  REQUIRE(it.server.Addresses().size() == 2);
  CHECK(it.server.Addresses()[0] != it.server.Addresses()[1]);
  for (int loop = 0; loop < 2; ++loop) {
    for (int listener = 0; listener < 2; ++listener) {
      CHECK(it.server.Loop(loop).ListenAddress(listener) ==
            it.server.Addresses()[static_cast<std::size_t>(listener)]);
    }
  }
  for (int i = 0; i < 10; ++i) {
    Client first = it.Connect(0);
    CHECK(Replied(first, "hello") == "hello");
    Client second = it.Connect(1);
    second.Send("?");
    second.Await(8);
    CHECK(second.received == "second 1");
  }
}

TEST_CASE("a server without a URL runs until it is stopped", "[server][start]") {
  RealServer it({.loops = 2});
  it.server.Start();
  CHECK(it.tally.Sum(&OfLoop::starts) == 2);
  it.server.Stop();
  it.server.Join();
  CHECK(it.tally.Sum(&OfLoop::stops) == 2);
}

TEST_CASE("a stop before the start drains and returns", "[server][stop]") {
  const auto balance = GENERATE(weir::Balance::kReusePort, weir::Balance::kRoundRobin);
  RealServer it({.loops = 2, .balance = balance});
  it.server.Listen(kAnyPort);
  Client client = it.Connect();
  client.Send("early");
  client.HalfClose();
  it.server.Stop();
  it.server.Run();
  ReadToEnd(client);
  CHECK(client.received == "early");
}

TEST_CASE("a server may be destroyed at any time", "[server][stop]") {
  RealServer it({.loops = 2,
                 .balance = GENERATE(weir::Balance::kReusePort, weir::Balance::kLeastConnections)});
  it.server.Listen(kAnyPort);
  SECTION("never run") {}
  SECTION("running, with connections: they are reset") {
    it.server.Start();
    const auto clients = it.ConnectAndOpen(5);
  }
}

TEST_CASE("a stop comes from a handler, a thread or a signal", "[server][stop]") {
  static std::atomic<Server*> stopped = nullptr;
  RealServer it(
      {.loops = 2, .balance = GENERATE(weir::Balance::kReusePort, weir::Balance::kSourceHash)});
  it.hooks.on_data = [&](Connection&, std::string_view in) {
    if (in == "stop") it.server.Stop();
  };
  it.server.Listen(kAnyPort);
  it.server.Start();
  Client client = it.ConnectAndOpen(1).front().fd() >= 0 ? it.Connect() : Client();
  stopped = &it.server;
  SECTION("handler") { CHECK(Replied(client, "stop") == "stop"); }
  SECTION("thread") {
    std::thread([&] { it.server.Stop(); }).join();
  }
  SECTION("signal") {
    struct sigaction action {
    }, before{};
    action.sa_handler = [](int) { stopped.load()->Stop(); };
    REQUIRE(::sigaction(SIGUSR1, &action, &before) == 0);
    REQUIRE(std::raise(SIGUSR1) == 0);
    REQUIRE(::sigaction(SIGUSR1, &before, nullptr) == 0);
  }
  ReadToEnd(client);
  client.Close();
  it.server.Join();
  CHECK(it.tally.Sum(&OfLoop::destroyed) == 2);
}

TEST_CASE("a second stop, and one without grace, is now", "[server][stop]") {
  const auto balance = GENERATE(weir::Balance::kReusePort, weir::Balance::kRoundRobin);
  constexpr std::chrono::hours kLong{1};
  RealServer it({.loops = 2, .balance = balance, .close_linger = kLong});
  it.server.Listen(kAnyPort);
  it.server.Start();
  auto clients = it.ConnectAndOpen(10);  // none of them ends: a drain would wait for close_linger

  SECTION("a second one") {
    it.server.Stop(kLong);
    it.server.Stop(kLong);
  }
  SECTION("one without grace") { it.server.Stop(weir::Duration::zero()); }
  SECTION("one without grace, though a loop is draining already") {
    it.server.Loop(1).Stop(kLong);
    REQUIRE(it.tally.AwaitSum(&OfLoop::stops, 1));
    it.server.Stop(weir::Duration::zero());
  }
  it.server.Join();
  CHECK(it.tally.Sum(&OfLoop::closes) == 10);
}

TEST_CASE("the threads of a server take no signal but those of their own faults",
          "[server][start]") {
  const auto is_blocked = [](int signal) {
    sigset_t mask;
    sigemptyset(&mask);
    static_cast<void>(::pthread_sigmask(SIG_SETMASK, nullptr, &mask));
    return sigismember(&mask, signal) == 1;
  };
  const std::thread::id here = std::this_thread::get_id();
  RealServer it({.loops = 2});
  it.hooks.on_start = [&](EventLoop&) {
    const bool ours = std::this_thread::get_id() == here;
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGCHLD, SIGALRM, SIGHUP}) {
      it.tally.Expect(is_blocked(signal) == !ours, ::strsignal(signal));
    }
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) {
      it.tally.Expect(!is_blocked(signal), ::strsignal(signal));
    }
  };
  it.server.Stop();
  it.server.Run();
  CHECK(it.tally.Sum(&OfLoop::starts) == 2);
  CHECK(it.tally.Broken() == "");
  CHECK_FALSE(is_blocked(SIGTERM));
}

TEST_CASE("when loop 0 is stopped all are, and another one may be stopped alone",
          "[server][stop]") {
  const auto balance = GENERATE(weir::Balance::kReusePort, weir::Balance::kRoundRobin,
                                weir::Balance::kLeastConnections, weir::Balance::kSourceHash);
  RealServer it({.loops = 3, .balance = balance});
  it.server.Listen(kAnyPort);
  it.server.Start();
  it.server.Loop(1).Stop();
  REQUIRE(it.tally.AwaitSum(&OfLoop::destroyed, 1));
  CHECK(it.tally.Of(1).destroyed == 1);

  auto clients = it.ConnectAndOpen(20);  // on the other two
  CHECK(it.tally.Of(1).opens == 0);
  it.server.Loop(0).Stop();
  for (Client& client : clients) {
    ReadToEnd(client);
    CHECK(client.error == 0);
    client.Close();
  }
  it.server.Join();
  CHECK(it.tally.Sum(&OfLoop::destroyed) == 3);
}

TEST_CASE("a loop that drains by itself is not cut short when the server is stopped",
          "[server][stop]") {
  RealServer it({.loops = 2, .balance = weir::Balance::kRoundRobin});
  it.server.Listen(kAnyPort);
  it.server.Start();
  auto clients = it.ConnectAndOpen(6);
  it.server.Loop(1).Stop();
  REQUIRE(it.tally.AwaitSum(&OfLoop::stops, 1));
  it.server.Stop();
  for (Client& client : clients) {
    ReadToEnd(client);
    CHECK(client.error == 0);
    client.Close();
  }
  it.server.Join();
}

TEST_CASE("in a forked child a server is destroyed without its threads, and harms no parent",
          "[server][start]") {
  std::string folder = (std::filesystem::temp_directory_path() / "weir-fork-XXXXXX").string();
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  const std::string path = folder + "/socket";
  auto it = std::make_unique<RealServer>(weir::Options{.loops = 2});
  it->server.Listen(kAnyPort);
  it->server.Listen("unix:" + path);
  it->server.Start();
  const pid_t child = ::fork();
  if (child == 0) {
    it->hooks.on_destroy = [](EventLoop&) { ::_exit(1); };  // handlers are left alone
    it.reset();
    ::_exit(0);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(std::filesystem::is_socket(path));
  for (const int listener : {0, 1}) {
    auto clients = it->ConnectAndOpen(10, listener);
    for (Client& client : clients) CHECK(Replied(client, "x") == "x");
  }
  it.reset();
  CHECK_FALSE(std::filesystem::exists(path));
  std::filesystem::remove_all(folder);
}
