// Accepting, on real listeners: the queue of waiting clients is announced once, and errors of the
// moment must neither lose it nor make the loop spin.

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <stdexcept>

#include "os/sys.h"
#include "support/catch.h"
#include "support/real_loop.h"

using std::chrono::milliseconds;
using weir::Accepted;
using weir::Address;
using weir::Clock;
using weir::CloseReason;
using weir::Connection;
using weir::Duration;
using weir::EventLoop;
using weir::UniqueFd;
using weir::test::Client;
using weir::test::EchoRecorder;
using weir::test::RealLoop;
using weir::test::Recorder;
namespace sys = weir::sys;
namespace fake = weir::sys::fake;

namespace {

template <class Loop>
std::vector<Client> ConnectMany(Loop& it, int count) {
  std::vector<Client> clients;
  for (int i = 0; i < count; ++i) clients.push_back(it.Connect());
  return clients;
}

// UBSan looks at objects by way of a pipe: without descriptors it takes each for a bad one.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kNeedsDescriptors = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool kNeedsDescriptors = true;
#else
constexpr bool kNeedsDescriptors = false;
#endif
#else
constexpr bool kNeedsDescriptors = false;
#endif

// No descriptor can be made while it lives.
class NoDescriptors {
 public:
  NoDescriptors() {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const UniqueFd lowest_free(::dup(0));
    rlimit none = before_;
    none.rlim_cur = static_cast<rlim_t>(lowest_free.get());
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;
  ~NoDescriptors() { static_cast<void>(::setrlimit(RLIMIT_NOFILE, &before_)); }

 private:
  rlimit before_{};
};

// Planned failures that a test did not use up must not meet the next one.
struct FailNothingAfterwards {
  ~FailNothingAfterwards() { fake::FailNothing(); }
};

bool HasIp6() {
  const UniqueFd fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const Address any = Address::Parse("[::1]:0");
  return fd && ::bind(fd.get(), static_cast<const sockaddr*>(any.Raw()),
                      static_cast<socklen_t>(any.RawSize())) == 0;
}

Address NameOf(const Client& client) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  REQUIRE(::getsockname(client.fd(), reinterpret_cast<sockaddr*>(&name), &size) == 0);
  return Address::FromRaw(&name, size);
}

}  // namespace

// ---- The queue

TEST_CASE("three clients that were queued before one edge are all accepted",
          "[net][real][accept]") {
  RealLoop it;
  const auto clients = ConnectMany(it, 3);

  it.TurnWhenReady();

  CHECK(it.handler.opens == 3);
}

TEST_CASE("more clients than the budget are accepted without another edge", "[net][real][accept]") {
  RealLoop it{{.accepts_per_turn = 64}};
  const auto clients = ConnectMany(it, 200);

  it.TurnWhenReady();
  CHECK(it.handler.opens >= 64);
  CHECK(it.handler.opens < 200);  // the turn goes on to serve those that it has
  CHECK(it.core().engine.HasWork());
  it.RunUntil([&] { return it.handler.opens == 200; }, 10);
}

TEST_CASE("a client that comes while the rest of the queue is owed is accepted",
          "[net][real][accept]") {
  RealLoop it{{.accepts_per_turn = 2}};
  auto clients = ConnectMany(it, 5);
  it.TurnWhenReady();
  clients.push_back(it.Connect());

  it.RunUntil([&] { return it.handler.opens == 6; }, 10);
}

TEST_CASE("a client that has spoken before it is accepted is served in the same turn",
          "[net][real][accept]") {
  RealLoop<EchoRecorder> it;
  Client client = it.Connect();
  client.Send("hello");

  it.TurnWhenReady();

  client.Await(5);
  CHECK(client.received == "hello");
}

TEST_CASE("a client that reset before it was accepted harms nobody", "[net][real][accept]") {
  RealLoop<EchoRecorder> it;
  Client gone = it.Connect();
  gone.Send("gone");
  gone.Reset();
  Client stays = it.Connect();
  stays.Send("stays");

  it.RunUntil([&] { return stays.Receive(), stays.received == "stays"; });
  it.RunUntilQuiet();

  CHECK(it.handler.closes == it.handler.opens - 1);
}

// ---- Errors of accept

