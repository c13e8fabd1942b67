// Every system call of a server for a request, also those that libc makes by itself (to start a
// thread takes several): seen by ptrace(2), as strace does it.
//
// One connection asks when the server rests, so what is seen is the same each time. It slows the
// server down: this is for counts, and weir-models without it for times.

#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>

#include "models/catalogue.h"

namespace models {

struct Traced {
  std::size_t requests = 0;
  std::map<std::string, std::size_t> calls;  // by name, of all requests

  [[nodiscard]] double PerRequest(std::size_t count) const {
    return static_cast<double>(count) / static_cast<double>(requests);
  }
  [[nodiscard]] double Total() const;  // per request
};

// Throws echo_load::Failure: the system does not let us trace, or the server failed.
[[nodiscard]] Traced Trace(const Model& model);

// `weir-models calls`. Of a model that fails stderr has the reason, and the others go on; then it
// returns false.
[[nodiscard]] bool PrintCalls(std::span<const Model* const> models, bool json);

}  // namespace models
