// A client that keeps to a script, and may be rude: sends and does not read, stops in the middle,
// ends one direction, resets, sends urgent bytes, comes and goes at once.
//
// It compares every byte that it receives.
//
// OWNER     The life.
// THREADS   One: an actor of the scheduler.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "simulation/exchange.h"
#include "simulation/scheduler.h"
#include "simulation/world.h"

namespace weir::sim {

// Where a server listens.
struct Target {
  std::uint16_t port = 0;
  std::string path;  // of a Unix listener, as sun_path has it; empty: TCP

  [[nodiscard]] bool IsUnix() const noexcept { return !path.empty(); }
};

class Peer final : public Actor {
 public:
  // Writes its script.
  Peer(World& world, Exchange& exchange, Target target);

  [[nodiscard]] bool CanAct() override;
  void Act() override;
  [[nodiscard]] Clock::time_point WakesAt() override;

  [[nodiscard]] bool IsDone() const noexcept { return done_; }
  [[nodiscard]] Exchange& exchange() const noexcept { return exchange_; }
  [[nodiscard]] Socket* socket() const noexcept { return world_.clients.FindSocket(fd_); }
  // What it is doing, for a finding.
  [[nodiscard]] std::string Describe() const;

 private:
  enum class Verb : std::uint8_t {
    kWait,        // milliseconds
    kConnect,     //
    kSend,        // bytes
    kSendUrgent,  //
    kReceive,     // at least so many bytes, or the end
    kDrain,       // to the end
    kEnd,         // FIN
    kClose,       // whatever is unread
    kReset,
  };
  struct Step {
    Verb verb;
    std::size_t amount = 0;
  };

  void Plan();
  void PlanEnd();
  [[nodiscard]] const Step& Now() const noexcept { return script_[at_]; }
  void Next() noexcept;
  void Connect();
  void Send();
  void SendUrgent();
  void Receive();
  void Leave(bool reset);
  void NoteReset();
  void OnGone();

  World& world_;
  Exchange& exchange_;
  const Target target_;
  std::vector<Step> script_;
  std::size_t at_ = 0;
  std::size_t moved_ = 0;  // of the step's amount
  Clock::time_point wakes_at_ = kNever;
  int fd_ = -1;
  int tries_ = 0;
  bool connected_ = false;
  bool done_ = false;
};

}  // namespace weir::sim
