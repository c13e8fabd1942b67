// Work that other threads give to a loop.
//
// OWNER     One loop.
// THREADS   Post() and Wake(): any; Wake() is async-signal-safe. All else: the loop's thread.
// ERRORS    The constructor throws weir::Error when there is no eventfd.

#pragma once

#include <atomic>
#include <cstddef>

#include "data/mpsc_stack.h"
#include "os/unique_fd.h"
#include "weir/function.h"

namespace weir {

class Mailbox {
 public:
  explicit Mailbox(std::size_t limit);
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // False, and `work` is destroyed, once closed or while `limit` pieces wait.
  bool Post(Work work);

  // Ends the loop's sleep, or the one it is about to begin.
  void Wake() noexcept;

  // ---- The loop's thread

  // To be registered edge-triggered, and never read: each write is an edge.
  [[nodiscard]] int fd() const noexcept { return event_.get(); }

  [[nodiscard]] bool HasMail() const noexcept { return taken_ != nullptr || !stack_.IsEmpty(); }

  // The oldest piece; empty when there is none.
  Work Take();

  // Says that the loop is about to block. False if mail has come: then do not.
  [[nodiscard]] bool BeginSleep() noexcept;
  void EndSleep() noexcept;

  // Destroys what waits; from now on Post() returns false.
  void Close() noexcept;

  [[nodiscard]] std::size_t wakeups() const noexcept {
    return wakeups_.load(std::memory_order_relaxed);
  }

 private:
  struct Node;
  class NodeCache;

  static NodeCache& ThisThreadsNodes() noexcept;
  Node* NewNode(Work&& work);
  void Recycle(Node* node) noexcept;
  void DestroyChain(StackLink* oldest) noexcept;

  const std::size_t limit_;
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
};

}  // namespace weir
