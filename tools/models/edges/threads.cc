// A thread for each descriptor that epoll reports, with nothing that keeps two of them from the
// same one: they share one stream, and both close it. Which thread comes first is the scheduler's
// business; here it is forced, each step by a promise, into an order that nothing forbids.

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <thread>
#include <utility>
#include <vector>

#include "models/edges/groups.h"
#include "models/edges/sockets.h"

namespace models::edges {
namespace {

constexpr std::size_t kMessage = 80;
constexpr std::size_t kRead = kMessage / 2;

// errno is each thread's own, so a failure travels as an exception.
void Tell(std::promise<ssize_t>& promise, const std::function<ssize_t()>& step) {
  try {
    promise.set_value(step());
  } catch (...) {
    promise.set_exception(std::current_exception());
  }
}

// A thread that was started for a report. It takes each of its steps when it is told to.
class Worker final {
 public:
  explicit Worker(std::vector<std::function<ssize_t()>> steps)
      : steps_(std::move(steps)), gates_(steps_.size()), thread_([this] { Run(); }) {}
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() {
    if (next_ == gates_.size()) return;
    ends_ = true;
    gates_[next_].open.set_value();
  }

  // Returns when the thread has done it, with what that has returned.
  ssize_t Step() {
    Gate& gate = gates_[next_++];
    gate.open.set_value();
    return gate.done.get_future().get();
  }

 private:
  struct Gate {
    std::promise<void> open;
    std::promise<ssize_t> done;
  };

  void Run() {
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      gates_[i].open.get_future().wait();
      if (ends_) return;
      Tell(gates_[i].done, steps_[i]);
    }
  }

  std::vector<std::function<ssize_t()>> steps_;
  std::vector<Gate> gates_;
  std::size_t next_ = 0;
  bool ends_ = false;
  std::jthread thread_;  // last: it ends before what it uses
};

// Reads up to 40 bytes, then sends them back.
class Echo final {
 public:
  explicit Echo(int fd)
      : worker_({[this, fd] { return Read(fd); }, [this, fd] { return Write(fd); }}) {}

  ssize_t Read() { return worker_.Step(); }
  void Write() { worker_.Step(); }

 private:
  ssize_t Read(int fd) {
    return got_ = Checked(::recv(fd, buffer_.data(), buffer_.size(), 0), "recv");
  }
  ssize_t Write(int fd) {
    return Checked(::send(fd, buffer_.data(), static_cast<std::size_t>(got_), MSG_NOSIGNAL),
                   "send");
  }

  std::array<char, kRead> buffer_{};
  ssize_t got_ = 0;
  Worker worker_;  // last, as above
};

struct Outcome {
  std::int64_t returns = 0;
  std::int64_t threads = 0;
  std::int64_t at_once = 0;
  std::int64_t seen = 0;
  bool in_order = false;

  [[nodiscard]] std::vector<Figure> Figures() const {
    return {{"returns", returns},
            {"threads", threads},
            {"at_once", at_once},
            {"seen", seen},
            {"unseen", static_cast<std::int64_t>(kMessage) - seen},
            {"in_order", in_order, true}};
  }
};

// Epoll is asked again before the first thread has come to its read.
Outcome Unguarded() {
  Outcome outcome;
  Pair pair;
  Epoll epoll(pair.server.Get(), EPOLLIN);
  pair.client.Send(kMessage);
  pair.AwaitSent();

  if (epoll.Ask() == 0) return outcome;
  Echo first(pair.server.Get());
  if (epoll.Ask() == 0) return outcome;
  Echo second(pair.server.Get());
  outcome.threads = outcome.at_once = 2;
  outcome.seen = first.Read() + second.Read();
  static_cast<void>(epoll.Ask());
  second.Write();
  first.Write();
  outcome.returns = epoll.returns();
  outcome.in_order = IsPattern(pair.client.Receive(kMessage), 0);
  return outcome;
}

// With EPOLLONESHOT a report takes the descriptor out until somebody says it anew: each thread,
// when it is done.
Outcome OneShot() {
  constexpr std::uint32_t kOnce = EPOLLIN | EPOLLONESHOT;
  Outcome outcome;
  Pair pair;
  Epoll epoll(pair.server.Get(), kOnce);
  pair.client.Send(kMessage);
  pair.AwaitSent();

  while (epoll.Ask() != 0) {
    Echo worker(pair.server.Get());
    ++outcome.threads;
    // As above epoll is asked again before the read.
    outcome.at_once = std::max<std::int64_t>(outcome.at_once, epoll.Ask() == 0 ? 1 : 2);
    outcome.seen += worker.Read();
    worker.Write();
    epoll.Modify(kOnce);
  }
  outcome.returns = epoll.returns();
  outcome.in_order = IsPattern(pair.client.Receive(kMessage), 0);
  return outcome;
}

// A client who has said his end, and another one who waits to be accepted meanwhile.
class Ending final {
 public:
  explicit Ending(std::uint32_t events)
      : client_(door_.port), fd_(AcceptOne()), epoll_(fd_, events), stranger_(door_.port) {
    client_.SendEnd();
    AwaitEnd(fd_);
    stranger_.Send(1);
    stranger_.AwaitTaken();
  }
  Ending(const Ending&) = delete;
  Ending& operator=(const Ending&) = delete;
  ~Ending() { ::close(number_); }  // unless a thread has done so

