// Limits and deadlines, on real sockets: what a peer that does not read, a crowd of them, or one
// that says nothing may cost, and what it gets in the end. Time is the fake clock's: it goes on
// when the loop waits and nothing is ready.

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "os/sys.h"
#include "support/catch.h"
#include "support/real_loop.h"

using namespace std::chrono_literals;
using weir::Clock;
using weir::CloseReason;
using weir::Connection;
using weir::Duration;
using weir::EventLoop;
using weir::Options;
using weir::Stats;
using weir::TimeoutKind;
using weir::test::Client;
using weir::test::EchoRecorder;
using weir::test::RealLoop;
using weir::test::Recorder;
namespace sys = weir::sys;
namespace fake = weir::sys::fake;

namespace {

// The bytes of a long stream, from any place on. Its period is no power of two: a piece that is
// lost, doubled or moved shows.
std::string_view StreamAt(std::size_t offset) {
  static constexpr std::size_t kPeriod = 1'000'003;
  static const std::string bytes = [] {
    std::string twice(2 * kPeriod, '\0');
    std::uint32_t seed = 1;
    for (std::size_t i = 0; i < kPeriod; ++i) {
      seed = seed * 1664525 + 1013904223;
      twice[i] = twice[i + kPeriod] = static_cast<char>(seed >> 24);
    }
    return twice;
  }();
  return std::string_view(bytes).substr(offset % kPeriod, kPeriod);
}

// A client that sends `total` bytes of the stream and looks at what comes back.
struct Streamer {
  Client client;
  std::size_t total;
  std::size_t sent = 0;
  std::size_t checked = 0;
  bool same = true;

