// Serve: its exit codes, its one line of error, and the signals that it takes and gives back.

#include "weir/serve.h"

#include <spdlog/sinks/ostream_sink.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.h"
#include "support/real_loop.h"
#include "weir/log.h"

using weir::Connection;
using weir::EventLoop;
using weir::Serve;
using weir::test::Client;
using weir::test::Recorder;

namespace {

// What weir logs while it lives: errors only.
class LoggedErrors {
 public:
  LoggedErrors() : before_(weir::Logger()) {
    auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(text_);
    auto logger = std::make_shared<spdlog::logger>("weir", std::move(sink));
    logger->set_level(spdlog::level::err);
    logger->set_pattern("%v");
    weir::SetLogger(std::move(logger));
  }
  LoggedErrors(const LoggedErrors&) = delete;
  LoggedErrors& operator=(const LoggedErrors&) = delete;
  ~LoggedErrors() { weir::SetLogger(before_); }

  [[nodiscard]] std::string text() const { return text_.str(); }

 private:
  std::ostringstream text_;
  std::shared_ptr<spdlog::logger> before_;
};

bool IsOneLine(const std::string& text) {
  return !text.empty() && text.find('\n') == text.size() - 1;
}

bool IsBlocked(int signal) {
  sigset_t mask;
  REQUIRE(::pthread_sigmask(SIG_SETMASK, nullptr, &mask) == 0);
  return sigismember(&mask, signal) == 1;
}

}  // namespace

TEST_CASE("Serve returns 2 for a URL that cannot be understood, and says why in one line",
          "[server][serve]") {
  const LoggedErrors errors;
  Recorder handler;

  CHECK(Serve(handler, {"carrier-pigeon://roof"}) == 2);

  CHECK(IsOneLine(errors.text()));
  CHECK(errors.text().find("carrier-pigeon") != std::string::npos);
  CHECK(handler.calls.empty());
}

TEST_CASE("Serve returns 2 for an option that cannot work, and names it", "[server][serve]") {
  const LoggedErrors errors;
  Recorder handler;

  CHECK(Serve(handler, {"tcp://127.0.0.1:0"}, {.read_chunk = 0}) == 2);

  CHECK(IsOneLine(errors.text()));
  CHECK(errors.text().find("read_chunk") != std::string::npos);
}

TEST_CASE("Serve returns 1 for what the system refuses, and names call, value and reason",
          "[server][serve]") {
  const LoggedErrors errors;
  Recorder handler;

  CHECK(Serve(handler, {"unix:/no/such/folder/socket"}) == 1);

  CHECK(IsOneLine(errors.text()));
  CHECK(errors.text().find("bind") != std::string::npos);
  CHECK(errors.text().find("/no/such/folder/socket") != std::string::npos);
  CHECK(errors.text().find("No such file or directory") != std::string::npos);
}

TEST_CASE("Serve returns 1 when OnStart throws", "[server][serve]") {
  const LoggedErrors errors;
  Recorder handler;
  handler.on_start = [](EventLoop&) { throw std::runtime_error("no database"); };

  CHECK(Serve(handler, {"tcp://127.0.0.1:0"}) == 1);

  CHECK(errors.text() == "no database\n");
  CHECK_FALSE(IsBlocked(SIGTERM));
}

TEST_CASE("Serve returns 1 when OnStart throws what is no std::exception", "[server][serve]") {
  const LoggedErrors errors;
  Recorder handler;
  handler.on_start = [](EventLoop&) { throw 42; };

  CHECK(Serve(handler, {"tcp://127.0.0.1:0"}) == 1);

  CHECK(IsOneLine(errors.text()));
  CHECK_FALSE(IsBlocked(SIGTERM));
}

