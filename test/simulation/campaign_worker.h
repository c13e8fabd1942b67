// A process of a campaign: takes one seed after the other, and writes down how far it is where the
// campaign can see it.

#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "simulation/campaign.h"
#include "simulation/last_words.h"
#include "simulation/play.h"
#include "simulation/verdict.h"

namespace weir::sim {

// What one worker, and the next in its place, writes. Each number stands for itself, and the text
// is read when its writer has ended: so every access is relaxed.
struct Slot {
  std::atomic<std::uint64_t> seed;   // the one that it has
  std::atomic<std::uint64_t> seeds;  // that it has played
  std::atomic<std::uint64_t> calls;
  std::atomic<std::uint64_t> faults;
  std::atomic<std::uint64_t> turns;
  std::atomic<std::uint64_t> connections;
  std::atomic<std::uint64_t> bytes;
  std::array<char, 4096> finding{};  // with a 0 behind it; empty: none

  void Add(const Tally& tally) noexcept;
  [[nodiscard]] Tally Sum() const noexcept;
};

// Shared by all.
struct Board {
  std::atomic<std::uint64_t> claimed;  // seeds, counted from the first
  std::atomic<bool> stop;              // no other seed
  std::array<Slot, kMaxJobs> slots;
};

struct WorkerTask {
  const Life& life;
  std::uint64_t first_seed;
  std::uint64_t seeds;
  Board& board;
  Slot& slot;
  const LastWords& words;
};

// Forks one. It ends with exit code 0 when there is no seed left for it, or after a finding, which
// is in its slot then. Throws std::system_error.
[[nodiscard]] pid_t StartWorker(const WorkerTask& task);

}  // namespace weir::sim
