#include "models/cpus.h"

#include <sched.h>

#include <cstddef>

namespace models {

std::optional<Cpus> PickCpus() {
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return std::nullopt;
  std::optional<int> first;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(static_cast<std::size_t>(cpu), &allowed)) continue;
    if (first) return Cpus{.server = *first, .load = cpu};
    first = cpu;
  }
  return std::nullopt;
}

void StayOn(int cpu) noexcept {
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(static_cast<std::size_t>(cpu), &only);
  ::sched_setaffinity(0, sizeof(only), &only);
}

}  // namespace models
