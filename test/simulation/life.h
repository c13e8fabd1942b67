// One life of a server: what it is made of, who comes to it, and whether all was as promised.
//
// The program under test is a real weir::Server with its loops on threads, handlers that do what a
// program may do (program.h), and threads that post to it (poster.h). This file knows them all, and
// judges.
//
// OWNER     Play().
// THREADS   One.

#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "simulation/exchange.h"
#include "simulation/peer.h"
#include "simulation/poster.h"
#include "simulation/world.h"
#include "weir/server.h"

namespace weir::sim {

class Life final : public Judge {
 public:
  explicit Life(World& world);
  ~Life() override;

  // From the first call to the last.
  void Live();

  // ---- For the program

  [[nodiscard]] World& world() noexcept { return world_; }
  [[nodiscard]] const Options& options() const noexcept { return options_; }
  // Any of `count`; 0 is the quiet one.
  std::uint32_t Plan(std::uint32_t count) { return world_.choices.Below(Stream::kPlan, count); }
  // The exchange that a connection is the server's side of.
  [[nodiscard]] Exchange* Find(const Connection& connection);
  // Another one whose connection is open on that loop, or null.
  [[nodiscard]] Exchange* AnyOpenOn(int loop);
  void NoteOpen(Exchange& exchange);
  void NoteClosed(Exchange& exchange) { std::erase(open_, &exchange); }
  // The program is about to drain that loop.
  void NoteDrain(int loop);
  // OnData is to come for what is unread, though no new bytes do.
  [[nodiscard]] static bool IsOnDataDue(const Exchange& exchange);
  // In OnClose.
  void JudgeDrain(const Exchange& exchange);
  // Those from OnOpen to OnClose.
  [[nodiscard]] const std::vector<Exchange*>& open() const noexcept { return open_; }
  [[nodiscard]] Server& server() noexcept { return *server_; }
  [[nodiscard]] Tickets& tickets() noexcept { return tickets_; }
  void StopSometime() noexcept { stop_soon_ = true; }
  // A loop may still run what is posted to it.
  [[nodiscard]] bool MayRun(int loop) const noexcept;

  // Lives as long as a timer of the program.
  class TimerMark {
   public:
    explicit TimerMark(Life& life) noexcept : count_(&life.timers_) { ++*count_; }
    TimerMark(TimerMark&& other) noexcept : count_(std::exchange(other.count_, nullptr)) {}
    TimerMark& operator=(TimerMark&&) = delete;
    TimerMark(const TimerMark&) = delete;
    TimerMark& operator=(const TimerMark&) = delete;
    ~TimerMark() {
      if (count_ != nullptr) --*count_;
    }

   private:
    int* count_;
  };

  // ---- Judge

  void OnWait(int epoll, int timeout_ms) override;
  void OnReceived(Socket& socket, std::size_t bytes) override;
  void OnIdle() override;
  void OnBroken(Socket& socket) override;

 private:
  // Stops the server when the peers have left, or earlier.
  class Operator final : public Actor {
   public:
    explicit Operator(Life& life) noexcept : life_(life) {}
    [[nodiscard]] bool CanAct() override;
    void Act() override;
    [[nodiscard]] Clock::time_point WakesAt() override { return at; }

    Clock::time_point at = kNever;  // to stop early

   private:
    Life& life_;
  };

  void PlanOptions();
  void PlanLimits();
  void PlanTimes();
  void PlanPeers();
  void Serve();
  void SetUp();
  void Listen();
  void Run();
  void StartHelper(Work work);
  void StopServer();
  [[nodiscard]] bool PeersAreDone() const noexcept;

  void JudgeQuiet();
  void JudgeTurn(int loop, bool sleeps);
  void JudgeService(Exchange& exchange);
  void JudgeLeftovers();
  void JudgePeers();
  [[nodiscard]] bool MayBeCut(const Exchange& exchange) const;
  [[nodiscard]] bool IsOutOfTime(const Exchange& exchange) const;
  void JudgeStream(const Exchange& exchange);
  void JudgeReset(const Exchange& exchange);
  void JudgeSleeper(Exchange& exchange);
  void Promise(Exchange& exchange);
  [[nodiscard]] bool MayBeUnread(const Exchange& exchange);
  [[nodiscard]] int LoopOf(int epoll) const;

  World& world_;
  Options options_;
  std::vector<Target> targets_;
  std::deque<Exchange> exchanges_;
  std::deque<Peer> peers_;
  std::vector<Exchange*> open_;
  Tickets tickets_{world_, *this};
  std::deque<Poster> posters_;
  std::unique_ptr<Server> server_;
  std::vector<int> epolls_;  // by loop
  Operator operator_{*this};
  Clock::time_point stopped_at_ = kNever;
  Duration grace_{};
  int timers_ = 0;   // of the program, that have not run
  int helpers_ = 0;  // threads that use the server
  bool runs_ = false;
  bool stop_soon_ = false;
  bool stop_said_ = false;
  bool stopped_hard_ = false;  // connections may be reset
};

}  // namespace weir::sim
