// A connection's life.
//
//     kFree --Open--> kOpen --Close--> kClosing --all output sent--> kLingering --+
//                       |                 |       (skipped if FIN was read)       |
//                       +--Abort, error---+---------------------------------------+--> kDead
//
//     kDead --Retire--> kFree
//
// No callback runs inside a call of the user: what ends a connection only changes its state and
// puts it on the retire list. Retire() calls OnClose, once, and then frees what can be freed: all
// of it when the connection is dead, all but the slot and the descriptor while it lingers.

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "net/connection_callback.h"
#include "net/loop_core.h"
#include "os/sys.h"

namespace weir {

// ---- Open

void ConnectionImpl::Open(LoopCore& loop, const Socket& socket) {
  loop_ = &loop;
  handler_ = socket.handler;
  wire_ = loop.IndexOf(*socket.wire);
  fd_ = socket.fd;
  state_ = State::kOpen;
  reason_ = CloseReason::kLocal;
  error_ = 0;
  need_ = 0;
  seen_ = 0;
  ConnectionCold& cold = Cold();
  cold = ConnectionCold{};
  cold.peer = socket.peer;
  cold.listener = static_cast<std::uint16_t>(socket.listener);
  // Bytes may have come already. Epoll hears of this connection only after its first receive
  // (ServeOwed), so that a client which speaks first costs no extra event.
  flags_ = kReadable;
  if (!socket.wire->traits().short_receive_drains) Set(kVoidProof);
  if (loop.options.flush == Flush::kBatch) Set(kBatch);
  loop.engine.counters().connections.Add(1);
  if (loop.options.idle_timeout > Duration::zero()) SetIdleTimeout(loop.options.idle_timeout);

  if (state_ == State::kOpen) InCallback([&] { handler_->OnOpen(*this); });
  if (state_ != State::kDead) Owe();
}

// Edge-triggered, once, after the first receive; with EPOLLOUT only if output is waiting already.
void ConnectionImpl::Register() {
  const Interest interest = Has(kBlocked) ? Interest::kReadWrite : Interest::kRead;
  Set(kRegistered);
  if (Has(kBlocked)) Set(kWriteArmed);
  const int result = loop_->engine.poller().Add(fd_, interest, token);
  if (result < 0) Fail(-result);
}

// ---- Close

void ConnectionImpl::Close(CloseReason reason) {
  if (state_ != State::kOpen) return;
  state_ = State::kClosing;
  Set(kNotOpen);
  reason_ = reason;
  Clear(kPaused | kAutoPaused | kRedeliver | kDraining | kDrainDue);
  Set(kFinWanted);
  if (Has(kSendFailed)) return Fail(Error());
  if (!IsInCallback()) Settle();  // else AfterCallback() does, when what is staged has left
  // What is unread is discarded, so that the peer is not stuck sending: and no edge repeats it.
  if ((state_ == State::kClosing || state_ == State::kLingering) && Has(kReadable)) Owe();
}

// What a handler closes because time ran out says so.

void ConnectionImpl::CloseLocally() {
  if (loop_->telling_timeout == this) return Close(CloseReason::kTimeout);
  Close(Has(kEnded) ? CloseReason::kPeerEnd : CloseReason::kLocal);
}

void ConnectionImpl::AbortLocally() {
  Abort(loop_->telling_timeout == this ? CloseReason::kTimeout : CloseReason::kLocal);
}

void ConnectionImpl::Abort(CloseReason reason) {
  if (state_ == State::kFree || state_ == State::kDead) return;
  Set(kReset);
  Die(state_ == State::kOpen ? reason : reason_, 0);
}

// Everything queued is with the kernel: what was waiting for that comes now.
void ConnectionImpl::Settle() {
  if (!Has(kFinWanted)) return;
  if (Pending() != 0) {
    // From here on the peer has to take something now and then.
    if (state_ == State::kClosing && !(Has(kExtended) && Extension().lingers)) StartLinger();
    return;
  }
  if (state_ == State::kDead || Has(kSendFailed)) return;  // it ends otherwise: by RST, or an error
  if (state_ == State::kClosing && Has(kEnded)) return Die(reason_, 0);  // close() sends the FIN
  if (!Has(kFinSent)) {
    Set(kFinSent);
    const int result = wire().ShutdownWrite(fd_);
    if (result < 0) return OnSendFailed(wire().ErrorOr(fd_, -result));
  }
  if (state_ != State::kClosing) return;
  state_ = State::kLingering;
  loop_->engine.counters().lingering.Add(1);
  StartLinger();
  EnterRetire();
}

void ConnectionImpl::Fail(int error) {
  // Unless the kernel has ended it already, or all is said: close() would send a FIN, and a stream
  // that was cut would look whole.
  const bool is_over = error == ECONNRESET || error == EPIPE || Has(kFinSent);
  if (!is_over) Set(kReset);
  Die(state_ == State::kOpen ? CloseReason::kError : reason_, error);
}

void ConnectionImpl::Die(CloseReason reason, int error) {
  if (state_ == State::kFree || state_ == State::kDead) return;
  if (state_ == State::kLingering) loop_->engine.counters().lingering.Subtract(1);
  state_ = State::kDead;
  Set(kNotOpen);
  reason_ = reason;
  if (error != 0) SetError(error);
  EnterRetire();
}

// ---- Drain

void ConnectionImpl::Drain() {
  if (state_ != State::kOpen || Has(kDraining)) return;
  constexpr std::size_t kMost = UINT32_MAX;
  std::size_t arrived = wire().Unread(fd_);
  // What is behind an urgent byte nobody counts: then the drain ends when there is nothing more.
  if (arrived == 0 && wire().AtUrgentMark(fd_)) {
    arrived = kMost;
    Set(kVoidProof);
  }
  // Paused, it may wait for an answer that is being made elsewhere.
  const bool is_held = Has(kPaused) || (Has(kAutoPaused) && !inbound_.empty());
  const bool has_input = arrived != 0 || Has(kRedeliver) || is_held;
  if (Has(kEnded) || !has_input) return Close(CloseReason::kShutdown);
  const auto left = static_cast<std::uint32_t>(std::min(arrived, kMost));
  try {
    Extend().drain_left = left;
  } catch (const std::bad_alloc&) {
    return Fail(ENOMEM);
  }
  // A paused connection is the program's to finish: it drains when it resumes, or ends with the
  // grace. One that is congested drains when its peer has taken what waits.
  Set(kDraining | kReadable);
  if (!Has(kPaused | kAutoPaused)) Owe();
}

// ---- Another handler

void ConnectionImpl::SetHandler(Handler& handler) {
  handler_ = &handler;
  SetNeed(0);
  seen_ = 0;
  if (IsInCallback() && !loop_->delivered.empty()) Set(kNewHandler);
  if (state_ != State::kOpen || Has(kEnded)) return;
  Set(kRedeliver);  // what the old one leaves is the new one's to look at
  Owe();
}

// ---- Retire

void ConnectionImpl::EnterRetire() {
  if (Has(kRetiring)) return;
  Set(kRetiring);
  loop_->engine.PushRetiring(token);
}

void ConnectionImpl::Retire() {
  Clear(kRetiring);
  Counters& counters = loop_->engine.counters();
  if (!Has(kClosed)) {
    Set(kClosed);
    counters.connections.Subtract(1);
    counters.closed.Add(1);
    loop_->NoteCalled(*handler_);
    try {
      handler_->OnClose(*this, reason_, std::error_code(Error(), std::system_category()));
    } catch (...) {
      OnException();
    }
    DestroyContext();
    inbound_.Clear(loop_->buffers);
    outbound_.Clear(loop_->output_pools);
  }
  if (state_ == State::kDead) Release();
}

void ConnectionImpl::Release() noexcept {
  if (Has(kExtended)) DropExtension();
  // No EPOLL_CTL_DEL: close() does it. Should a dup of the descriptor live on somewhere, its events
  // carry this generation, and find nobody.
  if (Has(kReset)) {
    wire().Reset(fd_);
  } else {
    wire().Close(fd_);
  }
  fd_ = -1;
  state_ = State::kFree;
  loop_->table.Free(*this);
  loop_->RetryAccepts();
}

void ConnectionImpl::Discard(bool reset) noexcept {
  DestroyContext();
  inbound_.Clear(loop_->buffers);
  outbound_.Clear(loop_->output_pools);
  if (reset) {
    wire().Reset(fd_);
  } else {
    wire().Close(fd_);
  }
  state_ = State::kFree;
}

// ---- Callbacks

void ConnectionImpl::OnException() noexcept {
  loop_->NoteException(fmt::format("connection {}: a callback", token.Packed()));
}

// What the callback wrote leaves now, in one send; then what had to wait for that.
void ConnectionImpl::AfterCallback() {
  if (loop_->staging.size() != 0) {
    SendStaged();
  } else if (Has(kDirty) && !Has(kBatch)) {
    FlushNow();
  }
  if (Has(kFinWanted)) Settle();
}

}  // namespace weir
