// What a process has used so far.

#pragma once

#include <chrono>

namespace echo_load {

// CPU time of all threads of a process, to the nanosecond while it runs too (/proc/PID/schedstat is
// of one thread, and looked after only once a tick). Throws Failure: there is no such process.
[[nodiscard]] std::chrono::nanoseconds CpuTime(int pid);

}  // namespace echo_load
