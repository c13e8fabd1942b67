// The public EventLoop: each call is the implementation's.

#include "weir/event_loop.h"

#include <memory>
#include <utility>

#include "base/check.h"
#include "net/event_loop_impl.h"

namespace weir {

EventLoop::EventLoop(const Options& options)
    : EventLoop(options, std::make_unique<EpollPoller>()) {}
EventLoop::EventLoop(const Options& options, std::unique_ptr<Poller> poller)
    : impl_(std::make_unique<Impl>(*this, options, std::move(poller))) {}
EventLoop::~EventLoop() = default;

int EventLoop::Listen(std::string_view url, Handler& handler) {
  return impl_->Listen(url, handler);
}
Address EventLoop::ListenAddress(int listener) const { return impl_->ListenAddress(listener); }
void EventLoop::StopListening(int listener) { impl_->StopListening(listener); }

void EventLoop::Run() { impl_->Run(); }
int EventLoop::RunOnce(Duration max_wait) { return impl_->RunOnce(max_wait); }
void EventLoop::Stop(Duration grace) noexcept { impl_->Stop(grace); }
void EventLoop::DrainAll() { impl_->DrainAll(); }
bool EventLoop::IsStopped() const noexcept { return impl_->IsStopped(); }

int EventLoop::PollFd() const noexcept { return impl_->engine().poller().fd(); }
Duration EventLoop::NextTimeout() const noexcept { return impl_->NextTimeout(); }

TimerId EventLoop::RunAfter(Duration delay, Work work) {
  return impl_->AddTimer(delay, Duration::zero(), std::move(work));
}
TimerId EventLoop::RunEvery(Duration period, Work work) {
  Check(period > Duration::zero(), "RunEvery() is given a period above zero");
  return impl_->AddTimer(period, period, std::move(work));
}
bool EventLoop::Cancel(TimerId timer) noexcept { return impl_->CancelTimer(timer); }

bool EventLoop::Post(Work work) { return impl_->Post(std::move(work)); }
Stats EventLoop::GetStats() const noexcept { return impl_->engine().GetStats(); }
int EventLoop::Index() const noexcept { return impl_->index(); }
Clock::time_point EventLoop::Now() const noexcept { return impl_->engine().Now(); }

}  // namespace weir
