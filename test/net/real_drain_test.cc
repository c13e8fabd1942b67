// How a loop stops, on real sockets: whoever had asked gets its reply, wherever the request was at
// that moment; whoever's connect() succeeded is not reset; and nobody keeps the loop for ever.

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "os/sys.h"
#include "support/catch.h"
#include "support/real_loop.h"

using namespace std::chrono_literals;
using weir::Accepted;
using weir::Address;
using weir::Clock;
using weir::CloseReason;
using weir::Connection;
using weir::Duration;
using weir::EventLoop;
using weir::Options;
using weir::UniqueFd;
using weir::test::Client;
using weir::test::EchoRecorder;
using weir::test::RealLoop;
using weir::test::Recorder;
namespace sys = weir::sys;
namespace fake = weir::sys::fake;

namespace {

// Planned failures that a test did not use up must not meet the next one.
struct FailNothingAfterwards {
  ~FailNothingAfterwards() { fake::FailNothing(); }
};

// A place for a listener of each kind.
class Place {
 public:
  explicit Place(const std::string& kind) : url_("tcp://127.0.0.1:0") {
    if (kind == "abstract") url_ = "unix:@weir-drain-test-" + std::to_string(::getpid());
    if (kind != "path") return;
    folder_ = (std::filesystem::temp_directory_path() / "weir-drain-XXXXXX").string();
    REQUIRE(::mkdtemp(folder_.data()) != nullptr);
    url_ = "unix:" + folder_ + "/socket";
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() {
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }
  [[nodiscard]] const std::string& url() const { return url_; }

 private:
  std::string url_;
  std::string folder_;
};

// A connect() that waits for nobody: its errno, or 0.
int ErrorOfConnect(const UniqueFd& fd, const Address& to) {
  const int result = ::connect(fd.get(), static_cast<const sockaddr*>(to.Raw()),
                               static_cast<socklen_t>(to.RawSize()));
  return result == 0 ? 0 : errno;
}
UniqueFd NewSocket(const Address& to) {
  const int family = static_cast<const sockaddr*>(to.Raw())->sa_family;
  return UniqueFd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

// Answers each line by "<line>!", however the lines are cut.
class LineServer : public Recorder {
 public:
  LineServer() {
    on_data = [](Connection& connection, std::string_view in) {
      std::size_t consumed = 0;
      for (std::size_t end = 0; (end = in.find('\n', consumed)) != in.npos; consumed = end + 1) {
        Answer(connection, in.substr(consumed, end - consumed));
      }
      return consumed;
    };
  }
  static void Answer(Connection& connection, std::string_view line) {
    connection.Writev({line, "!\n"});
  }
};

// Turns until OnStop was called: the listeners have taken their queues by then, or wait.
template <class Loop>
void RunToOnStop(Loop& it) {
  const auto& calls = it.handler.calls;
  it.RunUntil([&] { return std::count(calls.begin(), calls.end(), "stop") == 1; }, 10);
}

// Turns, each of which waits if it must: the fake clock goes on.
template <class Loop>
void RunToTheEnd(Loop& it, int most = 10'000) {
  for (int i = 0; i < most && !it.loop.IsStopped(); ++i) it.TurnWhenReady();
  REQUIRE(it.loop.IsStopped());
}

// A listener that stops stays for handshakes that had begun; not for long.
template <class Loop>
void LetListenersClose(Loop& it) {
  fake::Advance(1s);
  it.RunUntilQuiet();
}

// The descriptor of the socket that listens there.
int FdOfListener(const Address& address) {
  for (int fd = 0; fd < 1000; ++fd) {
    int listens = 0;
    socklen_t size = sizeof listens;
    if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) continue;
    sockaddr_storage name{};
    size = sizeof name;
    REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) == 0);
    if (Address::FromRaw(&name, size) == address) return fd;
  }
  return -1;
}

// Turns until the client has seen the end; it must be a clean one.
template <class Loop>
void ExpectReplyAndEnd(Loop& it, Client& client, const std::string& reply) {
  it.RunToEndOf(client);
  CHECK(client.error == 0);
  CHECK(client.ended);
  CHECK((client.received == reply));
  client.Close();
}

}  // namespace

// ---- What had arrived

