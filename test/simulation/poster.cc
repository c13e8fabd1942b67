#include "simulation/poster.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "simulation/life.h"
#include "simulation/program.h"

namespace weir::sim {

void Tickets::OnRun(Ticket& ticket) {
  if (ticket.was_run_) world_.Find("post: run twice");
  ticket.was_run_ = true;
  run_.insert(ticket.number_);
  if (refused_.contains(ticket.number_)) world_.Find("post: run though it was refused");
  const EventLoop* const loop = EventLoop::Current();
  if (loop == nullptr || loop->Index() != ticket.loop_) world_.Find("post: run on another thread");
  std::uint64_t& last = last_run_[{ticket.poster_, ticket.loop_}];
  if (last >= ticket.number_) world_.Find("post: out of order");
  last = ticket.number_;
}

// By then another thread may have run it.
void Tickets::NoteRefused(std::uint64_t number) {
  lost_.erase(number);
  refused_.insert(number);
  if (run_.contains(number)) world_.Find("post: refused though it was run");
}

void Tickets::OnDestroyed(const Ticket& ticket) {
  --alive_;
  if (!ticket.was_run_ && life_.MayRun(ticket.loop_)) lost_.insert(ticket.number_);
}

void Tickets::Judge() {
  if (!lost_.empty()) world_.Find("post: lost by a loop that runs");
  if (alive_ != 0) world_.Find("post: {} neither run nor destroyed", alive_);
}

void Poster::Run() {
  World& world = life_.world();
  const std::uint32_t posts = 1 + life_.Plan(12);
  for (std::uint32_t i = 0; i < posts; ++i) {
    if (life_.Plan(3) == 0) {
      const auto until = world.scheduler.now() + std::chrono::milliseconds(1 + life_.Plan(60));
      world.scheduler.SleepUntil([] { return false; }, until);
    }
    if (life_.Plan(2) == 0) {
      PostToLoop();
    } else {
      UseConnection();
    }
  }
}

void Poster::PostToLoop() {
  Server& server = life_.server();
  const auto index = static_cast<int>(life_.Plan(static_cast<std::uint32_t>(server.Loops())));
  EventLoop& loop = server.Loop(index);
  life_.world().Trace("thread {}: posts to loop {}", number_, index);
  auto work = [this, ticket = life_.tickets().Make(number_, index), index]() mutable {
    ticket.Run();
    Exchange* const exchange = life_.AnyOpenOn(index);
    if (exchange == nullptr) return;
    switch (life_.Plan(6)) {
      case 0:
      case 1:
      case 2:
        return WriteSome(life_, *exchange, 1 + life_.Plan(300));
      case 3:
        return Resume(*exchange);
      case 4:
        return Pause(life_, *exchange);
      default:
        return CloseIt(*exchange);
    }
  };
  const std::uint64_t ticket = life_.tickets().last_made();
  if (!loop.Post(std::move(work))) life_.tickets().NoteRefused(ticket);
}

void Poster::UseConnection() {
  if (life_.open().empty()) return;
  const auto many = static_cast<std::uint32_t>(life_.open().size());
  Exchange& exchange = *life_.open()[life_.Plan(many)];
  const ConnRef ref = exchange.ref;  // all that another thread may have of it
  Life* const life = &life_;
  Exchange* const self = &exchange;
  switch (life_.Plan(8)) {
    case 0:
    case 1:
    case 2:
      static_cast<void>(ref.Post([life, self](Connection&) { WriteSome(*life, *self, 200); }));
      return;
    case 3:
      static_cast<void>(ref.Post([self](Connection&) { Resume(*self); }));
      return;
    case 4:
      exchange.woken = true;
      static_cast<void>(ref.Wake());
      return;
    case 5:
      static_cast<void>(ref.Post([self](Connection&) { CloseIt(*self); }));
      return;
    case 6:
      static_cast<void>(ref.Post([self](Connection&) { AbortIt(*self); }));
      return;
    default:
      static_cast<void>(ref.Post([](Connection& connection) { connection.FlushNow(); }));
      return;
  }
}

}  // namespace weir::sim
