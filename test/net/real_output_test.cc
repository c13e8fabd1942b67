// What a program asks of its connections, as a client on a real socket sees it: group commit, every
// way to write, framing, protocol upgrades, exceptions, backpressure, timers.

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <initializer_list>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.h"
#include "support/real_loop.h"

using namespace std::chrono_literals;
using weir::CloseReason;
using weir::Connection;
using weir::EventLoop;
using weir::Flush;
using weir::Handler;
using weir::Options;
using weir::test::Client;
using weir::test::EchoRecorder;
using weir::test::RealLoop;
using weir::test::Recorder;

namespace {

std::string Bytes(std::size_t count, std::uint32_t seed = 1) {
  std::string bytes(count, '\0');
  for (char& byte : bytes) byte = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
  return bytes;
}

std::string SocketUrl() { return "unix:@weir-output-test-" + std::to_string(::getpid()); }

enum class Way { kWrite, kOwned, kShared, kPieces, kBuilt };
constexpr std::size_t kWays = 5;

bool WriteBy(Way way, Connection& connection, std::string text) {
  switch (way) {
    case Way::kWrite:
      return connection.Write(text);
    case Way::kOwned:
      return connection.WriteOwned(std::move(text));
    case Way::kShared:
      return connection.WriteShared(std::make_shared<const std::string>(std::move(text)));
    case Way::kPieces: {
      const std::string_view view = text;
      const std::size_t cut = view.size() / 3;
      return connection.Writev({view.substr(0, cut), view.substr(cut)});
    }
    case Way::kBuilt: {
      const std::span<char> room = connection.Reserve(text.size() + 7);
      if (room.empty()) return false;
      std::copy(text.begin(), text.end(), room.begin());
      connection.Commit(text.size());
      return true;
    }
  }
  return false;
}

// Remembers its connections, in the order of their opening.
class Collector : public Recorder {
 public:
  Collector() {
    on_open = [this](Connection& connection) { all.push_back(&connection); };
  }
  std::vector<Connection*> all;
};

// Waits until the loop or one of its clients has something to do: bulk output through small
// buffers goes at the pace of the kernel's own timers. The time is but a guard.
void AwaitAny(const EventLoop& loop, std::initializer_list<const Client*> clients,
              bool or_may_send = false) {
  std::vector<pollfd> wanted{{loop.PollFd(), POLLIN, 0}};
  const auto events = static_cast<short>(or_may_send ? POLLIN | POLLOUT : POLLIN);
  for (const Client* const client : clients) wanted.push_back({client->fd(), events, 0});
  REQUIRE(::poll(wanted.data(), wanted.size(), 20'000) > 0);
}

}  // namespace

// ---- Group commit

TEST_CASE("in batch mode clients have nothing when OnBatchEnd runs, and everything after it",
          "[net][real][output][batch]") {
  enum class From { kData, kTask, kTimer };
  const auto from = GENERATE(From::kData, From::kTask, From::kTimer);
  const std::size_t size = GENERATE(std::size_t{5}, std::size_t{40'000}, std::size_t{2} << 20);
  CAPTURE(static_cast<int>(from), size);
  RealLoop<Collector> it{
      Options{.high_water = 64 << 20, .flush = Flush::kBatch, .send_buffer = 64 << 10}};
  std::vector<Client> clients;
  for (std::size_t i = 0; i < kWays; ++i) clients.push_back(it.ConnectAndOpen());
  it.RunUntilQuiet();

  bool written = false;
  const auto write_to_all = [&] {
    for (std::size_t i = 0; i < kWays; ++i) {
      Connection& to = *it.handler.all[i];
      CHECK(WriteBy(static_cast<Way>(i), to, Bytes(size)));
      to.FlushNow();
      CHECK(to.Pending() == size);
    }
    written = true;
  };
  it.handler.on_data = [&](Connection&, std::string_view in) {
    write_to_all();
    return in.size();
  };
  std::uint64_t out_before_turn = 0;
  int batches_with_output = 0;
  std::size_t received_at_first = 0;
  const auto bytes_out = [&] {
    std::uint64_t sum = 0;
    for (const Connection* const connection : it.handler.all) sum += connection->BytesOut();
    return sum;
  };
  bool early = false;
  it.handler.on_batch_end = [&](EventLoop&) {
    if (!written) return;
    early |= bytes_out() != out_before_turn;
    if (++batches_with_output > 1) return;
    for (Client& client : clients) received_at_first += client.Receive();
  };

  if (from == From::kData) clients[1].Send("x");
  if (from == From::kTask) it.loop.Post(write_to_all);
  if (from == From::kTimer) it.loop.RunAfter(3ms, write_to_all);
  const auto read_all = [&] {
    bool complete = true;
    for (Client& client : clients) {
      client.Receive();
      complete &= client.received.size() == size;
    }
    return complete;
  };
  for (int i = 0; i < 200'000 && !read_all(); ++i) {
    if (written) {
      AwaitAny(it.loop, {&clients[0], &clients[1], &clients[2], &clients[3], &clients[4]});
    }
    out_before_turn = bytes_out();
    const int batches_before = batches_with_output;
    it.loop.RunOnce(written ? weir::Duration::zero() : 1s);
    early |= bytes_out() != out_before_turn && batches_with_output == batches_before;
  }

  CHECK_FALSE(early);  // nor with an OUT edge
  CHECK(batches_with_output > 0);
  CHECK(received_at_first == 0);
  for (const Client& client : clients) {
    CHECK(client.received.size() == size);
    CHECK((client.received == Bytes(size)));
  }
  if (size < 10'000) CHECK(batches_with_output == 1);  // it left in the turn that wrote it
}

TEST_CASE("going over to batch mode holds back what the callback has written before",
          "[net][real][output][batch]") {
  const std::size_t more = GENERATE(std::size_t{0}, std::size_t{50'000});
  RealLoop<> it;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    connection.Write("before ");
    connection.SetFlush(Flush::kBatch);
    if (more != 0) connection.Write(std::string(more, 'x'));
    return in.size();
  };
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  std::size_t early = 1;
  it.handler.on_batch_end = [&](EventLoop&) { early = client.Receive(); };
  client.Send("x");
  it.TurnWhenReady();
  CHECK(early == 0);
  it.RunUntil([&] { return client.Receive(), client.received.size() == 7 + more; });
  CHECK(client.received.starts_with("before "));
}

// ---- Ways to write

TEST_CASE("one shared string goes to many clients, and is given back by the last",
          "[net][real][output]") {
  constexpr std::size_t kClients = 20;
  RealLoop<Collector> it{Options{.high_water = 64 << 20, .send_buffer = 32 << 10}};
  std::vector<Client> clients;
  for (std::size_t i = 0; i < kClients; ++i) clients.push_back(it.ConnectAndOpen(32 << 10));
  it.RunUntilQuiet();

  const auto text = std::make_shared<const std::string>(Bytes(1 << 20));
  it.loop.Post([&] {
    for (Connection* const connection : it.handler.all) {
      connection->WriteShared(text);
      connection->Write("!");
    }
  });
  it.RunUntilQuiet();
  CHECK(text.use_count() == 1 + kClients);            // no socket takes that much
  CHECK(it.core().buffers.bytes_in_use() < 1 << 20);  // and nobody has a copy

  it.RunUntil([&] {
    Client* unfinished = nullptr;
    for (Client& client : clients) {
      client.Receive();
      if (client.received.size() < text->size() + 1) unfinished = &client;
    }
    if (unfinished != nullptr) AwaitAny(it.loop, {unfinished});
    return unfinished == nullptr;
  });
  CHECK(text.use_count() == 1);
  for (const Client& client : clients) CHECK((client.received == *text + "!"));
  CHECK(it.core().buffers.bytes_in_use() == 0);
}

TEST_CASE("every way to write keeps its place, however slowly the client reads",
          "[net][real][output]") {
  const std::string url = GENERATE(as<std::string>{}, "tcp://127.0.0.1:0", "unix");
  const unsigned seed = GENERATE(1U, 2U, 3U);
  const Flush flush = GENERATE(Flush::kCallback, Flush::kBatch);
  CAPTURE(url, seed, static_cast<int>(flush));
  RealLoop<> it{
      Options{.high_water = 200'000, .low_water = 20'000, .flush = flush, .send_buffer = 16 << 10},
      url == "unix" ? SocketUrl() : url};
  std::mt19937 random(seed);
  const auto below = [&](std::size_t n) { return std::size_t{random()} % n; };
  constexpr std::size_t kTotal = 3'000'000;
  std::string expected;
  const auto fill = [&](Connection& connection) {
    static constexpr std::size_t kSizes[] = {10, 1000, 3000, 30'000, 100'000};
    while (!connection.Congested() && expected.size() < kTotal) {
      std::string text = Bytes(below(kSizes[below(5)]) + 1, static_cast<std::uint32_t>(random()));
      expected += text;
      CHECK(WriteBy(static_cast<Way>(below(kWays)), connection, std::move(text)));
      if (below(8) == 0) connection.FlushNow();
    }
    if (expected.size() >= kTotal) connection.Close();
  };
  it.handler.on_open = fill;
  it.handler.on_drain = fill;
  Client client = it.Connect(url == "unix" ? 0 : 16 << 10);
  it.RunUntil([&] {
    if (below(3) == 0) client.Receive(below(20'000) + 1);
    if (!client.ended) AwaitAny(it.loop, {&client});
    return client.ended;
  });
  CHECK(expected.size() >= kTotal);
  CHECK((client.received == expected));
  CHECK(it.handler.drains > 0);
  client.Close();
  it.RunUntilQuiet();
  CHECK(it.core().buffers.bytes_in_use() == 0);
}

// ---- Input

TEST_CASE("resuming delivers what was left again, without a new byte from the client",
          "[net][real][input]") {
  RealLoop<> it;
  std::vector<std::string> seen;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    seen.emplace_back(in);
    if (seen.size() == 3) return in.size();
    connection.PauseRead();
    return std::size_t{1};
  };
  Client client = it.ConnectAndOpen();
  client.Send("abc");
  it.RunUntil([&] { return seen.size() == 1; });
  it.RunUntilQuiet();
  CHECK(seen == std::vector<std::string>{"abc"});

  Connection& connection = *it.handler.last;
  connection.ResumeRead();
  CHECK(seen.size() == 1);  // not inside the call
  it.RunUntilQuiet();
  CHECK(seen == std::vector<std::string>{"abc", "bc"});
  it.loop.RunAfter(5ms, [&] { connection.ResumeRead(); });
  it.loop.RunOnce(1s);
  it.RunUntilQuiet();
  CHECK(seen == std::vector<std::string>{"abc", "bc", "c"});
  CHECK(connection.Input().empty());
}

TEST_CASE("an upgrade hands over the bytes behind it, which came in the same segment",
          "[net][real][input]") {
  EchoRecorder upgraded;
  RealLoop<> it;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    const std::size_t end = in.find('\n');
    if (end == in.npos) return std::size_t{0};
    connection.Write("switching\n");
    connection.SetHandler(upgraded);
    return end + 1;
  };
  Client client = it.ConnectAndOpen();
  client.Send("UPGRADE\nhello");
  it.RunUntil([&] { return client.Receive(), client.received.size() == 15; });
  CHECK(client.received == "switching\nhello");
  client.Send(" again");
  client.HalfClose();
  it.RunToEndOf(client);
  CHECK(client.received == "switching\nhello again");
  CHECK(upgraded.opens == 0);
  it.RunUntil([&] { return upgraded.closes == 1; });
  CHECK(upgraded.ends == 1);
  CHECK(it.handler.closes == 0);
}

TEST_CASE("an upgraded connection has scanned nothing yet", "[net][real][input]") {
  // A new handler that scans from Scanned() on would else miss the line that is there already.
  Recorder upgraded;
  std::vector<std::size_t> scanned;
  upgraded.on_data = [&](Connection& connection, std::string_view in) {
    scanned.push_back(connection.Scanned());
    const std::size_t end = in.find('\n', connection.Scanned());
    if (end == in.npos) return std::size_t{0};
    upgraded.text += in.substr(0, end);
    return end + 1;
  };
  RealLoop<> it;
  const bool inside = GENERATE(true, false);
  bool told = false;
  it.handler.on_data = [&](Connection& connection, std::string_view) {
    if (inside) connection.SetHandler(upgraded);
    told = true;
    return std::size_t{8};
  };
  Client client = it.ConnectAndOpen();
  client.Send("UPGRADE\nline\nrest");
  it.RunUntil([&] { return told; });
  if (!inside) it.loop.Post([&] { it.handler.last->SetHandler(upgraded); });
  it.RunUntilQuiet();
  CHECK(upgraded.text == "line");
  CHECK(scanned == std::vector<std::size_t>{0});
}

TEST_CASE("a client that ends before a frame is whole: OnEnd, and Input holds what came",
          "[net][real][input]") {
  RealLoop<> it;
  std::vector<std::size_t> calls;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    calls.push_back(in.size());
    connection.NeedAtLeast(1000);
    return std::size_t{0};
  };
  std::string rest;
  it.handler.on_end = [&](Connection& connection) {
    rest = connection.Input();
    connection.Write("too short");
    connection.Close();
  };
  Client client = it.ConnectAndOpen();
  client.Send("head");
  it.RunUntilQuiet();
  client.Send(" of a frame");
  client.HalfClose();
  it.RunToEndOf(client);
  CHECK(calls == std::vector<std::size_t>{4});
  CHECK(rest == "head of a frame");
  CHECK(client.received == "too short");
  CHECK(it.handler.reason == CloseReason::kPeerEnd);
}

TEST_CASE("a client that sends more than max_input without a frame is cut off",
          "[net][real][input]") {
  RealLoop<> it{Options{.read_chunk = 4096, .max_input = 10'000}};
  std::size_t most = 0;
  it.handler.on_data = [&](Connection&, std::string_view in) {
    most = std::max(most, in.size());
    return std::size_t{0};
  };
  Client client = it.ConnectAndOpen();
  client.Send(std::string(10'000, 'x'));
  it.RunUntil([&] { return most == 10'000; });
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 0);  // as much as it may be
  client.Send("y");
  it.RunUntil([&] { return it.handler.closes == 1; });
  CHECK(it.handler.reason == CloseReason::kInputLimit);
  CHECK(most == 10'000);
  it.RunToEndOf(client);
}

TEST_CASE("what is rejected still gets the reply that was queued, whole, then the end",
          "[net][real][input]") {
  const std::size_t size = GENERATE(std::size_t{12}, std::size_t{1'000'000});
  RealLoop<> it{Options{.send_buffer = 16 << 10}};
  int calls = 0;
  it.handler.on_data = [&](Connection& connection, std::string_view) {
    ++calls;
    connection.Write(Bytes(size));
    return Handler::kReject;
  };
  Client client = it.ConnectAndOpen(16 << 10);
  client.Send("nonsense");
  it.RunUntil([&] { return calls > 0; });
  client.TrySend("more nonsense");  // unread input must not turn the reply into a reset
  it.RunUntil([&] {
    client.Receive();
    if (!client.ended && client.error == 0) AwaitAny(it.loop, {&client});
    return client.ended || client.error != 0;
  });
  CHECK(client.error == 0);
  CHECK((client.received == Bytes(size)));
  client.Close();
  it.RunUntil([&] { return it.handler.closes == 1 && it.core().table.live() == 0; });
  CHECK(it.handler.reason == CloseReason::kRejected);
  CHECK(calls == 1);
}

// ---- Exceptions

TEST_CASE("an exception out of OnOpen, OnEnd or OnDrain closes that connection alone",
          "[net][real][exception]") {
  enum class Place { kOpen, kEnd, kDrain };
  const auto place = GENERATE(Place::kOpen, Place::kEnd, Place::kDrain);
  CAPTURE(static_cast<int>(place));
  RealLoop<EchoRecorder> it{Options{.high_water = 1000, .low_water = 100}};
  Client good = it.ConnectAndOpen();
  const Connection* const served = it.handler.last;
  const auto fail = [&](Place here, const Connection& connection) {
    if (here == place && &connection != served) throw std::runtime_error("on purpose");
  };
  it.handler.on_open = [&](Connection& connection) {
    if (place == Place::kDrain) connection.Write(std::string(2000, 'd'));
    connection.Write("hello");
    fail(Place::kOpen, connection);
  };
  it.handler.on_end = [&](Connection& connection) { fail(Place::kEnd, connection); };
  it.handler.on_drain = [&](Connection& connection) { fail(Place::kDrain, connection); };

  Client bad = it.ConnectAndOpen();
  if (place == Place::kEnd) bad.HalfClose();
  it.RunToEndOf(bad);
  CHECK(bad.error == 0);
  CHECK(bad.received.ends_with("hello"));  // what it wrote before has left
  bad.Close();
  it.RunUntil([&] { return it.core().table.live() == 1; });
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kException);
  CHECK(it.loop.GetStats().exceptions == 1);

  good.Send("still there?");
  it.RunUntil([&] { return good.Receive(), good.received == "still there?"; });
}

// ---- Backpressure

TEST_CASE("an echo that stops while it is congested, and resumes in OnDrain, loses nothing",
          "[net][real][backpressure]") {
  RealLoop<> it{Options{
      .read_chunk = 64 << 10, .high_water = 20'000, .low_water = 5'000, .send_buffer = 16 << 10}};
  std::size_t most = 0;
  int pauses = 0;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    std::size_t consumed = 0;
    while (consumed < in.size()) {
      if (connection.Congested()) {
        connection.PauseRead();
        ++pauses;
        break;
      }
      const std::string_view part = in.substr(consumed, 3000);
      connection.Write(part);
      consumed += part.size();
    }
    most = std::max(most, connection.Pending());
    return consumed;
  };
  it.handler.on_drain = [](Connection& connection) {
    CHECK_FALSE(connection.Congested());
    connection.ResumeRead();
  };
  Client client = it.ConnectAndOpen(16 << 10);
  const std::string bytes = Bytes(1'000'000);
  std::string_view rest = bytes;
  it.RunUntil([&] {
    rest.remove_prefix(client.TrySend(rest.substr(0, 50'000)));
    client.Receive(7000);
    if (client.received.size() < bytes.size()) AwaitAny(it.loop, {&client}, !rest.empty());
    return client.received.size() == bytes.size();
  });
  CHECK((client.received == bytes));
  CHECK(pauses > 0);
  CHECK(it.handler.drains >= pauses);
  CHECK(most <= 23'000);
}

TEST_CASE("a relay reads from one client only as fast as the other takes it",
          "[net][real][backpressure]") {
  RealLoop<Collector> it{Options{
      .read_chunk = 8192, .high_water = 20'000, .low_water = 5'000, .send_buffer = 16 << 10}};
  Client source = it.ConnectAndOpen();
  Client sink = it.ConnectAndOpen(16 << 10);
  Connection& from = *it.handler.all[0];
  Connection& to = *it.handler.all[1];
  std::size_t most = 0;
  it.handler.on_data = [&](Connection&, std::string_view in) {
    to.Write(in);
    most = std::max(most, to.Pending());
    if (to.Congested()) from.PauseRead();
    return in.size();
  };
  it.handler.on_drain = [&](Connection& drained) {
    CHECK(&drained == &to);
    from.ResumeRead();
  };
  const std::string bytes = Bytes(2'000'000);
  std::string_view rest = bytes;
  int turns = 0;
  it.RunUntil([&] {
    rest.remove_prefix(source.TrySend(rest.substr(0, 100'000)));
    if (++turns % 4 == 0) sink.Receive(30'000);
    if (sink.received.size() < bytes.size()) AwaitAny(it.loop, {&source, &sink});
    return sink.received.size() == bytes.size();
  });
  CHECK((sink.received == bytes));
  CHECK(it.handler.drains > 0);
  CHECK(most <= 20'000 + 8192);
}

// ---- Timers

TEST_CASE("a timer closes a connection that is too slow, and no other", "[net][real][timer]") {
  RealLoop<> it;
  std::vector<weir::TimerId> timers;
  it.handler.on_open = [&](Connection& connection) {
    timers.push_back(it.loop.RunAfter(50ms, [ref = connection.Ref()] {
      if (Connection* const late = ref.Get()) {
        late->Write("too late");
        late->Close();
      }
    }));
  };
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    CHECK(it.loop.Cancel(timers[1]));
    connection.Write("in time");
    return in.size();
  };
  Client slow = it.ConnectAndOpen();
  Client quick = it.ConnectAndOpen();
  quick.Send("x");
  it.RunUntil([&] { return quick.Receive(), quick.received == "in time"; });
  CHECK(slow.Receive() == 0);

  const weir::Clock::time_point before = weir::sys::fake::Now();
  while (it.loop.NextTimeout() > weir::Duration::zero() && !slow.ended &&
         weir::sys::fake::Now() - before < 1s) {
    it.loop.RunOnce(1s);  // nothing is ready: the time-out passes at once
    slow.Receive();
  }
  CHECK(weir::sys::fake::Now() - before >= 50ms);
  it.RunToEndOf(slow);
  CHECK(slow.received == "too late");
  slow.Close();
  it.RunUntil([&] { return it.core().table.live() == 1; });
  CHECK(it.handler.reason == CloseReason::kLocal);
  quick.Send("y");
  it.handler.on_data = [](Connection& connection, std::string_view in) {
    connection.Write(" again");
    return in.size();
  };
  it.RunUntil([&] { return quick.Receive(), quick.received == "in time again"; });
}

TEST_CASE("a periodic timer writes to a client until it has gone", "[net][real][timer]") {
  RealLoop<> it;
  weir::TimerId ticker = 0;
  it.handler.on_open = [&](Connection& connection) {
    ticker = it.loop.RunEvery(10ms, [&connection] { connection.Write("tick "); });
  };
  it.handler.on_close = [&](Connection&) { CHECK(it.loop.Cancel(ticker)); };
  Client client = it.ConnectAndOpen();
  for (int i = 0; i < 1000 && client.received.size() < 25; ++i) {
    it.loop.RunOnce(1s);
    client.Receive();
  }
  CHECK(client.received == "tick tick tick tick tick ");
  client.Close();
  it.RunUntil([&] { return it.handler.closes == 1; });
  CHECK(it.loop.NextTimeout() == weir::Duration::max());
}
