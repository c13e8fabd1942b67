// Cuts a schedule that fails down to what it takes to fail in the same way (after "delta
// debugging": Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE TSE
// 2002). What is left is a bug's story without its noise.

#pragma once

#include <chrono>
#include <cstddef>
#include <functional>

#include "simulation/choices.h"
#include "simulation/verdict.h"

namespace weir::sim {

using TrySchedule = std::function<Verdict(const Schedule&)>;

// It ends when either is used up.
struct Effort {
  std::size_t tries = 1'000'000;
  std::chrono::milliseconds time = std::chrono::seconds(30);
};

struct Shrunk {
  Verdict verdict;  // of the schedule that is left: `taken`, without zeros at its ends
  std::size_t tries = 0;
  bool minimal = false;  // nothing helps any more; else the effort was used up
};

// REQUIRES: `failing` failed.
[[nodiscard]] Shrunk Shrink(const Verdict& failing, const TrySchedule& try_schedule,
                            const Effort& effort);

}  // namespace weir::sim
