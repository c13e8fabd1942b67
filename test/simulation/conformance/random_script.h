// A script of random calls, for both worlds: what nobody has thought of.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace weir::sim::conformance {

// One call; the numbers choose among what there is when its turn comes. So any sequence of steps
// is a script, and one that is cut down, too.
struct Step {
  std::uint32_t what;
  std::uint32_t which;
  std::uint32_t how;
};
using Steps = std::vector<Step>;

[[nodiscard]] Steps RandomSteps(std::uint64_t seed, std::size_t count);

// What differs between the worlds, with the transcript; nothing if they agree.
[[nodiscard]] std::optional<std::string> Play(const Steps& steps, std::chrono::milliseconds bound);

// Fewer of them, which differ still.
[[nodiscard]] Steps Shrink(Steps steps);

}  // namespace weir::sim::conformance
