// Random scripts: WEIR_CONFORMANCE_SEQUENCES says how many, WEIR_CONFORMANCE_SEED the first.

#include <cstdlib>
#include <string>

#include "simulation/conformance/random_script.h"
#include "support/catch.h"

using weir::sim::conformance::Play;
using weir::sim::conformance::RandomSteps;
using weir::sim::conformance::Shrink;
using weir::sim::conformance::Steps;

namespace {

std::uint64_t Number(const char* variable, std::uint64_t otherwise) {
  const char* const text = std::getenv(variable);  // NOLINT(concurrency-mt-unsafe): one thread
  return text == nullptr ? otherwise : std::stoull(text);
}

}  // namespace

TEST_CASE("random calls say the same in both worlds", "[conformance][random]") {
  constexpr std::size_t kSteps = 60;
  constexpr std::chrono::seconds kBound(5);
  const std::uint64_t first = Number("WEIR_CONFORMANCE_SEED", 1);
  const std::uint64_t count = Number("WEIR_CONFORMANCE_SEQUENCES", 100);

  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    const Steps steps = RandomSteps(seed, kSteps);
    const auto difference = Play(steps, kBound);
    if (!difference.has_value()) continue;
    const Steps fewer = Shrink(steps);
    FAIL("seed " << seed << ", " << fewer.size() << " of " << steps.size() << " steps: "
                 << Play(fewer, kBound).value_or("not seen again; at first: " + *difference));
  }
}
