// How long a connection may take.
//
// All of its times share one timer of the wheel, armed for the earliest. Activity stores a tick and
// touches no timer: so the timer may come too soon, and then asks the ticks, and is armed for what
// is next. And what no longer waits leaves its timer armed: once it comes, and finds nothing.
//
//   open        idle           no byte has moved since active_tick_
//               read, write    a deadline; that of writing counts only while output waits
//               write stall    output waits, and the peer has taken none since output_tick
//   closing     close_linger   no byte of output has left since active_tick_
//   lingering   close_linger   since active_tick_, when the FIN was sent
//
// Ticks are whole milliseconds, and a byte may move at a tick's end: so one tick is added to every
// time that is counted from one (but to zero, which waits for nobody).

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

#include "net/connection_callback.h"
#include "net/loop_core.h"
#include "os/sys.h"

namespace weir {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kNever = ConnectionExtension::kNever;
// Ticks are compared by 32 bits, which half of them tell apart: 24 days.
constexpr std::int64_t kMostTicks = INT32_MAX - 1;

std::int64_t TicksOf(Duration time) noexcept {
  return std::chrono::ceil<milliseconds>(time).count();
}

}  // namespace

// ---- The extension

ConnectionExtension& ConnectionImpl::Extension() const noexcept {
  return loop_->extensions.At(Cold().extension);
}

ConnectionExtension& ConnectionImpl::Extend() {
  if (Has(kExtended)) return Extension();
  loop_->extensions.Reclaim();  // nobody keeps their tokens: a slot may be used again at once
  ConnectionExtension* const extension = loop_->extensions.Allocate();
  if (extension == nullptr) throw std::bad_alloc();
  *extension = {.token = extension->token,
                .high_water = loop_->options.high_water,
                .low_water = loop_->options.low_water};
  Cold().extension = extension->token.slot;
  Set(kExtended);
  return *extension;
}

void ConnectionImpl::DropExtension() noexcept {
  ConnectionExtension& extension = Extension();
  if (extension.timer != 0) loop_->engine.CancelOwned(extension.timer);
  loop_->extensions.Free(extension);
  Clear(kExtended | kTimed);
}

bool ConnectionImpl::IsNeeded(const ConnectionExtension& extension) const noexcept {
  return extension.timer != 0 || extension.idle != 0 || extension.own_water ||
         extension.output_waits || extension.write_deadline != kNever || Has(kDraining);
}

// Changes what stands in the extension, and arms the timer for it, or gives it back. False: no
// memory, and the connection has failed.
template <class Apply>
bool ConnectionImpl::Change(Apply&& apply) {
  try {
    ConnectionExtension& extension = Extend();
    apply(extension);
    ArmTimer(extension);
    // (TellTimeouts() goes on with it after the callback, and OnTimer() then asks again.)
    if (!IsNeeded(extension) && loop_->telling_timeout != this) DropExtension();
    return true;
  } catch (const std::bad_alloc&) {
    Fail(ENOMEM);
    return false;
  }
}

// ---- What the program sets

void ConnectionImpl::SetIdleTimeout(Duration timeout) {
  if (state_ != State::kOpen) return;
  const std::int64_t ticks = TicksOf(std::max(timeout, Duration::zero()));
  Change([&](ConnectionExtension& extension) {
    extension.idle = ticks > kMostTicks ? 0 : static_cast<std::uint32_t>(ticks);
    Clear(kIdleTold);
    // Not the turn's time: what runs may have begun long ago.
    active_tick_ = static_cast<std::uint32_t>(loop_->engine.TickOf(sys::Now()));
    Set(kTimed);
  });
}

void ConnectionImpl::SetReadDeadline(Clock::time_point deadline) {
  if (state_ != State::kOpen) return;
  Change([&](ConnectionExtension& extension) {
    const bool is_set = deadline != Clock::time_point();
    extension.read_deadline = is_set ? loop_->engine.TickOf(deadline) : kNever;
  });
}

void ConnectionImpl::SetWriteDeadline(Clock::time_point deadline) {
  if (state_ != State::kOpen) return;
  Change([&](ConnectionExtension& extension) {
    const bool is_set = deadline != Clock::time_point();
    extension.write_deadline = is_set ? loop_->engine.TickOf(deadline) : kNever;
    if (Has(kBlocked) && !outbound_.empty()) extension.output_waits = true;
  });
}

void ConnectionImpl::SetWatermarks(std::size_t high, std::size_t low) {
  Check(low <= high, "SetWatermarks(): low is not above high");
  if (state_ != State::kOpen) return;
  const bool is_kept = Change([&](ConnectionExtension& extension) {
    extension.high_water = high;
    extension.low_water = low;
    extension.own_water = true;
  });
  if (!is_kept) return;
  NoteCongestion();
  NoteRelief();
}

// ---- What happens

std::uint32_t ConnectionImpl::NowTick() const noexcept {
  return static_cast<std::uint32_t>(loop_->engine.NowTick());
}

