// All rounds: in each, load by load, one model after the other, the next round beginning with the
// next model. So whatever else the machine does meets all of them alike.

#pragma once

#include <optional>

#include "models/measure.h"
#include "models/options.h"
#include "models/results.h"

namespace models {

// Writes a progress line to stderr, if that is a terminal. A model that could not carry a load is
// not asked to again, and the others go on.
[[nodiscard]] Results RunCampaign(const MeasureOptions& options, const std::optional<Cpus>& cpus);

}  // namespace models
