// Which processor the server has, and which the load.

#pragma once

#include <optional>

namespace models {

struct Cpus {
  int server = 0;
  int load = 0;
};

// The first two that this process may use; nothing if it has only one.
[[nodiscard]] std::optional<Cpus> PickCpus();

// The calling thread, and what it starts from now on. REQUIRES: it may use that one.
void StayOn(int cpu) noexcept;

}  // namespace models
