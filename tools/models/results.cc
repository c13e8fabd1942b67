#include "models/results.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace models {
namespace {

double MedianOf(std::vector<double> values) {
  if (values.empty()) return std::nan("");
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  const double lower = values[values.size() % 2 == 0 ? half - 1 : half];
  return (lower + values[half]) / 2;
}

}  // namespace

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
      const bool counts = all || round.cpu_distance_ns <= most_ns;
      if (counts && !std::isnan(round.*field.value)) values.push_back(round.*field.value);
    }
    median.*field.value = MedianOf(std::move(values));
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

bool Results::HasFigures() const {
  return std::ranges::any_of(cells, [](const Cell& cell) { return !cell.rounds.empty(); });
}

bool Results::AllAsExpected() const {
  return std::ranges::all_of(
      cells, [](const Cell& cell) { return !cell.refused || cell.refused->expected; });
}

}  // namespace models
