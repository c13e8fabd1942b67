// Threads of the program that give work to its loops, and an account of what becomes of it.
//
// OWNER     The life.
// THREADS   The simulated ones.

#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include "simulation/world.h"
#include "weir/event_loop.h"

namespace weir::sim {

class Life;

// Every piece of work that was posted carries a ticket. It is to be run once, on its loop, in its
// poster's order; or, when the loop has ended, to be destroyed unrun.
class Tickets {
 public:
  Tickets(World& world, const Life& life) noexcept : world_(world), life_(life) {}
  Tickets(const Tickets&) = delete;
  Tickets& operator=(const Tickets&) = delete;

  class Ticket {
   public:
    Ticket(Tickets& all, int poster, int loop, std::uint64_t number) noexcept
        : all_(&all), poster_(poster), loop_(loop), number_(number) {}
    Ticket(Ticket&& other) noexcept
        : all_(std::exchange(other.all_, nullptr)),
          poster_(other.poster_),
          loop_(other.loop_),
          number_(other.number_),
          was_run_(other.was_run_) {}
    Ticket& operator=(Ticket&&) = delete;
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;
    ~Ticket() {
      if (all_ != nullptr) all_->OnDestroyed(*this);
    }
    // The work begins.
    void Run() { all_->OnRun(*this); }

   private:
    friend class Tickets;

    Tickets* all_;
    int poster_;
    int loop_;
    std::uint64_t number_;
    bool was_run_ = false;
  };

  Ticket Make(int poster, int loop) {
    ++alive_;
    return {*this, poster, loop, ++made_};
  }

  // The number of the ticket that was made last.
  [[nodiscard]] std::uint64_t last_made() const noexcept { return made_; }
  // Post() has said that it did not take the work.
  void NoteRefused(std::uint64_t number);

  // When all has ended.
  void Judge();

 private:
  void OnRun(Ticket& ticket);
  void OnDestroyed(const Ticket& ticket);

  World& world_;
  const Life& life_;
  std::set<std::uint64_t> lost_;     // destroyed unrun by a loop that might have run them
  std::set<std::uint64_t> run_;      // all that were
  std::set<std::uint64_t> refused_;  // they are not to be run, then or later
  std::uint64_t made_ = 0;
  std::uint64_t alive_ = 0;
  std::map<std::pair<int, int>, std::uint64_t> last_run_;  // by poster and loop
};

// What one posting thread does.
class Poster {
 public:
  Poster(Life& life, int number) noexcept : life_(life), number_(number) {}

  void Run();

 private:
  void PostToLoop();
  void UseConnection();

  Life& life_;
  const int number_;
};

}  // namespace weir::sim
