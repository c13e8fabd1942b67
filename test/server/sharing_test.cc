// Loops that share a listener or hand clients over, stepped by hand on one thread: so that each is
// stopped, starved or full at just the wrong moment.

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/shared_listener.h"
#include "os/sys.h"
#include "server/balance.h"
#include "support/catch.h"
#include "support/real_loop.h"
#include "support/scripted_poller.h"

using namespace weir::test;
using std::chrono::milliseconds;
using weir::Address;
using weir::Balance;
using weir::Balancer;
using weir::Clock;
using weir::Duration;
using weir::Endpoint;
using weir::EventLoop;
using weir::Inbox;
using weir::ListenSocket;
using weir::LoopAccess;
using weir::LoopImpl;
using weir::Options;
using weir::PeerAddress;
using weir::Server;
using weir::SharedListener;
using weir::UniqueFd;
using weir::sys::Calls;
namespace sys = weir::sys;
namespace fake = weir::sys::fake;

namespace {

struct FailNothingAfterwards {
  ~FailNothingAfterwards() { fake::FailNothing(); }
};

std::string AnyUnix() {
  static int number = 0;
  return "unix:@weir-sharing-" + std::to_string(::getpid()) + "-" + std::to_string(++number);
}

struct OneLoop {
  explicit OneLoop(const Options& options) : loop(options) {}
  LoopImpl& impl() { return LoopAccess::Impl(loop); }
  int Turn() { return loop.RunOnce(Duration::zero()); }
  void TurnUntilQuiet() {
    for (int quiet = 0; quiet < 5; quiet = Turn() == 0 ? quiet + 1 : 0) {
    }
  }

  EchoRecorder handler;
  EventLoop loop;
};

// Two loops that share a Unix listener.
struct Sharing {
  explicit Sharing(const Options& options = {}) : listener(Endpoint::Parse(AnyUnix()), {}) {
    for (auto& one : loops) {
      one = std::make_unique<OneLoop>(options);
      one->impl().AddAcceptor({.shared = &listener});
      one->impl().SetHandler(0, one->handler);
      one->Turn();
    }
  }
  OneLoop& a() { return *loops[0]; }
  OneLoop& b() { return *loops[1]; }
  std::vector<Client> Connect(int count) {
    std::vector<Client> clients;
    for (int i = 0; i < count; ++i) clients.emplace_back(listener.socket().address());
    return clients;
  }

  SharedListener listener;
  std::array<std::unique_ptr<OneLoop>, 2> loops;
};

// Loops of which the first accepts, and hands over in turn.
struct HandingOver {
  explicit HandingOver(int count, const Options& options = {}) {
    std::vector<LoopImpl*> impls;
    for (int i = 0; i < count; ++i) {
      loops.push_back(std::make_unique<OneLoop>(options));
      impls.push_back(&loops.back()->impl());
    }
    balancer = std::make_unique<Balancer>(Balance::kRoundRobin, impls);
    auto socket = std::make_unique<ListenSocket>(Endpoint::Parse("tcp://127.0.0.1:0"), options);
    address = socket->address();
    for (int i = 1; i < count; ++i) {
      loops[static_cast<std::size_t>(i)]->impl().AddAcceptor({.elsewhere = socket.get()});
    }
    loops[0]->impl().AddAcceptor({.own = std::move(socket), .distributor = balancer.get()});
    for (const auto& one : loops) {
      one->impl().SetHandler(0, one->handler);
      one->Turn();
    }
  }
  OneLoop& Loop(std::size_t index) { return *loops[index]; }
  std::vector<Client> Connect(int count) {
    std::vector<Client> clients;
    for (int i = 0; i < count; ++i) clients.emplace_back(address);
    return clients;
  }

  std::vector<std::unique_ptr<OneLoop>> loops;
  std::unique_ptr<Balancer> balancer;
  Address address;
};

void ReadToEnd(Client& client) {
  do {
    REQUIRE(client.WaitReadable());
    client.Receive();
  } while (!client.ended && client.error == 0);
}

}  // namespace

// ---- One listener in several epolls

