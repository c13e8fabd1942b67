// How a connection reads, when epoll says a thing only once.
//
// An edge says "bytes came", and then nothing more until *other* bytes come. A receive may
// therefore leave a connection in three honest states only:
//
//   DRAINED  the kernel has nothing left, so the next arrival is a new edge: kReadable is clear;
//   OWED     there may be more, and no edge will repeat it: kReadable is set, and the loop's owed
//            list comes back to it, after its neighbours had their turn;
//   HELD     reading is paused: kReadable is set, and ResumeRead() enters the owed list.
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

void ConnectionImpl::OnEdge(Edge edge) {
  if (state_ == State::kDead) return;
  // Kept as state, whatever happens next: none of this will be said again.
  if (edge.Readable()) Set(kReadable);
  if (edge.VoidsProof()) Set(kVoidProof);
  if (edge.Error()) Set(kErrorEdge);
  if (edge.Writable()) Clear(kBlocked);
  if (Has(kOwed)) return;  // it is served when its turn comes, once

  loop_->visiting = this;
  loop_->visit_spent = 0;
  if (edge.Writable() && !outbound_.empty() && !Has(kDirty)) SendQueued();
  if (edge.Readable()) ReadOnce();
  loop_->visiting = nullptr;
}

std::size_t ConnectionImpl::ServeOwed() {
  Clear(kOwed);
  if (state_ == State::kDead) return 0;
  const std::size_t spent_before = loop_->visit_spent;
  if (!outbound_.empty() && !Has(kBlocked | kDirty)) SendQueued();
  if (Has(kRedeliver)) {
    Clear(kRedeliver);
    if (state_ == State::kOpen && !Has(kPaused) && !inbound_.empty()) {
      // Counts as received, so that two connections which resume each other let the turn end.
      loop_->visit_spent += inbound_.size();
      Deliver(inbound_.First(), /*in_ring=*/true);
    }
  }
  if (Has(kReadable)) ReadOnce();
  if (!Has(kRegistered) && state_ != State::kDead) Register();
  return loop_->visit_spent - spent_before;
}

// Where the next bytes go. Unread bytes never travel through the shared buffer: they stay in the
// ring, and more is received behind them.
std::span<char> ConnectionImpl::ReceiveRoom() {
  if (inbound_.empty() || state_ != State::kOpen) return loop_->ReadBuffer();
  constexpr std::size_t kLeast = 2048;
  // At least as much again as is there: however large a message, its bytes are moved a bounded
  // number of times, and a peer cannot make us reserve much more than it has sent.
  const std::size_t least = std::max(kLeast, inbound_.size());
  const std::span<char> room = inbound_.Reserve(loop_->buffers, least);
  return room.first(std::min(room.size(), std::max(least, loop_->options.read_chunk)));
}

void ConnectionImpl::ReadOnce() {
  if (state_ == State::kDead) return;
  if (Has(kPaused | kEnded)) return ReadNothing();  // HELD

  std::span<char> room;
  try {
    room = ReceiveRoom();
  } catch (const std::bad_alloc&) {
    return Fail(ENOMEM);
  }
  const bool in_ring = room.data() != loop_->read_buffer.get();
  Counters& counters = loop_->engine.counters();
  counters.receives.Add(1);
  const Transfer got = wire_->Receive(fd_, room);
  if (!got.Moved()) return OnNothingReceived(got);

  const std::size_t bytes = got.Bytes();
  counters.bytes_in.Add(bytes);
  loop_->Cold(*this).bytes_in += bytes;
  loop_->visit_spent += bytes;
  const bool drained =
      bytes < room.size() && wire_->traits().short_receive_drains && !Has(kVoidProof);
  if (drained) Clear(kReadable);  // DRAINED

  if (state_ == State::kOpen) {
    if (in_ring) inbound_.Commit(bytes);
    const bool draining = Has(kDraining);  // OnData may start one, of what is behind this
    // The handler may pause, close or throw: below, state is looked at again.
    Deliver(in_ring ? inbound_.First() : std::string_view(room.data(), bytes), in_ring);
    if (draining && Has(kDraining)) FinishDrain(bytes);
  }
  // OWED. Should the handler have paused, an error that came with these bytes still does not wait.
  const bool held = Has(kPaused) && !Has(kErrorEdge);
  if (Has(kReadable) && !held && state_ != State::kDead) Owe();
}

void ConnectionImpl::OnNothingReceived(Transfer got) {
  if (got.Ended()) return OnPeerEnd();
  if (got.Error() != 0) return Fail(Has(kSendFailed) ? error_ : got.Error());
  loop_->engine.counters().would_block.Add(1);
  Clear(kReadable);  // DRAINED
  if (Has(kSendFailed)) return Fail(error_);
  // ERR, and nothing to read that says it: ask. No error is an error queue's business, not ours.
  if (Has(kErrorEdge)) return ReadNothing();
  if (Has(kDraining)) Close(CloseReason::kShutdown);
}

void ConnectionImpl::OnPeerEnd() {
  Clear(kReadable);
  Set(kEnded);
  if (Has(kSendFailed)) return Fail(error_);
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
  if (const int error = wire_->TakeError(fd_); error != 0) Fail(error);
}

// ---- Delivery

void ConnectionImpl::Deliver(std::string_view in, bool in_ring) {
  std::size_t consumed = 0;
  loop_->delivered = in;
  InCallback([&] {
    consumed = handler_->OnData(*this, in);
    if (state_ != State::kOpen) return;  // closed meanwhile: the answer is ignored
    if (consumed > in.size()) {
      if (consumed != Handler::kReject) {
        log::Error("connection {}: OnData consumed {} of {} bytes: closing", token.Packed(),
                   consumed, in.size());
      }
      Close(CloseReason::kRejected);
    }
  });
  loop_->delivered = {};
  if (state_ != State::kOpen) return inbound_.Clear(loop_->buffers);
  KeepUnread(in, consumed, in_ring);
}

// Only now does a connection come to own input memory, if it must.
void ConnectionImpl::KeepUnread(std::string_view in, std::size_t consumed, bool in_ring) {
  if (in_ring) return inbound_.Consume(loop_->buffers, consumed);
  if (consumed == in.size()) return;
  try {
    inbound_.Append(loop_->buffers, in.substr(consumed));
  } catch (const std::bad_alloc&) {
    Fail(ENOMEM);
  }
}

void ConnectionImpl::FinishDrain(std::size_t received) {
  std::uint32_t& left = loop_->drain_left[token.slot];
  left -= static_cast<std::uint32_t>(std::min<std::size_t>(left, received));
  if (left == 0 || !Has(kReadable)) Close(CloseReason::kShutdown);
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
  if (count != 0) inbound_.Consume(loop_->buffers, count);
}

void ConnectionImpl::PauseRead() noexcept {
  if (state_ != State::kOpen) return;  // the rest of a closed one's input is discarded all the same
  // An error does not wait: nobody would find this one, of which a send has told.
  if (Has(kSendFailed)) return Fail(error_);
  Set(kPaused);
}

void ConnectionImpl::ResumeRead() {
  if (!Has(kPaused)) return;
  Clear(kPaused);
  if (state_ != State::kOpen) return;
  // Inside OnData the ring may still hold what this very call is given; after OnEnd none comes.
  if (!inbound_.empty() && !IsInCallback() && !Has(kEnded)) Set(kRedeliver);
  if (Has(kReadable | kRedeliver)) Owe();
}

}  // namespace weir
