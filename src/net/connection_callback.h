// How a connection calls its handler.

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
  try {
    body();
  } catch (...) {
    OnException();
    Close(CloseReason::kException);
  }
  AfterCallback();
  loop_->staging.Lend(nullptr);
}

// What cannot wait for an edge: the loop comes back after the others had their turn.
inline void ConnectionImpl::Owe() { Owe(loop_->visiting == this ? loop_->visit_spent : 0); }

inline void ConnectionImpl::Owe(std::size_t spent) {
  if (Has(kOwed)) return;
  Set(kOwed);
  loop_->engine.PushOwed({.token = token, .spent = spent, .turn = loop_->engine.turn()});
}

}  // namespace weir
