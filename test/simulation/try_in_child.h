// Plays one life in a forked child, so that only the child dies of it, and tells how it went and
// what was chosen on the way.
//
// ERRORS    std::system_error if there is no child to be had.

#pragma once

#include <chrono>
#include <cstdint>

#include "simulation/choices.h"
#include "simulation/verdict.h"

namespace weir::sim {

// `limit` is CPU time, so that a busy machine makes no finding. A life that stands still without
// using any is ended after ten times that.
[[nodiscard]] Verdict TryInChild(const Life& life, std::uint64_t seed,
                                 std::chrono::milliseconds limit);
[[nodiscard]] Verdict TryInChild(const Life& life, const Schedule& schedule,
                                 std::chrono::milliseconds limit);

}  // namespace weir::sim