TEST_CASE("clients of a shared listener are taken by whichever loop looks", "[server][shared]") {
  Sharing it;
  auto clients = it.Connect(3);
  const int index = GENERATE(0, 1);
  OneLoop& first = *it.loops[static_cast<std::size_t>(index)];
  first.Turn();
  CHECK(first.handler.opens == 3);
  it.a().TurnUntilQuiet();
  it.b().TurnUntilQuiet();
  CHECK(it.a().handler.opens + it.b().handler.opens == 3);
}

TEST_CASE("a shared listener is asked for so that a client wakes one loop", "[server][shared]") {
  static_assert(static_cast<std::uint32_t>(weir::Interest::kAcceptShared) ==
                (EPOLLIN | EPOLLEXCLUSIVE));  // level-triggered
  SharedListener shared(Endpoint::Parse(AnyUnix()), {});
  auto own = std::make_unique<ListenSocket>(Endpoint::Parse(AnyUnix()), Options{});
  const int own_fd = own->fd();
  auto scripted = std::make_unique<ScriptedPoller>();
  const std::vector<std::string>& log = scripted->log;
  const auto loop = LoopAccess::Make({}, std::move(scripted));
  LoopAccess::Impl(*loop).AddAcceptor({.shared = &shared});
  CHECK(log.back() == "add " + std::to_string(shared.socket().fd()) + " accept shared");
  LoopAccess::Impl(*loop).AddAcceptor({.own = std::move(own)});
  CHECK(log.back() == "add " + std::to_string(own_fd) + " accept");
}

TEST_CASE("a loop without descriptors lets the others look", "[server][shared]") {
  const FailNothingAfterwards clean;
  Sharing it;
  const auto clients = it.Connect(3);
  it.b().loop.RunOnce(Duration::zero());
  REQUIRE(it.b().handler.opens == 3);
  const auto more = it.Connect(2);
  fake::FailNext(&Calls::accept, EMFILE);
  it.a().Turn();
  CHECK(it.a().handler.opens == 0);
  CHECK(it.b().impl().engine().mailbox().HasMail());
  it.b().Turn();
  CHECK(it.b().handler.opens == 5);
}

TEST_CASE("starved loops neither spin nor sleep for ever", "[server][shared]") {
  const int error = GENERATE(EMFILE, ENFILE, ENOBUFS, ENOMEM);
  const FailNothingAfterwards clean;
  Sharing it;
  auto clients = it.Connect(3);
  fake::FailNext(&Calls::accept, error, 1000);
  sys::calls() = {};
  const Clock::time_point start = fake::Now();
  while (fake::Now() - start < std::chrono::seconds(1)) {
    it.a().loop.RunOnce(Duration::max());
    it.b().loop.RunOnce(Duration::max());
  }
  CHECK(sys::calls().accept <= 40);
  CHECK(sys::calls().epoll_wait <= 100);
  CHECK(sys::calls().epoll_ctl_del == 2);
  CHECK(sys::calls().epoll_ctl_add == 0);

  fake::FailNothing();
  const Clock::time_point freed = fake::Now();
  it.a().loop.RunOnce(Duration::max());
  it.b().loop.RunOnce(Duration::max());
  it.a().loop.RunOnce(Duration::max());
  CHECK(it.a().handler.opens + it.b().handler.opens == 3);
  CHECK(fake::Now() - freed <= milliseconds(101));
  fake::Advance(milliseconds(200));
  it.a().TurnUntilQuiet();
  it.b().TurnUntilQuiet();

  // Both are told of clients again.
  for (const auto& one : it.loops) {
    const int before = one->handler.opens;
    const auto late = it.Connect(1);
    one->Turn();
    CHECK(one->handler.opens == before + 1);
  }
}

TEST_CASE("a loop whose memory is full lets the others look, and looks again itself",
          "[server][shared]") {
  Sharing it;
  it.a().impl().core().held_output = std::size_t{1} << 60;
  auto clients = it.Connect(2);
  it.a().Turn();
  CHECK(it.a().handler.opens == 0);
  it.b().Turn();
  CHECK(it.b().handler.opens == 2);

  it.a().impl().core().held_output = 0;
  fake::Advance(milliseconds(100));
  it.a().TurnUntilQuiet();
  const auto more = it.Connect(1);
  it.a().Turn();
  CHECK(it.a().handler.opens == 1);
}

