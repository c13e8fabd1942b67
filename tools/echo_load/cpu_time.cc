#include "echo_load/cpu_time.h"

#include <fmt/format.h>

#include <cerrno>
#include <ctime>

#include "echo_load/failure.h"

namespace echo_load {

std::chrono::nanoseconds CpuTime(int pid) {
  clockid_t clock{};
  timespec time{};
  if (const int error = ::clock_getcpuclockid(pid, &clock)) {
    throw Failure(fmt::format("CPU time of process {}: {}", pid, ErrorText(error)));
  }
  if (::clock_gettime(clock, &time) != 0) {
    throw Failure(fmt::format("CPU time of process {}: {}", pid, ErrorText(errno)));
  }
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace echo_load
