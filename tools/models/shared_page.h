// What the laboratory and a server's process both see.

#pragma once

#include <atomic>
#include <cstdint>

#include "models/counters.h"

namespace models {

struct SharedPage {
  Counters counters;

  // What getrusage(2) says of the server's process, written by it whenever it is asked.
  std::atomic<std::uint64_t> wakeups{0};
  std::atomic<std::uint64_t> preemptions{0};
  std::atomic<std::uint64_t> asked{0};     // the question's number, and then a SIGUSR1
  std::atomic<std::uint64_t> answered{0};  // of the last question that was answered
};

}  // namespace models
