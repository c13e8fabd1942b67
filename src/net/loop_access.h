// The way from the public EventLoop to its implementation, for the floors above and for tests.

#pragma once

#include <memory>
#include <utility>

#include "net/event_loop_impl.h"

namespace weir {

class LoopAccess {
 public:
  using LoopImpl = EventLoop::Impl;

  static std::unique_ptr<EventLoop> Make(const Options& options, std::unique_ptr<Poller> poller) {
    return std::unique_ptr<EventLoop>(new EventLoop(options, std::move(poller)));
  }
  static EventLoop::Impl& Impl(EventLoop& loop) noexcept { return *loop.impl_; }
};

using LoopImpl = LoopAccess::LoopImpl;

}  // namespace weir
