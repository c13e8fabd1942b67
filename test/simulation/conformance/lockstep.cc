#include "simulation/conformance/lockstep.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <array>

#include "simulation/conformance/text.h"

namespace weir::sim::conformance {
namespace {

using Time = std::chrono::steady_clock;

constexpr std::size_t kMostEvents = 64;
constexpr std::size_t kLinesShown = 80;

std::string Join(std::string list, const std::string& next) {
  return list.empty() ? next : std::move(list) + ", " + next;
}

}  // namespace

// ---- A call in both worlds

std::string Lockstep::Both(const std::string& what,
                           const std::function<std::string(World&)>& call) {
  std::string simulated = call(simulated_);
  const std::string real = call(real_);
  if (simulated != real) Fail(what, simulated, real);
  transcript_.push_back(what + " = " + simulated);
  Settle(what);
  return simulated;
}

std::string Lockstep::BothCount(const std::string& what, const std::function<long(World&)>& call) {
  return Both(what, [&](World& world) { return ResultText(call(world)); });
}

int Lockstep::BothOpen(const std::string& what, Kind kind, std::string_view name,
                       const std::function<long(World&)>& call) {
  const long simulated = call(simulated_);
  const long real = call(real_);
  if (simulated != real) Fail(what, ResultText(simulated), ResultText(real));
  const int fd = static_cast<int>(simulated);
  if (fd >= 0) {
    open_[fd] = kind;
    Name(fd, name);
  }
  transcript_.push_back(what + " = " + ResultText(fd) +
                        (fd >= 0 ? " " + std::string(name) : std::string()));
  Settle(what);
  return fd;
}

void Lockstep::Fail(const std::string& what, const std::string& simulated,
                    const std::string& real) {
  std::string text = "the simulation differs from the kernel\n";
  const std::size_t skipped = transcript_.size() - std::min(transcript_.size(), kLinesShown);
  for (std::size_t i = skipped; i < transcript_.size(); ++i) {
    text += "    " + transcript_[i] + "\n";
  }
  text += "  simulated: " + what + " = " + simulated + "\n";
  text += "  real:      " + what + " = " + real;
  throw Mismatch(text);
}

// ---- What can be seen without changing it

Lockstep::Look Lockstep::LookAt(World& world, int fd, Kind kind) const {
  Look look{.poll = world.Poll(fd), .unread = 0, .state = 0, .at_mark = false};
  if (kind == Kind::kEventFd) return look;
  // These two take the socket's lock: whatever of a segment the poll has seen is done by then.
  const long result = world.UnreadBytes(fd, &look.unread);
  if (result < 0) look.unread = static_cast<int>(result);
  if (ignores_sizes_) look.unread = std::clamp(look.unread, -1, 1);
  if (kind == Kind::kTcp) {
    tcp_info info{};
    world.GetOption(fd, IPPROTO_TCP, TCP_INFO, &info, sizeof info);
    look.state = info.tcpi_state;
    look.at_mark = world.AtUrgentMark(fd) == 1;
    // Of a listener it is the length of its queue.
    if (info.tcpi_state == TCP_LISTEN) look.unread = static_cast<int>(info.tcpi_unacked);
  }
  return look;
}

void Lockstep::Settle(const std::string& after) {
  const auto deadline = Time::now() + bound_;
  for (const auto& [fd, kind] : open_) {
    if (kind == Kind::kEpoll) continue;  // to poll one is to take from it what is stale
    const Look simulated = LookAt(simulated_, fd, kind);
    Look real = LookAt(real_, fd, kind);
    while (simulated != real && Time::now() < deadline) {
      real_.LetArrive();
      real = LookAt(real_, fd, kind);
    }
    if (simulated == real) continue;
    const auto text = [](const Look& look) {
      return EventNames(look.poll) + ", unread " + std::to_string(look.unread) + ", state " +
             std::to_string(look.state) + (look.at_mark ? ", at the urgent mark" : "");
    };
    Fail("a look at " + NameOf(fd) + " after " + after, text(simulated), text(real));
  }
}

const std::string& Lockstep::NameOf(int fd) {
  return names_.try_emplace(fd, std::to_string(fd)).first->second;
}

// ---- Waiting

std::uint64_t Lockstep::TagOf(int fd, std::string_view name) {
  const std::string text = name.empty() ? NameOf(fd) : std::string(name);
  const auto found = std::find(tags_.begin(), tags_.end(), text);
  const auto tag = static_cast<std::uint64_t>(found - tags_.begin());
  if (found == tags_.end()) tags_.push_back(text);
  return tag;
}

std::string Lockstep::Control(int operation, int epoll, int fd, std::uint32_t events,
                              std::string_view name) {
  constexpr std::array kNames{"?", "Watch", "Unwatch", "Modify"};
  const std::uint64_t tag = TagOf(fd, name);
  std::string what = std::string(kNames.at(static_cast<std::size_t>(operation))) + "(" +
                     NameOf(epoll) + ", " + NameOf(fd);
  if (operation != EPOLL_CTL_DEL) what += ", " + EventNames(events) + ", " + tags_[tag];
  return BothCount(what + ")", [&](World& world) {
    return world.EpollControl(epoll, operation, fd, events, tag);
  });
}

long Lockstep::Collect(World& world, int epoll, std::size_t capacity, Events* events) {
  std::array<epoll_event, kMostEvents> room{};
  const long count = world.EpollWait(epoll, std::span(room).first(capacity));
  for (long i = 0; i < count; ++i) {
    const epoll_event& event = room[static_cast<std::size_t>(i)];
    const std::uint64_t tag = event.data.u64;  // a packed field, to which nothing may refer
    (*events)[tag] |= event.events;
  }
  return count;
}

std::string Lockstep::Text(const Events& events) const {
  std::vector<std::string> each;
  for (const auto& [tag, bits] : events) {
    const std::string name = tag < tags_.size() ? tags_[tag] : "tag " + std::to_string(tag);
    each.push_back(name + " " + EventNames(bits));
  }
  std::sort(each.begin(), each.end());
  std::string text;
  for (const std::string& one : each) text = Join(std::move(text), one);
  return text.empty() ? "nothing" : text;
}

// An event of the real world may be a little late, though what it tells of can be seen already.
std::string Lockstep::WaitOnce(const std::string& what, int epoll) {
  Events simulated;
  const long expected = Collect(simulated_, epoll, kMostEvents, &simulated);
  Events real;
  long told = Collect(real_, epoll, kMostEvents, &real);
  const auto deadline = Time::now() + bound_;
  while (told >= 0 && expected >= 0 && real != simulated && Time::now() < deadline) {
    const bool is_too_much = std::any_of(real.begin(), real.end(), [&](const auto& event) {
      const auto found = simulated.find(event.first);
      return found == simulated.end() || (event.second & ~found->second) != 0;
    });
    if (is_too_much) break;
    real_.LetArrive();
    told = Collect(real_, epoll, kMostEvents, &real);
  }
  std::string first = expected < 0 ? ResultText(expected) : Text(simulated);
  const std::string second = told < 0 ? ResultText(told) : Text(real);
  if (first != second) Fail(what, first, second);
  transcript_.push_back(what + " = " + first);
  return first;
}

std::string Lockstep::Wait(int epoll) {
  const std::string what = "Wait(" + NameOf(epoll) + ")";
  std::string events = WaitOnce(what, epoll);
  WaitOnce("again " + what, epoll);
  Settle(what);
  return events;
}

std::string Lockstep::WaitInBatches(int epoll, std::size_t capacity, int count) {
  const std::string what = "WaitInBatches(" + NameOf(epoll) + ", " + std::to_string(capacity) + ")";
  return Both(what, [&](World& world) {
    Events events;
    std::string counts;
    for (int i = 0; i < count; ++i) {
      counts += (i > 0 ? "+" : "") + ResultText(Collect(world, epoll, capacity, &events));
    }
    return counts + ": " + Text(events);
  });
}

}  // namespace weir::sim::conformance