  [[nodiscard]] bool IsReported() { return epoll_.Ask() != 0; }

  // A thread that reads the end, and then closes.
  [[nodiscard]] Worker Closer() {
    const auto read = [fd = fd_] {
      char byte = 0;
      return Checked(::recv(fd, &byte, 1, 0), "recv");
    };
    const auto close = [this, fd = fd_]() -> ssize_t {
      ++closes_;
      return Checked(::close(fd), "close");
    };
    return Worker({read, close});
  }

  // The first number that is free is his.
  void AcceptStranger() { number_ = AcceptOne(); }

  // Whether the stranger can be sent a byte, and gets it.
  [[nodiscard]] bool StrangerIsServed() const {
    return ::send(number_, "!", 1, MSG_NOSIGNAL) == 1 && stranger_.Receive(1) == "!";
  }

  [[nodiscard]] std::vector<Figure> Figures(std::int64_t threads) const {
    return {{"returns", epoll_.returns()},
            {"threads", threads},
            {"closes", closes_},
            {"same_number", number_ == fd_, true},
            {"served", StrangerIsServed(), true}};
  }

 private:
  int AcceptOne() const { return Accept(door_).Release(); }

  Door door_;
  Client client_;
  int fd_;
  Epoll epoll_;
  Client stranger_;
  int number_ = -1;
  std::int64_t closes_ = 0;
};

std::vector<Figure> CloseUnguarded() {
  Ending ending(EPOLLIN);
  if (!ending.IsReported()) return ending.Figures(0);
  Worker first = ending.Closer();
  if (!ending.IsReported()) return ending.Figures(1);
  Worker second = ending.Closer();
  first.Step();
  second.Step();
  first.Step();
  ending.AcceptStranger();
  second.Step();
  return ending.Figures(2);
}

std::vector<Figure> CloseOneShot() {
  Ending ending(EPOLLIN | EPOLLONESHOT);
  if (!ending.IsReported()) return ending.Figures(0);
  Worker only = ending.Closer();
  if (ending.IsReported()) return ending.Figures(2);
  only.Step();
  only.Step();
  ending.AcceptStranger();
  return ending.Figures(1);
}

}  // namespace

EdgeGroup ThreadPerEvent() {
  return {
      "80 bytes; each return starts a thread, which reads 40 and sends them back",
      {
          {"threads", "LT, epoll asked again before the read",
           "two threads have one descriptor: the second half was sent back first",
           Unguarded().Figures()},
          {"threads-oneshot", "LT, the same with EPOLLONESHOT",
           "no second thread before the first is done: the echo is in order", OneShot().Figures()},
      }};
}

EdgeGroup ThreadPerEnd() {
  return {"the end; each return starts a thread, which reads it and closes; then a stranger comes",
          {
              {"close-threads", "LT, epoll asked again before the read",
               "the second close is of a number that is the stranger's by now: he is cut off",
               CloseUnguarded()},
              {"close-oneshot", "LT, the same with EPOLLONESHOT",
               "one thread, one close: the stranger is served", CloseOneShot()},
          }};
}

}  // namespace models::edges
