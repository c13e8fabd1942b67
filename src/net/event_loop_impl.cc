// The steps of a turn, in the order of loop/turn.h, and how a loop starts.

#include "net/event_loop_impl.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "loop/turn.h"
#include "os/sys.h"
#include "weir/error.h"

namespace weir {
namespace {

// Makes a loop the thread's current one for a while.
class CurrentScope {
 public:
  explicit CurrentScope(EventLoop& loop) noexcept
      : before_(std::exchange(sys::ThreadSlot(), &loop)) {}
  CurrentScope(const CurrentScope&) = delete;
  CurrentScope& operator=(const CurrentScope&) = delete;
  ~CurrentScope() { sys::ThreadSlot() = before_; }

 private:
  void* before_;
};

void Require(bool holds, std::string_view option, std::string_view reason) {
  if (!holds) throw Error::Usage(fmt::format("Options::{}", option), std::string(reason));
}

const Options& Validated(const Options& options) {
  Require(options.read_chunk > 0, "read_chunk", "must not be 0");
  Require(options.read_budget > 0, "read_budget", "must not be 0");
  Require(options.write_budget > 0, "write_budget", "must not be 0");
  Require(options.turn_budget > 0, "turn_budget", "must not be 0");
  Require(options.accepts_per_turn > 0, "accepts_per_turn", "must be positive");
  Require(options.mail_per_turn > 0, "mail_per_turn", "must be positive");
  Require(options.max_mail > 0, "max_mail", "must not be 0");
  Require(options.close_linger >= Duration::zero(), "close_linger", "must not be negative");
  Require(options.max_input <= UINT32_MAX, "max_input", "must be below 4 GiB");
  Require(options.low_water <= options.high_water, "low_water", "must not be above high_water");
  Require(options.idle_timeout >= Duration::zero(), "idle_timeout", "must not be negative");
  Require(options.write_stall >= Duration::zero(), "write_stall", "must not be negative");
  Require(options.drain >= Duration::zero(), "drain", "must not be negative");
  Require(options.recv_buffer >= 0, "recv_buffer", "must not be negative");
  Require(options.send_buffer >= 0, "send_buffer", "must not be negative");
  return options;
}

}  // namespace

EventLoop::Impl::Impl(EventLoop& loop, const Options& options, std::unique_ptr<Poller> poller)
    : core_(loop, Validated(options), std::move(poller)),
      grace_token_(core_.engine.AddSource(grace_timer_, -1, Interest::kWake)) {}

EventLoop::Impl::~Impl() {
  // In a forked child the descriptors are the parent's too: closing them is all that may be done.
  const bool ours = !fork_guard_.InChild();
  core_.table.ForEach([&](ConnectionImpl& connection) { connection.Discard(/*reset=*/ours); });
  const auto how = ours ? Acceptor::Closing::kDestroyed : Acceptor::Closing::kForked;
  for (const auto& acceptor : acceptors_) acceptor->Close(how);
}

void EventLoop::Impl::CheckThread() const noexcept {
  CheckProcess();
  Check(thread_ == nullptr || thread_ == sys::CurrentThread(),
        "a loop is used by the thread that runs it; from others, Post()");
}

void EventLoop::Impl::CheckProcess() const noexcept {
  Check(!fork_guard_.InChild(), "a loop is not used in a forked child: make loops after fork()");
}

// ---- Listening

int EventLoop::Impl::Listen(std::string_view url, Handler& handler) {
  CheckThread();
  const Endpoint endpoint = Endpoint::Parse(url);
  CheckIsFree(endpoint);
  const int number = AddAcceptor({.own = std::make_unique<ListenSocket>(endpoint, core_.options)});
  SetHandler(number, handler);
  log::Info("listening on {}", acceptors_.back()->url());
  return number;
}

int EventLoop::Impl::AddAcceptor(ListenSource source) {
  const int number = static_cast<int>(acceptors_.size());
  acceptors_.push_back(std::make_unique<Acceptor>(core_, number, std::move(source)));
  return number;
}

// The same descriptor twice would be closed twice, the second time as somebody else's.
void EventLoop::Impl::CheckIsFree(const Endpoint& endpoint) const {
  for (const auto& acceptor : acceptors_) {
    if (endpoint.inherited >= 0 && acceptor->fd() == endpoint.inherited) {
      throw Error::Usage(fmt::format("listen {}", endpoint.url), "it is listened on already");
    }
  }
}

void EventLoop::Impl::SetHandler(int listener, Handler& handler) {
  acceptors_[static_cast<std::size_t>(listener)]->SetHandler(handler);
  AddHandler(handler);
}

void EventLoop::Impl::AddHandler(Handler& handler) {
  const auto known = std::find(handlers_.begin(), handlers_.end(), &handler);
  if (known == handlers_.end()) handlers_.push_back(&handler);
}

void EventLoop::Impl::TakeHanded(int listener, UniqueFd fd, const PeerAddress& peer) {
  if (stage_ != Stage::kAborted) {
    acceptors_[static_cast<std::size_t>(listener)]->TakeHanded(std::move(fd), peer);
  } else {
    core_.engine.counters().refused.Add(1);
  }
}

Address EventLoop::Impl::ListenAddress(int listener) const {
  Check(listener >= 0 && static_cast<std::size_t>(listener) < acceptors_.size(),
        "ListenAddress() is asked for a number that Listen() returned");
  return acceptors_[static_cast<std::size_t>(listener)]->address();
}

void EventLoop::Impl::StopListening(int listener) {
  CheckThread();
  Check(listener >= 0 && static_cast<std::size_t>(listener) < acceptors_.size(),
        "StopListening() is given a number that Listen() returned");
  acceptors_[static_cast<std::size_t>(listener)]->Stop();
}

// ---- Running

void EventLoop::Impl::Begin() {
  CheckThread();
  if (started_) return;
  thread_ = sys::CurrentThread();
  for (Handler* const handler : std::vector(handlers_)) handler->OnStart(core_.loop);
  started_ = true;
}

void EventLoop::Impl::SetUp(Work make_handlers) {
  const CurrentScope scope(core_.loop);
  make_handlers();
  Begin();
}

void EventLoop::Impl::Run() {
  const CurrentScope scope(core_.loop);
  Begin();
  core_.engine.EnterTurns();
  while (!finished_) {
    do {
      RunTurn(*this, Duration::max());
    } while (!core_.needs_care);
    TakeCare();
  }
}

int EventLoop::Impl::RunOnce(Duration max_wait) {
  const CurrentScope scope(core_.loop);
  Begin();
  if (finished_) return 0;
  core_.engine.EnterTurns();
  const int served = RunTurn(*this, max_wait);
  if (core_.needs_care && stage_ != Stage::kRunning) AdvanceToEnd();
  core_.engine.SleepOutside();
  Rethrow();
  return served;
}

Duration EventLoop::Impl::NextTimeout() const noexcept {
  return finished_ ? Duration::max() : core_.engine.UntilNextWork();
}

bool EventLoop::Impl::Post(Work&& work) {
  CheckProcess();
  return core_.engine.mailbox().Post(std::move(work));
}

std::uint64_t EventLoop::Impl::AddTimer(Duration delay, Duration period, Work work) {
  CheckThread();
  return timers_.Add(delay, period, std::move(work));
}

bool EventLoop::Impl::CancelTimer(std::uint64_t timer) noexcept {
  CheckThread();
  return timers_.Cancel(timer);
}

// What nearly no turn leaves behind.
void EventLoop::Impl::TakeCare() {
  if (stage_ != Stage::kRunning) AdvanceToEnd();
  Rethrow();
}

// With OnException::kFinishTurnThenRethrow: the turn is finished.
void EventLoop::Impl::Rethrow() {
  if (core_.rethrow == nullptr) return;
  core_.needs_care = stage_ != Stage::kRunning;
  std::rethrow_exception(std::exchange(core_.rethrow, nullptr));
}

// ---- The steps of a turn

int EventLoop::Impl::RunMail() {
  Mailbox& mailbox = core_.engine.mailbox();
  int taken = 0;
  for (; taken < core_.options.mail_per_turn && mailbox.HasMail(); ++taken) {
    Guarded("a posted task", [work = mailbox.Take()]() mutable { work(); });
  }
  core_.engine.counters().mail.Add(static_cast<std::uint64_t>(taken));
  return taken;
}

void EventLoop::Impl::TellSource(Token token, Edge edge) {
  if (EventSource* const source = core_.engine.FindSource(token)) {
    source->OnEdge(edge);
  } else {
    core_.engine.counters().stale_events.Add(1);
  }
}

int EventLoop::Impl::RunOwed() {
  WorkQueue<Owed>& owed = core_.engine.work().owed;
  std::size_t budget = core_.options.turn_budget;
  int served = 0;
  // Who has had its own budget waits for the next turn, behind the rest.
  while (!owed.IsEmpty() && budget > 0) {
    const Owed entry = owed.Pop();
    // A listener has its budget for each visit: so one visit a turn.
    const bool is_spent =
        entry.spent >= core_.options.read_budget || (entry.token.slot & Engine::kSourceBit) != 0;
    if (entry.turn == core_.engine.turn() && is_spent) {
      spent_.push_back(entry);
      continue;
    }
    ServeOwedOne(entry, budget);
    ++served;
  }
  for (const Owed& entry : spent_) owed.Push(entry);
  spent_.clear();
  core_.engine.counters().owed.Add(static_cast<std::uint64_t>(served));
  return served;
}

void EventLoop::Impl::ServeOwedOne(const Owed& entry, std::size_t& budget) {
  if (ConnectionImpl* const connection = core_.table.Find(entry.token)) {
    const std::size_t spent = entry.turn == core_.engine.turn() ? entry.spent : 0;
    budget -= std::min(budget, connection->ServeOwed(spent));
  } else if (EventSource* const source = core_.engine.FindSource(entry.token)) {
    source->OnOwed();
  }
}

int EventLoop::Impl::RunTimers() {
  return core_.engine.FireTimers([this](Token token) {
    if ((token.slot & Timers::kBit) != 0 && (token.slot & Engine::kSourceBit) == 0) {
      timers_.Fire(token, [this](Work& work) { Guarded("a timer", work); });
    } else if (ConnectionImpl* const connection = core_.table.Find(token)) {
      connection->OnTimer();
    } else if (EventSource* const source = core_.engine.FindSource(token)) {
      source->OnTimer();
    }
  });
}

int EventLoop::Impl::RunRetiring() {
  WorkQueue<Token>& retiring = core_.engine.work().retiring;
  int retired = 0;
  for (; !retiring.IsEmpty(); ++retired) {
    if (ConnectionImpl* const connection = core_.table.Find(retiring.Pop())) connection->Retire();
  }
  return retired;
}

void EventLoop::Impl::TellAllBatchEnds() {
  // What OnBatchEnd itself makes due joins the next turn's batch.
  std::swap(ending_batch_, core_.also_called);
  ending_batch_.push_back(std::exchange(core_.called, nullptr));
  core_.called_several = false;
  std::sort(ending_batch_.begin(), ending_batch_.end());
  ending_batch_.erase(std::unique(ending_batch_.begin(), ending_batch_.end()), ending_batch_.end());
  for (Handler* const handler : ending_batch_) TellBatchEnd(*handler);
  ending_batch_.clear();
}

int EventLoop::Impl::FlushAll() {
  WorkQueue<Token>& dirty = core_.engine.work().dirty;
  int flushed = 0;
  for (; !dirty.IsEmpty(); ++flushed) {
    if (ConnectionImpl* const connection = core_.table.Find(dirty.Pop())) connection->FlushDirty();
  }
  return flushed;
}

EventLoop* EventLoop::Current() noexcept { return static_cast<EventLoop*>(sys::ThreadSlot()); }

}  // namespace weir
