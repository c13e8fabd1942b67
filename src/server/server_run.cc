// How a server's loops start together, and stop.
//
//     each loop's thread:   bind to a processor, make the handlers, OnStart
//                           --- the gate: when all are here, all go on or none does ---
//                           run until the loop has ended, destroy the handlers
//
// Stop() tells every loop; but where loop 0 accepts for all, it tells loop 0 alone, and that tells
// the others when its queues are empty and what was in them is handed over. A loop does not end
// while a client is on its way to it (net/handover.h).

#include <csignal>
#include <utility>

#include "base/check.h"
#include "server/affinity.h"
#include "server/server_impl.h"
#include "weir/error.h"

namespace weir {
namespace {

// While it lives, threads are started with all signals blocked but those that a fault raises: the
// program's other threads take them, as if this library had none.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t set;
    sigfillset(&set);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) {
      sigdelset(&set, fault);
    }
    static_cast<void>(sys::SignalMask(SIG_BLOCK, &set, &before_));
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { static_cast<void>(sys::SignalMask(SIG_SETMASK, &before_, nullptr)); }

 private:
  sigset_t before_{};
};

}  // namespace

Server::Impl::~Impl() {
  if (fork_guard_.InChild()) {
    LeaveToParent();
    return;
  }
  Stop(Duration::zero());
  JoinThreads();
}

// The threads are the parent's, and what they were doing at the fork nobody here goes on with: a
// condition that one of them waits for could not be destroyed, a handler may be in the middle of a
// call. Descriptors are closed, with the loops.
void Server::Impl::LeaveToParent() noexcept {
  for (Shard& shard : shards_) {
    if (shard.thread.joinable()) shard.thread.detach();
    for (std::unique_ptr<Handler>& handler : shard.handlers) static_cast<void>(handler.release());
  }
  static_cast<void>(gate_.release());
}

void Server::Impl::Run() {
  BeginOnce();
  StartThreads(1);
  Serve(0);
  JoinThreads();
  if (const std::exception_ptr failure = gate_->Wait()) std::rethrow_exception(failure);
  RethrowFailure();
}

void Server::Impl::Start() {
  BeginOnce();
  StartThreads(0);
  if (const std::exception_ptr failure = gate_->Wait()) {
    JoinThreads();
    std::rethrow_exception(failure);
  }
}

void Server::Impl::Join() {
  JoinThreads();
  RethrowFailure();
}

void Server::Impl::BeginOnce() {
  Check(gate_ == nullptr, "a Server is run, or started, once");
  gate_ = std::make_unique<StartGate>(Loops());
}

void Server::Impl::StartThreads(std::size_t first) {
  const SignalsBlocked blocked;
  for (std::size_t i = first; i < shards_.size(); ++i) {
    const int result = sys::StartThread(shards_[i].thread, [this, i] { Serve(i); });
    if (result < 0) {
      gate_->Report(std::make_exception_ptr(Error::System("a thread for a loop", -result)));
    }
  }
}

// All that happens on a loop's thread.
void Server::Impl::Serve(std::size_t loop) {
  std::optional<CpuPin> pin;
  try {
    if (options_.pin_cpus) pin.emplace(CpuOf(loop));
    SetUp(loop);
    gate_->Report(nullptr);
  } catch (...) {
    gate_->Report(std::current_exception());
  }
  if (gate_->Wait() == nullptr) RunLoop(loop);
  shards_[loop].handlers.clear();
}

void Server::Impl::SetUp(std::size_t loop) {
  ImplOf(loop).SetUp([this, loop] { MakeHandlers(loop); });
}

void Server::Impl::MakeHandlers(std::size_t loop) {
  Shard& shard = shards_[loop];
  for (std::size_t source = 0; source < sources_.size(); ++source) {
    // The server's own, too, where each listener has another: its OnStart may be what it is for.
    Handler* handler = sources_[source].borrowed;
    if (handler == nullptr) {
      shard.handlers.push_back(sources_[source].factory(*shard.loop));
      handler = shard.handlers.back().get();
      if (handler == nullptr) throw Error::Usage("Server", "the factory made no handler");
    }
    ImplOf(loop).AddHandler(*handler);
    for (std::size_t i = 0; i < source_of_.size(); ++i) {
      if (source_of_[i] == source) ImplOf(loop).SetHandler(static_cast<int>(i), *handler);
    }
  }
}

void Server::Impl::RunLoop(std::size_t loop) {
  for (;;) {
    try {
      return shards_[loop].loop->Run();
    } catch (...) {
      KeepFailure(std::current_exception());
    }
    BeginStop(Duration::max());  // it goes on, as all do, until what it has is drained
  }
}

void Server::Impl::KeepFailure(std::exception_ptr failure) {
  const std::lock_guard lock(failure_mutex_);
  if (failure_ == nullptr) failure_ = std::move(failure);
}

void Server::Impl::JoinThreads() {
  for (Shard& shard : shards_) {
    if (shard.thread.joinable()) shard.thread.join();
  }
}

void Server::Impl::RethrowFailure() {
  const std::exception_ptr failure = std::exchange(failure_, nullptr);
  if (failure != nullptr) std::rethrow_exception(failure);
}

// ---- Stopping

void Server::Impl::Stop(Duration grace) noexcept {
  const bool is_first = stops_.exchange(1, std::memory_order_relaxed) == 0;
  if (!is_first || grace <= Duration::zero()) {
    for (const Shard& shard : shards_) shard.loop->Stop(Duration::zero());
    return;
  }
  BeginStop(grace);
}

// Safe on any thread, and in a signal handler.
void Server::Impl::BeginStop(Duration grace) noexcept {
  ImplOf(0).StopOnce(grace);
  if (!balancer_.has_value()) StopOthers(grace);
}

void Server::Impl::StopOthers(Duration grace) noexcept {
  for (std::size_t i = 1; i < shards_.size(); ++i) ImplOf(i).StopOnce(grace);
}

}  // namespace weir
