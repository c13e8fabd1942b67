// A loop on a scripted poller, and connections on scripted wires: no kernel, no time, each event on
// purpose.
#pragma once

#include <memory>
#include <utility>

#include "net/loop_access.h"
#include "support/recorder.h"
#include "support/scripted_poller.h"
#include "support/scripted_wire.h"

namespace weir::test {

// Declare handlers and wires before it: they must outlive it.
class ScriptedLoop {
 public:
  explicit ScriptedLoop(const Options& options = {}) : ScriptedLoop(options, new ScriptedPoller) {}

  // Opens a connection as an acceptor would: OnOpen comes now, its first receive in the next turn.
  ConnectionImpl& Open(ScriptedWire& wire, Handler& handler) {
    ConnectionImpl* const connection = core().table.Allocate();
    connection->Open(core(), {.fd = next_fd_++,
                              .wire = &wire,
                              .handler = &handler,
                              .listener = 0,
                              .peer = PeerAddress()});
    return *connection;
  }

  int Turn() { return loop->RunOnce(Duration::zero()); }
  // Turns until the loop would sleep; at most so many.
  void RunUntilQuiet(int most = 10'000) {
    for (int i = 0; i < most; ++i) {
      Turn();
      if (!core().engine.HasWork()) return;
    }
  }
  [[nodiscard]] bool HasWork() { return core().engine.HasWork(); }

  LoopCore& core() { return LoopAccess::Impl(*loop).core(); }

  ScriptedPoller& poller;
  std::unique_ptr<EventLoop> loop;

 private:
  ScriptedLoop(const Options& options, ScriptedPoller* scripted)
      : poller(*scripted), loop(LoopAccess::Make(options, std::unique_ptr<Poller>(scripted))) {}

  int next_fd_ = 1000;
};

// The bits of an edge, by name.
struct EdgeBits {
  bool readable = false;
  bool writable = false;
  bool peer_ended = false;  // RDHUP
  bool hung_up = false;
  bool error = false;
  bool urgent = false;

  [[nodiscard]] std::uint32_t Bits() const {
    return (readable ? EPOLLIN : 0U) | (writable ? EPOLLOUT : 0U) | (peer_ended ? EPOLLRDHUP : 0U) |
           (hung_up ? EPOLLHUP : 0U) | (error ? EPOLLERR : 0U) | (urgent ? EPOLLPRI : 0U);
  }
};

struct OneConnectionsParts {
  Recorder handler;
  ScriptedWire wire;
};

// One open, registered, quiet connection.
class OneConnection : public OneConnectionsParts, public ScriptedLoop {
 public:
  explicit OneConnection(const Options& options = {}, Wire::Traits traits = ScriptedWire::kTcp)
      : OneConnectionsParts{.handler = {}, .wire = ScriptedWire(traits)},
        ScriptedLoop(options),
        token_(Open(wire, handler).token) {
    RunUntilQuiet();
    wire.log.clear();
    wire.receives = 0;
    poller.log.clear();
    poller.timeouts.clear();
    handler.calls.clear();
    handler.batches = 0;
  }

  // An edge, and the turn that it starts.
  void RaiseEdge(EdgeBits edge = {.readable = true}) {
    poller.Report(token_, edge.Bits());
    Turn();
  }

  // REQUIRES: not yet closed.
  Connection& connection() { return *handler.last; }
  ConnectionImpl& impl() { return static_cast<ConnectionImpl&>(connection()); }
  [[nodiscard]] Token token() const { return token_; }

 private:
  Token token_;
};

}  // namespace weir::test
