// Whether a server has nothing to do.

#pragma once

#include <sys/types.h>

namespace models {

// Its first thread sleeps in a call.
[[nodiscard]] bool FirstThreadSleeps(pid_t process);

// Each of its threads does.
[[nodiscard]] bool AllThreadsSleep(pid_t process);

}  // namespace models
