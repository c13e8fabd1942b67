// The chart: what each model does in a second of CPU time, and how late its last thousandth is, as
// the crowd of idle connections grows.

#pragma once

#include <string>

#include "models/options.h"
#include "models/results.h"

namespace models {

// Throws echo_load::UsageError if there is no gnuplot, or the file cannot be written: to be called
// before minutes are spent on measuring.
void CheckPlot(const std::string& file);

// Throws echo_load::Failure.
void Plot(const Results& results, const MeasureOptions& options, const std::string& machine,
          const std::string& file);

}  // namespace models