TEST_CASE("a request gets its reply wherever it was when the loop was stopped",
          "[net][real][drain]") {
  const std::string kind = GENERATE(as<std::string>{}, "tcp", "abstract", "path");
  enum class Stage { kQueued, kAccepted, kArrived, kHalfDelivered, kSeveral };
  const auto stage = GENERATE(Stage::kQueued, Stage::kAccepted, Stage::kArrived,
                              Stage::kHalfDelivered, Stage::kSeveral);
  CAPTURE(kind, static_cast<int>(stage));
  const Place place(kind);
  RealLoop<LineServer> it{{}, place.url()};
  std::string reply = "request!\n";
  Client client = it.Connect();
  if (stage != Stage::kQueued) it.RunUntil([&] { return it.handler.opens == 1; });
  if (stage != Stage::kQueued && stage != Stage::kAccepted) it.RunUntilQuiet();
  if (stage == Stage::kHalfDelivered) {
    client.Send("requ");
    it.RunUntilQuiet();
    client.Send("est\n");
  } else if (stage == Stage::kSeveral) {
    client.Send("request\nanother\n");
    reply = "request!\nanother!\n";
  } else {
    client.Send("request\n");
  }

  it.loop.Stop();
  ExpectReplyAndEnd(it, client, reply);
  RunToTheEnd(it);
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kShutdown);
}

TEST_CASE("the end of a request that comes after the stop is too late, but resets nobody",
          "[net][real][drain]") {
  RealLoop<LineServer> it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  client.Send("requ");
  it.RunUntilQuiet();
  it.loop.Stop();
  RunToOnStop(it);
  client.Send("est\n");
  ExpectReplyAndEnd(it, client, "");
  RunToTheEnd(it);
}

TEST_CASE("a drain reads what had arrived at the stop, not what its peer goes on to send",
          "[net][real][drain]") {
  const std::string kind = GENERATE(as<std::string>{}, "tcp", "abstract");
  CAPTURE(kind);
  const Place place(kind);
  RealLoop<> it{Options{.read_chunk = 64, .read_budget = 64}, place.url()};
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  client.Send(std::string(1000, 'a'));
  it.loop.Stop();
  RunToOnStop(it);
  int turns = 0;
  for (; turns < 200 && it.handler.closes == 0; ++turns) {
    client.TrySend(std::string(1000, 'b'));
    it.Turn();
  }
  CHECK(turns <= 1000 / 64 + 3);
  CHECK(it.handler.text.starts_with(std::string(1000, 'a')));
  CHECK(it.handler.text.size() < 1000 + 64);
  CHECK(it.handler.reason == CloseReason::kShutdown);
  it.RunToEndOf(client);
  CHECK(client.error == 0);
}

TEST_CASE("a drain reads past an urgent byte", "[net][real][drain]") {
  const std::size_t front = GENERATE(0U, 40U);
  const bool in_onstop = GENERATE(false, true);
  CAPTURE(front, in_onstop);
  RealLoop<> it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  if (front != 0) client.Send(std::string(front, 'a'));
  client.SendUrgent('!');
  client.Send(std::string(39, 'b'));
  in_onstop ? it.loop.Stop() : it.loop.DrainAll();
  it.RunUntil([&] { return it.handler.closes == 1; });
  CHECK(it.handler.text == std::string(front, 'a') + std::string(39, 'b'));
  CHECK(it.handler.reason == CloseReason::kShutdown);
}

TEST_CASE("a paused connection's request gets its reply once the program resumes it",
          "[net][real][drain]") {
  const bool in_ring = GENERATE(false, true);
  CAPTURE(in_ring);
  RealLoop<LineServer> it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  const weir::ConnRef ref = it.handler.last->Ref();
  if (in_ring) {  // seen once, and left
    const auto answer = it.handler.on_data;
    it.handler.on_data = [&it, answer](Connection& connection, std::string_view) {
      connection.PauseRead();
      it.handler.on_data = answer;
      return std::size_t{0};
    };
    client.Send("request\n");
    it.RunUntilQuiet();
  } else {
    it.handler.last->PauseRead();
    client.Send("request\n");
  }

  it.loop.Stop();
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 0);  // the program's to finish
  REQUIRE(ref.Get() != nullptr);
  it.loop.Post([&] { ref.Get()->ResumeRead(); });
  ExpectReplyAndEnd(it, client, "request!\n");
  RunToTheEnd(it);
  CHECK(it.handler.reason == CloseReason::kShutdown);
}

