// Prints what was never measured, for report_test.py: with figures that are known every line of the
// report is known, too.
//
//   weir-models-made-up [--json]

#include <cmath>
#include <string_view>

#include "models/report.h"

namespace models {
namespace {

constexpr Model kFast{.name = "fast", .title = "the fast one"};
constexpr Model kBlocking{
    .name = "blocking", .title = "blocking", .waits_in_calls_that_copy = true};

constexpr double kNearNs = 100;
constexpr double kFarNs = 250;  // more than twice as far

// Each figure is another, so that none can stand in the place of another.
Measured Figures(double distance_ns, double times) {
  Measured figures;
  double next = 1;
  for (const Field& field : kFields) figures.*field.value = times * next++;
  figures.cpu_distance_ns = distance_ns;
  figures.requests_per_cpu_second = times * 1'234'567;
  return figures;
}

Results MakeUp() {
  Measured silent = Figures(kNearNs, 1);
  silent.p50_us = silent.p999_us = std::nan("");
  Cell fast{.model = &kFast, .idle = 0, .rounds = {}, .refused = {}};
  // Of the near ones the median is between 2 and 4; and the silent one has no latency.
  fast.rounds = {Figures(kNearNs, 4),  Figures(kFarNs, 1000), Figures(kNearNs, 2),
                 Figures(kFarNs, 900), Figures(kNearNs, 8),   silent};
  Cell far{.model = &kBlocking, .idle = 0, .rounds = {Figures(kFarNs, 1)}, .refused = {}};
  Cell crowd{.model = &kFast, .idle = 10'000, .rounds = {silent}, .refused = {}};
  crowd.rounds.front().bytes_per_connection = 10'239;
  crowd.rounds.front().kernel_stack_per_connection = 10'240;
  for (auto figure : {&Measured::calls, &Measured::waits, &Measured::copies, &Measured::in_vain,
                      &Measured::others}) {
    crowd.rounds.front().*figure = kNotCounted;
  }
  Cell refused{.model = &kBlocking, .idle = 10'000, .rounds = {}, .refused = {}};
  refused.refused = {.why = "it said \"no\\\n\"", .expected = true};
  return {.cells = {fast, far, crowd, refused}};
}

void Print(bool json) {
  MeasureOptions options;
  options.idle = {0, 10'000};
  options.active = 1;
  options.rounds = 2;
  json ? PrintJson(MakeUp(), options, "a \"machine\"")
       : PrintTables(MakeUp(), options, "a machine");
}

}  // namespace
}  // namespace models

int main(int argc, char** argv) {
  models::Print(argc > 1 && std::string_view(argv[1]) == "--json");
  return 0;
}
