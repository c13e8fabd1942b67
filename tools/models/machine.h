// Where it was measured, in one line.

#pragma once

#include <optional>
#include <string>

#include "models/cpus.h"

namespace models {

[[nodiscard]] std::string DescribeMachine(const std::optional<Cpus>& cpus);

}  // namespace models
