// Plays many seeds on several processes until one fails, or the time or the seeds are used up.
//
// A worker that finds something, dies or stands still is known by the seed that it had, and another
// one takes its place. Nobody is left behind: a worker dies with the process that started it.
//
// OWNER     One run. It forks, so the process must have no other thread.
// THREADS   One. SIGCHLD, SIGINT and SIGTERM are its own meanwhile: the last two end it in order,
//           and at once when they come again.
// ERRORS    std::system_error if there are no workers to be had.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "simulation/play.h"
#include "simulation/verdict.h"

namespace weir::sim {

inline constexpr std::size_t kMaxJobs = 256;

struct CampaignOptions {
  std::uint64_t first_seed = 1;
  std::uint64_t seeds = std::numeric_limits<std::uint64_t>::max();  // that many at most
  std::chrono::milliseconds time = std::chrono::hours(24 * 365);    // that long at most
  std::size_t jobs = 1;                                             // processes, up to kMaxJobs
  std::size_t findings = 1;                                         // it ends with so many
  std::chrono::milliseconds patience = std::chrono::seconds(20);    // with one seed
  std::FILE* progress = nullptr;  // where it is told every now and then; null for nowhere
};

struct Finding {
  std::uint64_t seed;
  std::string text;
};

struct CampaignResult {
  std::uint64_t seeds = 0;  // those that were played, failed ones too
  Tally tally;              // without those whose process died
  std::chrono::duration<double> time{0};
  std::vector<Finding> findings;
  bool interrupted = false;  // by a signal
};

// As many as the process may use.
[[nodiscard]] std::size_t AllowedProcessors() noexcept;

[[nodiscard]] CampaignResult RunCampaign(const Life& life, const CampaignOptions& options);

}  // namespace weir::sim
