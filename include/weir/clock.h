// Time as weir speaks of it: a clock that never jumps, and its durations.
//
// UNITS     Durations carry their unit (std::chrono). The loop's own resolution is one millisecond:
//           a time-out is rounded up to it, so that nothing is ever early.

#pragma once

#include <chrono>

namespace weir {

using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC
using Duration = Clock::duration;

}  // namespace weir
