// A thread for each descriptor that epoll reports, with nothing that keeps two of them from the
// same one. Which of the threads comes first is the scheduler's business; here it is forced, each
// step by a promise, into an order that nothing forbids.

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <future>
#include <thread>

#include "models/edges/groups.h"
#include "models/edges/sockets.h"

namespace models::edges {
namespace {

constexpr std::size_t kMessage = 80;
constexpr std::size_t kRead = kMessage / 2;

// errno is each thread's own, so a failure travels as an exception.
void Tell(std::promise<ssize_t>& promise, ssize_t result, const char* call) {
  try {
    promise.set_value(Checked(result, call));
  } catch (...) {
    promise.set_exception(std::current_exception());
  }
}

// A thread that was started for a report. It reads up to 40 bytes, and sends them back: when it is
// told to.
class Worker final {
 public:
  explicit Worker(int fd) : thread_([this, fd] { Run(fd); }) {}
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() {
    if (!told_to_read_) may_read_.set_value();
    if (!told_to_write_) may_write_.set_value();
  }

  // Each returns when the thread has done it.
  ssize_t Read() {
    told_to_read_ = true;
    may_read_.set_value();
    return has_read_.get_future().get();
  }
  void Write() {
    told_to_write_ = true;
    may_write_.set_value();
    static_cast<void>(has_written_.get_future().get());
  }

 private:
  void Run(int fd) {
    std::array<char, kRead> buffer{};
    may_read_.get_future().wait();
    const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
    Tell(has_read_, got, "recv");
    may_write_.get_future().wait();
    const std::size_t count = got > 0 ? static_cast<std::size_t>(got) : 0;
    Tell(has_written_, ::send(fd, buffer.data(), count, MSG_NOSIGNAL), "send");
  }

  std::promise<void> may_read_;
  std::promise<ssize_t> has_read_;
  std::promise<void> may_write_;
  std::promise<ssize_t> has_written_;
  bool told_to_read_ = false;
  bool told_to_write_ = false;
  std::jthread thread_;  // last: it ends before what it uses
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
  Worker first(pair.server.Get());
  if (epoll.Ask() == 0) return outcome;
  Worker second(pair.server.Get());
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
    Worker worker(pair.server.Get());
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

}  // namespace models::edges
