// A loop's counters, written by its thread and readable from any.
//
// Each is written by one thread only, so that an increment is a plain load, add and store, and no
// locked instruction; relaxed atomics make a reader on another thread see some recent value of
// each.

#pragma once

#include <atomic>
#include <cstdint>

#include "weir/stats.h"

namespace weir {

class Counter {
 public:
  void Add(std::uint64_t n) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void Subtract(std::uint64_t n) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed);
  }
  void Set(std::uint64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t Get() const noexcept {
    return value_.load(std::memory_order_relaxed);
  }

 private:
  std::atomic<std::uint64_t> value_{0};
};

struct Counters {
  Counter connections, lingering, buffered;
  Counter accepted, refused, closed, accept_errors;
  Counter turns, events, stale_events;
  Counter receives, sends, would_block, bytes_in, bytes_out;
  Counter owed, paused, timeouts, shed, mail, exceptions;

  // `wakeups` is the mailbox's: posters count it.
  [[nodiscard]] Stats Read(std::uint64_t wakeups) const noexcept;
};

// Adds one loop's figures to a server's, which begin as those of its first loop.
void Accumulate(Stats& sum, const Stats& one) noexcept;

}  // namespace weir
