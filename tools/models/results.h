// All that was measured: a cell for each model under each load, with a figure for each round.

#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "models/catalogue.h"
#include "models/measure.h"

namespace models {

struct Field {
  std::string_view name;  // as JSON has it
  double Measured::*value = nullptr;
};

inline constexpr auto kFields = std::to_array<Field>({
    {"cpu_distance_ns", &Measured::cpu_distance_ns},
    {"requests_per_cpu_second", &Measured::requests_per_cpu_second},
    {"requests_per_second", &Measured::requests_per_second},
    {"p50_us", &Measured::p50_us},
    {"p999_us", &Measured::p999_us},
    {"threads", &Measured::threads},
    {"bytes_per_connection", &Measured::bytes_per_connection},
    {"kernel_stack_per_connection", &Measured::kernel_stack_per_connection},
    {"idle_cpu_percent", &Measured::idle_cpu_percent},
    {"idle_wakeups_per_second", &Measured::idle_wakeups_per_second},
    {"wakeups_per_request", &Measured::wakeups},
    {"switches_per_request", &Measured::switches},
    {"calls_per_request", &Measured::calls},
    {"waits_per_request", &Measured::waits},
    {"copies_per_request", &Measured::copies},
    {"in_vain_per_request", &Measured::in_vain},
    {"others_per_request", &Measured::others},
});

struct Cell {
  const Model* model = nullptr;
  std::size_t idle = 0;
  std::vector<Measured> rounds;
  std::optional<Refused> refused;  // then the rounds are none, or not all

  // The rounds in which the two CPUs were not farther apart than that.
  [[nodiscard]] std::size_t Near(double most_ns) const;
  // Of each figure by itself, and of the near rounds, if there are any; NaN if none of them has it.
  // REQUIRES: there are rounds.
  [[nodiscard]] Measured Median(double most_ns) const;
};

struct Results {
  std::vector<Cell> cells;  // load by load, and model by model within

  // REQUIRES: the cell is there.
  [[nodiscard]] Cell& At(const Model& model, std::size_t idle);

  // What counts as near: at most twice the least distance that was seen.
  [[nodiscard]] double NearNs() const;

  // False if no model carried a load.
  [[nodiscard]] bool HasFigures() const;

  // False if a model failed otherwise than it said it would.
  [[nodiscard]] bool AllAsExpected() const;
};

}  // namespace models
