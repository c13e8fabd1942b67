// Work that other threads give to a loop.
//
// OWNER     One loop.
// THREADS   Post(), WakeSleeper() and Wake(): any; Wake() is async-signal-safe. All else: the
//           loop's thread.
// ERRORS    The constructor throws weir::Error when there is no eventfd.

#pragma once

#include <atomic>
#include <cstddef>

#include "data/mpsc_stack.h"
#include "os/sys.h"
#include "os/unique_fd.h"
#include "weir/function.h"

namespace weir {

class Mailbox {
 public:
  explicit Mailbox(std::size_t limit);
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // False, and `work` is left or destroyed, once closed or while `limit` pieces wait.
  bool Post(Work&& work);

  // Ends the loop's sleep, or the one it is about to begin.
  void Wake() noexcept;

  // The same, at most once for each sleep, and not at all for a loop that is awake.
  void WakeSleeper() noexcept;

  // ---- The loop's thread

  // To be registered edge-triggered, and never read: each write is an edge.
  [[nodiscard]] int fd() const noexcept { return event_.get(); }

  [[nodiscard]] bool HasMail() const noexcept { return taken_ != nullptr || !stack_.IsEmpty(); }

  // The oldest piece; empty when there is none.
  Work Take();

  // Says that the loop is about to block. False if mail has come: then do not.
  [[nodiscard]] bool BeginSleep() noexcept {
    sys::Yield(sys::Point::kBeforeSleepFlag);
    sleeping_.store(true, std::memory_order_seq_cst);
    sys::Yield(sys::Point::kAfterSleepFlag);
    if (!HasMail()) return true;
    EndSleep();
    return false;
  }
  void EndSleep() noexcept {
    // relaxed: a poster that still sees true wakes a loop that is awake, which costs one needless
    // edge.
    sleeping_.store(false, std::memory_order_relaxed);
  }

  // Destroys what waits; from now on Post() returns false.
  void Close() noexcept;

  [[nodiscard]] std::size_t wakeups() const noexcept {
    return wakeups_.load(std::memory_order_relaxed);
  }

 private:
  struct Node;
  class NodeCache;

  static constexpr std::size_t kMostSpare = 4096;  // nodes that are kept for later posts
  // The loop counts what it has taken so many at a time: the counter's line is the posters'.
  static constexpr std::size_t kMostUncounted = 64;

  static NodeCache& ThisThreadsNodes() noexcept;
  Node* NewNode(Work&& work);
  void Recycle(Node* node) noexcept;
  void DestroyChain(StackLink* oldest) noexcept;

  const std::size_t limit_;
  const std::size_t most_uncounted_;  // never enough to matter beside the limit
  UniqueFd event_;

  // Written by posting threads. Apart from the loop's own fields, which they would otherwise take
  // away.
  alignas(64) MpscStack stack_;
  std::atomic<std::size_t> waiting_{0};
  std::atomic<StackLink*> free_{nullptr};  // nodes on their way back to posters, taken whole
  std::atomic<std::size_t> wakeups_{0};

  alignas(64) std::atomic<bool> sleeping_{false};

  // The loop's thread only.
  alignas(64) StackLink* taken_ = nullptr;  // oldest first
  StackLink* spent_ = nullptr;              // nodes to give back with the next batch
  StackLink* spent_last_ = nullptr;
  std::size_t uncounted_ = 0;   // taken, and not yet subtracted from waiting_
  std::size_t given_back_ = 0;  // nodes since free_ was last seen empty
};

}  // namespace weir
