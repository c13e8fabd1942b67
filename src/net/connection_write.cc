// How a connection writes, when the kernel may take a part.
//
// Output stands in one order: the queue, or else what is staged; only one of the two is ever
// filled. It leaves
//
//   from its own callback    staged, one send when the callback returns;
//   from elsewhere           queued, dirty, one send at the turn's flush;
//   a large piece            at once, together with what is staged before it, without a copy;
//   with Flush::kBatch       queued, dirty, and only at the turn's flush, after OnBatchEnd.
//
// What a send does not take goes to the queue, and the connection is blocked: no send is tried
// before the OUT edge. EPOLLOUT is asked for at the first such time, not before: most connections
// never need it, and asked for from the start it costs each of them an event.

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include "base/check.h"
#include "net/connection_callback.h"
#include "net/loop_core.h"

namespace weir {
namespace {

// A shorter string is cheaper to copy than to send as a piece of its own.
constexpr std::size_t kCopyBelow = 2048;

}  // namespace

// ---- Writing

bool ConnectionImpl::MayWrite() const noexcept {
  return state_ == State::kOpen && !Has(kFinWanted | kSendFailed);
}

bool ConnectionImpl::MayStage() const noexcept {
  return IsInCallback() && outbound_.empty() && !Has(kBatch);
}

bool ConnectionImpl::Write(std::string_view bytes) {
  if (!MayWrite()) return false;
  if (bytes.empty()) return true;
  Staging& staging = loop_->staging;
  if (MayStage() && staging.Takes(bytes.size())) [[likely]] {
    staging.Append(bytes);
    if (staging.size() > loop_->options.high_water) [[unlikely]] {
      Set(kCongested);
    }
    return true;
  }
  return Queue(
      bytes, [&](std::size_t from) { outbound_.Append(loop_->output_pools, bytes.substr(from)); });
}

bool ConnectionImpl::Writev(std::span<const std::string_view> pieces) {
  if (!MayWrite()) return false;
  for (const std::string_view piece : pieces) Write(piece);
  return true;
}

bool ConnectionImpl::WriteOwned(std::string bytes) {
  if (bytes.size() < kCopyBelow) return Write(bytes);
  if (!MayWrite()) return false;
  return Queue(bytes, [&](std::size_t from) {
    outbound_.AppendOwned(loop_->output_pools, std::move(bytes), from);
  });
}

bool ConnectionImpl::WriteShared(OutputQueue::Shared bytes) {
  Check(bytes != nullptr, "WriteShared() is given a string");
  if (bytes->size() < kCopyBelow) return Write(*bytes);
  if (!MayWrite()) return false;
  return Queue(*bytes, [&](std::size_t from) {
    outbound_.AppendShared(loop_->output_pools, std::move(bytes), from);
  });
}

// Puts `bytes` behind all other output: add(n) queues what is left of them after n were sent.
template <class Add>
bool ConnectionImpl::Queue(std::string_view bytes, Add&& add) {
  try {
    const bool now =
        bytes.size() >= Staging::kLargePiece && outbound_.empty() && !Has(kBatch | kBlocked);
    std::size_t sent = 0;
    if (now) {
      sent = SendThrough(bytes);
    } else {
      QueueStaged(0);
    }
    if (!MayWrite()) return true;  // taken; that its send failed, OnClose tells
    add(sent);
  } catch (const std::bad_alloc&) {
    Fail(ENOMEM);
    return false;
  }
  NoteCongestion();
  if (!outbound_.empty() && !Has(kBlocked)) EnterDirty();
  return true;
}

// What is staged goes to the queue, but for its first `sent` bytes.
void ConnectionImpl::QueueStaged(std::size_t sent) {
  if (!IsInCallback() || loop_->staging.size() == 0) return;
  const std::string_view staged = loop_->staging.Bytes();
  loop_->staging.Clear();
  outbound_.Append(loop_->output_pools, staged.substr(sent));
}

// ---- Building in place

std::span<char> ConnectionImpl::Reserve(std::size_t count) {
  if (!MayWrite() || count == 0) return {};
  try {
    return loop_->staging.Reserve(*this, count, MayStage());
  } catch (const std::bad_alloc&) {
    Fail(ENOMEM);
    return {};
  }
}

void ConnectionImpl::Commit(std::size_t count) {
  const std::string_view built = loop_->staging.TakeReserved(*this, count);
  if (!MayWrite()) return;
  if (!loop_->staging.Adopt(built)) Write(built);
}

// ---- Sending

// What is staged and `bytes` behind it, at once. Returns how many of `bytes` the kernel took; what
// it did not take of the rest is queued.
std::size_t ConnectionImpl::SendThrough(std::string_view bytes) {
  const std::string_view staged = IsInCallback() ? loop_->staging.Bytes() : std::string_view();
  const std::size_t sent = staged.empty()
                               ? Account(wire().Send(fd_, bytes))
                               : Account(wire().SendPieces(fd_, std::array{staged, bytes}));
  if (sent == staged.size() + bytes.size()) {
    if (!staged.empty()) loop_->staging.Clear();  // not what another's callback has staged
    return bytes.size();
  }
  const std::size_t of_staged = std::min(sent, staged.size());
  QueueStaged(of_staged);
  if (MayWrite()) WaitForWritable();
  return sent - of_staged;
}

void ConnectionImpl::SendStaged() {
  const std::string_view staged = loop_->staging.Bytes();
  const bool blocked = state_ == State::kDead || Has(kBlocked | kSendFailed);
  const std::size_t sent = blocked ? 0 : Account(wire().Send(fd_, staged));
  if (sent == staged.size()) [[likely]] {
    loop_->staging.Clear();
  } else if (state_ == State::kDead || Has(kSendFailed)) {
    loop_->staging.Clear();
    return;
  } else {
    try {
      QueueStaged(sent);
    } catch (const std::bad_alloc&) {
      return Fail(ENOMEM);
    }
    NoteCongestion();
    WaitForWritable();
  }
  NoteRelief();
}

void ConnectionImpl::SendQueued() {
  std::array<std::string_view, Wire::kMostPieces> pieces;
  while (!outbound_.empty()) {
    const std::size_t count = outbound_.Gather(pieces);
    std::size_t offered = 0;
    for (std::size_t i = 0; i < count; ++i) offered += pieces[i].size();
    const std::size_t sent =
        Account(count == 1 ? wire().Send(fd_, pieces[0])
                           : wire().SendPieces(fd_, std::span(pieces.data(), count)));
    if (state_ == State::kDead || Has(kSendFailed)) return;
    outbound_.Consume(loop_->output_pools, sent);
    if (sent < offered) {
      WaitForWritable();
      return NoteRelief();
    }
  }
  if (Has(kWriteArmed) && wire().traits().write_interest_is_noisy) {
    Clear(kWriteArmed);
    Modify(Interest::kRead);
  }
  NoteRelief();
  Settle();
}

// What one send did. Returns the bytes that the kernel took; a failure is told by OnClose, never by
// a Write().
std::size_t ConnectionImpl::Account(Transfer sent) {
  Counters& counters = loop_->engine.counters();
  counters.sends.Add(1);
  if (sent.Moved()) [[likely]] {
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
  SetError(error);
  outbound_.Clear(loop_->output_pools);
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

// ---- When it leaves

void ConnectionImpl::EnterDirty() {
  if (Has(kBatch)) loop_->NoteCalled(*handler_);  // its OnBatchEnd stands before the flush
  if (Has(kDirty)) return;
  Set(kDirty);
  loop_->engine.PushDirty(token);
}

void ConnectionImpl::FlushDirty() {
  Clear(kDirty);
  if (state_ != State::kDead && !outbound_.empty() && !Has(kBlocked)) SendQueued();
}

// The socket has room again.
void ConnectionImpl::OnWritable() {
  if (outbound_.empty() || Has(kDirty)) return;
  if (Has(kBatch)) return EnterDirty();
  SendQueued();
}

void ConnectionImpl::FlushNow() {
  if (state_ == State::kDead || Has(kBatch)) return;
  if (IsInCallback() && loop_->staging.size() != 0) return SendStaged();
  if (!outbound_.empty() && !Has(kBlocked)) SendQueued();
}

void ConnectionImpl::SetFlush(Flush flush) {
  if (flush == Flush::kCallback) return Clear(kBatch);
  Set(kBatch);
  try {
    QueueStaged(0);
  } catch (const std::bad_alloc&) {
    return Fail(ENOMEM);
  }
  if (!outbound_.empty() && !Has(kBlocked)) EnterDirty();
}

void ConnectionImpl::ShutdownWrite() {
  if (state_ != State::kOpen || Has(kFinWanted)) return;
  Set(kFinWanted);
  if (!IsInCallback()) Settle();
}

// ---- Backpressure

std::size_t ConnectionImpl::Pending() const noexcept {
  return outbound_.size() + (IsInCallback() ? loop_->staging.size() : 0);
}

void ConnectionImpl::NoteCongestion() noexcept {
  if (Pending() > loop_->options.high_water) Set(kCongested);
}

// OnDrain comes from the owed list: no callback runs inside a call.
void ConnectionImpl::NoteRelief() {
  if (!Has(kCongested) || Has(kDrainDue) || Pending() > loop_->options.low_water) return;
  if (state_ != State::kOpen) return;
  Set(kDrainDue);
  Owe();
}

}  // namespace weir
