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
// Staging takes no more than the limits allow (LoopCore): whatever passes the high watermark or
// max_output goes through Queue(), which looks.
//
// What a send does not take goes to the queue, and the connection is blocked: no send is tried
// before the OUT edge. EPOLLOUT is asked for at the first such time, not before: most connections
// never need it, and asked for from the start it costs each of them an event.

#include <algorithm>
#include <array>
#include <cstdint>
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
  Staging& staging = loop_->staging;
  const bool is_usual = IsInCallback() && outbound_.empty() && !Has(kOffStraightWrite);
  if (is_usual && staging.Takes(bytes.size())) [[likely]] {
    staging.Append(bytes);
    return true;
  }
  return WriteAnyhow(bytes);
}

bool ConnectionImpl::WriteAnyhow(std::string_view bytes) {
  if (!MayWrite()) return false;
  if (bytes.empty()) return true;
  if (MayStage() && loop_->staging.Takes(bytes.size())) {
    loop_->staging.Append(bytes);
    NoteCongestion();  // its own watermarks may be lower
    return true;
  }
  return HasRoom(bytes.size()) && WriteFitting(bytes);
}

// REQUIRES: HasRoom().
bool ConnectionImpl::WriteFitting(std::string_view bytes) {
  return Queue(
      bytes, [&](std::size_t from) { outbound_.Append(loop_->output_pools, bytes.substr(from)); });
}

bool ConnectionImpl::Writev(std::span<const std::string_view> pieces) {
  if (!MayWrite()) return false;
  std::size_t size = 0;
  for (const std::string_view piece : pieces) size += piece.size();
  if (MayStage() && loop_->staging.Takes(size)) {
    for (const std::string_view piece : pieces) Write(piece);
    return true;
  }
  if (!HasRoom(size)) return false;
  // A piece that fails the connection has been taken: OnClose tells.
  for (const std::string_view piece : pieces) {
    if (MayWrite() && !piece.empty()) WriteFitting(piece);
  }
  return true;
}

// False: the connection is reset, because its output would have a hole.
bool ConnectionImpl::HasRoom(std::size_t size) {
  const std::size_t pending = Pending();
  const std::size_t most = loop_->options.max_output;
  if (pending == 0 || (pending <= most && size <= most - pending)) return true;
  Abort(CloseReason::kOutputLimit);
  return false;
}

bool ConnectionImpl::WriteOwned(std::string bytes) {
  if (bytes.size() < kCopyBelow) return Write(bytes);
  if (!MayWrite() || !HasRoom(bytes.size())) return false;
  return Queue(bytes, [&](std::size_t from) {
    outbound_.AppendOwned(loop_->output_pools, std::move(bytes), from);
  });
}

bool ConnectionImpl::WriteShared(OutputQueue::Shared bytes) {
  Check(bytes != nullptr, "WriteShared() is given a string");
  if (bytes->size() < kCopyBelow) return Write(*bytes);
  if (!MayWrite() || !HasRoom(bytes->size())) return false;
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
  NoteRelief();  // what was sent at once took the staged bytes along
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
  if (!loop_->staging.Adopt(built)) {
    Write(built);
  } else {
    NoteCongestion();
  }
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
  if (!MayWrite()) {
    if (!staged.empty()) loop_->staging.Clear();  // lost: a second send would hide the error
    return 0;
  }
  const std::size_t of_staged = std::min(sent, staged.size());
  QueueStaged(of_staged);
  WaitForWritable();
  return sent - of_staged;
}

void ConnectionImpl::SendStaged() {
  const std::string_view staged = loop_->staging.Bytes();
  const bool blocked = state_ == State::kDead || Has(kBlocked | kSendFailed);
  KeepUnsent(blocked ? 0 : Account(wire().Send(fd_, staged)));
}

// Of what is staged, `sent` bytes have left.
void ConnectionImpl::KeepUnsent(std::size_t sent) {
  if (sent == loop_->staging.size()) {
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
  std::size_t budget = loop_->options.write_budget;
  while (!outbound_.empty()) {
    if (budget == 0) return OweNextTurn();
    std::size_t count = outbound_.Gather(pieces);
    std::size_t offered = 0;
    for (std::size_t i = 0; i < count; ++i) {
      pieces[i] = pieces[i].substr(0, budget - offered);
      offered += pieces[i].size();
      if (offered == budget) count = i + 1;
    }
    const std::size_t sent =
        Account(count == 1 ? wire().Send(fd_, pieces[0])
                           : wire().SendPieces(fd_, std::span(pieces.data(), count)));
    if (state_ == State::kDead || Has(kSendFailed)) return;
    outbound_.Consume(loop_->output_pools, sent);
    budget -= sent;
    if (loop_->visiting == this) loop_->visit_spent += sent;
    if (budget == 0 && !outbound_.empty()) OweNextTurn();  // before OnDrain is owed this turn
    NoteRelief();
    if (sent < offered) return WaitForWritable();
  }
  if (Has(kExtended)) Extension().output_waits = false;
  if (Has(kWriteArmed) && wire().traits().write_interest_is_noisy) {
    Clear(kWriteArmed);
    Modify(Interest::kRead);
  }
  Settle();
}

// The peer is gone, but what it sent before it went may still stand in the kernel: that is
// delivered first, and the read that finds its end closes the connection.
void ConnectionImpl::OnSendFailed(int error) {
  SetError(error);
  outbound_.Clear(loop_->output_pools);
  if (Has(kExtended)) Extension().output_waits = false;
  if (state_ != State::kOpen || Has(kPaused | kAutoPaused | kEnded)) return Fail(error);
  Set(kSendFailed | kReadable | kVoidProof);
  Owe();
}

void ConnectionImpl::WaitForWritable() {
  Set(kBlocked);
  NoteOutputWaits();
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

// The write budget of this turn is spent; no edge will say that the socket has more room.
void ConnectionImpl::OweNextTurn() {
  constexpr std::size_t kAll = SIZE_MAX;
  if (loop_->visiting == this) {
    Set(kOwesLater);
    loop_->visit_is_last = true;
  } else {
    Owe(kAll);
  }
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

std::size_t ConnectionImpl::HighWater() const noexcept {
  return Has(kExtended) ? Extension().high_water : loop_->options.high_water;
}
std::size_t ConnectionImpl::LowWater() const noexcept {
  return Has(kExtended) ? Extension().low_water : loop_->options.low_water;
}

void ConnectionImpl::NoteCongestion() noexcept {
  if (Has(kCongested) || Pending() <= HighWater()) return;
  Set(kCongested);
  if (!loop_->options.auto_pause) return;
  Set(kAutoPaused);
  loop_->engine.counters().paused.Add(1);
}

// OnDrain comes from the owed list: no callback runs inside a call.
void ConnectionImpl::NoteRelief() {
  if (!Has(kCongested) || Has(kDrainDue) || Pending() > LowWater()) return;
  if (state_ != State::kOpen) return;
  Set(kDrainDue);
  Owe();
}

}  // namespace weir
