// Big cuts first: whole streams, then blocks of half a stream, a quarter, down to single choices.
// Each is tried left out, then made quiet. A cut changes what the choices behind it mean, so a
// round that helped is followed by another.
//
// A try goes on with what was *answered*, not with what was proposed: a life that ended early, or
// asked for smaller numbers, has left the rest out by itself.

#include "simulation/shrink.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace weir::sim {
namespace {

using Choices32 = std::vector<std::uint32_t>;
using Clock = std::chrono::steady_clock;

// Zeros at the end are what a schedule that has ended answers anyway.
void DropQuietEnds(Schedule& schedule) {
  for (Choices32& choices : schedule.streams) {
    while (!choices.empty() && choices.back() == 0) choices.pop_back();
  }
}

class Shrinker final {
 public:
  Shrinker(const Verdict& failing, const TrySchedule& try_schedule, const Effort& effort)
      : best_(failing), try_(try_schedule), effort_(effort) {
    DropQuietEnds(best_.taken);
  }

  Shrunk Run();

 private:
  // Everything below returns whether it helped.
  bool Round();
  bool EmptyStreams();
  bool CutBlocks(std::size_t stream, std::size_t size);
  bool LowerChoices(std::size_t stream);
  bool LowerChoice(std::size_t stream, std::size_t index);
  bool Try(Schedule candidate);

  [[nodiscard]] bool Spent() const {
    return tries_ >= effort_.tries || Clock::now() - begin_ >= effort_.time;
  }
  [[nodiscard]] const Choices32& Best(std::size_t stream) const {
    return best_.taken.streams[stream];
  }

  Verdict best_;
  const TrySchedule& try_;
  const Effort effort_;
  const Clock::time_point begin_ = Clock::now();
  std::size_t tries_ = 0;
};

Shrunk Shrinker::Run() {
  while (Round()) {
  }
  return {.verdict = std::move(best_), .tries = tries_, .minimal = !Spent()};
}

bool Shrinker::Round() {
  bool helped = EmptyStreams();
  std::size_t longest = 0;
  for (const Choices32& choices : best_.taken.streams) longest = std::max(longest, choices.size());
  for (std::size_t size = longest; size > 0; size /= 2) {
    for (std::size_t stream = 0; stream < kStreams; ++stream) {
      if (size <= Best(stream).size()) helped = CutBlocks(stream, size) || helped;
    }
  }
  for (std::size_t stream = 0; stream < kStreams; ++stream) {
    helped = LowerChoices(stream) || helped;
  }
  return helped && !Spent();
}

bool Shrinker::EmptyStreams() {
  bool helped = false;
  for (std::size_t stream = 0; stream < kStreams; ++stream) {
    Schedule candidate = best_.taken;
    candidate.streams[stream].clear();
    helped = Try(std::move(candidate)) || helped;
  }
  return helped;
}

// From the end, where what is left out concerns the fewest others.
bool Shrinker::CutBlocks(std::size_t stream, std::size_t size) {
  bool helped = false;
  for (std::size_t end = Best(stream).size(); end > 0 && !Spent();) {
    end = std::min(end, Best(stream).size());
    const auto first = static_cast<std::ptrdiff_t>(end - std::min(end, size));
    const auto last = static_cast<std::ptrdiff_t>(end);
    Schedule without = best_.taken;
    Choices32& choices = without.streams[stream];
    choices.erase(choices.begin() + first, choices.begin() + last);
    bool cut = Try(std::move(without));
    if (!cut) {
      Schedule quiet = best_.taken;
      Choices32& zeroed = quiet.streams[stream];
      std::fill(zeroed.begin() + first, zeroed.begin() + last, 0U);
      cut = Try(std::move(quiet));
    }
    helped = helped || cut;
    end = static_cast<std::size_t>(first);
  }
  return helped;
}

bool Shrinker::LowerChoices(std::size_t stream) {
  bool helped = false;
  for (std::size_t index = 0; index < Best(stream).size() && !Spent(); ++index) {
    helped = LowerChoice(stream, index) || helped;
  }
  return helped;
}

// Halves the distance to the greatest value that was of no use, and ends next to it.
bool Shrinker::LowerChoice(std::size_t stream, std::size_t index) {
  bool helped = false;
  std::uint32_t useless = 0;  // 0 has been tried: CutBlocks()
  while (index < Best(stream).size() && Best(stream)[index] > useless + 1 && !Spent()) {
    const std::uint32_t value = Best(stream)[index];
    const std::uint32_t lower = useless + (value - useless) / 2;
    Schedule candidate = best_.taken;
    candidate.streams[stream][index] = lower;
    if (Try(std::move(candidate))) {
      helped = true;
    } else {
      useless = lower;
    }
  }
  return helped;
}

bool Shrinker::Try(Schedule candidate) {
  DropQuietEnds(candidate);
  if (candidate == best_.taken || Spent()) return false;
  ++tries_;
  Verdict verdict = try_(candidate);
  if (!SameFailure(verdict, best_)) return false;
  DropQuietEnds(verdict.taken);
  best_ = std::move(verdict);
  return true;
}

}  // namespace

Shrunk Shrink(const Verdict& failing, const TrySchedule& try_schedule, const Effort& effort) {
  return Shrinker(failing, try_schedule, effort).Run();
}

}  // namespace weir::sim
