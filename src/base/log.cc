// The only core file that includes spdlog: it takes seconds to compile, and nobody else needs it.

#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <exception>
#include <memory>
#include <mutex>
#include <utility>

#include "base/check.h"
#include "weir/log.h"

namespace weir {
namespace {

constexpr const char* kName = "weir";

// The one global that weir has. Log lines are off every hot path, so a mutex is enough.
struct Current {
  std::mutex mutex;
  std::shared_ptr<spdlog::logger> logger;
};

Current& TheCurrent() {
  static Current* const current =
      new Current;  // never destroyed: a thread may log while exit() runs
  return *current;
}

std::shared_ptr<spdlog::logger> MakeDefault() {
  if (auto known = spdlog::get(kName)) return known;
  try {
    return spdlog::stderr_color_mt(kName);
  } catch (const spdlog::spdlog_ex&) {  // another thread registered the name in between
    return spdlog::get(kName);
  }
}

spdlog::level::level_enum ToSpdlog(log::Level level) {
  switch (level) {
    case log::Level::kDebug:
      return spdlog::level::debug;
    case log::Level::kInfo:
      return spdlog::level::info;
    case log::Level::kWarning:
      return spdlog::level::warn;
    case log::Level::kError:
      return spdlog::level::err;
    case log::Level::kCritical:
      return spdlog::level::critical;
  }
  return spdlog::level::critical;
}

}  // namespace

void SetLogger(std::shared_ptr<spdlog::logger> logger) {
  Check(logger != nullptr, "SetLogger() needs a logger; to be silent, set its level to off");
  const std::lock_guard lock(TheCurrent().mutex);
  TheCurrent().logger = std::move(logger);
}

std::shared_ptr<spdlog::logger> Logger() {
  Current& current = TheCurrent();
  const std::lock_guard lock(current.mutex);
  if (current.logger == nullptr) current.logger = MakeDefault();
  return current.logger;
}

namespace log {

void Line(Level level, fmt::string_view format, fmt::format_args args) noexcept {
  try {
    const std::shared_ptr<spdlog::logger> logger = Logger();
    const spdlog::level::level_enum at = ToSpdlog(level);
    if (!logger->should_log(at)) return;
    logger->log(at, fmt::vformat(format, args));  // what a sink throws, spdlog itself reports
  } catch (const std::exception&) {
    // Out of memory while telling something: what is told goes on without the line.
  }
}

}  // namespace log
}  // namespace weir
