#include "models/results.h"

#include <algorithm>
#include <limits>

namespace models {

std::size_t Cell::Near(double most_ns) const {
  const auto is_near = [&](const Measured& it) { return it.cpu_distance_ns <= most_ns; };
  return static_cast<std::size_t>(std::ranges::count_if(rounds, is_near));
}

Measured Cell::Median(double most_ns) const {
  const bool all = Near(most_ns) == 0;
  Measured median;
  for (const Field& field : kFields) {
    std::vector<double> values;
    for (const Measured& round : rounds) {
      if (all || round.cpu_distance_ns <= most_ns) values.push_back(round.*field.value);
    }
    std::ranges::sort(values);
    const std::size_t half = values.size() / 2;
    const double lower = values[values.size() % 2 == 0 ? half - 1 : half];
    median.*field.value = (lower + values[half]) / 2;
  }
  return median;
}

double Results::NearNs() const {
  double least = std::numeric_limits<double>::infinity();
  for (const Cell& cell : cells) {
    for (const Measured& round : cell.rounds) least = std::min(least, round.cpu_distance_ns);
  }
  return 2 * least;
}

Cell& Results::At(const Model& model, std::size_t idle) {
  const auto is_it = [&](const Cell& cell) { return cell.model == &model && cell.idle == idle; };
  return *std::ranges::find_if(cells, is_it);
}

bool Results::AllAsExpected() const {
  return std::ranges::all_of(
      cells, [](const Cell& cell) { return !cell.refused || cell.refused->expected; });
}

}  // namespace models
