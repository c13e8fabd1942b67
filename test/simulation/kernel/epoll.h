// epoll(7) by the kernel's own rules (fs/eventpoll.c):
//
//   - a file's Wake() puts its watch on the ready list, if it asks for that kind of event;
//   - ADD and MOD put it there if a poll finds something;
//   - a wait takes watches off the list, polls each, and reports what it asks for of what the poll
//     says NOW; one that has nothing more to say is dropped without a word;
//   - a level-triggered one goes back to the end of the list, an edge-triggered one does not.
//
// So an edge is a wake-up, not a change of state, and carries all that is true when it is reported.

#pragma once

#include <sys/epoll.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <vector>

#include "simulation/kernel/file.h"

namespace weir::sim {

class Epoll final : public File {
 public:
  // Looks at those on its list until one has something to say, and drops the others.
  [[nodiscard]] std::uint32_t Poll() override;
  void OnReleased() override;

  int Add(int fd, File& file, std::uint32_t events, std::uint64_t data);
  int Modify(int fd, File& file, std::uint32_t events, std::uint64_t data);
  int Remove(int fd, File& file);
  // The file's last descriptor is closed.
  void Forget(File& file);

  // At most `room` events, those that waited longest first.
  [[nodiscard]] std::vector<epoll_event> Collect(std::size_t room);
  // A wait would look at something. (It may find that there is nothing to report.)
  [[nodiscard]] bool HasReady() const noexcept { return !ready_.empty(); }
  [[nodiscard]] const std::vector<std::unique_ptr<Watch>>& watches_here() const noexcept {
    return watches_;
  }
  // For a schedule that reports in another order: the first becomes the last.
  void Rotate(std::size_t by);

  // Returns whether somebody was asleep in a wait here: it is what EPOLLEXCLUSIVE asks.
  bool OnWake(Watch& watch, std::uint32_t key);

  bool is_waited_on = false;  // somebody is asleep in a wait

 private:
  [[nodiscard]] Watch* Find(int fd, const File& file) noexcept;
  // False if it stood there already.
  bool Push(Watch& watch);
  void PushIfReady(Watch& watch);
  void Drop(Watch& watch);

  std::vector<std::unique_ptr<Watch>> watches_;
  std::deque<Watch*> ready_;
};

}  // namespace weir::sim
