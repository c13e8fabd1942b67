// One server alone, for nc, strace and a debugger: weir-models serve MODEL.

#pragma once

#include <cstdint>
#include <string_view>

#include "models/catalogue.h"

namespace models {

struct Listener {
  int fd = -1;
  std::uint16_t port = 0;
};

// Listens on 127.0.0.1; port 0 takes a free one. Throws std::system_error, with the call.
[[nodiscard]] Listener Listen(std::uint16_t port);

// Serves until SIGINT or SIGTERM, in this process. Takes the listener.
void RunServer(const Model& model, int listener);

// Throws std::system_error if what was printed so far cannot be written.
void FlushStdout();

// Prints "listening on tcp://127.0.0.1:PORT", then serves.
void Serve(const Model& model, std::uint16_t port);

}  // namespace models