TEST_CASE("a congested connection's requests get their replies, however large",
          "[net][real][drain]") {
  // Each reply is larger than the socket's buffers and the high watermark together.
  constexpr std::size_t kReply = 1 << 20;
  constexpr int kRequests = 4;
  const std::string kind = GENERATE(as<std::string>{}, "tcp", "abstract");
  const bool one_by_one = GENERATE(false, true);  // in the kernel, or in the connection's ring
  CAPTURE(kind, one_by_one);
  const Place place(kind);
  RealLoop<> it{Options{.read_chunk = one_by_one ? std::size_t{4} : std::size_t{64},
                        .high_water = 64 << 10,
                        .low_water = 16 << 10,
                        .send_buffer = 16 << 10},
                place.url()};
  int answered = 0;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    std::size_t consumed = 0;
    while (in.size() - consumed >= 4 && !connection.Congested()) {
      connection.Write(std::string(kReply, static_cast<char>('a' + answered++)));
      consumed += 4;
    }
    return consumed;
  };
  Client client = it.ConnectAndOpen(kind == "tcp" ? 16 << 10 : 0);
  it.RunUntilQuiet();
  for (int i = 0; i < kRequests; ++i) client.Send("big\n");
  it.RunUntilQuiet();
  REQUIRE(answered == 1);

  it.loop.Stop();
  it.RunUntilQuiet();
  REQUIRE(it.handler.closes == 0);
  while (!client.ended && client.error == 0) {
    std::vector<pollfd> wanted{{it.loop.PollFd(), POLLIN, 0}, {client.fd(), POLLIN, 0}};
    REQUIRE(::poll(wanted.data(), wanted.size(), 20'000) > 0);
    client.Receive();
    it.Turn();
  }
  CHECK(client.error == 0);
  std::string expected;
  for (int i = 0; i < kRequests; ++i) expected.append(kReply, static_cast<char>('a' + i));
  CHECK((client.received == expected));
  client.Close();
  RunToTheEnd(it);
  CHECK(it.handler.reason == CloseReason::kShutdown);
}

TEST_CASE("a codec that takes one message at a time gets each that had arrived",
          "[net][real][drain]") {
  // It pauses behind each message, and a task of its own resumes it.
  constexpr int kMessages = 10;
  RealLoop<> it;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    const std::size_t end = in.find('\n');
    if (end == in.npos) return std::size_t{0};
    LineServer::Answer(connection, in.substr(0, end));
    if (end + 1 < in.size()) {
      connection.PauseRead();
      it.loop.Post([ref = connection.Ref()] {
        if (Connection* const resumed = ref.Get()) resumed->ResumeRead();
      });
    }
    return end + 1;
  };
  enum class Stage { kQueued, kOpen, kPaused };
  const auto stage = GENERATE(Stage::kQueued, Stage::kOpen, Stage::kPaused);
  CAPTURE(static_cast<int>(stage));
  Client client = it.Connect();
  if (stage != Stage::kQueued) it.RunUntilQuiet();
  if (stage == Stage::kPaused) it.handler.last->PauseRead();
  std::string expected;
  for (int i = 0; i < kMessages; ++i) {
    client.Send("message " + std::to_string(i) + "\n");
    expected += "message " + std::to_string(i) + "!\n";
  }
  it.loop.Stop();
  if (stage == Stage::kPaused) {
    RunToOnStop(it);
    it.handler.last->ResumeRead();
  }
  ExpectReplyAndEnd(it, client, expected);
  RunToTheEnd(it);
}

TEST_CASE("a client that had ended its stream gets its reply too", "[net][real][drain]") {
  const std::string kind = GENERATE(as<std::string>{}, "tcp", "abstract");
  const bool is_queued = GENERATE(true, false);
  CAPTURE(kind, is_queued);
  const Place place(kind);
  RealLoop<LineServer> it{{}, place.url()};
  Client client = it.Connect();
  if (!is_queued) it.RunUntilQuiet();
  client.Send("request\n");
  client.HalfClose();
  it.loop.Stop();
  ExpectReplyAndEnd(it, client, "request!\n");
  RunToTheEnd(it);
}

