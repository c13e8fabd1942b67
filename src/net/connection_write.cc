// How a connection writes, when the kernel may take a part.
//
// Output stands in one order: what the ring holds, then what is staged; and only one of the two is
// ever filled. It leaves
//
//   from its own callback    staged, one send when the callback returns;
//   from elsewhere           in the ring, dirty, one send at the turn's flush;
//   a large piece            at once, together with what is staged before it, without a copy.
//
// What a send does not take goes to the ring, and the connection is blocked: no send is tried
// before the OUT edge. EPOLLOUT is asked for at the first such time, not before: most connections
// never need it, and asked for from the start it costs each of them an event.

#include <new>

#include "base/log.h"
#include "net/connection_callback.h"
#include "net/loop_core.h"

namespace weir {

bool ConnectionImpl::Write(std::string_view bytes) {
  if (state_ != State::kOpen || Has(kFinWanted | kSendFailed)) return false;
  if (bytes.empty()) return true;
  if (IsInCallback() && outbound_.empty()) {
    Staging& staging = loop_->staging;
    if (!staging.Takes(bytes.size())) return WriteThrough(bytes);
    staging.Append(bytes);
    return true;
  }
  if (outbound_.empty() && bytes.size() >= Staging::kLargePiece) return WriteThrough(bytes);
  return WriteBehind(bytes);
}

// In the ring, behind what is there.
bool ConnectionImpl::WriteBehind(std::string_view bytes) {
  try {
    outbound_.Append(loop_->buffers, bytes);
  } catch (const std::bad_alloc&) {
    Fail(ENOMEM);
    return false;
  }
  if (!Has(kBlocked)) EnterDirty();
  return true;
}

// At once: what is staged, and `bytes` behind it.
bool ConnectionImpl::WriteThrough(std::string_view bytes) {
  const std::string_view staged = IsInCallback() ? loop_->staging.Bytes() : std::string_view();
  if (staged.empty()) {
    SendPieces(bytes, {});
  } else {
    SendPieces(staged, bytes);
    loop_->staging.Clear();
  }
  return true;  // taken; should the send have failed, OnClose tells
}

void ConnectionImpl::SendStaged() {
  SendPieces(loop_->staging.Bytes(), {});
  loop_->staging.Clear();
}

// With an empty ring: one send, and the rest into the ring.
void ConnectionImpl::SendPieces(std::string_view first, std::string_view second) {
  const std::size_t offered = first.size() + second.size();
  const std::size_t sent = Has(kBlocked) || state_ == State::kDead ? 0 : Send(first, second);
  if (sent == offered || state_ == State::kDead || Has(kSendFailed)) return;
  try {
    if (sent < first.size()) {
      outbound_.Append(loop_->buffers, first.substr(sent));
      outbound_.Append(loop_->buffers, second);
    } else {
      outbound_.Append(loop_->buffers, second.substr(sent - first.size()));
    }
  } catch (const std::bad_alloc&) {
    return Fail(ENOMEM);
  }
  WaitForWritable();
}

void ConnectionImpl::SendQueued() {
  const std::string_view first = outbound_.First();
  const std::string_view second = outbound_.Second();
  const std::size_t offered = first.size() + second.size();
  const std::size_t sent = Send(first, second);
  if (state_ == State::kDead || Has(kSendFailed)) return;
  outbound_.Consume(loop_->buffers, sent);
  if (sent < offered) return WaitForWritable();
  if (Has(kWriteArmed) && wire_->traits().write_interest_is_noisy) {
    Clear(kWriteArmed);
    Modify(Interest::kRead);
  }
  Settle();
}

// One send. Returns what the kernel took; a failure is told by OnClose, never by a Write().
std::size_t ConnectionImpl::Send(std::string_view first, std::string_view second) {
  Counters& counters = loop_->engine.counters();
  counters.sends.Add(1);
  const Transfer sent = wire_->Send(fd_, first, second);
  if (sent.Moved()) {
    counters.bytes_out.Add(sent.Bytes());
    loop_->Cold(*this).bytes_out += sent.Bytes();
    if (state_ == State::kClosing) NoteProgress();
    return sent.Bytes();
  }
  if (sent.Error() != 0) {
    OnSendFailed(sent.Error());
  } else {
    counters.would_block.Add(1);
  }
  return 0;
}

// The peer is gone, but what it sent before it went may still stand in the kernel: that is
// delivered first, and the read that finds its end closes the connection.
void ConnectionImpl::OnSendFailed(int error) {
  error_ = static_cast<std::uint16_t>(error);
  outbound_.Clear(loop_->buffers);
  if (state_ != State::kOpen || Has(kPaused | kEnded)) return Fail(error);
  Set(kSendFailed | kReadable | kVoidProof);
  Owe();
}

void ConnectionImpl::WaitForWritable() {
  Set(kBlocked);
  if (Has(kWriteArmed) || !Has(kRegistered)) return;  // Register() asks for it
  Set(kWriteArmed);
  Modify(Interest::kReadWrite);
}

void ConnectionImpl::Modify(Interest interest) {
  const int result = loop_->engine.poller().Modify(fd_, interest, token);
  if (result < 0) Fail(-result);
}

void ConnectionImpl::EnterDirty() {
  if (Has(kDirty)) return;
  Set(kDirty);
  loop_->engine.work().dirty.Push(token);
}

void ConnectionImpl::FlushDirty() {
  Clear(kDirty);
  if (state_ == State::kDead) return;
  if (!outbound_.empty() && !Has(kBlocked)) SendQueued();
}

void ConnectionImpl::FlushNow() {
  if (state_ == State::kDead) return;
  if (IsInCallback() && loop_->staging.size() != 0) return SendStaged();
  if (!outbound_.empty() && !Has(kBlocked)) SendQueued();
}

void ConnectionImpl::ShutdownWrite() {
  if (state_ != State::kOpen || Has(kFinWanted)) return;
  Set(kFinWanted);
  if (!IsInCallback()) Settle();
}

std::size_t ConnectionImpl::Pending() const noexcept {
  return outbound_.size() + (IsInCallback() ? loop_->staging.size() : 0);
}

}  // namespace weir
