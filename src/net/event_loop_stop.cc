// How a loop stops.
//
// A server's loops stop by themselves, each as below; loop 0 leads (server/server_run.cc).
//
// Stop() stores the grace and wakes the loop; all else happens on the loop's thread:
//
//     kRunning --> kAccepting   listeners let nobody else in, and take what is queued
//              --> kDraining    OnStop, whose default is DrainAll(); connections finish. A listener
//                               that waits for descriptors takes the rest as they finish; one of
//                               TCP stays a little for handshakes that had begun, and closes
//              --> ended        when none is left; kAborted: what is left when the grace is over is
//                               reset

#include <algorithm>

#include "net/event_loop_impl.h"

namespace weir {

void EventLoop::Impl::Stop(Duration grace) noexcept {
  CheckProcess();
  // seq_cst: stands before the wake-up, which ends the sleep that may be about to begin.
  if (!AskToStop(grace)) stop_wanted_.store(0);
  sys::Yield(sys::Point::kStopStored);
  core_.engine.mailbox().Wake();
}

void EventLoop::Impl::StopOnce(Duration grace) noexcept {
  CheckProcess();
  if (!AskToStop(grace)) return;
  sys::Yield(sys::Point::kStopStored);
  core_.engine.mailbox().Wake();
}

// False if a stop was asked for before.
bool EventLoop::Impl::AskToStop(Duration grace) noexcept {
  std::int64_t wanted = kNoStop;
  const std::int64_t asked =
      grace == Duration::max() ? kDefaultGrace : std::max<std::int64_t>(grace.count(), 0);
  return stop_wanted_.compare_exchange_strong(wanted, asked);
}

void EventLoop::Impl::AdvanceStop() {
  const std::int64_t wanted = stop_wanted_.load();
  if (stage_ == Stage::kRunning) {
    BeginStop(wanted == kDefaultGrace ? core_.options.drain : Duration(wanted));
  }
  if (wanted == 0 && stage_ != Stage::kAborted) AbortAll();
  const auto is_settled = [](const auto& acceptor) {
    return !acceptor->IsOpen() || acceptor->IsWaiting();
  };
  if (stage_ == Stage::kAccepting &&
      std::all_of(acceptors_.begin(), acceptors_.end(), is_settled)) {
    stage_ = Stage::kDraining;
    TellStop(grace_);
  }
}

void EventLoop::Impl::AdvanceToEnd() {
  AdvanceStop();
  if (HasEnded()) Finish();  // not before this turn's mail has run
}

void EventLoop::Impl::BeginStop(Duration grace) {
  stage_ = Stage::kAccepting;
  core_.needs_care = true;
  grace_ = grace;
  inbox_.SetLeaving();
  grace_end_ = core_.engine.ArmTimer(grace, grace_token_);
  for (const auto& acceptor : acceptors_) acceptor->Stop();
}

void EventLoop::Impl::TellStop(Duration grace) {
  if (on_accepting_ended_) on_accepting_ended_(grace);
  for (Handler* const handler : handlers_) {
    core_.NoteCalled(*handler);
    Guarded("OnStop", [&] { handler->OnStop(core_.loop); });
  }
  if (handlers_.empty()) DrainAll();
}

void EventLoop::Impl::DrainAll() {
  CheckThread();
  if (stage_ != Stage::kRunning) core_.draining = true;
  core_.table.ForEach([](ConnectionImpl& connection) { connection.Drain(); });
}

void EventLoop::Impl::AbortAll() {
  if (stage_ < Stage::kDraining) TellStop(Duration::zero());
  stage_ = Stage::kAborted;
  for (const auto& acceptor : acceptors_) acceptor->Close(Acceptor::Closing::kRunning);
  core_.table.ForEach([](ConnectionImpl& connection) { connection.Abort(CloseReason::kShutdown); });
}

// Mail does not count: a task that posts itself again would keep the loop for ever.
bool EventLoop::Impl::HasEnded() const noexcept {
  const auto is_closed = [](const auto& acceptor) { return !acceptor->IsOpen(); };
  return stage_ >= Stage::kDraining && core_.table.live() == 0 && !core_.engine.work().Any() &&
         inbox_.IsEmpty() && std::all_of(acceptors_.begin(), acceptors_.end(), is_closed);
}

void EventLoop::Impl::Finish() {
  finished_ = true;
  core_.engine.CancelTimer(grace_end_);
  core_.engine.mailbox().Close();
}

bool EventLoop::Impl::IsStopped() const noexcept { return finished_; }

}  // namespace weir
