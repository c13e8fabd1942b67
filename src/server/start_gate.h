// Where the loops of a server meet when each is set up: all run, or none does.
//
// OWNER     Server.
// THREADS   Any.

#pragma once

#include <exception>
#include <mutex>
#include <utility>

#include "os/sys.h"

namespace weir {

class StartGate {
 public:
  explicit StartGate(int parties) : missing_(parties) {}
  StartGate(const StartGate&) = delete;
  StartGate& operator=(const StartGate&) = delete;

  // One loop's set-up is over; `failure` is null if it went well.
  void Report(std::exception_ptr failure) {
    const std::lock_guard lock(mutex_);
    if (failure != nullptr && first_failure_ == nullptr) first_failure_ = std::move(failure);
    if (--missing_ == 0) all_here_.notify_all();
  }

  // When all have reported: the first failure, or null.
  [[nodiscard]] std::exception_ptr Wait() {
    std::unique_lock lock(mutex_);
    all_here_.wait(lock, [this] { return missing_ == 0; });
    return first_failure_;
  }

 private:
  sys::Mutex mutex_;
  sys::Condition all_here_;
  int missing_;
  std::exception_ptr first_failure_;
};

}  // namespace weir
