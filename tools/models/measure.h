// One model under one load: what the table's cells are made of.
//
// A server is started for each, on a CPU of its own. The active connections are opened and warmed
// up, then the idle ones, each of which has one request answered. Then nothing happens for a while,
// and then the active ones ask. All counts are taken while nothing is in flight, so that they
// belong to the requests between them and to no others.

#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "models/catalogue.h"
#include "models/cpus.h"

namespace models {

struct Load {
  std::size_t active = 0;
  std::size_t idle = 0;
  double seconds = 0;
};

inline constexpr double kNotCounted = std::numeric_limits<double>::quiet_NaN();

struct Measured {
  double cpu_distance_ns = 0;  // the longer of before and after; 0 with one CPU

  double requests_per_cpu_second = 0;
  double requests_per_second = 0;
  double p50_us = 0;  // NaN, and so the next: no request was answered in the time
  double p999_us = 0;
  double threads = 0;
  double idle_cpu_percent = 0;  // of one CPU, while nobody asks
  double idle_wakeups_per_second = 0;

  // For each idle connection: its process's own memory, and the kernel's stack of its thread.
  double bytes_per_connection = 0;
  double kernel_stack_per_connection = 0;

  // For each request.
  double wakeups = 0;
  double switches = 0;  // those, and being put aside for another thread

  // Likewise, its system calls; nobody counts those of a guest.
  double calls = kNotCounted;    // of which:
  double waits = kNotCounted;    // wait
  double copies = kNotCounted;   // copy
  double in_vain = kNotCounted;  // find nothing to copy (EAGAIN)
  double others = kNotCounted;
};

// Why there are no figures. `expected`: the model itself said that it can go no further, or that
// the system does not have it.
struct Refused {
  std::string why;
  bool expected = false;
};

struct Outcome {
  std::optional<Measured> measured;
  Refused refused;  // if not
};

// What fails on the way is told in the outcome, not thrown.
[[nodiscard]] Outcome Measure(const Model& model, const Load& load,
                              const std::optional<Cpus>& cpus);

}  // namespace models
