// A thread for each descriptor that epoll reports, with nothing that keeps two of them from the
// same one. Which of the threads comes first is the scheduler's business; here it is forced, each
// step by a semaphore, into an order that nothing forbids.

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <semaphore>
#include <thread>

#include "models/edges/groups.h"
#include "models/edges/sockets.h"

namespace models::edges {
namespace {

constexpr std::size_t kMessage = 80;
constexpr std::size_t kRead = kMessage / 2;

// A thread that was started for a report: reads up to 40 bytes, and sends them back.
class Worker final {
 public:
  explicit Worker(int fd) : thread_([this, fd] { Run(fd); }) {}
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() {
    may_read_.release();
    may_write_.release();
  }

  // Each lets the thread do it, and returns when it is done.
  ssize_t Read() {
    may_read_.release();
    has_read_.acquire();
    errno = error_;
    return Checked(got_, "recv");
  }
  void Write() {
    may_write_.release();
    has_written_.acquire();
    errno = error_;
    Checked(written_, "send");
  }

 private:
  void Run(int fd) {
    std::array<char, kRead> buffer{};
    may_read_.acquire();
    got_ = ::recv(fd, buffer.data(), buffer.size(), 0);
    error_ = errno;
    has_read_.release();
    may_write_.acquire();
    if (got_ > 0) {
      written_ = ::send(fd, buffer.data(), static_cast<std::size_t>(got_), MSG_NOSIGNAL);
      error_ = errno;
    }
    has_written_.release();
  }

  std::counting_semaphore<2> may_read_{0};
  std::counting_semaphore<2> has_read_{0};
  std::counting_semaphore<2> may_write_{0};
  std::counting_semaphore<2> has_written_{0};
  // The thread's, until the semaphore says that it is done.
  ssize_t got_ = 0;
  ssize_t written_ = 0;
  int error_ = 0;
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
