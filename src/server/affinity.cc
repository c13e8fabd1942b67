#include "server/affinity.h"

#include <fmt/format.h>

#include "os/sys.h"
#include "weir/error.h"

namespace weir {

CpuPin::CpuPin(int cpu) : before_(sys::AllowedCpus()) {
  if (const int result = sys::SetAllowedCpus({cpu}); result < 0) {
    throw Error::System(fmt::format("Options::pin_cpus: sched_setaffinity to processor {}", cpu),
                        -result);
  }
}

CpuPin::~CpuPin() { static_cast<void>(sys::SetAllowedCpus(before_)); }

}  // namespace weir
