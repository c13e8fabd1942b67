#include "simulation/choices.h"

#include <utility>

#include "simulation/mirror.h"

namespace weir::sim {

std::uint64_t Choices::Generator::Next() noexcept {
  state += 0x9e3779b97f4a7c15;
  std::uint64_t mixed = state;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
  return mixed ^ (mixed >> 31);
}

Choices::Choices(std::uint64_t seed) noexcept : replays_(false), generators_{} {
  Generator seeds{seed};
  for (Generator& generator : generators_) generator.state = seeds.Next();
}

Choices::Choices(Schedule schedule) noexcept
    : replays_(true), generators_{}, given_(std::move(schedule)) {}

std::uint32_t Choices::Below(Stream stream, std::uint32_t bound) {
  if (bound <= 1) return 0;  // nothing to choose, and nothing to record
  const auto index = static_cast<std::size_t>(stream);
  std::vector<std::uint32_t>& taken = taken_.streams[index];
  std::uint32_t choice = 0;
  if (!replays_) {
    choice = static_cast<std::uint32_t>(generators_[index].Next() % bound);
  } else if (taken.size() < given_.streams[index].size()) {
    choice = given_.streams[index][taken.size()] % bound;
  }
  taken.push_back(choice);
  if (mirror_ != nullptr) [[unlikely]]
    mirror_->Add(index, choice);
  return choice;
}

}  // namespace weir::sim
