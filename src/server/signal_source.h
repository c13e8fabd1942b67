// Signals as events: blocked on this thread and read from a descriptor (signalfd(2)), so that what
// a signal asks for is done on the loop, between callbacks, and not in a handler.
//
// OWNER     Serve().
// LIFETIME  While it lives the signals are blocked on the thread that made it; then the mask is put
//           back.
// THREADS   The loop's thread.
// ERRORS    The constructor throws weir::Error.

#pragma once

#include <csignal>
#include <initializer_list>

#include "loop/engine.h"
#include "loop/event_source.h"
#include "os/unique_fd.h"
#include "weir/function.h"

namespace weir {

class SignalSource final : public EventSource {
 public:
  SignalSource(Engine& engine, std::initializer_list<int> signals,
               UniqueFunction<void(int)> on_signal);
  SignalSource(const SignalSource&) = delete;
  SignalSource& operator=(const SignalSource&) = delete;
  ~SignalSource();

  void OnEdge(Edge edge) override;

 private:
  Engine& engine_;
  UniqueFunction<void(int)> on_signal_;
  sigset_t mask_before_{};
  UniqueFd fd_;
  Token token_;
};

}  // namespace weir
