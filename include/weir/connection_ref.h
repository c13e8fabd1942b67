// A handle that may outlive its connection: {loop, slot, generation}. It never hits the connection
// that has the slot afterwards.
//
// OWNER     A value: copy it freely.
// LIFETIME  May outlive its connection, never its EventLoop.
// THREADS   Copying, comparing and Id(): any. Get(): the loop's thread.

#pragma once

#include <cstdint>

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

  friend bool operator==(const ConnRef&, const ConnRef&) noexcept = default;

 private:
  friend class ConnectionImpl;  // makes them
  ConnRef(LoopCore& loop, std::uint64_t id) noexcept : loop_(&loop), id_(id) {}

  LoopCore* loop_ = nullptr;
  std::uint64_t id_ = 0;
};

}  // namespace weir