TEST_CASE("a passing error of accept means: the next one", "[net][real][accept]") {
  const int error = GENERATE(ENETDOWN, EPROTO, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH,
                             EOPNOTSUPP, ENETUNREACH, ECONNABORTED, EPERM, ETIMEDOUT);
  const FailNothingAfterwards clean;
  RealLoop it;
  const auto clients = ConnectMany(it, 2);

  fake::FailNext(&sys::Calls::accept, error);
  it.TurnWhenReady();

  CHECK(it.handler.opens == 2);
  CHECK(it.loop.GetStats().accept_errors == 1);
}

TEST_CASE("without descriptors the loop sleeps, and looks again by a timer",
          "[net][real][accept]") {
  const int error = GENERATE(EMFILE, ENFILE, ENOBUFS, ENOMEM);
  const FailNothingAfterwards clean;
  RealLoop it;
  const auto clients = ConnectMany(it, 3);

  fake::FailNext(&sys::Calls::accept, error);
  it.TurnWhenReady();
  CHECK(it.handler.opens == 0);
  CHECK_FALSE(it.core().engine.HasWork());

  const Clock::time_point before = fake::Now();
  it.TurnWhenReady();  // the wait finds nothing, until the timer is due
  CHECK(it.handler.opens == 3);
  CHECK(fake::Now() - before <= milliseconds(6));
  CHECK(fake::Now() - before >= milliseconds(5));
}

TEST_CASE("while there are no descriptors accept is tried ever more rarely",
          "[net][real][accept]") {
  const FailNothingAfterwards clean;
  RealLoop it;
  const auto clients = ConnectMany(it, 3);

  fake::FailNext(&sys::Calls::accept, EMFILE, 1000);
  sys::calls() = {};
  const Clock::time_point start = fake::Now();
  while (fake::Now() - start < std::chrono::seconds(1)) it.TurnWhenReady();
  CHECK(sys::calls().accept <= 15);
  CHECK(sys::calls().epoll_wait <= 30);  // some wake for the timer wheel alone

  fake::FailNothing();
  const Clock::time_point freed = fake::Now();
  it.TurnWhenReady();
  CHECK(it.handler.opens == 3);
  CHECK(fake::Now() - freed <= milliseconds(101));
}

TEST_CASE("a close of ours takes up those that wait for a descriptor", "[net][real][accept]") {
  const FailNothingAfterwards clean;
  RealLoop it;
  Client first = it.ConnectAndOpen();
  it.RunUntilQuiet();
  const auto clients = ConnectMany(it, 2);
  fake::FailNext(&sys::Calls::accept, EMFILE);
  it.TurnWhenReady();
  REQUIRE(it.handler.opens == 1);

  const Clock::time_point before = fake::Now();
  first.Reset();
  it.RunUntil([&] { return it.handler.opens == 3; }, 10);

  CHECK(fake::Now() == before);  // by the close, not by the timer
}

TEST_CASE("with the process's own limit reached, clients wait and are then served",
          "[net][real][accept]") {
  if (kNeedsDescriptors) return;
  RealLoop<EchoRecorder> it;
  Client first = it.ConnectAndOpen();
  it.RunUntilQuiet();
  Connection& opened = *it.handler.last;
  std::vector<Client> clients = ConnectMany(it, 2);
  std::optional<NoDescriptors> none(std::in_place);
  it.Turn();
  it.RunUntilQuiet();
  REQUIRE(it.handler.opens == 1);
  first.Send("the others are served meanwhile");
  it.RunUntil([&] { return it.handler.text.starts_with("the others"); });

  SECTION("one for each close of ours") {
    opened.Abort();
    it.RunUntil([&] { return it.handler.opens == 2; }, 10);
    it.RunUntilQuiet();
    CHECK(it.handler.opens == 2);
  }
  none.reset();
  fake::Advance(milliseconds(100));
  it.RunUntil([&] { return it.handler.opens == 3; }, 10);
  for (Client& client : clients) {
    client.Send("x");
    it.RunUntil([&] { return client.Receive() == 1; });
  }
}