TEST_CASE("a watch that the kernel refuses is asked for again", "[server][shared]") {
  const FailNothingAfterwards clean;
  Sharing it;
  auto clients = it.Connect(1);
  fake::FailNext(&Calls::accept, EMFILE);
  it.a().Turn();
  it.b().TurnUntilQuiet();
  REQUIRE(it.b().handler.opens == 1);
  fake::FailNext(&Calls::epoll_ctl_add, ENOSPC);
  fake::Advance(milliseconds(5));
  it.a().TurnUntilQuiet();
  fake::Advance(milliseconds(100));
  it.a().TurnUntilQuiet();
  const auto more = it.Connect(1);
  it.a().Turn();
  CHECK(it.a().handler.opens == 1);
}

TEST_CASE("a loop that stops leaves its clients to the others; the last one empties the queue",
          "[server][shared][stop]") {
  Sharing it;
  const Duration grace = GENERATE(Duration::max(), Duration::zero());
  auto clients = it.Connect(2);
  for (Client& client : clients) client.Send("request");

  it.a().loop.Stop(grace);
  it.a().loop.Run();
  CHECK(it.a().handler.opens == 0);
  CHECK(it.b().impl().engine().mailbox().HasMail());  // it is told, in case that we were woken
  it.b().Turn();
  CHECK(it.b().handler.opens == 2);

  auto late = it.Connect(2);
  for (Client& client : late) {
    client.Send("late");
    client.HalfClose();
  }
  for (Client& client : clients) client.HalfClose();
  it.b().loop.Stop();
  it.b().loop.Run();
  CHECK(it.b().handler.opens == 4);
  for (Client& client : late) {
    ReadToEnd(client);
    CHECK(client.received == "late");
  }
  CHECK_FALSE(it.listener.socket().fd() >= 0);
}

TEST_CASE("the handler may stop listening while it accepts", "[server][shared][stop]") {
  Sharing it;
  it.a().handler.on_accept = [&](const weir::Accepted&) {
    it.a().loop.StopListening(0);
    return true;
  };
  const auto clients = it.Connect(3);
  it.a().Turn();
  CHECK(it.a().handler.opens == 1);
  it.b().Turn();
  CHECK(it.b().handler.opens == 2);
  CHECK(it.listener.socket().fd() >= 0);
}

// ---- Handing over

TEST_CASE("a full mailbox refuses a client, who is closed and counted", "[server][handover]") {
  HandingOver it(2, {.max_mail = 1});
  auto clients = it.Connect(6);  // 0, 1, 0, 1, 0, 1
  sys::calls() = {};
  it.Loop(0).Turn();
  // One for the post that ended a sleep; a loop may be waiting for each that was announced.
  CHECK(sys::calls().write_eventfd == 3);
  CHECK(it.Loop(0).handler.opens == 3);
  CHECK(it.Loop(0).loop.GetStats().refused == 2);
  CHECK(it.Loop(0).loop.GetStats().accepted == 3);
  for (const std::size_t refused : {3U, 5U}) ReadToEnd(clients[refused]);
  CHECK(it.Loop(1).impl().inbox().OnTheirWay() == 1);

  it.Loop(1).Turn();
  CHECK(it.Loop(1).handler.opens == 1);
  CHECK(it.Loop(1).impl().inbox().OnTheirWay() == 0);
  it.Loop(1).loop.Stop(Duration::zero());
  it.Loop(1).loop.Run();  // it does not wait for those that never came
}

TEST_CASE("what is on its way when a loop is destroyed is closed", "[server][handover]") {
  auto it = std::make_unique<HandingOver>(2);
  auto clients = it->Connect(2);
  it->Loop(0).Turn();
  REQUIRE(it->Loop(1).impl().inbox().OnTheirWay() == 1);
  it->loops[1].reset();
  ReadToEnd(clients[1]);
  CHECK(it->Loop(0).handler.opens == 1);
}

