#include "loop/engine.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "os/sys.h"
#include "weir/error.h"

namespace weir {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLongestWait{std::numeric_limits<int>::max()};  // epoll_wait takes an int
constexpr Duration kLongestTimer = std::chrono::hours(24 * 365 * 10);

// As epoll_wait takes it: rounded up, so that a loop is never early; -1 is for ever.
int Milliseconds(Duration wait) noexcept {
  if (wait == Duration::max()) return -1;  // kForEver
  if (wait <= Duration::zero()) return 0;
  if (wait >= kLongestWait) return static_cast<int>(kLongestWait.count());
  return static_cast<int>(std::chrono::ceil<milliseconds>(wait).count());
}

}  // namespace

Engine::Engine(std::unique_ptr<Poller> poller, std::size_t max_mail)
    : poller_(std::move(poller)),
      epoll_(poller_->AsEpoll()),
      mailbox_(max_mail),
      wheel_(0),
      start_(sys::Now()) {
  AddSource(wake_, mailbox_.fd(), Interest::kWake);
}

// As epoll_wait takes it: milliseconds, -1 for ever.
int Engine::TimeoutFor(Duration max_wait) const noexcept {
  return Milliseconds(std::min(max_wait, UntilNextWork()));
}

void Engine::SleepOutside() noexcept {
  in_turn_ = false;
  now_is_read_ = false;
  if (work_.Any() || !mailbox_.BeginSleep()) mailbox_.Wake();
}

Duration Engine::UntilNextWork() const noexcept {
  if (HasWork()) return Duration::zero();
  if (wheel_.size() == 0) return Duration::max();
  const std::optional<std::uint64_t> tick = wheel_.Next();
  if (!tick) return Duration::max();
  // Read the clock anew: the turn's own time is older by what the callbacks took.
  const Clock::time_point due = start_ + milliseconds(*tick);
  return std::max<Duration>(due - sys::Now(), Duration::zero());
}

Clock::time_point Engine::Now() const noexcept {
  if (!now_is_read_) {
    now_ = sys::Now();
    now_is_read_ = in_turn_;  // between turns, each time anew: nobody says when one is over
  }
  return now_;
}

std::uint64_t Engine::NowTick() const noexcept {
  return static_cast<std::uint64_t>(std::chrono::floor<milliseconds>(Now() - start_).count());
}

Clock::time_point Engine::DeadlineIn(Duration delay) noexcept {
  return sys::Now() + std::clamp(delay, Duration::zero(), kLongestTimer);
}

std::uint64_t Engine::TickOf(Clock::time_point deadline) const noexcept {
  if (deadline <= start_) return 0;  // also the least time_point there is, which overflows below
  // Rounded up, so that it is never early; but one that has passed is due now, not in a tick.
  const bool due = deadline <= sys::Now();
  const auto tick = due ? std::chrono::floor<milliseconds>(deadline - start_)
                        : std::chrono::ceil<milliseconds>(deadline - start_);
  return static_cast<std::uint64_t>(std::max<milliseconds>(tick, milliseconds::zero()).count());
}

TimerId Engine::ArmTimerAt(Clock::time_point deadline, Token payload) {
  return wheel_.Arm(TickOf(deadline), payload.Packed());
}

Token Engine::AddSource(EventSource& source, int fd, Interest interest) {
  const auto free = std::find_if(sources_.begin(), sources_.end(),
                                 [](const SourceSlot& slot) { return slot.source == nullptr; });
  const auto index = static_cast<std::uint32_t>(free - sources_.begin());
  if (free == sources_.end()) sources_.emplace_back();
  SourceSlot& slot = sources_[index];
  const Token token{kSourceBit | index, slot.generation};
  if (fd >= 0) {
    const int result = poller_->Add(fd, interest, token);
    if (result < 0) throw Error::System("epoll_ctl ADD", -result);
  }
  slot.source = &source;
  return token;
}

void Engine::RemoveSource(Token token) noexcept {
  if (FindSource(token) == nullptr) return;
  SourceSlot& slot = sources_[token.slot & ~kSourceBit];
  slot.source = nullptr;
  ++slot.generation;
}

EventSource* Engine::FindSource(Token token) const noexcept {
  if ((token.slot & kSourceBit) == 0) return nullptr;  // of a connection that is gone
  const std::size_t index = token.slot & ~kSourceBit;
  if (index >= sources_.size()) return nullptr;
  const SourceSlot& slot = sources_[index];
  return slot.generation == token.generation ? slot.source : nullptr;
}

}  // namespace weir
