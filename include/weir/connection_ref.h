// A handle that may outlive its connection: {loop, slot, generation}. It never hits the connection
// that has the slot afterwards.
//
//     std::thread worker([ref = connection.Ref()] { ref.Send(Compute()); });
//
// OWNER     A value: copy it freely.
// LIFETIME  May outlive its connection, never its EventLoop or Server.
// THREADS   Any, but for Get(): the loop's thread.
// ERRORS    What asks the loop for something goes through its mailbox, also on the loop's own
//           thread: it is done later, in the order of each asking thread, and only if the
//           connection is open by then. False, and nothing will happen: the loop has ended, or
//           Options::max_mail posts wait, or the ref is nobody's. True does not say that the
//           connection still is there. Throws std::bad_alloc.

#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "weir/function.h"

namespace weir {

class Connection;
struct LoopCore;

class ConnRef {
 public:
  ConnRef() noexcept = default;  // refers to nobody

  // The connection while it is open (from OnOpen until Close(), Abort() or an error), then nullptr
  // for ever.
  [[nodiscard]] Connection* Get() const noexcept;

  // Unique among all connections that its loop ever has; 0 for nobody.
  [[nodiscard]] std::uint64_t Id() const noexcept { return id_; }

  // Queues the string behind all other output, without a copy. A shared one is not to change any
  // more.
  bool Send(std::string bytes) const;
  bool Send(std::shared_ptr<const std::string> bytes) const;

  // Runs work(connection) on the loop's thread. Up to 32 bytes cost no allocation.
  template <class F>
  requires std::invocable<F&, Connection&>
  bool Post(F&& work) const {
    return Enqueue([ref = *this, work = std::decay_t<F>(std::forward<F>(work))]() mutable {
      if (Connection* const connection = ref.Get()) work(*connection);
    });
  }

  // Has OnData called with what is unconsumed, which may be nothing, or less than NeedAtLeast()
  // asked for: for a handler that stopped to wait for something else. A connection whose reading is
  // paused gets nothing but what ResumeRead() delivers; after the peer's end nothing comes.
  bool Wake() const;

  bool Close() const;
  bool Abort() const;

  friend bool operator==(const ConnRef&, const ConnRef&) noexcept = default;

 private:
  friend class ConnectionImpl;  // makes them
  ConnRef(LoopCore& loop, std::uint64_t id) noexcept : loop_(&loop), id_(id) {}

  bool Enqueue(Work work) const;

  LoopCore* loop_ = nullptr;
  std::uint64_t id_ = 0;
};

}  // namespace weir