TEST_CASE("a loop that stops takes those that are on their way first", "[server][handover][stop]") {
  HandingOver it(2, {.mail_per_turn = 1});
  auto clients = it.Connect(8);
  for (Client& client : clients) {
    client.Send("request");
    client.HalfClose();
  }
  it.Loop(0).Turn();
  it.Loop(1).loop.Stop();
  it.Loop(1).loop.Run();
  CHECK(it.Loop(1).handler.opens == 4);
  CHECK(it.Loop(1).handler.closes == 4);
  it.Loop(0).TurnUntilQuiet();
  for (Client& client : clients) {
    ReadToEnd(client);
    CHECK(client.received == "request");
  }
}

TEST_CASE("a loop that is leaving is passed over, and loop 0 takes what nobody else does",
          "[server][handover][stop]") {
  HandingOver it(3);
  it.Loop(1).loop.Stop();
  it.Loop(1).loop.Run();
  auto clients = it.Connect(6);
  it.Loop(0).Turn();
  it.Loop(2).Turn();
  CHECK(it.Loop(0).handler.opens + it.Loop(2).handler.opens == 6);
  CHECK(it.Loop(2).handler.opens > 0);

  it.Loop(2).loop.Stop(Duration::zero());
  it.Loop(2).loop.Run();
  const int before = it.Loop(0).handler.opens;
  auto more = it.Connect(4);
  it.Loop(0).Turn();
  CHECK(it.Loop(0).handler.opens == before + 4);
  CHECK(it.Loop(0).loop.GetStats().refused == 0);
}

TEST_CASE("a loop that was aborted refuses those that are on their way",
          "[server][handover][stop]") {
  HandingOver it(2);
  auto clients = it.Connect(4);
  it.Loop(0).Turn();
  it.Loop(1).loop.Stop(Duration::zero());
  it.Loop(1).loop.Run();
  CHECK(it.Loop(1).handler.opens == 0);
  CHECK(it.Loop(1).loop.GetStats().refused == 2);
  for (const std::size_t refused : {1U, 3U}) ReadToEnd(clients[refused]);
}

TEST_CASE("whoever is announced is waited for, until it is withdrawn", "[server][handover][stop]") {
  HandingOver it(2);
  OneLoop& loop = it.Loop(1);
  Inbox& inbox = loop.impl().inbox();
  CHECK(inbox.Announce());
  loop.loop.Stop();
  loop.Turn();
  loop.Turn();
  CHECK_FALSE(loop.loop.IsStopped());
  CHECK(inbox.IsLeaving());
  CHECK_FALSE(inbox.Announce());
  inbox.Withdraw();
  loop.Turn();
  CHECK_FALSE(loop.loop.IsStopped());
  inbox.Withdraw();
  loop.Turn();
  CHECK(loop.loop.IsStopped());
}

// ---- The end of a listener

TEST_CASE("a listener waits for handshakes that have begun, whether others share its port or not",
          "[server][stop]") {
  const bool shares = GENERATE(true, false);
  const FailNothingAfterwards clean;
  RealLoop<EchoRecorder> it{{}, shares ? "tcp://127.0.0.1:0?reuseport=1" : "tcp://127.0.0.1:0"};
  it.Turn();
  const Clock::time_point start = fake::Now();
  fake::FailNext(&Calls::set_option, EPERM);  // so that one can come late
  it.loop.Stop();
  it.Turn();
  it.Turn();
  CHECK_FALSE(it.loop.IsStopped());
  CHECK(it.handler.calls.back() == "stop");  // what is open drains meanwhile
  Client late = it.Connect();
  late.Send("late");
  late.HalfClose();
  it.loop.Run();
  ReadToEnd(late);
  CHECK(late.received == "late");
  CHECK(fake::Now() - start >= milliseconds(100));
  CHECK(fake::Now() - start <= milliseconds(102));
}

