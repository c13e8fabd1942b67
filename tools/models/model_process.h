// A model that serves in a process of its own: this program once more (server_child.h). The two
// share a page, in which the server counts its calls, and tells what it uses when it is asked.

#pragma once

#include <cstdint>
#include <optional>

#include "models/catalogue.h"
#include "models/server_process.h"
#include "models/shared_page.h"

namespace models {

class ModelProcess final : public ServerProcess {
 public:
  // It listens already. Also throws std::system_error, of Listen().
  ModelProcess(const Model& model, std::optional<int> cpu);

  void AwaitListening() override {}
  // Of all its threads, also of those that have ended. Asks the server itself, by a signal, and
  // waits until it rests again.
  [[nodiscard]] Switches ReadSwitches() override;
  [[nodiscard]] std::uint64_t WakeupsOfReading() const override { return 1; }  // to sleep again
  [[nodiscard]] std::optional<Calls> ReadCalls() const override;

 private:
  [[nodiscard]] bool EndsWell(int status) const override { return status == 0; }
  [[nodiscard]] bool SaysNotToBeHad(int status) const override;

  OwnedPage page_;
};

}  // namespace models
