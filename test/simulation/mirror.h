// What Choices answered, written down a second time in memory that outlives a crash.
//
// OWNER     Who plays in a child: it lies in SharedMemory.
// THREADS   One writes; another process reads when that one has ended.

#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "simulation/choices.h"

namespace weir::sim {

class Mirror final {
 public:
  static constexpr std::size_t kRoom = std::size_t{1} << 22;  // choices of a stream

  void Add(std::size_t stream, std::uint32_t choice) noexcept {
    Part& part = parts_[stream];
    if (part.size < kRoom) part.choices[part.size] = choice;
    ++part.size;
  }

  // Without what there was no room for.
  [[nodiscard]] Schedule ToSchedule() const {
    Schedule schedule;
    for (std::size_t stream = 0; stream < kStreams; ++stream) {
      const Part& part = parts_[stream];
      const auto* const begin = part.choices.data();
      schedule.streams[stream].assign(begin, begin + std::min(part.size, kRoom));
    }
    return schedule;
  }

 private:
  struct Part {
    std::size_t size = 0;
    std::array<std::uint32_t, kRoom> choices;  // not {}: memory that nobody touches costs nothing
  };

  std::array<Part, kStreams> parts_;
};

}  // namespace weir::sim
