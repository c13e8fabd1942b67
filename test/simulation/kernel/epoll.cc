#include "simulation/kernel/epoll.h"

#include <algorithm>
#include <cerrno>

namespace weir::sim {

void File::Wake(std::uint32_t key) {
  bool one_is_enough = false;
  for (Watch* const watch : watches) {
    const bool is_exclusive = (watch->events & EPOLLEXCLUSIVE) != 0;
    if (is_exclusive && one_is_enough) continue;
    const bool woke = watch->epoll->OnWake(*watch, key);
    one_is_enough = one_is_enough || (is_exclusive && woke);
  }
}

// __ep_eventpoll_poll().
std::uint32_t Epoll::Poll() {
  while (!ready_.empty()) {
    Watch& watch = *ready_.front();
    if ((watch.file->Poll() & watch.events) != 0) return EPOLLIN | EPOLLRDNORM;
    watch.is_ready = false;
    ready_.pop_front();
  }
  return 0;
}

void Epoll::OnReleased() {
  while (!watches_.empty()) Drop(*watches_.back());
}

Watch* Epoll::Find(int fd, const File& file) noexcept {
  const auto found = std::find_if(watches_.begin(), watches_.end(), [&](const auto& watch) {
    return watch->fd == fd && watch->file == &file;
  });
  return found == watches_.end() ? nullptr : found->get();
}

int Epoll::Add(int fd, File& file, std::uint32_t events, std::uint64_t data) {
  if (&file == this) return -EINVAL;
  constexpr std::uint32_t kExclusiveMay =
      EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;
  const bool may_be_exclusive =
      (events & ~kExclusiveMay) == 0 && dynamic_cast<Epoll*>(&file) == nullptr;
  if ((events & EPOLLEXCLUSIVE) != 0 && !may_be_exclusive) return -EINVAL;
  if (Find(fd, file) != nullptr) return -EEXIST;
  watches_.push_back(std::make_unique<Watch>(Watch{.epoll = this,
                                                   .file = &file,
                                                   .fd = fd,
                                                   .events = events | EPOLLERR | EPOLLHUP,
                                                   .data = data}));
  Watch& watch = *watches_.back();
  file.watches.push_back(&watch);
  PushIfReady(watch);
  return 0;
}

int Epoll::Modify(int fd, File& file, std::uint32_t events, std::uint64_t data) {
  if ((events & EPOLLEXCLUSIVE) != 0) return -EINVAL;
  Watch* const watch = Find(fd, file);
  if (watch == nullptr) return -ENOENT;
  if ((watch->events & EPOLLEXCLUSIVE) != 0) return -EINVAL;
  watch->events = events | EPOLLERR | EPOLLHUP;
  watch->data = data;
  PushIfReady(*watch);
  return 0;
}

int Epoll::Remove(int fd, File& file) {
  Watch* const watch = Find(fd, file);
  if (watch == nullptr) return -ENOENT;
  Drop(*watch);
  return 0;
}

void Epoll::Forget(File& file) {
  const std::vector<Watch*> all = file.watches;
  for (Watch* const watch : all) {
    if (watch->epoll == this) Drop(*watch);
  }
}

void Epoll::Drop(Watch& watch) {
  std::erase(ready_, &watch);
  std::erase(watch.file->watches, &watch);
  std::erase_if(watches_, [&](const auto& other) { return other.get() == &watch; });
}

std::vector<epoll_event> Epoll::Collect(std::size_t room) {
  std::vector<epoll_event> events;
  for (std::size_t left = ready_.size(); left > 0 && events.size() < room; --left) {
    Watch& watch = *ready_.front();
    ready_.pop_front();
    watch.is_ready = false;
    const std::uint32_t bits = watch.file->Poll() & watch.events;
    if (bits == 0) continue;
    epoll_event event{};
    event.events = bits;
    event.data.u64 = watch.data;
    events.push_back(event);
    if ((watch.events & EPOLLET) == 0) Push(watch);
  }
  return events;
}

void Epoll::Rotate(std::size_t by) {
  if (ready_.empty()) return;
  std::rotate(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(by % ready_.size()),
              ready_.end());
}

bool Epoll::OnWake(Watch& watch, std::uint32_t key) {
  if (key != 0 && (key & watch.events) == 0) return false;
  Push(watch);
  Wake(EPOLLIN);  // an epoll may stand in another one
  return is_waited_on;
}

bool Epoll::Push(Watch& watch) {
  if (watch.is_ready) return false;
  watch.is_ready = true;
  ready_.push_back(&watch);
  return true;
}

void Epoll::PushIfReady(Watch& watch) {
  if ((watch.file->Poll() & watch.events) != 0 && Push(watch)) Wake(EPOLLIN);
}

}  // namespace weir::sim