// ---- The queue

TEST_CASE("however long the queue is, each of its clients gets its reply", "[net][real][drain]") {
  const std::string kind = GENERATE(as<std::string>{}, "tcp", "abstract", "path");
  CAPTURE(kind);
  const Place place(kind);
  RealLoop<LineServer> it{{.accepts_per_turn = 16}, place.url()};
  std::vector<Client> clients;
  for (int i = 0; i < 200; ++i) {
    clients.push_back(it.Connect());
    clients.back().Send(std::to_string(i) + "\n");
  }
  it.handler.on_stop = [&](EventLoop& loop) {
    CHECK(it.handler.opens == 200);  // all are accepted by then
    loop.DrainAll();
  };
  it.loop.Stop();
  for (int i = 0; i < 200; ++i) {
    ExpectReplyAndEnd(it, clients[static_cast<std::size_t>(i)], std::to_string(i) + "!\n");
  }
  RunToTheEnd(it);
}

TEST_CASE("who comes while a listener closes is not let in: so nobody is in its queue then",
          "[net][real][drain]") {
  const bool whole_loop = GENERATE(true, false);
  CAPTURE(whole_loop);
  RealLoop<LineServer> it{{.accepts_per_turn = 2}};
  const Address address = it.loop.ListenAddress(it.listener);
  std::vector<UniqueFd> late;
  // Each that is accepted is an opportunity for another to come: they would never end.
  const auto come = [&] {
    if (late.size() > 50) return;
    late.push_back(NewSocket(address));
    CHECK(ErrorOfConnect(late.back(), address) == EINPROGRESS);
  };
  it.handler.on_accept = [&](const Accepted&) { return come(), true; };
  std::vector<Client> clients;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(it.Connect());
    clients.back().Send("in time\n");
  }
  if (whole_loop) {
    it.loop.Stop();
  } else {
    it.loop.StopListening(it.listener);
  }
  for (int i = 0; i < 10; ++i) it.Turn();
  CHECK(it.handler.opens == 5);
  CHECK(late.size() == 5);
  for (Client& client : clients) {
    it.RunUntil([&] { return client.Receive(), client.received == "in time!\n"; });
    CHECK(client.error == 0);
  }
  for (const UniqueFd& fd : late) {  // still in its handshake
    pollfd wanted{fd.get(), POLLOUT, 0};
    CHECK(::poll(&wanted, 1, 0) == 0);
  }
  // Once the listener is gone, who comes is refused at once.
  LetListenersClose(it);
  CHECK(ErrorOfConnect(UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), address) ==
        ECONNREFUSED);
}

TEST_CASE("a client whose handshake had begun before the stop is let in, and not reset",
          "[net][real][drain]") {
  // With TCP_DEFER_ACCEPT a handshake ends with the first byte of the client, for whom it has ended
  // before: so a handshake on a slow network looks.
  const bool whole_loop = GENERATE(true, false);
  CAPTURE(whole_loop);
  RealLoop<LineServer> it;
  const Address address = it.loop.ListenAddress(it.listener);
  const int seconds = 5;
  REQUIRE(::setsockopt(FdOfListener(address), IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds,
                       sizeof seconds) == 0);
  Client client = it.Connect();
  it.RunUntilQuiet();
  REQUIRE(it.handler.opens == 0);
  if (whole_loop) {
    it.loop.Stop();
  } else {
    it.loop.StopListening(it.listener);
  }
  it.RunUntilQuiet();
  fake::Advance(50ms);
  it.RunUntilQuiet();
  client.Send("request\n");
  it.RunUntil([&] { return client.Receive(), client.error != 0 || client.received.size() == 9; });
  CHECK(client.error == 0);
  CHECK(client.received == "request!\n");
  client.Close();
  // And then the listener closes: within 100 ms of the stop.
  fake::Advance(51ms);
  it.RunUntilQuiet();
  CHECK(FdOfListener(address) == -1);
  CHECK(it.loop.IsStopped() == whole_loop);
}

