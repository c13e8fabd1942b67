#include "base/check.h"

#include <cstdlib>

#include "base/log.h"

namespace weir {

void CheckFailed(const char* what_must_hold) noexcept {
  log::Critical("check failed: {}", what_must_hold);
  std::abort();
}

}  // namespace weir
