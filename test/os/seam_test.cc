// The kernel's thin functions, the fork guard, and what the tests' seam adds to them.

#include <fcntl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "os/fixtures.h"

using namespace std::chrono_literals;
using weir::UniqueFd;
using weir::sys::Calls;
using weir::sys::Point;
namespace sys = weir::sys;
namespace fake = weir::sys::fake;

namespace {

std::pair<UniqueFd, UniqueFd> SocketPair() {
  std::array<int, 2> fds{-1, -1};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) == 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

struct Epoll {
  UniqueFd epoll{sys::EpollCreate()};
  UniqueFd event{sys::EventFd()};
  std::array<epoll_event, 4> ready{};

  Epoll() { REQUIRE(Control(EPOLL_CTL_ADD, EPOLLIN | EPOLLET, 42) == 0); }

  int Control(int operation, std::uint32_t events, std::uint64_t data) const {
    return sys::EpollControl(epoll.get(), operation, event.get(), events, data);
  }
  int Wait(int timeout_ms) {
    return sys::EpollWait(epoll.get(), ready.data(), static_cast<int>(ready.size()), timeout_ms);
  }
};

// While it lives, the process gets SIGALRM every few milliseconds, and no call is restarted for it.
class Interruptions {
 public:
  explicit Interruptions(void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    ::sigaction(SIGALRM, &action, &old_);
    Every(2'000);
  }
  Interruptions(const Interruptions&) = delete;
  Interruptions& operator=(const Interruptions&) = delete;
  ~Interruptions() {
    Every(0);
    ::sigaction(SIGALRM, &old_, nullptr);
  }

 private:
  static void Every(suseconds_t microseconds) {
    const itimerval timer{{0, microseconds}, {0, microseconds}};
    ::setitimer(ITIMER_REAL, &timer, nullptr);
  }
  struct sigaction old_ {};
};

int ExitCodeOf(pid_t child) {
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

volatile std::sig_atomic_t g_ticks = 0;
volatile int g_pipe = -1;

}  // namespace

TEST_CASE("a failure is the kernel's errno, negated", "[kernel]") {
  std::array<char, 8> room{};
  const auto [one, other] = SocketPair();
  CHECK(sys::Recv(one.get(), room.data(), room.size()) == -EAGAIN);
  CHECK(sys::Recv(-1, room.data(), room.size()) == -EBADF);
  CHECK(sys::Close(-1) == -EBADF);
  CHECK(sys::Unlink("/nowhere/at/all") == -ENOENT);
  CHECK(sys::InterfaceIndex("nosuchlink") == -ENODEV);
}

TEST_CASE("bytes go through, and unread ones are counted", "[kernel]") {
  const auto [one, other] = SocketPair();
  CHECK(sys::Send(one.get(), "abc", 3) == 3);
  std::string d = "d";
  std::string ef = "ef";
  const std::array<iovec, 2> pieces{{{d.data(), 1}, {ef.data(), 2}}};
  CHECK(sys::SendMessage(one.get(), pieces.data(), pieces.size()) == 3);

  int unread = 0;
  CHECK(sys::UnreadBytes(other.get(), &unread) == 0);
  CHECK(unread == 6);
  std::array<char, 8> room{};
  REQUIRE(sys::Recv(other.get(), room.data(), room.size()) == 6);
  CHECK(std::string(room.data(), 6) == "abcdef");
}

TEST_CASE("a send to nobody is an error, not a signal", "[kernel]") {
  auto [one, other] = SocketPair();
  other.reset();
  char byte = 'x';
  const iovec piece{&byte, 1};
  CHECK(sys::Send(one.get(), &byte, 1) == -EPIPE);
  CHECK(sys::SendMessage(one.get(), &piece, 1) == -EPIPE);
}

TEST_CASE("an interrupted read goes on", "[kernel][signal]") {
  std::array<int, 2> fds{-1, -1};
  REQUIRE(::pipe2(fds.data(), O_CLOEXEC) == 0);  // it blocks
  const UniqueFd reader(fds[0]);
  const UniqueFd writer(fds[1]);
  g_ticks = 0;
  g_pipe = writer.get();
  const Interruptions interruptions([](int) {
    g_ticks = g_ticks + 1;
    if (g_ticks == 3) static_cast<void>(::write(g_pipe, "x", 1) == 1);
  });

  char byte = 0;
  CHECK(sys::Read(reader.get(), &byte, 1) == 1);
  CHECK(g_ticks >= 3);
}

TEST_CASE("an interrupted accept goes on", "[kernel][signal]") {
  // A listener that blocks, so that the signal finds the call asleep.
  static weir::Address address;
  const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  address = weir::Address::Parse("@weir-seam-test-" + std::to_string(::getpid()));
  REQUIRE(sys::Bind(listener.get(), address.Raw(), static_cast<socklen_t>(address.RawSize())) == 0);
  REQUIRE(sys::Listen(listener.get(), 1) == 0);
  const UniqueFd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  g_ticks = 0;
  g_pipe = client.get();
  const Interruptions interruptions([](int) {
    g_ticks = g_ticks + 1;
    if (g_ticks != 3) return;
    static_cast<void>(::connect(g_pipe, static_cast<const sockaddr*>(address.Raw()),
                                static_cast<socklen_t>(address.RawSize())));
  });
  CHECK(UniqueFd(sys::Accept(listener.get(), nullptr, nullptr)));
  CHECK(g_ticks >= 3);
}

TEST_CASE("an interrupted wait is a wake with nothing", "[kernel][signal]") {
  Epoll epoll;
  const Interruptions interruptions([](int) {});
  CHECK(epoll.Wait(-1) == 0);
}

TEST_CASE("an event carries its data, and one written eventfd wakes once", "[kernel]") {
  Epoll epoll;
  CHECK(epoll.Wait(0) == 0);
  REQUIRE(sys::WriteEventFd(epoll.event.get()) == 0);
  REQUIRE(epoll.Wait(-1) == 1);
  CHECK(epoll.ready[0].data.u64 == 42);
  CHECK(epoll.Wait(0) == 0);  // an edge, though nobody read it
  REQUIRE(sys::WriteEventFd(epoll.event.get()) == 0);
  CHECK(epoll.Wait(0) == 1);
}

TEST_CASE("a signal that is masked comes by its descriptor", "[kernel][signal]") {
  sigset_t signals;
  sigset_t old;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR1);
  REQUIRE(sys::SignalMask(SIG_BLOCK, &signals, &old) == 0);
  const UniqueFd fd(sys::SignalFd(&signals));
  signalfd_siginfo info{};
  CHECK(sys::Read(fd.get(), &info, sizeof info) == -EAGAIN);
  ::pthread_kill(::pthread_self(), SIGUSR1);
  CHECK(sys::Read(fd.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info));
  CHECK(info.ssi_signo == SIGUSR1);
  CHECK(sys::SignalMask(SIG_SETMASK, &old, nullptr) == 0);
  CHECK(sys::SignalMask(-1, &old, nullptr) == -EINVAL);
}

TEST_CASE("two threads differ, and one is always the same", "[kernel][thread]") {
  const void* const here = sys::CurrentThread();
  CHECK(here == sys::CurrentThread());
  const void* there = here;
  std::thread([&] { there = sys::CurrentThread(); }).join();
  CHECK(there != here);
}

TEST_CASE("a forked child is known by one load", "[kernel][fork]") {
  const sys::ForkGuard guard;
  CHECK_FALSE(guard.InChild());
  const pid_t child = ::fork();
  if (child == 0) {
    const sys::ForkGuard own;
    ::_exit(guard.InChild() && !own.InChild() ? 17 : 1);
  }
  CHECK(ExitCodeOf(child) == 17);
  CHECK_FALSE(guard.InChild());
}

TEST_CASE("the clock of the library is the machine's", "[kernel][clock]") {
  const auto before = std::chrono::steady_clock::now();
  const auto now = weir::kernel::Now();
  CHECK(now >= before);
  CHECK(now <= std::chrono::steady_clock::now());
}

TEST_CASE("the tests' clock stands still until it is told", "[seam][clock]") {
  const auto start = sys::Now();
  CHECK(sys::Now() == start);
  fake::Advance(3s);
  CHECK(sys::Now() == start + 3s);
  CHECK(fake::Now() == sys::Now());
}

TEST_CASE("a wait that finds nothing has lasted as long as it might", "[seam][clock]") {
  Epoll epoll;
  const auto start = sys::Now();
  SECTION("with a time-out it is over at once, on the tests' clock") {
    CHECK(epoll.Wait(3'600'000) == 0);
    CHECK(sys::Now() == start + 1h);
  }
  SECTION("without one no time passes") {
    CHECK(epoll.Wait(0) == 0);
    CHECK(sys::Now() == start);
  }
  SECTION("nor where something was ready") {
    REQUIRE(sys::WriteEventFd(epoll.event.get()) == 0);
    CHECK(epoll.Wait(3'600'000) == 1);
    CHECK(sys::Now() == start);
  }
}

TEST_CASE("each call counts, for the thread that makes it", "[seam]") {
  Epoll epoll;
  const auto [one, other] = SocketPair();
  char byte = 'x';
  const iovec piece{&byte, 1};

  sys::calls() = {};
  CHECK(sys::Send(one.get(), &byte, 1) == 1);
  CHECK(sys::SendMessage(one.get(), &piece, 1) == 1);
  CHECK(sys::Recv(other.get(), &byte, 1) == 1);
  CHECK(epoll.Control(EPOLL_CTL_MOD, EPOLLIN, 1) == 0);
  CHECK(epoll.Control(EPOLL_CTL_DEL, 0, 0) == 0);
  CHECK(epoll.Wait(0) == 0);
  CHECK(epoll.Wait(5) == 0);  // two in the kernel are one to the caller
  std::thread([&] { sys::WriteEventFd(epoll.event.get()); }).join();

  CHECK(sys::calls().send == 2);
  CHECK(sys::calls().send_message == 1);
  CHECK(sys::calls().recv == 1);
  CHECK(sys::calls().epoll_ctl_add == 0);
  CHECK(sys::calls().epoll_ctl_mod == 1);
  CHECK(sys::calls().epoll_ctl_del == 1);
  CHECK(sys::calls().epoll_wait == 2);
  CHECK(sys::calls().write_eventfd == 0);
  CHECK(sys::calls().all == 7);
}

TEST_CASE("planned failures come in order, and do not reach the kernel", "[seam]") {
  const auto [one, other] = SocketPair();
  char byte = 'x';
  fake::FailNext(&Calls::send, 0);
  fake::FailNext(&Calls::send, EAGAIN, 2);
  fake::FailNext(&Calls::send, ECONNRESET);
  fake::FailNext(&Calls::recv, ETIMEDOUT);

  std::vector<ssize_t> results;
  for (int i = 0; i < 5; ++i) results.push_back(sys::Send(one.get(), &byte, 1));
  CHECK(results == std::vector<ssize_t>{1, -EAGAIN, -EAGAIN, -ECONNRESET, 1});
  CHECK(sys::Recv(other.get(), &byte, 1) == -ETIMEDOUT);

  int unread = 0;
  CHECK(sys::UnreadBytes(other.get(), &unread) == 0);
  CHECK(unread == 2);

  fake::FailNext(&Calls::recv, EIO);
  fake::FailNothing();
  CHECK(sys::Recv(other.get(), &byte, 1) == 1);
}

TEST_CASE("a test may stand between two steps of a protocol", "[seam]") {
  std::vector<Point> seen;
  sys::Yield(Point::kMailPushed);  // nobody is there
  fake::OnYield() = {[](Point point, void* context) {
                       static_cast<std::vector<Point>*>(context)->push_back(point);
                     },
                     &seen};
  sys::Yield(Point::kBeforeWake);
  std::thread([] { sys::Yield(Point::kStopStored); }).join();  // another thread has its own
  fake::OnYield() = {};
  sys::Yield(Point::kAfterWait);
  CHECK(seen == std::vector<Point>{Point::kBeforeWake});
}