TEST_CASE(
    "with the process's own limit reached at Stop, the queue is served as the drain frees some",
    "[net][real][accept][stop]") {
  if (kNeedsDescriptors) return;
  constexpr std::size_t kOpen = 3;
  constexpr std::size_t kQueued = 5;
  RealLoop<EchoRecorder> it;
  std::vector<Client> clients;
  for (std::size_t i = 0; i < kOpen; ++i) clients.push_back(it.ConnectAndOpen());
  it.RunUntilQuiet();
  for (Client& client : ConnectMany(it, kQueued)) clients.push_back(std::move(client));
  for (Client& client : clients) client.Send("request");
  const NoDescriptors none;
  const Clock::time_point before = fake::Now();
  it.loop.Stop();
  it.RunUntilQuiet();
  CHECK(it.handler.opens == static_cast<int>(kOpen));

  // Each peer that ends frees the one descriptor that the next of the queue needs; the client's own
  // stays.
  for (std::size_t i = 0; i < clients.size(); ++i) {
    CHECK(it.handler.opens == static_cast<int>(std::min(kOpen + i, clients.size())));
    it.RunToEndOf(clients[i]);
    CHECK(clients[i].received == "request");
    CHECK(clients[i].error == 0);
    clients[i].HalfClose();
    it.RunUntilQuiet();
  }
  CHECK(fake::Now() == before);
  CHECK(it.handler.closes == static_cast<int>(kOpen + kQueued));
  CHECK(it.handler.reason == CloseReason::kShutdown);
  it.loop.Run();
  CHECK(it.loop.IsStopped());
}

TEST_CASE("a stop while there are no descriptors does not wait for the grace to end",
          "[net][real][accept][stop]") {
  RealLoop it;
  Client first = it.ConnectAndOpen();
  it.RunUntilQuiet();
  const auto clients = ConnectMany(it, 2);
  const FailNothingAfterwards clean;
  fake::FailNext(&sys::Calls::accept, EMFILE, 1000);
  it.Turn();
  it.RunUntilQuiet();
  REQUIRE(it.handler.opens == 1);

  const Clock::time_point before = fake::Now();
  it.loop.Stop();
  for (int i = 0; i < 50 && it.handler.closes == 0; ++i) it.TurnWhenReady();

  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kShutdown);
  CHECK(fake::Now() - before < std::chrono::seconds(1));
  first.ended = false;
  first.Receive();
  CHECK(first.ended);  // by a FIN: it was drained, not reset
}

// ---- What the handler says

TEST_CASE("a client that OnAccept refuses is closed, and nothing else is called for it",
          "[net][real][accept]") {
  RealLoop it;
  SECTION("by its answer") {
    it.handler.on_accept = [](const Accepted& accepted) {
      CHECK(accepted.fd >= 0);
      CHECK(accepted.listener == 0);
      CHECK(accepted.peer.Ip() == "127.0.0.1");
      return false;
    };
  }
  SECTION("by an exception") {
    it.handler.on_accept = [](const Accepted&) -> bool { throw std::runtime_error("no"); };
  }
  Client client = it.Connect();

  it.RunToEndOf(client);

  CHECK(it.handler.opens == 0);
  CHECK(it.handler.closes == 0);
  CHECK(it.loop.GetStats().refused == 1);
  CHECK(it.core().table.live() == 0);
}

// ---- Addresses

TEST_CASE("Peer() and Local() are what the client sees, of IPv4, IPv6 and both on one socket",
          "[net][real][accept]") {
  struct Case {
    std::string url;
    std::string client;  // its port is the listener's
    std::string ip;
  };
  const auto [url, client_host, ip] = GENERATE(
      Case{"tcp://127.0.0.1:0", "127.0.0.1", "127.0.0.1"}, Case{"tcp://[::1]:0", "[::1]", "::1"},
      Case{"tcp://:0", "127.0.0.1", "127.0.0.1"}, Case{"tcp://:0", "[::1]", "::1"},
      Case{"tcp4://:0", "127.0.0.1", "127.0.0.1"}, Case{"tcp6://:0", "[::1]", "::1"});
  if (ip == "::1" && !HasIp6()) return;
  RealLoop it{{}, url};
  const std::uint16_t port = it.loop.ListenAddress(it.listener).Port();
  REQUIRE(port != 0);
  Address local;
  it.handler.on_open = [&](Connection& connection) { local = connection.Local(); };

  Client client(Address::Parse(client_host + ":" + std::to_string(port)));
  it.RunUntil([&] { return it.handler.opens == 1; });

  CHECK(it.handler.last->Peer() == NameOf(client));
  CHECK(it.handler.last->Peer().Ip() == ip);
  CHECK(local.Ip() == ip);
  CHECK(local.Port() == port);
}