TEST_CASE("a Unix listener that closes refuses at once, and serves who is queued",
          "[net][real][drain]") {
  const std::string kind = GENERATE(as<std::string>{}, "abstract", "path");
  const bool whole_loop = GENERATE(true, false);
  CAPTURE(kind, whole_loop);
  const Place place(kind);
  RealLoop<LineServer> it{{.accepts_per_turn = 1}, place.url()};
  const Address address = it.loop.ListenAddress(it.listener);
  Client open = it.ConnectAndOpen();
  it.RunUntilQuiet();
  std::vector<Client> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(it.Connect());
    clients.back().Send("queued\n");
  }
  if (whole_loop) {
    it.loop.Stop();
  } else {
    it.loop.StopListening(it.listener);
  }
  it.Turn();
  it.Turn();
  REQUIRE(it.handler.opens < 4);  // still at it
  const int refused = ErrorOfConnect(NewSocket(address), address);
  CHECK(refused == ECONNREFUSED);
  for (Client& client : clients) {
    it.RunUntil([&] { return client.Receive(), client.received == "queued!\n"; });
    CHECK(client.error == 0);
  }
  if (!whole_loop) {
    CHECK(it.handler.closes == 0);
    open.Send("lives on\n");
    it.RunUntil([&] { return open.Receive(), open.received == "lives on!\n"; });
  }
}

TEST_CASE("a client whose connect succeeds while loops stop is served or ended, never reset",
          "[net][real][drain][threads]") {
  constexpr int kStops = 200;
  constexpr std::string_view kRequest = "a request\n";
  std::atomic<std::uint32_t> port{0};  // 0: between two loops; UINT32_MAX: enough
  std::atomic<int> served{0};
  std::atomic<int> ended{0};
  std::atomic<int> resets{0};
  std::atomic<int> stuck{0};
  std::atomic<int> connecting{0};  // clients whose handshake may be under way

  // One visit: from connect() to the reply, or the end. A SYN that the closing listener has dropped
  // would be sent again in a second: whoever is not connected when its loop is gone gives up.
  const auto visit = [&](std::uint32_t to) {
    const Address address = Address::Parse("127.0.0.1:" + std::to_string(to));
    const UniqueFd fd = NewSocket(address);
    pollfd wanted{fd.get(), POLLOUT, 0};
    ++connecting;
    const int error = port == to ? ErrorOfConnect(fd, address) : ECONNREFUSED;
    const bool has_begun = error == 0 || error == EINPROGRESS;
    bool has_ended = false;
    while (has_begun && !has_ended && port == to) has_ended = ::poll(&wanted, 1, 1) == 1;
    --connecting;
    if (!has_ended) return;
    int outcome = 0;
    socklen_t size = sizeof outcome;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &outcome, &size);
    if (outcome == ECONNREFUSED) return;  // never was connected
    if (outcome != 0 || ::send(fd.get(), kRequest.data(), kRequest.size(), MSG_NOSIGNAL) < 0) {
      ++resets;
      return;
    }
    std::size_t received = 0;
    while (received < kRequest.size() + 1) {
      wanted.events = POLLIN;
      if (::poll(&wanted, 1, 20'000) != 1) {
        ++stuck;
        return;
      }
      char room[64];
      const ssize_t n = ::recv(fd.get(), room, sizeof room, 0);
      if (n < 0) ++resets;
      if (n == 0) ++ended;
      if (n <= 0) return;
      received += static_cast<std::size_t>(n);
    }
    ++served;
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (std::uint32_t to = 0; (to = port) != UINT32_MAX;) {
        if (to == 0) {
          std::this_thread::yield();
        } else {
          visit(to);
        }
      }
    });
  }
  int stopped = 0;
  for (; stopped < kStops; ++stopped) {
    LineServer handler;
    EventLoop loop;
    port = loop.ListenAddress(loop.Listen("tcp://127.0.0.1:0", handler)).Port();
    while (handler.opens < 5) loop.RunOnce(Duration::zero());
    loop.Stop();
    // In steps that do not wait: so the fake clock stands still, and nobody's linger runs out. It
    // goes on when all handshakes have ended that began before the stop.
    while (std::count(handler.calls.begin(), handler.calls.end(), "stop") == 0) {
      loop.RunOnce(Duration::zero());
    }
    port = 0;
    while (connecting > 0) loop.RunOnce(Duration::zero());
    for (int i = 0; i < 10; ++i) loop.RunOnce(Duration::zero());
    fake::Advance(150ms);
    while (!loop.IsStopped()) loop.RunOnce(Duration::zero());
  }
  port = UINT32_MAX;
  for (std::thread& thread : threads) thread.join();
  CAPTURE(served.load(), ended.load());
  CHECK(served > kStops);
  CHECK(resets == 0);
  CHECK(stuck == 0);
}

