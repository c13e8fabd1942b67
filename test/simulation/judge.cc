// What a life is judged by:
//
//   bytes      each stream arrives as it was sent; an end comes behind all of it
//   callbacks  the grammar of docs/architecture.md (program.cc)
//   liveness   when nobody can go on, nobody sleeps on bytes, on output, on work or on clients; and
//              among busy connections each is served within some turns
//   drains     what had arrived when a drain began is delivered before its OnClose
//   limits     of output, of memory, of connections, of a turn
//   the end    no descriptor, slot, buffer, extension, timer or context is left; no peer hangs
//   sleep      no loop waits while something is owed, dirty or retiring

#include <algorithm>
#include <chrono>

#include "net/loop_access.h"
#include "simulation/life.h"

namespace weir::sim {
namespace {

[[nodiscard]] LoopCore& CoreOf(Server& server, int loop) {
  return LoopAccess::Impl(server.Loop(loop)).core();
}

}  // namespace

int Life::LoopOf(int epoll) const {
  const auto found = std::find(epolls_.begin(), epolls_.end(), epoll);
  return found == epolls_.end() ? -1 : static_cast<int>(found - epolls_.begin());
}

// ---- While it runs

void Life::OnWait(int epoll, int timeout_ms) {
  const int loop = LoopOf(epoll);
  if (loop < 0 || !runs_) return;
  JudgeTurn(loop, timeout_ms != 0);
  for (Exchange* const exchange : open_) {
    if (exchange->loop == loop) JudgeService(*exchange);
  }
}

void Life::JudgeTurn(int loop, bool sleeps) {
  LoopCore& core = CoreOf(*server_, loop);
  if (sleeps && core.engine.work().Any()) {
    world_.Find("sleep: loop {} waits while something is owed, dirty or retiring", loop);
  }
  if (sleeps && core.Buffered() > core.max_buffered) {
    world_.Find("limit: {} bytes of buffers, of {}", core.Buffered(), core.max_buffered);
  }
  const std::size_t most = options_.max_connections;
  if (most != 0 && core.table.live() > most) {
    world_.Find("limit: {} connections, of {}", core.table.live(), most);
  }
}

void Life::JudgeService(Exchange& exchange) {
  // (Each false event is a visit, too.)
  const bool is_counted = !world_.faults.Has(Fault::kSpuriousEvent);
  if (is_counted && exchange.in_turn > exchange.visits * (options_.read_budget + exchange.room)) {
    world_.Find("fairness: {} bytes in one turn, of {} and a receive of {}", exchange.in_turn,
                options_.read_budget, exchange.room);
  }
  const Connection& connection = *exchange.connection;
  if (connection.Input().size() > options_.max_input) {
    world_.Find("limit: {} bytes of input, of {}", connection.Input().size(), options_.max_input);
  }
  // The first piece on an empty queue is taken whole.
  if (connection.Pending() > std::max(options_.max_output, exchange.whole)) {
    world_.Find("limit: {} bytes of output, of {}", connection.Pending(), options_.max_output);
  }
  exchange.in_turn = exchange.room = 0;
  exchange.visits = 1;
  const bool waits = exchange.ref.Get() != nullptr && !exchange.ended &&
                     exchange.socket->HasNews() && !MayBeUnread(exchange);
  if (!waits) {
    exchange.unserved = 0;
    return;
  }
  const std::size_t patience = 100 + 20 * exchanges_.size();
  if (++exchange.unserved > patience) {
    world_.Find("fairness: peer {} has waited for {} turns", exchange.id, exchange.unserved);
  }
}

void Life::OnReceived(Socket& socket, std::size_t bytes) {
  for (Exchange* const exchange : open_) {
    if (exchange->socket != &socket) continue;
    exchange->in_turn += bytes;
    exchange->unserved = 0;
    if (bytes > 0 && runs_) exchange->moved = server_->Loop(exchange->loop).Now();
    // What is unread stands in a ring, and a receive may bring as much again.
    const std::size_t unread = exchange->received - exchange->consumed;
    exchange->received += bytes;
    exchange->room =
        std::max({exchange->room, options_.read_chunk, std::size_t{2048}, exchange->need, unread});
  }
}

void Life::OnBroken(Socket& socket) {
  for (Exchange& exchange : exchanges_) {
    if (exchange.socket == &socket) exchange.was_broken = true;
  }
}

// Reading may stop for these reasons.
bool Life::MayBeUnread(const Exchange& exchange) {
  const bool is_congested = exchange.connection->Congested() && options_.auto_pause;
  return exchange.paused || is_congested || CoreOf(*server_, exchange.loop).IsFull();
}

// Nobody can go on until time passes: whoever has something to do has been forgotten.
void Life::OnIdle() {
  if (!runs_) return;
  for (Exchange* const exchange : open_) JudgeSleeper(*exchange);
  for (int i = 0; i < server_->Loops(); ++i) {
    if (!server_->Loop(i).IsStopped() && CoreOf(*server_, i).engine.HasWork()) {
      world_.Find("asleep: loop {} has work", i);
    }
  }
}

void Life::JudgeSleeper(Exchange& exchange) {
  Connection& connection = *exchange.connection;
  const bool is_open = exchange.ref.Get() != nullptr;
  if (is_open && !exchange.ended && exchange.socket->HasNews() && !MayBeUnread(exchange)) {
    world_.Find("asleep: peer {} has sent something", exchange.id);
  }
  if (is_open && IsOnDataDue(exchange) && !MayBeUnread(exchange)) {
    world_.Find("asleep: peer {} has input that OnData was not called for", exchange.id);
  }
  if (connection.Pending() > 0 && exchange.socket->HasRoom()) {
    world_.Find("asleep: output for peer {} could leave", exchange.id);
  }
  if (is_open && connection.Congested() && connection.Pending() == 0) {
    world_.Find("asleep: OnDrain for peer {} has not come", exchange.id);
  }
}

// Nothing will ever happen again by itself.
void Life::JudgeQuiet() {
  if (!runs_ || stop_said_) return;
  for (const Target& target : targets_) {
    const Socket* const listener =
        target.IsUnix() ? static_cast<Socket*>(world_.network.FindListener(target.path))
                        : world_.network.FindListener(target.port);
    if (listener == nullptr || !listener->IsListening() || listener->Queued() == 0) continue;
    bool is_full = false;
    for (int i = 0; i < server_->Loops(); ++i) is_full = is_full || CoreOf(*server_, i).IsFull();
    if (!is_full) world_.Find("asleep: {} clients are not accepted", listener->Queued());
  }
}

// ---- Drains

// More may arrive before the library looks: then that is delivered, too.
void Life::NoteDrain(int loop) {
  world_.Trace("loop {} drains", loop);
  for (Exchange* const exchange : open_) {
    if (exchange->loop != loop) continue;
    exchange->NoteVisit();  // it is owed one, whoever began the drain, and when
    Promise(*exchange);
  }
}

void Life::NoteOpen(Exchange& exchange) {
  open_.push_back(&exchange);
  // (The server may be in its destructor.)
  const LoopCore& core = LoopAccess::Impl(exchange.connection->Loop()).core();
  if (core.draining) Promise(exchange);  // it came late
}

// The first drain counts: a second one finds it draining.
void Life::Promise(Exchange& exchange) {
  if (exchange.promised.has_value() || exchange.ref.Get() == nullptr) return;
  exchange.promised = exchange.received + exchange.socket->Arrived();
}

// It may leave unread what it has looked at, or what is less than it needs.
bool Life::IsOnDataDue(const Exchange& exchange) {
  const std::size_t unread = exchange.connection->Input().size();
  if (exchange.ended || exchange.woken || unread == 0 || unread < exchange.need) return false;
  return exchange.is_due || exchange.consumed + unread > exchange.seen;
}

// A paused or congested connection drains later: but for the grace, nothing excuses it. Whoever is
// closed by anything else (the program, a limit, an error, a time-out) has another reason.
void Life::JudgeDrain(const Exchange& exchange) {
  if (exchange.reason != CloseReason::kShutdown || IsOutOfTime(exchange)) return;
  if (!exchange.promised.has_value()) {
    return world_.Find("drain: peer {} is closed by none", exchange.id);
  }
  const std::size_t unread = exchange.connection->Input().size();
  const std::uint64_t told = std::max(exchange.seen, exchange.consumed + unread);
  if (told < *exchange.promised) {
    world_.Find("drain: {} bytes of peer {} had arrived, and {} were delivered", *exchange.promised,
                exchange.id, told);
  }
  if (IsOnDataDue(exchange)) {
    world_.Find("drain: {} bytes of peer {} are left that OnData was not called for", unread,
                exchange.id);
  }
}

// ---- At the end

void Life::JudgeLeftovers() {
  for (int i = 0; i < server_->Loops(); ++i) {
    LoopCore& core = CoreOf(*server_, i);
    const Stats stats = server_->Loop(i).GetStats();
    if (core.table.live() != 0) world_.Find("leak: {} connections", core.table.live());
    if (stats.connections != 0) world_.Find("count: {} connections", stats.connections);
    if (stats.lingering != 0) world_.Find("count: {} linger", stats.lingering);
    if (core.Buffered() != 0) world_.Find("leak: {} bytes of buffers", core.Buffered());
    if (core.extensions.live() != 0) world_.Find("leak: {} extensions", core.extensions.live());
    if (core.contexts.in_use() != 0) world_.Find("leak: {} contexts", core.contexts.in_use());
    if (timers_ == 0 && core.engine.HasTimers()) world_.Find("leak: a timer");
  }
  if (!open_.empty()) world_.Find("callbacks: no OnClose for {} connections", open_.size());
}

void Life::JudgePeers() {
  for (const Peer& peer : peers_) {
    if (!peer.IsDone()) {
      world_.Find("hangs: peer {} {}", peer.exchange().id, peer.Describe());
    }
    JudgeStream(peer.exchange());
    JudgeReset(peer.exchange());
  }
}

// A connection that was reset: a Unix socket cannot tell its peer.
bool Life::MayBeCut(const Exchange& exchange) const {
  switch (exchange.reason) {
    case CloseReason::kError:
    case CloseReason::kTimeout:
    case CloseReason::kInputLimit:
    case CloseReason::kOutputLimit:
      return true;
    default:
      break;
  }
  return exchange.abort_said || exchange.had_error || IsOutOfTime(exchange) ||
         options_.max_buffered != 0 || options_.close_linger < std::chrono::seconds(5);
}

// What is left when the grace is over is reset, or at once.
bool Life::IsOutOfTime(const Exchange& exchange) const {
  return stopped_hard_ || (stop_said_ && exchange.closed_at >= stopped_at_ + grace_);
}

// An end says: that was all.
void Life::JudgeStream(const Exchange& exchange) {
  if (exchange.peer_received > exchange.written) {
    world_.Find("wrong bytes: peer {} received more than was written", exchange.id);
  }
  if (!exchange.peer_saw_end) return;
  const bool was_cut = exchange.is_unix && MayBeCut(exchange);
  if (!was_cut && exchange.peer_received != exchange.written) {
    world_.Find("lost bytes: peer {} got an end behind {} of {} bytes ({})", exchange.id,
                exchange.peer_received, exchange.written, ToString(exchange.reason));
  }
}

// A peer that does nothing wrong is not reset by a server that ends in order.
void Life::JudgeReset(const Exchange& exchange) {
  if (!exchange.peer_saw_reset || !exchange.closed || exchange.was_broken) return;
  if (exchange.had_error) return;
  const bool is_orderly =
      exchange.reason == CloseReason::kLocal || exchange.reason == CloseReason::kPeerEnd;
  if (!is_orderly || !exchange.close_said || exchange.abort_said || stopped_hard_) return;
  if (options_.max_buffered != 0) return;  // it may have been shed
  const Clock::time_point seen = exchange.peer_saw_reset_at;
  if (seen - exchange.close_said_at >= options_.close_linger) return;
  if (stop_said_ && seen - stopped_at_ >= grace_) return;
  world_.Find("reset: peer {} was reset by a server that closes in order", exchange.id);
}

}  // namespace weir::sim