TEST_CASE("SIGINT and SIGTERM drain, and Serve returns 0 and gives the signals back",
          "[server][serve]") {
  const int signal = GENERATE(SIGINT, SIGTERM);
  const LoggedErrors errors;
  Recorder handler;
  handler.on_start = [&](EventLoop&) {
    CHECK(IsBlocked(SIGINT));
    CHECK(IsBlocked(SIGTERM));
    static_cast<void>(std::raise(signal));
  };

  CHECK(Serve(handler, {"tcp://127.0.0.1:0"}) == 0);

  CHECK(handler.calls == std::vector<std::string>{"start", "stop", "batch"});
  CHECK_FALSE(IsBlocked(SIGINT));
  CHECK_FALSE(IsBlocked(SIGTERM));
  CHECK(errors.text().empty());
}

TEST_CASE("a second signal is Stop(0): what is open is reset", "[server][serve]") {
  const LoggedErrors errors;
  Recorder handler;
  Client client;
  handler.on_start = [&](EventLoop& loop) { client = Client(loop.ListenAddress(0)); };
  handler.on_open = [](Connection&) { static_cast<void>(std::raise(SIGTERM)); };
  handler.on_stop = [](EventLoop&) { static_cast<void>(std::raise(SIGTERM)); };  // drains nobody

  CHECK(Serve(handler, {"tcp://127.0.0.1:0"}) == 0);

  CHECK(handler.closes == 1);
  CHECK(handler.reason == weir::CloseReason::kShutdown);
  client.Receive();
  CHECK(client.error == ECONNRESET);
}

TEST_CASE("a signal that comes when all has ended does not kill after Serve", "[server][serve]") {
  const LoggedErrors errors;
  Recorder handler;
  handler.on_start = [](EventLoop&) { static_cast<void>(std::raise(SIGTERM)); };
  handler.on_stop = [](EventLoop&) { static_cast<void>(std::raise(SIGTERM)); };  // never read

  CHECK(Serve(handler, {"tcp://127.0.0.1:0"}) == 0);

  CHECK_FALSE(IsBlocked(SIGTERM));
}

TEST_CASE("Serve<H> makes its handler", "[server][serve]") {
  struct StopsAtOnce : weir::Handler {
    void OnStart(EventLoop& loop) override { loop.Stop(); }
  };

  CHECK(Serve<StopsAtOnce>({"tcp://127.0.0.1:0",
                            "unix:@weir-serve-test-"
                            "handler"}) == 0);
}

TEST_CASE("Serve<H> makes one handler for each loop", "[server][serve]") {
  static std::atomic<int> made;
  made = 0;
  struct StopsAtOnce : weir::Handler {
    StopsAtOnce() { ++made; }
    void OnStart(EventLoop& loop) override {
      if (loop.Index() == 0) static_cast<void>(std::raise(SIGTERM));
    }
  };

  CHECK(Serve<StopsAtOnce>({"tcp://127.0.0.1:0"}, {.loops = 3}) == 0);

  CHECK(made == 3);
  CHECK_FALSE(IsBlocked(SIGTERM));
}

TEST_CASE("Serve takes a factory, and its exception is exit code 1", "[server][serve]") {
  const LoggedErrors errors;
  const auto factory = [](EventLoop& loop) -> std::unique_ptr<weir::Handler> {
    if (loop.Index() == 1) throw std::runtime_error("no database");
    return std::make_unique<Recorder>();
  };

  CHECK(Serve(factory, {"tcp://127.0.0.1:0"}, {.loops = 2}) == 1);

  CHECK(errors.text() == "no database\n");
}

TEST_CASE("Serve returns 2 for one handler and several loops, and says what to do",
          "[server][serve]") {
  const LoggedErrors errors;
  Recorder handler;

  CHECK(Serve(handler, {"tcp://127.0.0.1:0"}, {.loops = 2}) == 2);

  CHECK(IsOneLine(errors.text()));
  CHECK(errors.text().starts_with("Options::loops 2: "));
  CHECK(errors.text().find("factory") != std::string::npos);
  CHECK(handler.calls.empty());
}
