// How a connection reads, when epoll says a thing only once.
//
// An edge says "bytes came", and then nothing more until *other* bytes come. A receive may
// therefore leave a connection in three honest states only:
//
//   DRAINED  the kernel has nothing left, so the next arrival is a new edge: kReadable is clear;
//   OWED     there may be more, and no edge will repeat it: kReadable is set, and the loop's owed
//            list comes back to it, after its neighbours had their turn;
//   HELD     reading is paused: kReadable is set, and ResumeRead() enters the owed list; or
//            TellDrained(), for one that is congested; or the loop, when its buffers were full.
//
// Every other way out leaves a connection asleep on top of unread bytes.
//
// "Drained" is known by EAGAIN, or by a short receive, but by that only while nothing has voided
// the proof: a FIN raises its edge together with the last bytes and will not ring twice; a receive
// stops short at an urgent byte with more behind it; and AF_UNIX stops at a message that carries
// descriptors. (epoll(7), question 9, allows the short receive without saying so.)

#include <algorithm>
#include <new>

#include "base/check.h"
#include "base/log.h"
#include "net/connection_callback.h"
#include "net/loop_core.h"

namespace weir {

void ConnectionImpl::OnAnyEdge(Edge edge) {
  if (state_ == State::kDead) return;
  // Kept as state, whatever happens next: none of this will be said again.
  if (edge.Readable()) Set(kReadable);
  if (edge.VoidsProof()) Set(kVoidProof);
  if (edge.Error()) Set(kErrorEdge);
  if (edge.Writable()) Clear(kBlocked);
  if (Has(kOwed)) return;  // it is served when its turn comes, once

  BeginVisit(0);
  if (edge.Writable()) OnWritable();
  if (edge.Readable()) ReadOnce();
  EndVisit();
}

// `spent`: bytes that it has had in this turn.
void ConnectionImpl::BeginVisit(std::size_t spent) noexcept {
  loop_->visiting = this;
  loop_->visit_spent = spent;
  loop_->visit_is_last = false;
}

void ConnectionImpl::EndVisit() {
  loop_->visiting = nullptr;
  if (!Has(kOwesLater)) return;
  Clear(kOwesLater);
  constexpr std::size_t kAll = SIZE_MAX;
  Owe(loop_->visit_is_last ? kAll : loop_->visit_spent);
}

void ConnectionImpl::OnNothingStraight(Transfer got) {
  Set(kReadable);
  if (got.Interrupted()) return Owe();
  OnNothingReceived(got);
}

void ConnectionImpl::FinishStraight(std::size_t received) {
  if (Has(kTimed) && state_ == State::kOpen) NoteReceived();
  if (Has(kOwesLater) || (Has(kReadable) && !IsHeld())) Owe(received);
  Clear(kOwesLater);
}

std::size_t ConnectionImpl::ServeOwed(std::size_t spent) {
  Clear(kOwed);
  if (state_ == State::kDead) return 0;
  BeginVisit(spent);
  if (!Has(kBlocked)) OnWritable();
  if (Has(kDrainDue)) TellDrained();
  if (Has(kRedeliver)) {
    Clear(kRedeliver);
    const bool enough = !inbound_.empty() && inbound_.size() >= need_;
    if (state_ == State::kOpen && !Has(kPaused | kAutoPaused) && enough) {
      // Counts as received, so that two connections which resume each other let the turn end, and
      // soon, however little they hold.
      constexpr std::size_t kLeastCost = 1024;
      loop_->visit_spent += std::max(inbound_.size(), kLeastCost);
      DeliverRing();
    }
  }
  // A handler that was set just now is called on the next visit: nothing may come to it before
  // what is unread, least of all the peer's end.
  if (Has(kReadable) && !Has(kRedeliver)) ReadOnce();
  if (!Has(kRegistered) && state_ != State::kDead) Register();
  EndVisit();
  return loop_->visit_spent - spent;
}

// Where the next bytes go. Unread bytes never travel through the shared buffer: they stay in the
// ring, and more is received behind them.
std::span<char> ConnectionImpl::ReceiveRoom() {
  const std::size_t unread = inbound_.size();
  const std::size_t most = loop_->options.max_input;
  // With no room left under max_input, the shared buffer serves to see what comes: more, or the
  // end.
  if (unread == 0 || unread >= most || state_ != State::kOpen) return loop_->ReadBuffer();
  constexpr std::size_t kLeast = 2048;
  // At least as much again as is there: however large a message, its bytes are moved a bounded
  // number of times, and a peer cannot make us reserve much more than it has sent.
  const std::size_t missing = need_ > unread ? need_ - unread : 0;
  const std::size_t least = std::min(std::max({kLeast, unread, missing}), most - unread);
  const std::span<char> room = inbound_.Reserve(loop_->buffers, least);
  const std::size_t chunk = std::max(least, loop_->options.read_chunk);
  return room.first(std::min({room.size(), chunk, most - unread}));
}

void ConnectionImpl::ReadOnce() {
  if (state_ == State::kDead) return;
  if (Has(kPaused | kAutoPaused | kEnded)) return ReadNothing();  // HELD
  if (WaitsForMemory()) return;                                   // HELD
  if (Has(kDraining) && Extension().drain_left == 0) return Close(CloseReason::kShutdown);

  std::span<char> room;
  try {
    room = ReceiveRoom();
  } catch (const std::bad_alloc&) {
    return Fail(ENOMEM);
  }
  const bool in_ring = room.data() != loop_->read_buffer.get();
  Counters& counters = loop_->engine.counters();
  counters.receives.Add(1);
  const Transfer got = wire().Receive(fd_, room);
  if (!got.Moved()) return OnNothingReceived(got);

  const std::size_t bytes = got.Bytes();
  counters.bytes_in.Add(bytes);
  Cold().bytes_in += bytes;
  if (Has(kTimed) && state_ == State::kOpen) NoteReceived();
  loop_->visit_spent += bytes;
  if (bytes < room.size() && !Has(kVoidProof)) Clear(kReadable);  // DRAINED

  if (state_ == State::kOpen) {
    const bool draining = Has(kDraining);  // OnData may start one, of what is behind this
    // The handler may pause, close or throw: below, state is looked at again.
    OnReceived({room.data(), bytes}, in_ring);
    if (draining && Has(kDraining)) FinishDrain(bytes);
  }
  if (Has(kReadable) && !IsHeld()) Owe();  // OWED
}

// Nothing more is to be read for now. Should the handler have paused, an error that came with the
// last bytes still does not wait.
bool ConnectionImpl::IsHeld() const noexcept {
  return state_ == State::kDead || (Has(kPaused | kAutoPaused) && !Has(kErrorEdge));
}

void ConnectionImpl::OnNothingReceived(Transfer got) {
  if (got.Ended()) return OnPeerEnd();
  if (got.Error() != 0) return Fail(Has(kSendFailed) ? Error() : got.Error());
  loop_->engine.counters().would_block.Add(1);
  Clear(kReadable);  // DRAINED
  if (Has(kSendFailed)) return Fail(Error());
  // ERR, and nothing to read that says it: ask. No error is an error queue's business, not ours.
  if (Has(kErrorEdge)) return ReadNothing();
  if (Has(kDraining)) Close(CloseReason::kShutdown);
}

void ConnectionImpl::OnPeerEnd() {
  Clear(kReadable);
  Set(kEnded);
  if (Has(kSendFailed)) return Fail(Error());
  switch (state_) {
    case State::kOpen:
      if (Has(kDraining)) return Close(CloseReason::kShutdown);
      InCallback([&] { handler_->OnEnd(*this); });
      if (state_ == State::kOpen) ReadNothing();  // an error may have come with the end
      return;
    case State::kClosing:
      return Settle();
    case State::kLingering:
      return Die(reason_, 0);
    case State::kFree:
    case State::kDead:
      return;
  }
}

// Paused, or at the end of the stream: an error still ends the connection, and an end waits.
void ConnectionImpl::ReadNothing() {
  if (!Has(kErrorEdge)) return;
  Clear(kErrorEdge);
  if (const int error = wire().TakeError(fd_); error != 0) Fail(error);
}

// ---- Delivery

void ConnectionImpl::OnReceived(std::string_view bytes, bool in_ring) {
  if (in_ring) {
    inbound_.Commit(bytes.size());
    if (inbound_.size() >= need_) DeliverRing();
  } else if (!inbound_.empty()) {
    // ReceiveRoom() found the ring as full as it may be, and yet more has come.
    Close(CloseReason::kInputLimit);
  } else if (bytes.size() >= need_) {
    Deliver(bytes, /*in_ring=*/false);
  } else {
    KeepUnread(bytes);
  }
}

void ConnectionImpl::DeliverRing() { Deliver(inbound_.First(), /*in_ring=*/true); }

void ConnectionImpl::Deliver(std::string_view in, bool in_ring) {
  SetNeed(0);
  BeginOnData(*loop_, in);
  const std::size_t consumed = CallOnData(in);
  FinishOnData(in, consumed, in_ring);
}

void ConnectionImpl::FinishOnData(std::string_view in, std::size_t consumed, bool in_ring) {
  // The answer is ignored if the connection was closed meanwhile.
  if (state_ == State::kOpen && consumed > in.size()) OnOverconsumed(consumed, in.size());
  AfterCallback();
  loop_->staging.Return();
  const bool is_new = Has(kNewHandler);
  Clear(kNewHandler);
  if (state_ != State::kOpen) return inbound_.Clear(loop_->buffers);
  if (in_ring) {
    inbound_.Consume(loop_->buffers, consumed);
  } else if (consumed != in.size()) {
    KeepUnread(in.substr(consumed));
  } else {
    return;
  }
  seen_ = is_new ? 0 : static_cast<std::uint32_t>(inbound_.size());
}

void ConnectionImpl::OnOverconsumed(std::size_t consumed, std::size_t size) {
  if (consumed != Handler::kReject) {
    log::Error("connection {}: OnData consumed {} of {} bytes: closing", token.Packed(), consumed,
               size);
  }
  Close(CloseReason::kRejected);
}

// Only now does a connection come to own input memory, if it must. REQUIRES: the ring is empty.
void ConnectionImpl::KeepUnread(std::string_view rest) {
  if (rest.size() > loop_->options.max_input) return Close(CloseReason::kInputLimit);
  try {
    inbound_.Append(loop_->buffers, rest);
  } catch (const std::bad_alloc&) {
    Fail(ENOMEM);
  }
}

void ConnectionImpl::TellDrained() {
  const bool resumes = Has(kAutoPaused);
  Clear(kDrainDue | kCongested | kAutoPaused);
  if (state_ != State::kOpen) return;
  InCallback([&] { handler_->OnDrain(*this); });
  // What OnData left, because the connection was congested, comes back.
  if (state_ == State::kOpen && resumes && !inbound_.empty() && !Has(kEnded)) Set(kRedeliver);
}

void ConnectionImpl::FinishDrain(std::size_t received) {
  std::uint32_t& left = Extension().drain_left;
  left -= static_cast<std::uint32_t>(std::min<std::size_t>(left, received));
  if (left != 0 && Has(kReadable)) return;
  if (wire().AtUrgentMark(fd_)) {
    // Both, the count and this receive, stopped in front of an urgent byte. See Drain().
    left = UINT32_MAX;
    Set(kReadable | kVoidProof);
    return;
  }
  if (Has(kPaused | kAutoPaused | kRedeliver)) {
    Set(kReadable);  // what OnData left comes first; the next receive then closes
  } else {
    Close(CloseReason::kShutdown);
  }
}

// While the buffers of the loop are full, only those that hold none are read.
bool ConnectionImpl::WaitsForMemory() {
  const bool holds = inbound_.capacity() != 0 || !outbound_.empty();
  if (!holds || !loop_->IsFull() || state_ != State::kOpen) return false;
  loop_->HoldForMemory(token);
  return true;
}

void ConnectionImpl::ResumeAfterMemory() {
  if (Has(kReadable) && state_ != State::kDead) Owe();
}

void ConnectionImpl::Wake() {
  if (Has(kEnded)) return;
  if (Has(kPaused)) return;  // ResumeRead() delivers what is unread
  const std::uint32_t need = need_;
  const std::size_t unread = inbound_.size();
  const Handler* const woken = handler_;
  BeginVisit(unread);
  DeliverRing();
  EndVisit();
  // What was less than a whole frame still is, unless that call has asked for something else, or
  // has consumed a part of it.
  const bool is_unmet = unread < need && inbound_.size() == unread && handler_ == woken;
  if (state_ == State::kOpen && need_ == 0 && is_unmet) SetNeed(need);
}

// ---- What the program asks

std::string_view ConnectionImpl::Input() const noexcept {
  if (IsInCallback() && !loop_->delivered.empty()) return loop_->delivered;
  return inbound_.First();  // what Reserve() and Append() leave is contiguous
}

void ConnectionImpl::Consume(std::size_t count) {
  Check(!IsInCallback() || loop_->delivered.empty(),
        "Consume() is not for OnData: return the count");
  Check(count <= inbound_.size(), "Consume() takes no more than Input() holds");
  if (count == 0) return;
  inbound_.Consume(loop_->buffers, count);
  seen_ -= static_cast<std::uint32_t>(std::min<std::size_t>(count, seen_));
}

std::size_t ConnectionImpl::Scanned() const noexcept { return seen_; }

void ConnectionImpl::NeedAtLeast(std::size_t count) {
  if (count > loop_->options.max_input) return Close(CloseReason::kInputLimit);
  SetNeed(static_cast<std::uint32_t>(count));
}

void ConnectionImpl::PauseRead() noexcept {
  if (state_ != State::kOpen) return;  // the rest of a closed one's input is discarded all the same
  // An error does not wait: nobody would find this one, of which a send has told.
  if (Has(kSendFailed)) return Fail(Error());
  Set(kPaused);
}

void ConnectionImpl::ResumeRead() {
  if (!Has(kPaused)) return;
  Clear(kPaused);
  if (state_ != State::kOpen) return;
  // Inside OnData the ring may still hold what this very call is given; after OnEnd none comes.
  const bool in_on_data = IsInCallback() && !loop_->delivered.empty();
  if (!inbound_.empty() && !in_on_data && !Has(kEnded)) Set(kRedeliver);
  if (Has(kReadable | kRedeliver)) Owe();
}

}  // namespace weir
