// What this process may use of the machine.
//
// THREADS   Any.
// ERRORS    None: what the machine does not say, or says in a way that is not understood, sets no
//           limit.

#pragma once

#include <cstddef>
#include <string>

namespace weir {

// Where the kernel's files are: "" on a real machine, the fixtures' folder in tests.
struct Machine {
  std::string root;

  // Bytes of memory: the least of what the machine has and what the control groups of this process,
  // and those around them, allow (version 2: memory.max; version 1: memory.limit_in_bytes).
  [[nodiscard]] std::size_t Memory() const;

  // How many threads of this process can run at a time, at least 1: the least of the processors
  // that the calling thread may run on and the quotas of the control groups, rounded up (version 2:
  // cpu.max; version 1: cpu.cfs_quota_us in each cpu.cfs_period_us).
  [[nodiscard]] int Cpus() const;
};

}  // namespace weir
