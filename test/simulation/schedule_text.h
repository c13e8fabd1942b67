// A schedule as text that a person can read, compare and change:
//
//     # whatever somebody has to say
//     plan: 3 0*12 5
//     faults: 0*400 7
//     order: 1 1 2
//
// 0*12 are twelve zeros. A stream may go on in a further line of its name. A stream without a line
// is empty.
//
// ERRORS    ParseSchedule() throws ScheduleError, which names the line.

#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "simulation/choices.h"

namespace weir::sim {

struct ScheduleError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Read back, it is the same schedule. Its lines keep to 100 columns.
[[nodiscard]] std::string ToText(const Schedule& schedule);

[[nodiscard]] Schedule ParseSchedule(std::string_view text);

}  // namespace weir::sim
