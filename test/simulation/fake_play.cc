// Stands in for Play() where weir-simulate itself is tested: what goes wrong is in the choices, and
// nothing does where FAKE_QUIET is in the environment.

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "simulation/choices.h"
#include "simulation/play.h"

namespace weir::sim {
namespace {

enum Trouble : std::uint32_t { kNone, kFinding, kAbort, kHang };

std::string MakeTrouble(std::uint32_t trouble, std::uint32_t sum) {
  if (trouble == kFinding) return fmt::format("made up: the sum is {}", sum);
  if (trouble == kAbort) {
    fmt::print(stderr, "[time] [critical] check failed: the sum is small\n");
    static_cast<void>(std::fflush(stderr));
    std::abort();
  }
  for (volatile bool for_ever = trouble == kHang; for_ever;) {
  }
  return "";
}

}  // namespace

Outcome Play(Choices& choices, std::FILE* trace) {
  static const bool quiet = std::getenv("FAKE_QUIET") != nullptr;  // NOLINT(concurrency-mt-unsafe)
  Outcome outcome;
  std::uint32_t sum = 0;
  for (std::uint32_t turn = 0; turn < 50 && outcome.finding.empty(); ++turn) {
    const std::uint32_t plan = choices.Below(Stream::kPlan, 1000);
    const bool fault = choices.OneIn(Stream::kFaults, 10);
    if (trace != nullptr) fmt::print(trace, "turn {}: plan {}, fault {}\n", turn, plan, fault);
    outcome.tally +=
        {.calls = 10, .faults = fault ? 1U : 0, .turns = 1, .connections = 1, .bytes = plan};
    if (plan != 999 || quiet) continue;
    sum += choices.Below(Stream::kOrder, 1000);
    if (sum >= 100) outcome.finding = MakeTrouble(choices.Below(Stream::kFaults, 4), sum);
  }
  return outcome;
}

}  // namespace weir::sim