TEST_CASE("an inherited socket is left to its owner, however many come",
          "[server][stop][inherited]") {
  const UniqueFd owner(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const Address any = Address::Parse("127.0.0.1:0");
  REQUIRE(::bind(owner.get(), static_cast<const sockaddr*>(any.Raw()),
                 static_cast<socklen_t>(any.RawSize())) == 0);
  REQUIRE(::listen(owner.get(), 4096) == 0);
  RealLoop<EchoRecorder> it{{}, "fd://" + std::to_string(::dup(owner.get()))};
  auto first = it.Connect();
  first.Send("first");
  first.HalfClose();
  int accepted = 0;
  it.handler.on_accept = [&](const weir::Accepted&) {
    ++accepted;
    static_cast<void>(it.Connect());  // one comes for each that is taken
    return accepted == 1;
  };
  it.loop.Stop();
  it.loop.Run();
  CHECK(accepted == 4096);
  ReadToEnd(first);
  CHECK(first.received == "first");
  const UniqueFd next(::accept(owner.get(), nullptr, nullptr));
  CHECK(next);
}

// ---- Starting

TEST_CASE("a thread that cannot be started is told, and nothing is served", "[server][start]") {
  const FailNothingAfterwards clean;
  const int started = GENERATE(0, 1, 2);
  std::atomic<int> made = 0;
  std::atomic<int> alive = 0;
  struct Counted : weir::Handler {
    explicit Counted(std::atomic<int>& alive_now) : alive(alive_now) { ++alive; }
    ~Counted() override { --alive; }
    std::atomic<int>& alive;
  };
  Server server(
      [&](EventLoop&) {
        ++made;
        return std::make_unique<Counted>(alive);
      },
      {.loops = 3});
  server.Listen("tcp://127.0.0.1:0");
  if (started > 0) fake::FailNext(&Calls::threads, 0, started);
  fake::FailNext(&Calls::threads, EAGAIN);
  CHECK_THROWS_WITH(server.Start(), "a thread for a loop: Resource temporarily unavailable");
  CHECK(made == 2);
  CHECK(alive == 0);
}

TEST_CASE("a processor that cannot be had is told", "[server][pin]") {
  const FailNothingAfterwards clean;
  Recorder handler;
  Server server(handler, {.pin_cpus = true});
  fake::FailNext(&Calls::set_cpus, EPERM);
  const std::string expected = "Options::pin_cpus: sched_setaffinity to processor " +
                               std::to_string(sys::AllowedCpus().front()) +
                               ": Operation not permitted";
  CHECK_THROWS_WITH(server.Run(), expected);
  CHECK(handler.calls.empty());
}

TEST_CASE("a listener that one loop cannot watch is on none", "[server][start]") {
  const FailNothingAfterwards clean;
  const std::string url = GENERATE(as<std::string>(), "tcp://127.0.0.1:0", AnyUnix());
  Recorder handler;
  Server server(weir::Shared{handler}, {.loops = 3});
  fake::FailNext(&Calls::epoll_ctl_add, 0, 2);
  fake::FailNext(&Calls::epoll_ctl_add, ENOSPC);
  CHECK_THROWS_WITH(server.Listen(url), "epoll_ctl ADD: No space left on device");
  CHECK(server.Addresses().empty());
  CHECK(server.Listen(url) == 0);
  CHECK(server.Loop(2).ListenAddress(0) == server.Addresses()[0]);
}

TEST_CASE("steering that the kernel refuses is told", "[server][pin]") {
  const FailNothingAfterwards clean;
  Recorder handler;
  Server server(weir::Shared{handler}, {.loops = 2, .pin_cpus = true});
  fake::FailNext(&Calls::set_option, 0, 6);  // of two listeners: no_delay, reuseaddr, reuseport
  fake::FailNext(&Calls::set_option, EPERM);
  CHECK_THROWS_WITH(server.Listen("tcp://127.0.0.1:0"),
                    "listen tcp://127.0.0.1:0: SO_ATTACH_REUSEPORT_CBPF: Operation not permitted");
}

TEST_CASE("where other processes share the port nothing is steered", "[server][pin]") {
  Recorder handler;
  Server server(weir::Shared{handler}, {.loops = 2, .pin_cpus = true});
  sys::calls() = {};
  server.Listen("tcp://127.0.0.1:0?reuseport=1");
  CHECK(sys::calls().set_option == 6);
}
