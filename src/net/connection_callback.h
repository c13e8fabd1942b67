// How a connection calls its handler, and what it does around that: inlined where it is used.

#pragma once

#include "net/loop_core.h"

namespace weir {

inline bool ConnectionImpl::IsInCallback() const noexcept { return loop_->staging.owner() == this; }

// Callbacks do not nest: none runs inside a call that a handler makes. So the one staging buffer is
// lent to this connection until its callback returns; what was written then leaves in one send.
template <class Body>
inline void ConnectionImpl::InCallback(Body&& body) {
  loop_->NoteCalled(*handler_);
  loop_->staging.Lend(this);
  loop_->delivered = {};
  try {
    body();
  } catch (...) {
    OnException();
    Close(CloseReason::kException);
  }
  AfterCallback();
  loop_->staging.Return();
}

// What one send did. Returns the bytes that the kernel took; a failure is told by OnClose, never by
// a Write().
inline std::size_t ConnectionImpl::Account(Transfer sent) {
  Counters& counters = loop_->engine.counters();
  counters.sends.Add(1);
  if (sent.Moved()) [[likely]] {
    counters.bytes_out.Add(sent.Bytes());
    Cold().bytes_out += sent.Bytes();
    if (Has(kTimed)) NoteSent();
    return sent.Bytes();
  }
  if (sent.Error() != 0) {
    OnSendFailed(sent.Error());
  } else {
    counters.would_block.Add(1);
  }
  return 0;
}

// OnData, in three parts: InCallback() for a call that answers something.

inline void ConnectionImpl::SetNeed(std::uint32_t count) noexcept {
  need_ = count;
  count != 0 ? Set(kNeeds) : Clear(kNeeds);
}

inline void ConnectionImpl::BeginOnData(LoopCore& loop, std::string_view in) {
  loop.delivered = in;
  loop.NoteCalled(*handler_);
  loop.staging.Lend(this);
}

inline std::size_t ConnectionImpl::CallOnData(std::string_view in) noexcept {
  try {
    return handler_->OnData(*this, in);
  } catch (...) {
    OnException();
    Close(CloseReason::kException);
    return in.size();
  }
}

// What cannot wait for an edge: the loop comes back after the others had their turn.
inline void ConnectionImpl::Owe() {
  const bool is_straight = IsInCallback() && !loop_->delivered.empty();
  if (loop_->visiting == this || is_straight) return Set(kOwesLater);
  Owe(0);
}

inline void ConnectionImpl::Owe(std::size_t spent) {
  if (Has(kOwed)) return;
  Set(kOwed);
  loop_->engine.PushOwed({.token = token, .spent = spent, .turn = loop_->engine.turn()});
}

}  // namespace weir