// ---- Without descriptors

TEST_CASE("a listener that waits for descriptors when the loop stops takes its queue as they come",
          "[net][real][drain]") {
  const FailNothingAfterwards clean;
  RealLoop<LineServer> it;
  const Address address = it.loop.ListenAddress(it.listener);
  fake::FailNext(&sys::Calls::accept, EMFILE, 3);
  std::vector<Client> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(it.Connect());
    clients.back().Send("queued\n");
  }
  it.loop.Stop();
  RunToOnStop(it);
  CHECK(it.handler.opens == 0);
  // Nobody else gets into the queue meanwhile.
  const UniqueFd late = NewSocket(address);
  CHECK(ErrorOfConnect(late, address) == EINPROGRESS);

  const Clock::time_point before = fake::Now();
  while (it.handler.opens < 3) it.TurnWhenReady();  // by the timer: 5, 10 and 20 ms
  CHECK(fake::Now() - before < 50ms);
  for (Client& client : clients) ExpectReplyAndEnd(it, client, "queued!\n");
  RunToTheEnd(it);
  CHECK(it.handler.opens == 3);
  CHECK(it.handler.closes == 3);
  CHECK(it.handler.reason == CloseReason::kShutdown);
}

TEST_CASE("StopListening without descriptors: the queue is taken after a close, then it closes",
          "[net][real][drain]") {
  const FailNothingAfterwards clean;
  RealLoop<LineServer> it;
  const Address address = it.loop.ListenAddress(it.listener);
  Client first = it.ConnectAndOpen();
  it.RunUntilQuiet();
  Client queued = it.Connect();
  queued.Send("queued\n");
  fake::FailNext(&sys::Calls::accept, ENFILE);
  it.loop.StopListening(it.listener);
  it.Turn();
  it.Turn();
  REQUIRE(it.handler.opens == 1);
  const Clock::time_point before = fake::Now();
  first.Reset();
  it.RunUntil([&] { return queued.Receive(), queued.received == "queued!\n"; }, 1000);
  CHECK(fake::Now() == before);
  LetListenersClose(it);
  CHECK(ErrorOfConnect(UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), address) ==
        ECONNREFUSED);
}

TEST_CASE("without a descriptor for ever, a stop ends with its grace", "[net][real][drain]") {
  const FailNothingAfterwards clean;
  RealLoop<LineServer> it;
  std::vector<Client> clients;
  for (int i = 0; i < 2; ++i) clients.push_back(it.Connect());
  fake::FailNext(&sys::Calls::accept, EMFILE, 1'000'000);
  const Clock::time_point before = fake::Now();
  it.loop.Stop(2s);
  it.loop.Run();
  CHECK(fake::Now() - before >= 2s);
  CHECK(fake::Now() - before <= 2s + 110ms);
  CHECK(it.handler.opens == 0);
  CHECK(std::count(it.handler.calls.begin(), it.handler.calls.end(), "stop") == 1);
  for (Client& client : clients) {
    client.Receive();
    CHECK(client.error == ECONNRESET);
  }
}

// ---- Its end

TEST_CASE("Stop(0) with clients in the queue ends at once, and each hears of it",
          "[net][real][drain]") {
  const std::string kind = GENERATE(as<std::string>{}, "tcp", "abstract", "path");
  CAPTURE(kind);
  const Place place(kind);
  RealLoop<LineServer> it{{}, place.url()};
  Client open = it.ConnectAndOpen();
  Client queued = it.Connect();
  const Clock::time_point before = fake::Now();
  it.loop.Stop(Duration::zero());
  it.loop.Run();
  CHECK(fake::Now() == before);
  CHECK(it.handler.closes == it.handler.opens);
  CHECK(std::count(it.handler.calls.begin(), it.handler.calls.end(), "stop") == 1);
  for (Client* const client : {&open, &queued}) {
    REQUIRE(client->WaitReadable());
    client->Receive();
    CHECK((client->ended || client->error == ECONNRESET));
  }
}

