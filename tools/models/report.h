// What was measured, for people and for programs.

#pragma once

#include <string>

#include "models/options.h"
#include "models/results.h"

namespace models {

// Two tables in markdown for each load: what the model costs, and what it does for a request.
void PrintTables(const Results& results, const MeasureOptions& options, const std::string& machine);

void PrintJson(const Results& results, const MeasureOptions& options, const std::string& machine);

}  // namespace models
