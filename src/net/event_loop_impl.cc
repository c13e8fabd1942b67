// The steps of a turn, and how a loop starts and stops. The order of the steps is in loop/turn.h.

#include "net/event_loop_impl.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "loop/turn.h"
#include "weir/error.h"

namespace weir {
namespace {

thread_local EventLoop* current_loop = nullptr;

// Makes a loop the thread's current one for a while.
class CurrentScope {
 public:
  explicit CurrentScope(EventLoop& loop) noexcept : before_(std::exchange(current_loop, &loop)) {}
  CurrentScope(const CurrentScope&) = delete;
  CurrentScope& operator=(const CurrentScope&) = delete;
  ~CurrentScope() { current_loop = before_; }

 private:
  EventLoop* before_;
};

void Require(bool holds, std::string_view option, std::string_view reason) {
  if (!holds) throw Error::Usage(fmt::format("Options::{}", option), std::string(reason));
}

const Options& Validated(const Options& options) {
  Require(options.read_chunk > 0, "read_chunk", "must not be 0");
  Require(options.read_budget > 0, "read_budget", "must not be 0");
  Require(options.turn_budget > 0, "turn_budget", "must not be 0");
  Require(options.accepts_per_turn > 0, "accepts_per_turn", "must be positive");
  Require(options.mail_per_turn > 0, "mail_per_turn", "must be positive");
  Require(options.max_mail > 0, "max_mail", "must not be 0");
  Require(options.close_linger >= Duration::zero(), "close_linger", "must not be negative");
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
  for (const auto& acceptor : acceptors_) acceptor->Close(/*unlink_path=*/ours);
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
  const int number = static_cast<int>(acceptors_.size());
  acceptors_.push_back(std::make_unique<Acceptor>(core_, number, endpoint, handler));
  return number;
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

std::vector<Handler*> EventLoop::Impl::ListenHandlers() const {
  std::vector<Handler*> handlers;
  for (const auto& acceptor : acceptors_) {
    if (std::find(handlers.begin(), handlers.end(), &acceptor->handler()) == handlers.end()) {
      handlers.push_back(&acceptor->handler());
    }
  }
  return handlers;
}

// ---- Running

void EventLoop::Impl::Begin() {
  CheckThread();
  if (started_) return;
  thread_ = sys::CurrentThread();
  for (Handler* const handler : ListenHandlers()) handler->OnStart(core_.loop);
  started_ = true;
}

void EventLoop::Impl::Run() {
  const CurrentScope scope(core_.loop);
  Begin();
  while (!finished_) RunTurn(*this, Duration::max());
}

int EventLoop::Impl::RunOnce(Duration max_wait) {
  const CurrentScope scope(core_.loop);
  Begin();
  return finished_ ? 0 : RunTurn(*this, max_wait);
}

bool EventLoop::Impl::Post(Work work) {
  CheckProcess();
  return core_.engine.mailbox().Post(std::move(work));
}

// Runs what is no connection's callback. What it throws is logged and counted, and the loop goes
// on.
template <class Call>
void EventLoop::Impl::Guarded(const char* what, Call&& call) noexcept {
  try {
    return call();
  } catch (const std::exception& exception) {
    log::Error("{} threw: {}", what, exception.what());
  } catch (...) {
    log::Error("{} threw something that is no std::exception", what);
  }
  core_.engine.counters().exceptions.Add(1);
}

// ---- The steps of a turn

std::span<const Poller::Event> EventLoop::Impl::Wait(Duration max_wait) {
  core_.table.Reclaim();
  return core_.engine.Wait(max_wait);
}

int EventLoop::Impl::TakeMail() {
  if (stop_wanted_.load(std::memory_order_relaxed) != kNoStop) AdvanceStop();
  Mailbox& mailbox = core_.engine.mailbox();
  int taken = 0;
  for (; taken < core_.options.mail_per_turn && mailbox.HasMail(); ++taken) {
    Guarded("a posted task", [work = mailbox.Take()]() mutable { work(); });
  }
  core_.engine.counters().mail.Add(static_cast<std::uint64_t>(taken));
  return taken;
}

int EventLoop::Impl::TakeEdges(std::span<const Poller::Event> events) {
  for (const Poller::Event& event : events) {
    const Token token = Token::Unpack(event.data.u64);
    if (ConnectionImpl* const connection = core_.table.Find(token)) [[likely]] {
      connection->OnEdge(Edge{event.events});
    } else if (EventSource* const source = core_.engine.FindSource(token)) {
      source->OnEdge(Edge{event.events});
    } else {
      core_.engine.counters().stale_events.Add(1);
    }
  }
  return static_cast<int>(events.size());
}

int EventLoop::Impl::ServeOwed() {
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
    core_.visiting = connection;
    core_.visit_spent = entry.turn == core_.engine.turn() ? entry.spent : 0;
    const std::size_t received = connection->ServeOwed();
    core_.visiting = nullptr;
    budget -= std::min(budget, received);
  } else if (EventSource* const source = core_.engine.FindSource(entry.token)) {
    source->OnOwed();
  }
}

int EventLoop::Impl::FireTimers() {
  return core_.engine.FireTimers([this](Token token) {
    if (ConnectionImpl* const connection = core_.table.Find(token)) {
      connection->OnTimer();
    } else if (EventSource* const source = core_.engine.FindSource(token)) {
      source->OnTimer();
    }
  });
}

int EventLoop::Impl::Retire() {
  WorkQueue<Token>& retiring = core_.engine.work().retiring;
  int retired = 0;
  for (; !retiring.IsEmpty(); ++retired) {
    if (ConnectionImpl* const connection = core_.table.Find(retiring.Pop())) connection->Retire();
  }
  return retired;
}

void EventLoop::Impl::EndBatch() {
  if (core_.called.empty()) return;
  // OnBatchEnd may make callbacks due, but runs none: what it calls joins the next turn's batch.
  std::swap(ending_batch_, core_.called);
  if (ending_batch_.size() > 1) {
    std::sort(ending_batch_.begin(), ending_batch_.end());
    ending_batch_.erase(std::unique(ending_batch_.begin(), ending_batch_.end()),
                        ending_batch_.end());
  }
  for (Handler* const handler : ending_batch_) {
    Guarded("OnBatchEnd", [&] { handler->OnBatchEnd(core_.loop); });
  }
  ending_batch_.clear();
}

int EventLoop::Impl::Flush() {
  WorkQueue<Token>& dirty = core_.engine.work().dirty;
  int flushed = 0;
  for (; !dirty.IsEmpty(); ++flushed) {
    if (ConnectionImpl* const connection = core_.table.Find(dirty.Pop())) connection->FlushDirty();
  }
  if (stage_ != Stage::kRunning) AdvanceStop();
  if (HasEnded()) Finish();  // not before this turn's mail has run
  return flushed;
}

// ---- Stopping
//
// Stop() stores the grace and wakes the loop; all else happens on the loop's thread:
//
//     kRunning --> kAccepting   listeners take what is queued, to EAGAIN, and close
//              --> kDraining    OnStop, whose default is DrainAll(); connections finish
//              --> ended        when none is left; kAborted: what is left when the grace is over is
//                               reset

void EventLoop::Impl::Stop(Duration grace) noexcept {
  CheckProcess();
  std::int64_t wanted = kNoStop;
  const std::int64_t asked =
      grace == Duration::max() ? kDefaultGrace : std::max<std::int64_t>(grace.count(), 0);
  // seq_cst: stands before the wake-up, which ends the sleep that may be about to begin.
  if (!stop_wanted_.compare_exchange_strong(wanted, asked)) stop_wanted_.store(0);
  sys::Yield(sys::Point::kStopStored);
  core_.engine.mailbox().Wake();
}

void EventLoop::Impl::AdvanceStop() {
  const std::int64_t wanted = stop_wanted_.load();
  if (stage_ == Stage::kRunning) {
    BeginStop(wanted == kDefaultGrace ? core_.options.drain : Duration(wanted));
  }
  if (wanted == 0 && stage_ != Stage::kAborted) AbortAll();
  if (stage_ == Stage::kAccepting && std::none_of(acceptors_.begin(), acceptors_.end(),
                                                  [](const auto& a) { return a->IsOpen(); })) {
    stage_ = Stage::kDraining;
    TellStop();
  }
}

void EventLoop::Impl::BeginStop(Duration grace) {
  stage_ = Stage::kAccepting;
  core_.engine.ArmTimer(grace, grace_token_);
  for (const auto& acceptor : acceptors_) acceptor->Stop();
}

void EventLoop::Impl::TellStop() {
  const std::vector<Handler*> handlers = ListenHandlers();
  for (Handler* const handler : handlers) {
    core_.NoteCalled(*handler);
    Guarded("OnStop", [&] { handler->OnStop(core_.loop); });
  }
  if (handlers.empty()) DrainAll();
}

void EventLoop::Impl::DrainAll() {
  CheckThread();
  core_.drain_left.resize(core_.table.slots());
  core_.table.ForEach([](ConnectionImpl& connection) { connection.Drain(); });
}

void EventLoop::Impl::AbortAll() {
  if (stage_ < Stage::kDraining) TellStop();
  stage_ = Stage::kAborted;
  for (const auto& acceptor : acceptors_) acceptor->Close(/*unlink_path=*/true);
  core_.table.ForEach([](ConnectionImpl& connection) { connection.Abort(CloseReason::kShutdown); });
}

// Mail does not count: a task that posts itself again would keep the loop for ever.
bool EventLoop::Impl::HasEnded() const noexcept {
  return stage_ >= Stage::kDraining && core_.table.live() == 0 && !core_.engine.work().Any();
}

void EventLoop::Impl::Finish() {
  finished_ = true;
  core_.engine.mailbox().Close();
}

bool EventLoop::Impl::IsStopped() const noexcept { return finished_; }

EventLoop* EventLoop::Current() noexcept { return current_loop; }

}  // namespace weir