TEST_CASE("a second Stop ends a drain that waits for its peers", "[net][real][drain]") {
  RealLoop<LineServer> it{Options{.send_buffer = 16 << 10}};
  Client reads_nothing = it.ConnectAndOpen(16 << 10);
  it.RunUntilQuiet();
  it.handler.last->Write(std::string(4 << 20, 'x'));
  Client never_ends = it.ConnectAndOpen();
  it.RunUntilQuiet();
  it.loop.Stop();
  it.RunUntilQuiet();
  it.RunToEndOf(never_ends);
  REQUIRE_FALSE(it.loop.IsStopped());
  REQUIRE(it.core().table.live() == 2);

  const Clock::time_point before = fake::Now();
  it.loop.Stop(100s);  // its grace does not matter
  RunToTheEnd(it, 3);
  CHECK(fake::Now() == before);
  CHECK(it.handler.closes == 2);
  CHECK(std::count(it.handler.calls.begin(), it.handler.calls.end(), "stop") == 1);
  while (reads_nothing.Receive() > 0) {
  }
  CHECK(reads_nothing.error == ECONNRESET);
}

TEST_CASE("when the grace is over, what still drains is reset", "[net][real][drain]") {
  RealLoop<> it{Options{.high_water = 64 << 10,
                        .write_stall = Duration::zero(),
                        .close_linger = 1000s,
                        .send_buffer = 16 << 10}};
  it.handler.on_data = [](Connection& connection, std::string_view in) {
    connection.Write(std::string(1 << 20, 'x'));
    return in.size();
  };
  const bool is_congested = GENERATE(true, false);
  Client client = it.ConnectAndOpen(16 << 10);
  it.RunUntilQuiet();
  if (is_congested) {
    client.Send("1");
    it.RunUntilQuiet();
    client.Send("2");  // drains once the client has read, which it does not
  }
  it.handler.last->PauseRead();
  client.Send("3");
  const Clock::time_point before = fake::Now();
  it.loop.Stop(7s);
  it.loop.Run();
  CHECK(fake::Now() - before >= 7s);
  CHECK(fake::Now() - before <= 7s + 10ms);
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kShutdown);
  while (client.Receive() > 0) {
  }
  CHECK(client.error == ECONNRESET);
}

TEST_CASE("an OnStop of the program's own lets work finish, also that of clients in the queue",
          "[net][real][drain]") {
  // Each request is answered half a second after it came, and then its connection is closed.
  RealLoop<> it;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    it.loop.RunAfter(500ms, [ref = connection.Ref()] {
      Connection* const late = ref.Get();
      if (late == nullptr) return;
      late->Write("done");
      late->Close();
    });
    return in.size();
  };
  it.handler.on_stop = [](EventLoop&) {};
  Client working = it.ConnectAndOpen();
  working.Send("work");
  it.RunUntilQuiet();
  Client queued = it.Connect();
  queued.Send("work");

  const Clock::time_point before = fake::Now();
  it.loop.Stop();
  while (it.handler.closes < 2) it.TurnWhenReady();
  CHECK(fake::Now() - before >= 500ms);
  CHECK(fake::Now() - before < 600ms);
  ExpectReplyAndEnd(it, working, "done");
  ExpectReplyAndEnd(it, queued, "done");
  RunToTheEnd(it);
  CHECK(it.handler.reason == CloseReason::kLocal);
}

TEST_CASE("a drain that a task asks for later closes what OnStop has left", "[net][real][drain]") {
  RealLoop<LineServer> it;
  it.handler.on_stop = [&](EventLoop& loop) { loop.RunAfter(1s, [&loop] { loop.DrainAll(); }); };
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  it.loop.Stop();
  it.RunUntilQuiet();
  client.Send("still served\n");
  it.RunUntil([&] { return client.Receive(), client.received == "still served!\n"; });
  while (it.handler.closes == 0) it.TurnWhenReady();
  it.RunToEndOf(client);
  CHECK(client.error == 0);
  client.Close();
  RunToTheEnd(it);
  CHECK(it.handler.reason == CloseReason::kShutdown);
}
