#include "simulation/conformance/random_script.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <map>
#include <random>

#include "simulation/conformance/lockstep.h"

namespace weir::sim::conformance {
namespace {

constexpr std::size_t kMostSockets = 12;
constexpr std::uint32_t kMostBytes = 300;  // so that no buffer of either world fills

class Player {
 public:
  explicit Player(std::chrono::milliseconds bound) : it_(bound) {
    for (int& epoll : epolls_) epoll = it_.Epoll();
    it_.Name(epolls_[1], "epoll2");
    event_ = it_.EventFd();
    for (std::size_t i = 0; i < 2; ++i) OpenListener(i);
    for (std::size_t i = 0; i < 4; ++i) Pair(i);
  }

  void Do(const Step& step) {
    using Action = void (Player::*)(const Step&);
    struct Choice {
      std::uint32_t weight;
      Action action;
    };
    static constexpr std::array<Choice, 22> kChoices{{
        {26, &Player::Wait},       {14, &Player::Watch},      {6, &Player::Modify},
        {3, &Player::Unwatch},     {14, &Player::Send},       {2, &Player::SendMessage},
        {4, &Player::SendUrgent},  {18, &Player::Recv},       {5, &Player::Shutdown},
        {5, &Player::Close},       {2, &Player::LingerNot},   {3, &Player::Error},
        {2, &Player::Dup},         {4, &Player::ConnectPair}, {3, &Player::Connect},
        {3, &Player::Accept},      {1, &Player::Refused},     {2, &Player::SwitchListener},
        {3, &Player::Event},       {1, &Player::SwitchEpoll}, {1, &Player::Nest},
        {1, &Player::WatchOthers},
    }};
    std::uint32_t left = step.what % 123;
    for (const auto& [weight, action] : kChoices) {
      if (left < weight) return (this->*action)(step);
      left -= weight;
    }
  }

 private:
  // ---- What there is

  [[nodiscard]] int Socket(const Step& step) const {
    return sockets_[step.which % sockets_.size()];
  }
  [[nodiscard]] int EpollOf(const Step& step) const { return epolls_[(step.how >> 16) % 2]; }

  static std::uint32_t Interest(const Step& step) {
    std::uint32_t events = step.how % 5 == 0 ? 0U : std::uint32_t{EPOLLET};
    if ((step.how & 0x100) != 0) events |= EPOLLIN;
    if ((step.how & 0x200) != 0) events |= EPOLLOUT;
    if ((step.how & 0x400) != 0) events |= EPOLLRDHUP;
    if ((step.how & 0x800) != 0) events |= EPOLLPRI;
    if ((step.how & 0xf000) == 0) events |= EPOLLEXCLUSIVE;
    return events;
  }

  std::string Bytes(const Step& step) {
    const std::size_t count = 1 + step.how % kMostBytes;
    next_ = next_ == 'z' ? 'a' : static_cast<char>(next_ + 1);
    return std::string(step.how % 3 == 0 ? count : 1 + count % 8, next_);
  }

  void Add(int fd) {
    if (fd < 0) return;
    sockets_.push_back(fd);
    it_.Name(fd, "s" + std::to_string(++made_));
  }

  // ---- Connections and those who wait for them

  void OpenListener(std::size_t i) {
    listeners_[i] = it_.Listener(i == 0 ? Family::kTcp : Family::kUnix);
  }

  int Client(std::size_t i) {
    if (listeners_[i] < 0) OpenListener(i);
    const int client = it_.Socket(i == 0 ? Family::kTcp : Family::kUnix);
    Add(client);
    it_.Connect(client, listeners_[i]);
    return client;
  }

  void AcceptAll(int listener) {
    int fd = 0;
    while ((fd = it_.Accept(listener)) >= 0) Add(fd);
  }

  void Pair(std::size_t i) {
    if (listeners_[i % 2] >= 0) AcceptAll(listeners_[i % 2]);  // so that the next is its own
    const int client = Client(i % 2);
    const int server = it_.Accept(listeners_[i % 2]);
    Add(server);
    if (i % 2 == 1) return;
    peers_[client] = server;
    peers_[server] = client;
  }

  void ConnectPair(const Step& step) {
    if (sockets_.size() < kMostSockets) Pair(step.how);
  }
  void Connect(const Step& step) {
    if (sockets_.size() < kMostSockets) Client(step.how % 2);
  }
  void Accept(const Step& step) {
    if (listeners_[step.how % 2] >= 0) Add(it_.Accept(listeners_[step.how % 2]));
  }
  void Refused(const Step& step) {
    const Family family = step.how % 2 == 0 ? Family::kTcp : Family::kUnix;
    const int bound = it_.Socket(family);
    it_.Bind(bound, family == Family::kTcp ? "" : "@bound" + std::to_string(++made_));
    Add(it_.Socket(family));
    it_.Connect(sockets_.back(), bound);
    it_.Close(bound);
  }
  void SwitchListener(const Step& step) {
    int& listener = listeners_[step.how % 2];
    if (listener >= 0) {
      it_.Close(listener);
      listener = -1;
    } else {
      OpenListener(step.how % 2);
    }
  }

