// One simulated life: a server of one or more loops, its peers, and a kernel that does to them what
// the choices say, from the first listen to the last close, judged all the while.
//
// THREADS   One at a time in a process. Neither time nor descriptors of the machine are used.
// ERRORS    What the server does wrong is the outcome's finding. What it does so wrong that it
//           cannot go on (a failed check, a wild pointer) ends the process: play in a child of your
//           own what may do that.

#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "simulation/choices.h"

namespace weir::sim {

// How much was simulated.
struct Tally {
  std::uint64_t calls = 0;   // system calls of the server
  std::uint64_t faults = 0;  // of these and of their moments, those in which the kernel misbehaved
  std::uint64_t turns = 0;   // of loops
  std::uint64_t connections = 0;
  std::uint64_t bytes = 0;  // that the server received, each compared

  Tally& operator+=(const Tally& other) noexcept {
    calls += other.calls;
    faults += other.faults;
    turns += other.turns;
    connections += other.connections;
    bytes += other.bytes;
    return *this;
  }
};

struct Outcome {
  std::string finding;  // what was wrong, in one line; empty if nothing was
  Tally tally;
};

// `trace`: where each step is told, in a line; null for nowhere.
[[nodiscard]] Outcome Play(Choices& choices, std::FILE* trace = nullptr);

}  // namespace weir::sim
