// Where weir's own lines go, and what set-up throws.

#include "base/log.h"

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/check.h"
#include "support/catch.h"
#include "support/death.h"
#include "weir/error.h"
#include "weir/log.h"

namespace {

// Another logger, for as long as a test runs.
class Swap {
 public:
  explicit Swap(std::shared_ptr<spdlog::logger> logger) { weir::SetLogger(std::move(logger)); }
  Swap(const Swap&) = delete;
  Swap& operator=(const Swap&) = delete;
  ~Swap() { weir::SetLogger(before_); }

 private:
  std::shared_ptr<spdlog::logger> before_ = weir::Logger();
};

std::shared_ptr<spdlog::logger> Into(std::ostringstream& stream) {
  const auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(stream);
  auto logger = std::make_shared<spdlog::logger>("mine", sink);
  logger->set_pattern("%l %v");
  return logger;
}

class ThrowingSink final : public spdlog::sinks::sink {
 public:
  void log(const spdlog::details::log_msg&) override { throw std::runtime_error("disk full"); }
  void flush() override {}
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}
};

}  // namespace

TEST_CASE("the logger is spdlog's, and called weir", "[base][log]") {
  CHECK(weir::Logger()->name() == "weir");
  CHECK(spdlog::get("weir") == weir::Logger());
  CHECK(spdlog::default_logger() != weir::Logger());  // the program's own is left alone
}

TEST_CASE("a logger that is set gets the lines, with their levels", "[base][log]") {
  std::ostringstream out;
  const Swap swap(Into(out));
  weir::log::Warning("{} of {}", 1, "two");
  weir::log::Info("three");
  weir::log::Debug("below the level");
  CHECK(out.str() == "warning 1 of two\ninfo three\n");
}

TEST_CASE("a logger whose level is off is silent", "[base][log]") {
  std::ostringstream out;
  const auto logger = Into(out);
  logger->set_level(spdlog::level::off);
  const Swap swap(logger);
  weir::log::Critical("unheard");
  CHECK(out.str().empty());
}

TEST_CASE("a sink that throws takes nobody with it", "[base][log]") {
  auto logger = std::make_shared<spdlog::logger>("broken", std::make_shared<ThrowingSink>());
  std::string told;
  logger->set_error_handler([&](const std::string& what) { told += what; });
  const Swap swap(logger);
  weir::log::Error("lost");
  CHECK(told == "disk full");
}

TEST_CASE("a failed check says what must hold, and aborts", "[base][check]") {
  CHECK(weir::test::Aborts([] { weir::Check(false, "this holds"); }));
  CHECK(weir::test::LivesThrough([] { weir::Check(true, "this holds"); }));
  CHECK(weir::test::Aborts([] { weir::SetLogger(nullptr); }));
}

TEST_CASE("an error is one line of call, value and reason, and says whose fault it is",
          "[base][error]") {
  const weir::Error usage = weir::Error::Usage("listen 'x'", "no scheme");
  CHECK(std::string(usage.what()) == "listen 'x': no scheme");
  CHECK(usage.IsUsage());
  CHECK(usage.code() == std::errc::invalid_argument);

  const weir::Error system = weir::Error::System("listen x: bind", EADDRINUSE);
  CHECK(std::string(system.what()) == "listen x: bind: Address already in use");
  CHECK_FALSE(system.IsUsage());
  CHECK(system.code() == std::error_code(EADDRINUSE, std::system_category()));
}
