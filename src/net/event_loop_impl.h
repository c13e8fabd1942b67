// The loop: the turn's steps over the engine, the connections and the listeners.
//
// OWNER     EventLoop.
// THREADS   As event_loop.h says.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "loop/timers.h"
#include "net/acceptor.h"
#include "net/connection_straight.h"
#include "net/handover.h"
#include "net/loop_core.h"
#include "os/sys.h"
#include "weir/event_loop.h"

namespace weir {

class EventLoop::Impl {
 public:
  Impl(EventLoop& loop, const Options& options, std::unique_ptr<Poller> poller);
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl();

  // ---- The public calls

  int Listen(std::string_view url, Handler& handler);
  [[nodiscard]] Address ListenAddress(int listener) const;
  void StopListening(int listener);
  void Run();
  int RunOnce(Duration max_wait);
  void Stop(Duration grace) noexcept;
  void DrainAll();
  [[nodiscard]] bool IsStopped() const noexcept;
  bool Post(Work&& work);
  [[nodiscard]] Duration NextTimeout() const noexcept;
  std::uint64_t AddTimer(Duration delay, Duration period, Work work);
  bool CancelTimer(std::uint64_t timer) noexcept;

  // ---- A server's loops

  // A listener whose handler comes later, by SetHandler(). Throws weir::Error.
  int AddAcceptor(ListenSource source);
  [[nodiscard]] const std::string& ListenUrl(int listener) const {
    return acceptors_[static_cast<std::size_t>(listener)]->url();
  }
  void RemoveLastAcceptor() { acceptors_.pop_back(); }  // REQUIRES: no turn was taken
  void CheckIsFree(const Endpoint& endpoint) const;  // throws if it is an inherited socket of ours
  void SetHandler(int listener, Handler& handler);
  // Its OnStart and OnStop are called, too, whether it has a listener or not.
  void AddHandler(Handler& handler);

  // On the loop's thread, before Run(): `make_handlers`, then each OnStart. Throws what they throw.
  void SetUp(Work make_handlers);

  // [any] [signal] Stop(), unless it was called already.
  void StopOnce(Duration grace) noexcept;
  // Called on the loop's thread when a stop has come so far that nobody else is accepted, but for
  // those who wait for descriptors; with what the stop's grace is.
  void OnAcceptingEnded(UniqueFunction<void(Duration)> call) {
    on_accepting_ended_ = std::move(call);
  }

  // Sockets that another loop accepts for this one. No loop ends while some are on their way to it.
  [[nodiscard]] Inbox& inbox() noexcept { return inbox_; }
  void TakeHanded(int listener, UniqueFd fd, const PeerAddress& peer);

  [[nodiscard]] int index() const noexcept { return index_; }
  void SetIndex(int index) noexcept { index_ = index; }

  [[nodiscard]] LoopCore& core() noexcept { return core_; }
  [[nodiscard]] Engine& engine() noexcept { return core_.engine; }
  [[nodiscard]] const Engine& engine() const noexcept { return core_.engine; }

  // ---- The steps of a turn (loop/turn.h)
  //
  // Most turns have edges and nothing else: each of the other steps is one look, here, and its work
  // stands in the .cc.

  [[gnu::always_inline]] std::span<const Poller::Event> Wait(Duration max_wait) {
    core_.table.Reclaim();
    return core_.engine.Wait(max_wait);
  }
  int TakeMail() {
    if (stop_wanted_.load(std::memory_order_relaxed) != kNoStop) [[unlikely]] {
      AdvanceStop();
    }
    return core_.engine.mailbox().HasMail() ? RunMail() : 0;
  }
  [[gnu::always_inline]] int TakeEdges(std::span<const Poller::Event> events) {
    for (const Poller::Event& event : events) {
      const Token token = Token::Unpack(event.data.u64);
      if (ConnectionImpl* const connection = core_.table.FindGiven(token)) [[likely]] {
        connection->OnEdge(Edge{event.events});
      } else {
        TellSource(token, Edge{event.events});
      }
    }
    return static_cast<int>(events.size());
  }
  int ServeOwed() { return core_.engine.work().owed.IsEmpty() ? 0 : RunOwed(); }
  int FireTimers() { return core_.engine.HasTimers() ? RunTimers() : 0; }
  int Retire() { return core_.engine.work().retiring.IsEmpty() ? 0 : RunRetiring(); }
  void EndBatch() {
    if (core_.called == nullptr) return;
    if (!core_.called_several) [[likely]] {
      TellBatchEnd(*std::exchange(core_.called, nullptr));
    } else {
      TellAllBatchEnds();
    }
  }
  int Flush() {
    const int flushed = core_.engine.work().dirty.IsEmpty() ? 0 : FlushAll();
    core_.CheckMemory();
    return flushed;
  }

 private:
  // How far a stop has come.
  enum class Stage : std::uint8_t { kRunning, kAccepting, kDraining, kAborted };

  // What Stop() wants: nanoseconds of grace, or one of these.
  static constexpr std::int64_t kNoStop = -1;
  static constexpr std::int64_t kDefaultGrace = INT64_MAX;

  class GraceTimer final : public EventSource {
   public:
    explicit GraceTimer(Impl& loop) noexcept : loop_(loop) {}
    void OnTimer() override { loop_.AbortAll(); }

   private:
    Impl& loop_;
  };

  void TellSource(Token token, Edge edge);
  int RunMail();
  int RunOwed();
  int RunTimers();
  int RunRetiring();
  // Inlined into the turn: nearly all turns with an edge have one.
  void TellBatchEnd(Handler& handler) noexcept {
    Guarded("OnBatchEnd", [&] { handler.OnBatchEnd(core_.loop); });
  }
  void TellAllBatchEnds();
  int FlushAll();
  void Begin();  // once: the loop's thread is this one, OnStart
  [[nodiscard]] bool AskToStop(Duration grace) noexcept;
  void AdvanceStop();
  void AdvanceToEnd();
  void BeginStop(Duration grace);
  void TellStop(Duration grace);
  void AbortAll();
  void Finish();
  void ServeOwedOne(const Owed& entry, std::size_t& budget);
  [[nodiscard]] bool HasEnded() const noexcept;
  void CheckThread() const noexcept;
  void CheckProcess() const noexcept;

  // Runs what is no connection's callback: what it throws is caught here.
  template <class Call>
  void Guarded(std::string_view what, Call&& call) noexcept {
    try {
      call();
    } catch (...) {
      core_.NoteException(what);
    }
  }
  void TakeCare();
  void Rethrow();

  sys::ForkGuard fork_guard_;
  LoopCore core_;
  std::vector<std::unique_ptr<Acceptor>> acceptors_;  // by number; closed ones stay
  std::vector<Handler*> handlers_;                    // each once
  Inbox inbox_;
  UniqueFunction<void(Duration)> on_accepting_ended_;
  int index_ = 0;
  Timers timers_{core_.engine};
  GraceTimer grace_timer_{*this};
  Token grace_token_;
  TimerId grace_end_ = 0;
  const void* thread_ = nullptr;  // the loop's, once it has begun
  Stage stage_ = Stage::kRunning;
  Duration grace_{};  // once it stops
  bool started_ = false;
  bool finished_ = false;
  std::vector<Handler*> ending_batch_;  // scratch; the next likewise
  std::vector<Owed> spent_;

  // Written by Stop(), from any thread or signal handler. Lock-free, hence async-signal-safe.
  std::atomic<std::int64_t> stop_wanted_{kNoStop};
  static_assert(std::atomic<std::int64_t>::is_always_lock_free);
};

}  // namespace weir
