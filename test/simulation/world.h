// One life's world: the machine, the processes, the clock, the weather, and what was found wrong.
//
// OWNER     Play(). There is one at a time: the library's system calls find it by Current().
// THREADS   One.

#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "simulation/choices.h"
#include "simulation/faults.h"
#include "simulation/kernel/network.h"
#include "simulation/kernel/process.h"
#include "simulation/play.h"
#include "simulation/scheduler.h"

namespace weir::sim {

// Who is asked at each wait of a loop whether all is well.
class Judge {
 public:
  virtual ~Judge() = default;
  // A loop is about to look for events: for ever, if timeout_ms is -1.
  virtual void OnWait(int epoll, int timeout_ms) = 0;
  virtual void OnReceived(Socket& socket, std::size_t bytes) = 0;
  // Nobody can go on: time is about to pass.
  virtual void OnIdle() = 0;
  // The network has broken a connection.
  virtual void OnBroken(Socket& socket) = 0;
};

class World {
 public:
  World(Choices& all_choices, std::FILE* trace);
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World();

  [[nodiscard]] static World& Current() noexcept { return *current_; }

  Choices& choices;
  Faults faults{choices};
  Scheduler scheduler{choices};
  Network network;
  Process server{network};
  Process clients{network};
  Tally tally;
  Judge* judge = nullptr;

  // Only the first counts: what follows may be its consequence.
  template <class... Arguments>
  void Find(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
    Note(fmt::format(text, std::forward<Arguments>(arguments)...));
  }
  [[nodiscard]] const std::string& finding() const noexcept { return finding_; }

  template <class... Arguments>
  void Trace(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
    if (trace_ != nullptr) Tell(fmt::format(text, std::forward<Arguments>(arguments)...));
  }

  // ---- For the calls

  // A system call of the server begins: it takes time, and others may go on before it.
  void BeginCall();

  // A send has met a kernel without memory: it is told later that there is some again.
  void OweRoom(Socket& socket) { without_room_.push_back(&socket); }

  // What was registered, to find stale tokens.
  std::vector<std::uint64_t> registered;

 private:
  // Moves what is in flight, and tells sockets of room.
  class Weather final : public Actor {
   public:
    explicit Weather(World& world) noexcept : world_(world) {}
    [[nodiscard]] bool CanAct() override;
    void Act() override;

   private:
    [[nodiscard]] TcpSocket* NextInFlight() const;

    World& world_;
    std::size_t next_ = 0;
  };

  void Note(std::string finding);
  void Tell(const std::string& line);

  static World* current_;

  std::FILE* const trace_;
  std::string finding_;
  std::vector<Socket*> without_room_;
  Weather weather_{*this};
};

}  // namespace weir::sim
