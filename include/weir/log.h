// The logger that weir writes to: spdlog's, named "weir". The only public header that speaks of
// spdlog; weir/weir.h does not include it. Its meson dependency is weir-log.
//
// LIFETIME  weir shares the logger until another is set.
// THREADS   Any.
//
// Until a logger is set, weir uses the one that spdlog::get("weir") knows, or makes one that writes
// to stderr, and registers it.

#pragma once

#include <spdlog/logger.h>

#include <memory>

namespace weir {

// REQUIRES: logger is not null. To be silent, set one whose level is spdlog::level::off.
void SetLogger(std::shared_ptr<spdlog::logger> logger);
std::shared_ptr<spdlog::logger> Logger();

}  // namespace weir
