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
#include <vector>

#include "net/acceptor.h"
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
  bool Post(Work work);

  [[nodiscard]] LoopCore& core() noexcept { return core_; }
  [[nodiscard]] Engine& engine() noexcept { return core_.engine; }
  [[nodiscard]] const Engine& engine() const noexcept { return core_.engine; }

  // ---- The steps of a turn (loop/turn.h)

  std::span<const Poller::Event> Wait(Duration max_wait);
  int TakeMail();
  int TakeEdges(std::span<const Poller::Event> events);
  int ServeOwed();
  int FireTimers();
  int Retire();
  void EndBatch();
  int Flush();

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

  void Begin();  // once: the loop's thread is this one, OnStart
  void AdvanceStop();
  void BeginStop(Duration grace);
  void TellStop();
  void AbortAll();
  void Finish();
  void ServeOwedOne(const Owed& entry, std::size_t& budget);
  [[nodiscard]] bool HasEnded() const noexcept;
  [[nodiscard]] std::vector<Handler*> ListenHandlers() const;
  void CheckThread() const noexcept;
  void CheckProcess() const noexcept;
  template <class Call>
  void Guarded(const char* what, Call&& call) noexcept;

  sys::ForkGuard fork_guard_;
  LoopCore core_;
  std::vector<std::unique_ptr<Acceptor>> acceptors_;  // by number; closed ones stay
  GraceTimer grace_timer_{*this};
  Token grace_token_;
  const void* thread_ = nullptr;  // the loop's, once it has begun
  Stage stage_ = Stage::kRunning;
  bool started_ = false;
  bool finished_ = false;
  std::vector<Handler*> ending_batch_;  // scratch; the next likewise
  std::vector<Owed> spent_;

  // Written by Stop(), from any thread or signal handler. Lock-free, hence async-signal-safe.
  std::atomic<std::int64_t> stop_wanted_{kNoStop};
  static_assert(std::atomic<std::int64_t>::is_always_lock_free);
};

}  // namespace weir
