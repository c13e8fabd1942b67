#include "models/campaign.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>

namespace models {
namespace {

class Progress final {
 public:
  Progress() = default;
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { Show(""); }

  void Show(const std::string& text) const {
    if (is_terminal_) fmt::print(stderr, "\r\033[K{}", text);
  }

 private:
  const bool is_terminal_ = ::isatty(STDERR_FILENO) != 0;
};

// As many as may be: the servers inherit the limit. Returns it.
std::size_t RaiseDescriptorLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return SIZE_MAX;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);  // if not, a load that needs more says so
  return limit.rlim_cur;
}

Outcome MeasureIfPossible(const Model& model, const Load& load, const std::optional<Cpus>& cpus,
                          std::size_t descriptors) {
  constexpr std::size_t kOthers = 32;
  const std::size_t needed = load.active + load.idle + kOthers;
  if (needed <= descriptors) return Measure(model, load, cpus);
  return {.measured = std::nullopt,
          .refused = {.why = fmt::format("a process needs {} descriptors for that, and may have {} "
                                         "(ulimit -Hn)",
                                         needed, descriptors),
                      .expected = true}};
}

// One pass over all cells that `wanted` names.
template <class Wanted>
void RunRound(const MeasureOptions& options, const std::optional<Cpus>& cpus,
              const std::vector<const Model*>& order, std::size_t descriptors,
              const std::string& title, Results& results, Wanted wanted) {
  const Progress progress;
  for (const std::size_t idle : options.idle) {
    for (const Model* const model : order) {
      Cell& cell = results.At(*model, idle);
      if (cell.refused || !wanted(cell)) continue;
      progress.Show(fmt::format("{}: {}, {} idle connections", title, model->name, idle));
      const Load load{.active = options.active, .idle = idle, .seconds = options.seconds};
      Outcome outcome = MeasureIfPossible(*model, load, cpus, descriptors);
      if (outcome.measured) {
        cell.rounds.push_back(*outcome.measured);
      } else {
        cell.refused = std::move(outcome.refused);
      }
    }
  }
}

}  // namespace

Results RunCampaign(const MeasureOptions& options, const std::optional<Cpus>& cpus) {
  const std::size_t descriptors = RaiseDescriptorLimit();
  if (cpus) StayOn(cpus->load);
  Results results;
  for (const std::size_t idle : options.idle) {
    for (const Model* const model : options.models) {
      results.cells.push_back({.model = model, .idle = idle, .rounds = {}, .refused = {}});
    }
  }
  auto order = options.models;
  for (std::size_t round = 0; round < options.rounds; ++round) {
    const std::string title = fmt::format("round {} of {}", round + 1, options.rounds);
    RunRound(options, cpus, order, descriptors, title, results, [](const Cell&) { return true; });
    std::rotate(order.begin(), order.begin() + 1, order.end());
  }
  // Some may have been measured while the two CPUs were far apart: once more, but half as often, so
  // that it is known how long all of it can take.
  const std::size_t enough = (options.rounds + 1) / 2;
  for (std::size_t round = 0; round < enough; ++round) {
    const double near = results.NearNs();
    RunRound(options, cpus, order, descriptors, "again, for the CPUs were far apart", results,
             [&](const Cell& cell) { return cell.Near(near) < enough; });
  }
  return results;
}

}  // namespace models