TEST_CASE("tcp6:// takes no IPv4 client", "[net][real][accept]") {
  if (!HasIp6()) return;
  RealLoop it{{}, "tcp6://:0"};
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const Address to =
      Address::Parse("127.0.0.1:" + std::to_string(it.loop.ListenAddress(it.listener).Port()));

  CHECK(::connect(fd.get(), static_cast<const sockaddr*>(to.Raw()),
                  static_cast<socklen_t>(to.RawSize())) == -1);
}

TEST_CASE("Peer() is still known after a reset", "[net][real][accept]") {
  RealLoop it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  const Address peer = NameOf(client);
  Address told;
  it.handler.on_close = [&](Connection& connection) { told = connection.Peer(); };

  client.Send("x");
  client.Reset();
  it.RunUntil([&] { return it.handler.closes == 1; });

  CHECK(told == peer);
}

TEST_CASE("Listener() says by which listener a connection came", "[net][real][accept]") {
  RealLoop it;
  const int second = it.loop.Listen("tcp://127.0.0.1:0", it.handler);
  CHECK(second == 1);
  CHECK(it.loop.ListenAddress(second) != it.loop.ListenAddress(it.listener));

  Client client(it.loop.ListenAddress(second));
  it.RunUntil([&] { return it.handler.opens == 1; });

  CHECK(it.handler.last->Listener() == second);
}

TEST_CASE("accepted sockets have TCP_NODELAY, and block nobody", "[net][real][accept]") {
  RealLoop it;
  Client client = it.ConnectAndOpen();
  int no_delay = 0;
  socklen_t size = sizeof no_delay;
  const int fd = it.handler.last->Fd();

  REQUIRE(::getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size) == 0);
  CHECK(no_delay == 1);
  char byte = 0;
  CHECK(::recv(fd, &byte, 1, 0) == -1);  // returns at once: EAGAIN
}

// ---- Unix paths

TEST_CASE("a Unix path serves, and is gone with its loop", "[net][real][accept]") {
  std::string folder = (std::filesystem::temp_directory_path() / "weir-accept-XXXXXX").string();
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  const std::string path = folder + "/socket";
  {
    RealLoop<EchoRecorder> it{{}, "unix:" + path + "?mode=0600"};
    CHECK(std::filesystem::is_socket(path));
    CHECK(it.loop.ListenAddress(it.listener).ToString() == path);
    Client client = it.ConnectAndOpen();
    CHECK(it.handler.last->Peer().ToString().empty());
    CHECK(it.handler.last->Local().ToString() == path);
    client.Send("ping");
    it.RunUntil([&] { return client.Receive(), client.received == "ping"; });

    SECTION("by the loop's end") {}
    SECTION("by Stop") {
      it.loop.Stop();
      client.Close();
      it.loop.Run();
      CHECK_FALSE(std::filesystem::exists(path));
    }
    SECTION("by StopListening, and the connection lives on") {
      it.loop.StopListening(it.listener);
      it.Turn();
      CHECK_FALSE(std::filesystem::exists(path));
      client.Send("pong");
      it.RunUntil([&] { return client.Receive(), client.received == "pingpong"; });
    }
  }
  CHECK_FALSE(std::filesystem::exists(path));
  std::filesystem::remove_all(folder);
}

TEST_CASE("StopListening takes what is queued, refuses what comes, and keeps what is open",
          "[net][real][accept]") {
  RealLoop<EchoRecorder> it{{.accepts_per_turn = 2}};
  const Address address = it.loop.ListenAddress(it.listener);
  auto clients = ConnectMany(it, 5);

  it.loop.StopListening(it.listener);
  it.loop.StopListening(it.listener);  // once is enough, twice is harmless
  it.RunUntil([&] { return it.handler.opens == 5; });
  fake::Advance(milliseconds(100));
  it.RunUntilQuiet();

  const UniqueFd late(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(::connect(late.get(), static_cast<const sockaddr*>(address.Raw()),
                  static_cast<socklen_t>(address.RawSize())) == -1);
  for (Client& client : clients) {
    client.Send("x");
    it.RunUntil([&] { return client.Receive(), client.received == "x"; });
  }
  CHECK(it.loop.ListenAddress(it.listener) == address);
}
