#include "simulation/faults.h"

namespace weir::sim {

Faults::Faults(Choices& choices) : choices_(choices) {
  static constexpr std::array<std::uint32_t, 4> kRates{40, 15, 6, 3};
  if (!choices_.OneIn(Stream::kFaults, 8)) {
    // The quiet answer of all is a life without faults.
    const std::uint32_t mood = choices_.Below(Stream::kFaults, 4);
    for (std::uint32_t& one_in : one_in_) {
      const bool has = mood != 0 && choices_.Below(Stream::kFaults, 4) >= 4 - mood;
      if (has) one_in = kRates[choices_.Below(Stream::kFaults, kRates.size())];
    }
    // Most lives are to begin.
    std::uint32_t& set_up = one_in_[static_cast<std::size_t>(Fault::kSetUpFails)];
    set_up = choices_.OneIn(Stream::kFaults, 12) ? 20 : 0;
  }
}

bool Faults::Strikes(Fault fault) {
  const std::uint32_t one_in = one_in_[static_cast<std::size_t>(fault)];
  if (one_in == 0 || !choices_.OneIn(Stream::kFaults, one_in)) return false;
  ++count_;
  return true;
}

int Faults::OneOf(std::initializer_list<int> errors) {
  const auto index = choices_.Below(Stream::kFaults, static_cast<std::uint32_t>(errors.size()));
  return errors.begin()[index];
}

}  // namespace weir::sim