// Not back, to before SetIdleTimeout() of this turn: it has read the time anew. (A tick that seems
// to be far ahead is of some weeks ago.)
void ConnectionImpl::NoteReceived() noexcept {
  constexpr std::uint32_t kMostAhead = 3'600'000;
  const std::uint32_t now = NowTick();
  if (active_tick_ - now > kMostAhead) active_tick_ = now;
  if (Has(kIdleTold)) [[unlikely]] {
    Clear(kIdleTold);
    Change([](ConnectionExtension&) {});
  }
}

void ConnectionImpl::NoteSent() noexcept {
  NoteReceived();
  if (Has(kExtended)) Extension().output_tick = NowTick();
}

// The kernel has not taken all: from here on the peer has to take some now and then.
void ConnectionImpl::NoteOutputWaits() {
  if (state_ != State::kOpen) return;  // once closed, it is close_linger's
  if (!Has(kExtended) && loop_->options.write_stall == Duration::zero()) return;
  if (Has(kExtended) && Extension().output_waits) return;
  Change([&](ConnectionExtension& extension) {
    extension.output_waits = true;
    extension.output_tick = NowTick();
    Set(kTimed);
  });
}

void ConnectionImpl::StartLinger() {
  Change([&](ConnectionExtension& extension) {
    extension.lingers = true;
    active_tick_ = NowTick();
    Set(kTimed);
  });
}

// ---- The timer

// The tick at which `time` has surely passed since `tick`.
std::uint64_t ConnectionImpl::After(std::uint32_t tick, Duration time) const noexcept {
  const std::uint64_t now = loop_->engine.NowTick();
  // Signed: a tick that was read anew may be ahead of the turn's.
  const auto passed = static_cast<std::int32_t>(static_cast<std::uint32_t>(now) - tick);
  const std::uint64_t then = now - static_cast<std::uint64_t>(std::int64_t{passed});
  if (time == Duration::zero()) return then;
  return then + static_cast<std::uint64_t>(std::min(TicksOf(time), kMostTicks)) + 1;
}

std::uint64_t ConnectionImpl::NextDeadline(const ConnectionExtension& extension) const noexcept {
  const Options& options = loop_->options;
  if (state_ == State::kClosing || state_ == State::kLingering) {
    return extension.lingers ? After(active_tick_, options.close_linger) : kNever;
  }
  std::uint64_t next = extension.read_deadline;
  if (extension.output_waits) {
    next = std::min(next, extension.write_deadline);
    if (options.write_stall > Duration::zero()) {
      next = std::min(next, After(extension.output_tick, options.write_stall));
    }
  }
  if (extension.idle != 0 && !Has(kIdleTold)) {
    next = std::min(next, After(active_tick_, milliseconds(extension.idle)));
  }
  return next;
}

void ConnectionImpl::ArmTimer(ConnectionExtension& extension) {
  Engine& engine = loop_->engine;
  const std::uint64_t next = NextDeadline(extension);
  if (next == kNever) return;
  if (extension.timer != 0) {
    if (engine.ExpiryOfOwned(extension.timer) <= next) return;
    engine.CancelOwned(std::exchange(extension.timer, 0));
  }
  extension.timer = engine.ArmOwned(next, token);
}

void ConnectionImpl::OnTimer() {
  ConnectionExtension& extension = Extension();
  extension.timer = 0;
  const bool is_over = loop_->engine.NowTick() >= NextDeadline(extension);
  switch (state_) {
    case State::kOpen:
      if (is_over) TellTimeouts(extension);
      break;
    case State::kClosing:
      if (!is_over) break;
      Set(kReset);
      return Die(reason_, ETIMEDOUT);
    case State::kLingering:
      if (!is_over) break;
      return Die(reason_, 0);
    case State::kFree:
    case State::kDead:
      return;
  }
  if (state_ == State::kDead) return;
  Change([](ConnectionExtension&) {});
}

// REQUIRES: open, and something is over.
void ConnectionImpl::TellTimeouts(ConnectionExtension& extension) {
  const std::uint64_t now = loop_->engine.NowTick();
  const Duration stall = loop_->options.write_stall;
  if (extension.output_waits && stall > Duration::zero() &&
      now >= After(extension.output_tick, stall)) {
    loop_->engine.counters().timeouts.Add(1);
    Set(kReset);
    return Die(CloseReason::kTimeout, ETIMEDOUT);
  }
  if (extension.output_waits && now >= extension.write_deadline) {
    extension.write_deadline = kNever;
    TellTimeout(TimeoutKind::kWrite);
  }
  if (state_ == State::kOpen && now >= extension.read_deadline) {
    extension.read_deadline = kNever;
    TellTimeout(TimeoutKind::kRead);
  }
  if (state_ == State::kOpen && extension.idle != 0 && !Has(kIdleTold) &&
      now >= After(active_tick_, milliseconds(extension.idle))) {
    Set(kIdleTold);
    TellTimeout(TimeoutKind::kIdle);
  }
}

void ConnectionImpl::TellTimeout(TimeoutKind kind) {
  loop_->engine.counters().timeouts.Add(1);
  loop_->telling_timeout = this;
  InCallback([&] { handler_->OnTimeout(*this, kind); });
  loop_->telling_timeout = nullptr;
}

}  // namespace weir
