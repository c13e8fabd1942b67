#include "models/results.h"

#include <algorithm>

namespace models {

Measured Cell::Median() const {
  Measured median;
  std::vector<double> values(rounds.size());
  for (const Field& field : kFields) {
    std::ranges::transform(rounds, values.begin(), field.value);
    std::ranges::sort(values);
    const std::size_t half = values.size() / 2;
    const double lower = values[values.size() % 2 == 0 ? half - 1 : half];
    median.*field.value = (lower + values[half]) / 2;
  }
  return median;
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
