// The core's own log lines. The logger is spdlog's "weir" (weir/log.h replaces it); only log.cc
// knows.
//
// THREADS   Any.
// ERRORS    Never throws: a line that cannot be written is lost.

#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <string_view>

namespace weir::log {

enum class Level : std::uint8_t { kDebug, kInfo, kWarning, kError, kCritical };

void Line(Level level, fmt::string_view format, fmt::format_args args) noexcept;

template <class... Args>
void Debug(fmt::format_string<Args...> format, Args&&... args) noexcept {
  Line(Level::kDebug, format, fmt::make_format_args(args...));
}
template <class... Args>
void Info(fmt::format_string<Args...> format, Args&&... args) noexcept {
  Line(Level::kInfo, format, fmt::make_format_args(args...));
}
template <class... Args>
void Warning(fmt::format_string<Args...> format, Args&&... args) noexcept {
  Line(Level::kWarning, format, fmt::make_format_args(args...));
}
template <class... Args>
void Error(fmt::format_string<Args...> format, Args&&... args) noexcept {
  Line(Level::kError, format, fmt::make_format_args(args...));
}
template <class... Args>
void Critical(fmt::format_string<Args...> format, Args&&... args) noexcept {
  Line(Level::kCritical, format, fmt::make_format_args(args...));
}

}  // namespace weir::log