  // ---- The calls

  void Wait(const Step& step) { it_.Wait(EpollOf(step)); }
  void Watch(const Step& step) { it_.Watch(EpollOf(step), Socket(step), Interest(step)); }
  void Modify(const Step& step) { it_.Modify(EpollOf(step), Socket(step), Interest(step)); }
  void Unwatch(const Step& step) { it_.Unwatch(EpollOf(step), Socket(step)); }
  void Send(const Step& step) { it_.Send(Socket(step), Bytes(step)); }
  void SendMessage(const Step& step) {
    const std::string one = Bytes(step);
    const std::string two = Bytes(step);
    it_.SendMessage(Socket(step), {one, two});
  }
  // What is not promised: an urgent byte that overtakes another, or comes where nobody reads.
  void SendUrgent(const Step& step) {
    const auto peer = peers_.find(Socket(step));
    if (peer == peers_.end()) return;
    const std::string poll = it_.Poll(peer->second);
    if (poll.find("PRI") != std::string::npos || poll.find("HUP|") != std::string::npos) return;
    it_.SendUrgent(Socket(step), Bytes(step));
  }
  void Recv(const Step& step) {
    it_.Recv(Socket(step), step.how % 3 == 0 ? 4096 : step.how % kMostBytes);
  }
  void Shutdown(const Step& step) { it_.Shutdown(Socket(step), static_cast<int>(step.how % 3)); }
  void LingerNot(const Step& step) { it_.LingerNot(Socket(step)); }
  void Error(const Step& step) { it_.Error(Socket(step)); }
  void Dup(const Step& step) {
    if (sockets_.size() < kMostSockets) Add(it_.Dup(Socket(step)));
  }
  void Close(const Step& step) {
    if (sockets_.size() == 1) return;
    const int fd = Socket(step);
    std::erase(sockets_, fd);
    std::erase_if(peers_, [&](const auto& one) { return one.first == fd || one.second == fd; });
    it_.Close(fd);
  }
  void Event(const Step& step) {
    if (step.how % 3 == 0) {
      it_.ReadEventFd(event_);
    } else {
      it_.WriteEventFd(event_);
    }
  }
  void SwitchEpoll(const Step& step) {
    int& epoll = epolls_[step.how % 2];
    it_.Close(epoll);
    epoll = it_.Epoll();
    if (step.how % 2 == 1) it_.Name(epoll, "epoll2");
  }
  void Nest(const Step& step) { it_.Watch(epolls_[0], epolls_[1], Interest(step)); }
  void WatchOthers(const Step& step) {
    const std::array<int, 3> others{event_, listeners_[0], listeners_[1]};
    it_.Watch(EpollOf(step), others[step.which % 3], Interest(step));
  }

  Lockstep it_;
  std::array<int, 2> epolls_{};
  std::array<int, 2> listeners_{};  // of TCP and of AF_UNIX; -1 when closed
  int event_ = -1;
  std::vector<int> sockets_;
  std::map<int, int> peers_;  // on TCP, of those that were accepted at once
  int made_ = 0;
  char next_ = 'a';
};

Steps Without(Steps steps, std::size_t at, std::size_t count) {
  const auto first = steps.begin() + static_cast<std::ptrdiff_t>(at);
  steps.erase(first, first + static_cast<std::ptrdiff_t>(std::min(count, steps.size() - at)));
  return steps;
}

}  // namespace

Steps RandomSteps(std::uint64_t seed, std::size_t count) {
  std::mt19937_64 numbers(seed);
  const auto next = [&] { return static_cast<std::uint32_t>(numbers() >> 32); };
  Steps steps(count);
  for (Step& step : steps) step = {.what = next(), .which = next(), .how = next()};
  return steps;
}

std::optional<std::string> Play(const Steps& steps, std::chrono::milliseconds bound) {
  try {
    Player player(bound);
    for (const Step& step : steps) player.Do(step);
    return std::nullopt;
  } catch (const Mismatch& mismatch) {
    return mismatch.what();
  }
}

Steps Shrink(Steps steps) {
  constexpr std::chrono::milliseconds kBound(300);
  for (std::size_t size = std::max<std::size_t>(steps.size() / 2, 1); size > 0; size /= 2) {
    for (std::size_t at = 0; at < steps.size();) {
      Steps fewer = Without(steps, at, size);
      const bool differs = Play(fewer, kBound).has_value();
      if (!differs) at += size;
      if (differs) steps = std::move(fewer);
    }
  }
  return steps;
}

}  // namespace weir::sim::conformance
