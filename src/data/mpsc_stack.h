// A stack that many threads push to and one thread empties, whole, by one exchange (R. K. Treiber,
// "Systems Programming: Coping with Parallelism", IBM RJ 5118, 1986; taking it whole leaves no
// ABA). Reversed, it is a queue: FIFO for each pushing thread.
//
// OWNER     The caller owns the links. Nothing is allocated here.
// THREADS   Push() and IsEmpty(): any. TakeAll() and Close(): the one consumer.

#pragma once

#include <atomic>

namespace weir {

struct StackLink {
  StackLink* next = nullptr;
};

class MpscStack {
 public:
  MpscStack() = default;
  MpscStack(const MpscStack&) = delete;
  MpscStack& operator=(const MpscStack&) = delete;

  // False once Close() has run; the link is then still the caller's.
  bool Push(StackLink& link) noexcept {
    StackLink* newest = newest_.load(std::memory_order_relaxed);
    do {
      if (newest == &closed_) return false;
      link.next = newest;
      // seq_cst, which contains release: it publishes the link, and stands before the load of the
      // consumer's sleeping flag in the one order that the sleep protocol needs (loop/mailbox.cc).
    } while (!newest_.compare_exchange_weak(newest, &link, std::memory_order_seq_cst,
                                            std::memory_order_relaxed));
    return true;
  }

  // A hint, exact for the consumer's own pushes. seq_cst for the sleep protocol.
  [[nodiscard]] bool IsEmpty() const noexcept {
    const StackLink* const newest = newest_.load(std::memory_order_seq_cst);
    return newest == nullptr || newest == &closed_;
  }

  // Everything pushed so far, oldest first, linked by `next`; nullptr when there is nothing.
  StackLink* TakeAll() noexcept {
    if (IsEmpty()) return nullptr;
    return Reversed(newest_.exchange(nullptr, std::memory_order_acquire));
  }

  // As TakeAll(), and every later Push() fails.
  StackLink* Close() noexcept {
    StackLink* const newest = newest_.exchange(&closed_, std::memory_order_acq_rel);
    return newest == &closed_ ? nullptr : Reversed(newest);
  }

 private:
  static StackLink* Reversed(StackLink* newest) noexcept {
    StackLink* oldest = nullptr;
    while (newest != nullptr) {
      StackLink* const older = newest->next;
      newest->next = oldest;
      oldest = newest;
      newest = older;
    }
    return oldest;
  }

  std::atomic<StackLink*> newest_{nullptr};
  StackLink closed_;  // its address says "closed"
};

}  // namespace weir