  // True while the socket takes more.
  bool SendSome() {
    const std::size_t left = std::min<std::size_t>(total - sent, 256 << 10);
    const std::size_t n = client.TrySend(StreamAt(sent).substr(0, left));
    sent += n;
    return n != 0;
  }
  void ReadSome() {
    client.Receive();
    if (client.received.empty()) return;
    same = same && client.received == StreamAt(checked).substr(0, client.received.size());
    checked += client.received.size();
    client.received.clear();
  }
  [[nodiscard]] bool HasAll() const { return checked == total; }
};

// Waits until the loop or a client has something to do; the time is but a guard.
void AwaitAny(const EventLoop& loop, const std::vector<Streamer>& streamers) {
  std::vector<pollfd> wanted{{loop.PollFd(), POLLIN, 0}};
  for (const Streamer& streamer : streamers) {
    const bool sends = streamer.sent < streamer.total;
    wanted.push_back(
        {streamer.client.fd(), static_cast<short>(sends ? POLLIN | POLLOUT : POLLIN), 0});
  }
  REQUIRE(::poll(wanted.data(), wanted.size(), 20'000) > 0);
}

// Turns, each of which waits if it must: the fake clock goes on.
template <class Loop, class Done>
void LetTimePassUntil(Loop& it, Done done, int most = 1000) {
  for (int i = 0; i < most && !done(); ++i) it.TurnWhenReady();
  REQUIRE(done());
}

std::string UrlOf(const std::string& kind) {
  return kind == "unix" ? "unix:@weir-limits-test-" + std::to_string(::getpid())
                        : "tcp://127.0.0.1:0";
}

// What one connection's output ring may hold: up to high_water it is read, and then comes at most
// one more chunk.
std::size_t MostHeld(const Options& options) {
  return std::bit_ceil(options.high_water + options.read_chunk);
}

// All send and nobody reads until nothing moves any more; then all read to the end.
template <class Loop>
void FloodThenRead(Loop& it, std::vector<Streamer>& streamers, std::size_t most_held) {
  std::size_t held = 0;
  const auto turn = [&] {
    const int served = it.Turn();
    held = std::max<std::size_t>(held, it.loop.GetStats().buffered);
    return served;
  };
  for (int quiet = 0; quiet < 20; ++quiet) {
    for (Streamer& streamer : streamers) {
      while (streamer.SendSome()) quiet = 0;
    }
    if (turn() != 0) quiet = 0;
  }
  for (const Streamer& streamer : streamers) CHECK(streamer.sent < streamer.total);
  CHECK(it.loop.GetStats().paused == streamers.size());
  CHECK(held <= most_held);

  const auto is_over = [](const Streamer& streamer) { return streamer.HasAll(); };
  while (!std::all_of(streamers.begin(), streamers.end(), is_over)) {
    AwaitAny(it.loop, streamers);
    for (Streamer& streamer : streamers) {
      static_cast<void>(streamer.SendSome());
      streamer.ReadSome();
      REQUIRE(streamer.client.error == 0);
      REQUIRE(streamer.same);
    }
    turn();
  }
  CHECK(held <= most_held);
  it.RunUntilQuiet();
  CHECK(it.loop.GetStats().buffered == 0);
  CHECK(it.handler.closes == 0);
}

// An echo that does not remember.
class Echo : public Recorder {
 public:
  Echo() {
    on_data = [](Connection& connection, std::string_view in) {
      connection.Write(in);
      return in.size();
    };
  }
};

// Remembers its connections, in the order of their opening, and why each was closed.
class Crowd : public Recorder {
 public:
  Crowd() {
    on_open = [this](Connection& connection) { all.push_back(connection.Ref()); };
    on_close = [this](Connection& connection) { ended.emplace_back(connection.Ref(), reason); };
  }
  [[nodiscard]] bool Lives(std::size_t i) const { return all[i].Get() != nullptr; }

  std::vector<weir::ConnRef> all;
  std::vector<std::pair<weir::ConnRef, CloseReason>> ended;
};

// Writes so much in pieces, so that the whole stands in the connection's ring.
void WriteInPieces(Connection& connection, std::size_t size) {
  static const std::string piece(16 << 10, 'p');
  for (; size > 0; size -= std::min(size, piece.size())) {
    connection.Write(std::string_view(piece).substr(0, std::min(size, piece.size())));
  }
}

}  // namespace

// ---- A peer that does not read

TEST_CASE("64 MiB from a client that reads nothing cost a bounded memory, and then all come back",
          "[net][real][limits]") {
  const std::string kind = GENERATE(as<std::string>{}, "tcp", "unix");
  CAPTURE(kind);
  const Options options;
  RealLoop<Echo> it{options, UrlOf(kind)};
  std::vector<Streamer> streamers;
  streamers.push_back({it.ConnectAndOpen(), std::size_t{64} << 20});
  FloodThenRead(it, streamers, MostHeld(options));
}

TEST_CASE("48 clients that read nothing cost a bounded memory each, and then get all back",
          "[net][real][limits]") {
  const std::string kind = GENERATE(as<std::string>{}, "tcp", "unix");
  CAPTURE(kind);
  const Options options{.read_chunk = 16 << 10,
                        .high_water = 48 << 10,
                        .low_water = 16 << 10,
                        .recv_buffer = 64 << 10,
                        .send_buffer = 64 << 10};
  RealLoop<Echo> it{options, UrlOf(kind)};
  std::vector<Streamer> streamers;
  for (int i = 0; i < 48; ++i) {
    streamers.push_back({it.ConnectAndOpen(kind == "tcp" ? 64 << 10 : 0), 2 << 20});
    const int size = 64 << 10;
    REQUIRE(::setsockopt(streamers.back().client.fd(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size) ==
            0);
  }
  FloodThenRead(it, streamers, streamers.size() * MostHeld(options));
}

TEST_CASE("a client that half-closes with 8 MiB still to come gets them all, then the end",
          "[net][real][limits]") {
  const std::string kind = GENERATE(as<std::string>{}, "tcp", "unix");
  const bool auto_pause = GENERATE(true, false);
  CAPTURE(kind, auto_pause);
  RealLoop<Echo> it{
      Options{.auto_pause = auto_pause, .recv_buffer = 16 << 20, .send_buffer = 32 << 10},
      UrlOf(kind)};
  std::vector<Streamer> streamers;
  streamers.push_back({it.ConnectAndOpen(kind == "tcp" ? 32 << 10 : 0), 8 << 20});
  Streamer& streamer = streamers.front();
  std::size_t most = 0;
  for (int quiet = 0; quiet < 20 && streamer.sent < streamer.total; ++quiet) {
    while (streamer.SendSome()) quiet = 0;
    if (it.Turn() != 0) quiet = 0;
    if (it.handler.last != nullptr) most = std::max(most, it.handler.last->Pending());
  }
  if (!auto_pause) {
    REQUIRE(streamer.sent == streamer.total);
    streamer.client.HalfClose();
    it.RunUntil([&] { return it.handler.ends == 1; });
    REQUIRE(it.handler.last->Pending() > 7 << 20);
  }

  bool is_shut = !auto_pause;
  while (!streamer.client.ended) {
    AwaitAny(it.loop, streamers);
    static_cast<void>(streamer.SendSome());
    if (streamer.sent == streamer.total && !std::exchange(is_shut, true)) {
      streamer.client.HalfClose();
    }
    streamer.ReadSome();
    REQUIRE(streamer.client.error == 0);
    REQUIRE(streamer.same);
    it.Turn();
  }
  CHECK(streamer.HasAll());
  it.RunUntil([&] { return it.handler.closes == 1; });
  CHECK(it.handler.ends == 1);
  CHECK(it.handler.reason == CloseReason::kPeerEnd);
  CHECK_FALSE(it.handler.closed_with);
  CHECK(it.core().table.live() == 0);
  CHECK(it.loop.GetStats().buffered == 0);
}

TEST_CASE("a slow reader for whom more than max_output waits is reset, and its memory given back",
          "[net][real][limits]") {
  const std::string kind = GENERATE(as<std::string>{}, "tcp", "unix");
  CAPTURE(kind);
  constexpr std::size_t kMost = 1 << 20;
  constexpr std::size_t kPiece = 50'000;
  RealLoop<Crowd> it{Options{.max_output = kMost, .send_buffer = 16 << 10}, UrlOf(kind)};
  Client slow = it.ConnectAndOpen(kind == "tcp" ? 16 << 10 : 0);
  Client neighbour = it.ConnectAndOpen();
  it.RunUntilQuiet();
  Connection& writer = *it.handler.all[0].Get();

  const std::string piece(kPiece, 'x');
  bool taken = true;
  std::size_t most = 0;
  for (int i = 0; i < 1000 && taken; ++i) {
    it.loop.Post([&] {
      taken = writer.Write(piece);
      most = std::max(most, taken ? writer.Pending() : 0);
      if (!taken) CHECK_FALSE(writer.Write("not even a little more"));
    });
    it.Turn();
    slow.Receive(1000);
  }
  CHECK_FALSE(taken);
  CHECK(most <= kMost);
  CHECK(most > kMost - 2 * kPiece);
  it.RunUntil([&] { return it.core().table.live() == 1; });

  REQUIRE(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kOutputLimit);
  CHECK(it.loop.GetStats().buffered == 0);
  CHECK(it.core().buffers.bytes_in_use() == 0);
  while (slow.Receive() > 0) {
  }
  CHECK((slow.ended || slow.error == ECONNRESET));
  if (kind == "tcp") CHECK(slow.error == ECONNRESET);
  it.handler.on_data = [](Connection& connection, std::string_view in) {
    connection.Write(in);
    return in.size();
  };
  neighbour.Send("ping");
  it.RunUntil([&] { return neighbour.Receive(), neighbour.received == "ping"; });
}

TEST_CASE("a first piece is taken whole, whatever max_output says", "[net][real][limits]") {
  RealLoop<> it{Options{.high_water = 1000, .low_water = 100, .max_output = 1000}};
  it.handler.on_data = [](Connection& connection, std::string_view in) {
    CHECK(connection.Write(std::string(5'000'000, 'w')));
    connection.Close();
    return in.size();
  };
  Client client = it.ConnectAndOpen();
  client.Send("x");
  it.RunUntil([&] {
    client.Receive();
    return client.ended || client.error != 0;
  });
  CHECK(client.error == 0);
  CHECK(client.received == std::string(5'000'000, 'w'));
}

// ---- A crowd that does not read

TEST_CASE("above max_buffered the largest holders are reset, and the loop goes on",
          "[net][real][limits]") {
  constexpr std::size_t kMost = 2 << 20;
  constexpr std::size_t kLarge = 8;
  constexpr std::size_t kSlow = 20;
  RealLoop<Crowd> it{Options{.max_buffered = kMost, .send_buffer = 16 << 10}};
  std::vector<Client> slow;
  for (std::size_t i = 0; i < kSlow; ++i) slow.push_back(it.ConnectAndOpen(16 << 10));
  Client neighbour = it.ConnectAndOpen();
  it.RunUntilQuiet();
  const weir::ConnRef friendly = it.handler.all.back();
  it.handler.on_data = [](Connection& connection, std::string_view in) {
    connection.Write(in);
    return in.size();
  };

  Client comes = it.Connect();  // in the very turn that is full
  neighbour.Send("ping");
  it.loop.Post([&] {
    for (std::size_t i = 0; i < kSlow; ++i) {
      WriteInPieces(*it.handler.all[i].Get(), i < kLarge ? 400'000 : 100'000);
    }
  });
  it.Turn();
  CHECK(it.handler.opens == kSlow + 1);  // accepting pauses
  CHECK(it.loop.GetStats().shed > 0);

  // Nobody else comes, and nobody but the loop closes anything.
  it.RunUntil([&] { return it.handler.opens == kSlow + 2; }, 10);
  it.RunUntil([&] { return neighbour.Receive(), neighbour.received == "ping"; });
  for (int i = 0; i < 10; ++i) {
    neighbour.Send("pong");
    it.RunUntil([&] { return neighbour.Receive() == 4; });
  }
  comes.Send("hello");
  it.RunUntil([&] { return comes.Receive(), comes.received == "hello"; });

  const Stats stats = it.loop.GetStats();
  CHECK(stats.buffered <= kMost);
  CHECK(stats.buffered > kMost / 2);  // no more was shed than had to be
  REQUIRE(it.handler.ended.size() == stats.shed);
  for (const auto& [connection, reason] : it.handler.ended) {
    CHECK(reason == CloseReason::kOutputLimit);
    const auto large = it.handler.all.begin() + kLarge;
    CHECK(std::find(it.handler.all.begin(), large, connection) != large);
  }
  CHECK(friendly.Get() != nullptr);
  for (std::size_t i = 0; i < kSlow; ++i) {
    while (slow[i].Receive() > 0) {
    }
    CHECK((slow[i].error == ECONNRESET) == !it.handler.Lives(i));
  }
}

TEST_CASE("memory that was full within a turn only: who waited to be accepted is",
          "[net][real][limits]") {
  RealLoop<Crowd> it{Options{.max_buffered = 64 << 10, .send_buffer = 4 << 20}};
  Client reader = it.ConnectAndOpen(4 << 20);
  it.RunUntilQuiet();

  // The task's output fills the memory, accepting pauses, and the turn's flush empties it again.
  const Client comes = it.Connect();
  it.loop.Post([&] { WriteInPieces(*it.handler.all[0].Get(), 200'000); });
  it.Turn();
  REQUIRE(it.handler.closes == 0);
  REQUIRE(it.loop.GetStats().buffered == 0);
  it.RunUntil([&] { return it.handler.opens == 2; }, 10);
  CHECK(it.loop.GetStats().shed == 0);
  it.RunUntilQuiet();
  CHECK_FALSE(it.core().engine.HasWork());
}

TEST_CASE("while memory is full nobody who holds some is read, and then all go on",
          "[net][real][limits]") {
  RealLoop<Crowd> it{Options{.max_buffered = 1 << 20, .send_buffer = 16 << 10}};
  std::string text;
  it.handler.on_data = [&](Connection&, std::string_view in) {
    if (in.size() < 8) return std::size_t{0};
    text += in;
    return in.size();
  };
  Client slow = it.ConnectAndOpen(16 << 10);
  Client other = it.ConnectAndOpen();
  Client empty = it.ConnectAndOpen();
  it.RunUntilQuiet();
  other.Send("half");
  it.RunUntilQuiet();

  // One and the same turn fills the memory and has something to read.
  it.loop.Post([&] { WriteInPieces(*it.handler.all[0].Get(), 2 << 20); });
  other.Send("more");
  empty.Send("whole...");
  it.Turn();
  CHECK(text == "whole...");  // who holds nothing is read
  it.RunUntil([&] { return text == "whole...halfmore"; }, 20);
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kOutputLimit);
  CHECK(it.loop.GetStats().shed == 1);
  it.RunUntilQuiet();
  CHECK(it.loop.GetStats().buffered == 0);
}

TEST_CASE("who hoards input beyond max_buffered is reset", "[net][real][limits]") {
  RealLoop<> it{Options{.read_chunk = 64 << 10, .max_input = 8 << 20, .max_buffered = 1 << 20}};
  it.handler.on_data = [](Connection&, std::string_view) { return std::size_t{0}; };
  Client hoards = it.ConnectAndOpen();
  const std::string much(1 << 16, 'm');
  it.RunUntil([&] {
    static_cast<void>(hoards.TrySend(much));
    return it.handler.closes == 1;
  });
  CHECK(it.handler.reason == CloseReason::kInputLimit);
  CHECK(it.loop.GetStats().shed == 1);
  it.RunUntilQuiet();
  CHECK(it.loop.GetStats().buffered == 0);
}

// ---- max_connections

TEST_CASE("beyond max_connections clients are accepted and closed, until there is room again",
          "[net][real][limits]") {
  RealLoop<EchoRecorder> it{Options{.max_connections = 3}};
  std::vector<Client> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(it.Connect());
  it.RunUntilQuiet();
  CHECK(it.handler.opens == 3);
  CHECK(it.loop.GetStats().refused == 2);
  CHECK(it.loop.GetStats().accepted == 3);
  it.RunToEndOf(clients[3]);
  it.RunToEndOf(clients[4]);
  clients[0].Send("served");
  it.RunUntil([&] { return clients[0].Receive(), clients[0].received == "served"; });

  // Closed by us: until its peer has ended too it counts.
  it.handler.last->Close();
  it.RunToEndOf(clients[2]);
  it.RunUntilQuiet();
  REQUIRE(it.loop.GetStats().lingering == 1);
  Client too_soon = it.Connect();
  it.RunToEndOf(too_soon);
  CHECK(it.loop.GetStats().refused == 3);

  clients[2].Close();
  it.RunUntil([&] { return it.core().table.live() == 2; });
  Client in_time = it.ConnectAndOpen();
  in_time.Send("room again");
  it.RunUntil([&] { return in_time.Receive(), in_time.received == "room again"; });
  CHECK(it.loop.GetStats().refused == 3);
}

// ---- Times

TEST_CASE("a peer that takes no output for write_stall is reset, not before",
          "[net][real][limits][time]") {
  const std::string kind = GENERATE(as<std::string>{}, "tcp", "unix");
  CAPTURE(kind);
  RealLoop<> it{Options{.write_stall = 60s, .send_buffer = 16 << 10}, UrlOf(kind)};
  Client client = it.ConnectAndOpen(kind == "tcp" ? 16 << 10 : 0);
  it.RunUntilQuiet();
  it.handler.last->Write(std::string(4 << 20, 's'));
  it.RunUntilQuiet();

  // One that takes some now and then is slow, not stalled.
  for (int i = 0; i < 4; ++i) {
    const std::size_t pending = it.handler.last->Pending();
    fake::Advance(50s);
    it.RunUntil([&] { return client.Receive(), it.handler.last->Pending() < pending; });
    it.RunUntilQuiet();
    REQUIRE(it.handler.closes == 0);
  }
  // From the last byte that left on.
  REQUIRE(it.handler.closes == 0);
  REQUIRE(it.handler.last->Pending() > 0);
  const Clock::time_point before = fake::Now();
  LetTimePassUntil(it, [&] { return it.handler.closes == 1; });

  CHECK(fake::Now() - before >= 60s);
  CHECK(fake::Now() - before <= 60s + 10ms);
  CHECK(it.handler.reason == CloseReason::kTimeout);
  CHECK(it.handler.closed_with == std::errc::timed_out);
  CHECK(it.loop.GetStats().timeouts == 1);
  CHECK(it.loop.GetStats().buffered == 0);
  while (client.Receive() > 0) {
  }
  CHECK((client.ended || client.error == ECONNRESET));
  if (kind == "tcp") CHECK(client.error == ECONNRESET);
}

TEST_CASE("idle_timeout closes a silent client, and a byte either way puts it off",
          "[net][real][limits][time]") {
  const std::string kind = GENERATE(as<std::string>{}, "tcp", "unix");
  CAPTURE(kind);
  RealLoop<> it{Options{.idle_timeout = 10s}, UrlOf(kind)};
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  for (int i = 0; i < 3; ++i) {
    fake::Advance(9s);
    if (i == 1) {
      it.handler.last->Write("o");  // a byte out is as good as one in
    } else {
      client.Send("i");
    }
    const std::size_t moved = static_cast<std::size_t>(i) + 1;
    it.RunUntil([&] {
      client.Receive();
      return client.received.size() + it.handler.text.size() == moved;
    });
    it.RunUntilQuiet();
  }
  const Clock::time_point before = fake::Now();
  LetTimePassUntil(it, [&] { return it.handler.closes == 1; });
  CHECK(fake::Now() - before >= 10s);
  CHECK(fake::Now() - before <= 10s + 10ms);
  CHECK(it.handler.reason == CloseReason::kTimeout);
  it.RunToEndOf(client);
  CHECK(client.error == 0);
  CHECK(client.received == "o");
  CHECK(it.handler.text == "ii");
}

TEST_CASE("a write deadline is told once, if the program lets the connection live",
          "[net][real][limits][time]") {
  class Patient : public Recorder {
   public:
    int timeouts = 0;
    void OnTimeout(Connection&, TimeoutKind kind) override {
      CHECK(kind == TimeoutKind::kWrite);
      ++timeouts;
    }
  };
  RealLoop<Patient> it{Options{.write_stall = 60s, .send_buffer = 16 << 10}};
  Client client = it.ConnectAndOpen(16 << 10);
  it.RunUntilQuiet();
  it.handler.last->SetWriteDeadline(fake::Now() + 10s);
  it.handler.last->Write(std::string(4 << 20, 'w'));
  LetTimePassUntil(it, [&] { return it.handler.closes == 1; });
  CHECK(it.handler.timeouts == 1);
  CHECK(it.loop.GetStats().timeouts == 2);  // and then it has stalled
  CHECK(it.handler.reason == CloseReason::kTimeout);
}

TEST_CASE("a read deadline comes whatever arrives until then, once", "[net][real][limits][time]") {
  RealLoop<EchoRecorder> it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  const Clock::time_point before = fake::Now();
  it.handler.last->SetReadDeadline(before + 10s);
  for (int i = 0; i < 9; ++i) {  // a byte a second, as a slow attacker does
    fake::Advance(1s);
    client.Send("b");
    it.RunUntil([&] { return client.Receive() == 1; });
  }
  REQUIRE(it.handler.closes == 0);
  LetTimePassUntil(it, [&] { return it.handler.closes == 1; });
  CHECK(fake::Now() - before >= 10s);
  CHECK(fake::Now() - before <= 10s + 10ms);
  CHECK(it.handler.reason == CloseReason::kTimeout);
  CHECK(it.loop.GetStats().timeouts == 1);
  it.RunToEndOf(client);
  CHECK(client.error == 0);
}

TEST_CASE("a write deadline comes only while output waits, and its default resets",
          "[net][real][limits][time]") {
  RealLoop<> it{Options{.write_stall = Duration::zero(), .send_buffer = 16 << 10}};
  Client client = it.ConnectAndOpen(16 << 10);
  it.RunUntilQuiet();
  const Clock::time_point before = fake::Now();
  it.handler.last->SetWriteDeadline(before + 10s);
  fake::Advance(20s);
  it.RunUntilQuiet();
  REQUIRE(it.handler.closes == 0);  // nothing waits

  it.handler.last->Write(std::string(4 << 20, 'w'));
  LetTimePassUntil(it, [&] { return it.handler.closes == 1; });
  CHECK(fake::Now() - before <= 20s + 10ms);
  CHECK(it.handler.reason == CloseReason::kTimeout);
  while (client.Receive() > 0) {
  }
  CHECK(client.error == ECONNRESET);
}

TEST_CASE("deadlines of many clients are kept apart", "[net][real][limits][time]") {
  class Waiter : public Crowd {
   public:
    void OnTimeout(Connection& connection, TimeoutKind kind) override {
      CHECK(kind == TimeoutKind::kRead);
      told.push_back(connection.Ref());
      connection.Close();
    }
    std::vector<weir::ConnRef> told;
  };
  RealLoop<Waiter> it;
  std::vector<Client> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(it.ConnectAndOpen());
  it.RunUntilQuiet();
  const Clock::time_point start = fake::Now();
  for (std::size_t i = 0; i < 50; ++i) {
    it.handler.all[i].Get()->SetReadDeadline(start + 1s * (1 + (i * 7) % 50));
  }
  for (std::size_t done = 0; done < 50; ++done) {
    LetTimePassUntil(it, [&] { return it.handler.told.size() > done; });
    REQUIRE(it.handler.told.size() == done + 1);
    CHECK((it.handler.told.back() == it.handler.all[done * 43 % 50]));  // 7 * 43 = 1 (mod 50)
    CHECK(fake::Now() - start >= 1s * (1 + done));
    CHECK(fake::Now() - start <= 1s * (1 + done) + 10ms);
    clients[done * 43 % 50].Close();
    it.RunUntilQuiet();
  }
}
