// A guest (guest.h) in a process of its own. What it does is seen from outside only.

#pragma once

#include <cstdint>
#include <optional>

#include "models/catalogue.h"
#include "models/server_process.h"
#include "models/words.h"

namespace models {

class GuestProcess final : public ServerProcess {
 public:
  GuestProcess(const Model& guest, std::optional<int> cpu);

  void AwaitListening() override;
  // Of the threads that it has, not of those that have ended. Waits until it rests.
  [[nodiscard]] Switches ReadSwitches() override;
  [[nodiscard]] std::uint64_t WakeupsOfReading() const override { return 0; }
  [[nodiscard]] std::optional<Calls> ReadCalls() const override { return std::nullopt; }

 private:
  [[nodiscard]] bool EndsWell(int status) const override;  // or of the signal
  [[nodiscard]] bool SaysNotToBeHad(int) const override { return false; }

  Words printed_{"stdout of a server"};
};

}  // namespace models
