// What a connection, and a loop, may hold: the automatic pause above high_water, max_output,
// max_buffered, and write_budget. No kernel: each edge, and each send that takes a part, on
// purpose.

#include <algorithm>
#include <cerrno>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "os/machine.h"
#include "support/catch.h"
#include "support/death.h"
#include "support/one_connection.h"
#include "support/real_loop.h"

using weir::CloseReason;
using weir::Connection;
using weir::ConnectionImpl;
using weir::Options;
using weir::Stats;
using weir::test::Aborts;
using weir::test::Client;
using weir::test::LivesThrough;
using weir::test::OneConnection;
using weir::test::RealLoop;
using weir::test::Recorder;
using weir::test::ScriptedLoop;
using weir::test::ScriptedWire;

namespace {

constexpr Options kSmallWater{.high_water = 1000, .low_water = 100};

// What was called since the last time, but for the batches: "drain data 3".
std::string TakeCalls(Recorder& handler) {
  std::string calls;
  for (const std::string& call : std::exchange(handler.calls, {})) {
    if (call != "batch") calls += (calls.empty() ? "" : " ") + call;
  }
  return calls;
}

// Queues so much output, of which the peer takes nothing.
void Fill(OneConnection& it, std::size_t size = 2000) {
  it.wire.WillTake(0);
  it.connection().Write(std::string(size, 'o'));
  it.RunUntilQuiet();
  it.wire.log.clear();
  it.wire.receives = it.wire.sends = 0;
  it.poller.log.clear();
  TakeCalls(it.handler);
}

// The peer takes so much of it.
void Take(OneConnection& it, std::size_t bytes) {
  it.wire.WillTake(bytes);
  it.RaiseEdge({.writable = true});
  it.RunUntilQuiet();
}
void TakeAll(OneConnection& it) {
  it.RaiseEdge({.writable = true});
  it.RunUntilQuiet();
}

// Answers each byte by 600 of it, but stops while the connection is congested.
void AnswerBytes(Recorder& handler) {
  handler.on_data = [&handler](Connection& connection, std::string_view in) {
    std::size_t done = 0;
    for (; done < in.size() && !connection.Congested(); ++done) {
      connection.Write(std::string(600, in[done]));
    }
    handler.text += in.substr(0, done);
    return done;
  };
}
std::string AnswerTo(std::string_view bytes) {
  std::string answer;
  for (const char byte : bytes) answer += std::string(600, byte);
  return answer;
}

template <class Body>
void InCallback(OneConnection& it, Body body) {
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    body(connection);
    return in.size();
  };
  it.wire.WillReceive("x");
  it.RaiseEdge();
}

}  // namespace

// ---- The automatic pause

TEST_CASE("a congested connection is not read, which costs no system call, and no edge is lost",
          "[net][limits]") {
  OneConnection it{kSmallWater};
  Fill(it);
  CHECK(it.connection().Congested());
  CHECK(it.loop->GetStats().paused == 1);
  it.wire.WillReceive("abc");
  it.RaiseEdge();
  it.RaiseEdge();
  CHECK(it.wire.log.empty());
  CHECK(it.poller.log.empty());
  CHECK_FALSE(it.HasWork());

  Take(it, 1500);  // 500 are left: below high, above low
  CHECK(it.wire.receives == 0);
  CHECK(TakeCalls(it.handler).empty());
  CHECK(it.connection().Congested());

  Take(it, 450);
  CHECK(TakeCalls(it.handler) == "drain data 3");  // no further edge, and OnDrain comes first
  CHECK_FALSE(it.connection().Congested());
  CHECK(it.poller.log.empty());
}

TEST_CASE("the edge that brings relief does not read before OnDrain", "[net][limits]") {
  OneConnection it{kSmallWater};
  Fill(it);
  it.wire.WillReceive("abc");
  it.RaiseEdge({.readable = true, .writable = true});
  CHECK(TakeCalls(it.handler) == "drain data 3");
}

TEST_CASE("each crossing of high water pauses once and drains once", "[net][limits]") {
  OneConnection it{kSmallWater};
  for (std::uint64_t crossing = 1; crossing <= 3; ++crossing) {
    Fill(it);
    it.connection().Write("more");
    it.RunUntilQuiet();
    CHECK(it.loop->GetStats().paused == crossing);
    TakeAll(it);
    TakeAll(it);
    CHECK(TakeCalls(it.handler) == "drain");
  }
}

TEST_CASE("as much as high water is not above it, and as much as low water is relief",
          "[net][limits]") {
  OneConnection it{kSmallWater};
  Fill(it, 1000);
  CHECK_FALSE(it.connection().Congested());
  it.connection().Write("1");
  CHECK(it.connection().Congested());
  Take(it, 900);
  CHECK(it.connection().Pending() == 101);
  CHECK(it.handler.drains == 0);
  Take(it, 1);
  CHECK(it.handler.drains == 1);
}

TEST_CASE("what OnData left because the connection was congested comes back without new bytes",
          "[net][limits]") {
  OneConnection it{kSmallWater};
  AnswerBytes(it.handler);
  it.wire.WillTake(0).WillReceive("abcdef");
  it.RaiseEdge();
  CHECK(it.handler.text == "ab");
  CHECK(it.connection().Input() == "cdef");
  CHECK_FALSE(it.HasWork());
  TakeCalls(it.handler);

  it.wire.WillTake(1200).WillTake(0);
  it.RaiseEdge({.writable = true});
  CHECK(TakeCalls(it.handler) == "drain data 4");
  CHECK(it.handler.text == "abcd");
  TakeAll(it);
  CHECK(TakeCalls(it.handler) == "drain data 2 drain");  // "ef" passed the mark, and left at once
  CHECK(it.handler.text == "abcdef");
  CHECK((it.wire.sent == AnswerTo("abcdef")));
  CHECK(it.core().buffers.bytes_in_use() == 0);
}

TEST_CASE("what OnData left comes back before what has arrived since", "[net][limits]") {
  OneConnection it{kSmallWater};
  AnswerBytes(it.handler);
  it.wire.WillTake(0).WillReceive("abcd");
  it.RaiseEdge();
  it.wire.WillReceive("efgh");
  it.RaiseEdge();
  it.wire.ThenEnd();
  it.RaiseEdge({.readable = true, .peer_ended = true});
  TakeAll(it);
  CHECK(it.handler.text == "abcdefgh");
  CHECK(it.handler.ends == 1);
  CHECK((it.wire.sent == AnswerTo("abcdefgh")));
  CHECK(it.handler.reason == CloseReason::kPeerEnd);
}

TEST_CASE("OnDrain may congest the connection again, and what was left still waits",
          "[net][limits]") {
  OneConnection it{kSmallWater};
  AnswerBytes(it.handler);
  it.wire.WillTake(0).WillReceive("abc");
  it.RaiseEdge();
  it.handler.on_drain = [&](Connection& connection) {
    if (it.handler.drains == 1) connection.Write(std::string(3000, 'd'));
  };
  it.wire.WillTake(1200).WillTake(0);
  it.RaiseEdge({.writable = true});
  it.RunUntilQuiet();
  CHECK(it.handler.text == "ab");
  TakeAll(it);
  CHECK(it.handler.text == "abc");
}

TEST_CASE("the end waits behind the automatic pause; so does HUP without an error",
          "[net][limits]") {
  OneConnection it{kSmallWater};
  const bool hung_up = GENERATE(false, true);
  Fill(it);
  it.wire.WillReceive("last").ThenEnd();
  it.RaiseEdge({.readable = true, .peer_ended = true, .hung_up = hung_up});
  it.RunUntilQuiet();
  CHECK(TakeCalls(it.handler).empty());
  CHECK(it.wire.receives == 0);
  TakeAll(it);
  CHECK(TakeCalls(it.handler) == "drain data 4 end close");
  CHECK(it.handler.text == "last");
}

TEST_CASE("an error does not wait behind the automatic pause", "[net][limits]") {
  OneConnection it{kSmallWater};
  Fill(it);
  it.wire.WillReceive("lost");
  SECTION("ERR says so") {
    it.wire.pending_error = ECONNRESET;
    it.RaiseEdge({.readable = true, .hung_up = true, .error = true});
  }
  SECTION("a send says so") {
    it.wire.WillFailSend(ECONNRESET);
    it.RaiseEdge({.writable = true});
  }
  it.RunUntilQuiet();
  CHECK(TakeCalls(it.handler) == "close");
  CHECK(it.handler.reason == CloseReason::kError);
  CHECK(it.handler.closed_with.value() == ECONNRESET);
}

TEST_CASE("ERR that is no error of the socket does not end the automatic pause", "[net][limits]") {
  OneConnection it{kSmallWater};
  Fill(it);
  it.wire.WillReceive("abc");
  it.RaiseEdge({.readable = true, .error = true});
  it.RunUntilQuiet();
  CHECK(TakeCalls(it.handler).empty());
  TakeAll(it);
  CHECK(TakeCalls(it.handler) == "drain data 3");
}

TEST_CASE("without auto_pause a congested connection is read on", "[net][limits]") {
  OneConnection it{{.high_water = 1000, .low_water = 100, .auto_pause = false}};
  Fill(it);
  it.wire.WillReceive("abc");
  it.RaiseEdge();
  CHECK(it.connection().Congested());
  CHECK(TakeCalls(it.handler) == "data 3");
  CHECK(it.loop->GetStats().paused == 0);
  TakeAll(it);
  CHECK(TakeCalls(it.handler) == "drain");
}

// ---- Two who pause

TEST_CASE("the program's pause and the automatic one are both to be lifted, in either order",
          "[net][limits]") {
  const bool user_first = GENERATE(true, false);
  const bool user_resumes_first = GENERATE(true, false);
  OneConnection it{kSmallWater};
  AnswerBytes(it.handler);
  if (user_first) {
    it.handler.on_data = [](Connection& connection, std::string_view) {
      connection.PauseRead();
      return std::size_t{0};
    };
    it.wire.WillReceive("ab");
    it.RaiseEdge();
    Fill(it);
  } else {
    it.wire.WillTake(0).WillReceive("ZZab");
    it.RaiseEdge();
    it.connection().PauseRead();
  }
  AnswerBytes(it.handler);
  it.handler.text.clear();
  it.wire.WillReceive("cd");
  it.RaiseEdge();
  TakeCalls(it.handler);
  const auto resume = [&](bool user) {
    user ? it.connection().ResumeRead() : TakeAll(it);
    it.RunUntilQuiet();
  };
  resume(user_resumes_first);
  CHECK(it.handler.text.empty());
  CHECK(it.handler.drains == (user_resumes_first ? 0 : 1));
  resume(!user_resumes_first);
  CHECK(it.handler.text == "abcd");
  CHECK(it.wire.receives > 0);
}

// ---- Other calls meanwhile

TEST_CASE("closed while it is congested, a connection sends all and discards its input",
          "[net][limits]") {
  OneConnection it{kSmallWater};
  Fill(it);
  it.wire.WillReceive("unread").ThenEnd();
  it.RaiseEdge({.readable = true, .peer_ended = true});
  it.connection().Close();
  it.RunUntilQuiet();
  CHECK(it.wire.receives == 2);  // the peer is not stuck sending to one that reads no more
  TakeAll(it);
  CHECK(TakeCalls(it.handler) == "close");
  CHECK(it.wire.sent.size() == 2000);
  CHECK(it.wire.closed);
  CHECK_FALSE(it.wire.reset);
  CHECK(it.core().table.live() == 0);
}

TEST_CASE("written to above a mark of its own and closed in one callback, it still discards",
          "[net][limits]") {
  OneConnection it{kSmallWater};
  it.wire.WillTake(0);
  InCallback(it, [](Connection& connection) {
    connection.SetWatermarks(10, 5);
    connection.Write(std::string(50, 'o'));
    connection.Close();
  });
  it.wire.WillReceive("unread").ThenEnd();
  it.RaiseEdge({.readable = true, .peer_ended = true});
  TakeAll(it);
  CHECK(it.wire.sent.size() == 50);
  CHECK(it.core().table.live() == 0);
}

TEST_CASE("aborted while it is congested, a connection is reset", "[net][limits]") {
  OneConnection it{kSmallWater};
  Fill(it);
  it.connection().Abort();
  it.RunUntilQuiet();
  CHECK(TakeCalls(it.handler) == "close");
  CHECK(it.wire.reset);
  CHECK(it.core().held_output == 0);
  CHECK(it.core().buffers.bytes_in_use() == 0);
}

TEST_CASE("a congested connection whose output was shut down drains, sends FIN, and reads on",
          "[net][limits]") {
  OneConnection it{kSmallWater};
  Fill(it);
  it.connection().ShutdownWrite();
  it.wire.WillReceive("abc");
  it.RaiseEdge();
  CHECK(it.wire.receives == 0);
  TakeAll(it);
  CHECK(it.wire.fin);
  CHECK(TakeCalls(it.handler) == "drain data 3");
}

TEST_CASE("a handler set while the connection is congested gets OnDrain, then what was left",
          "[net][limits]") {
  Recorder second;
  OneConnection it{kSmallWater};
  AnswerBytes(it.handler);
  it.wire.WillTake(0).WillReceive("abcd");
  it.RaiseEdge();
  it.connection().SetHandler(second);
  it.RunUntilQuiet();
  CHECK(TakeCalls(second).empty());
  TakeAll(it);
  CHECK(TakeCalls(second) == "drain data 2");
  CHECK(second.text == "cd");
  it.loop->Stop(weir::Duration::zero());
  it.RunUntilQuiet();
}

TEST_CASE("a drain delivers and answers all that had arrived, however often it is congested",
          "[net][limits][stop]") {
  const bool congested_before = GENERATE(true, false);
  const bool with_end = GENERATE(true, false);
  // A full receive, and on a Unix socket every one, says that more may follow.
  const bool in_pieces = GENERATE(true, false);
  CAPTURE(congested_before, with_end, in_pieces);
  OneConnection it{{.read_chunk = in_pieces ? std::size_t{100} : std::size_t{5},
                    .high_water = 1000,
                    .low_water = 100},
                   in_pieces ? ScriptedWire::kUnix : ScriptedWire::kTcp};
  AnswerBytes(it.handler);
  const std::string all = "abcdefghijklmnopqrstuvwxyz";
  it.wire.WillTake(0).WillReceive(all.substr(0, 7));
  if (congested_before) it.RaiseEdge();
  if (in_pieces) {
    it.wire.WillReceive(all.substr(7, 3)).WillReceive(all.substr(10, 1));
    it.wire.WillReceive(all.substr(11));
  } else {
    it.wire.WillReceive(all.substr(7));
  }
  if (with_end) it.wire.ThenEnd();
  it.RaiseEdge({.readable = true, .peer_ended = with_end});
  it.loop->Stop();
  it.RunUntilQuiet();
  for (int i = 0; i < 200 && it.handler.closes == 0; ++i) {
    CHECK_FALSE(it.HasWork());
    Take(it, 700);
  }
  CHECK(it.handler.text == all);
  CHECK((it.wire.sent == AnswerTo(all)));
  CHECK(it.handler.reason == CloseReason::kShutdown);
  CHECK_FALSE(it.wire.reset);
  CHECK((with_end ? it.wire.closed : it.wire.fin));  // after the peer's end, close() sends ours
}

TEST_CASE("a drain delivers what a congested connection left, though nothing more has arrived",
          "[net][limits][stop]") {
  OneConnection it{kSmallWater};
  AnswerBytes(it.handler);
  it.wire.WillTake(0).WillReceive("abcdef");
  it.RaiseEdge();
  it.loop->Stop();
  it.RunUntilQuiet();
  CHECK(it.handler.closes == 0);
  for (int i = 0; i < 20 && it.handler.closes == 0; ++i) Take(it, 700);
  CHECK((it.wire.sent == AnswerTo("abcdef")));
  CHECK(it.handler.reason == CloseReason::kShutdown);
}

TEST_CASE("a drain reads no more than had arrived", "[net][limits][stop]") {
  OneConnection it{{.read_chunk = 4, .high_water = 1000, .low_water = 100}};
  AnswerBytes(it.handler);
  it.wire.WillTake(0).WillReceive("abcdefgh");
  it.RaiseEdge();
  it.loop->Stop();
  it.RunUntilQuiet();
  for (int i = 0; i < 20; ++i) it.wire.WillReceive("late");  // a peer that never ends
  for (int i = 0; i < 200 && it.handler.closes == 0; ++i) Take(it, 700);
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.text.substr(0, 8) == "abcdefgh");
  CHECK(it.handler.text.size() <= 12);
}

// ---- Other watermarks

TEST_CASE("watermarks below what is pending congest at once, and drain by the new ones",
          "[net][limits]") {
  OneConnection it{kSmallWater};
  Fill(it, 500);
  it.connection().SetWatermarks(499, 50);
  CHECK(it.connection().Congested());
  it.wire.WillReceive("abc");
  it.RaiseEdge();
  CHECK(it.wire.receives == 0);
  Take(it, 449);
  CHECK(it.handler.drains == 0);
  Take(it, 1);
  CHECK(TakeCalls(it.handler) == "drain data 3");
}

TEST_CASE("watermarks above what is pending relieve, but not inside the call", "[net][limits]") {
  OneConnection it{kSmallWater};
  Fill(it);
  it.wire.WillReceive("abc");
  it.RaiseEdge();
  it.connection().SetWatermarks(10'000, 1999);
  it.RunUntilQuiet();
  CHECK(it.connection().Congested());
  it.connection().SetWatermarks(10'000, 2000);
  CHECK(it.handler.calls.empty());
  it.RunUntilQuiet();
  CHECK(TakeCalls(it.handler) == "drain data 3");
  it.connection().Write(std::string(8000, 'p'));
  CHECK_FALSE(it.connection().Congested());
  it.connection().Write("1");
  CHECK(it.connection().Congested());
}

TEST_CASE("watermarks hold inside a callback, for what is written before and after",
          "[net][limits]") {
  OneConnection it{kSmallWater};
  std::vector<bool> congested;
  it.wire.WillTake(0);
  InCallback(it, [&](Connection& connection) {
    connection.Write(std::string(100, 'a'));
    connection.SetWatermarks(200, 150);
    congested.push_back(connection.Congested());
    connection.Write(std::string(100, 'a'));
    congested.push_back(connection.Congested());
    connection.Write("b");
    congested.push_back(connection.Congested());
  });
  CHECK(congested == std::vector<bool>{false, false, true});
  it.RunUntilQuiet();
  CHECK(it.handler.drains == 0);
  Take(it, 51);
  CHECK(it.handler.drains == 1);
}

TEST_CASE("every way to write notices watermarks of the connection's own", "[net][limits]") {
  OneConnection it{kSmallWater};
  const int way = GENERATE(0, 1, 2, 3, 4);
  bool congested = false;
  it.wire.WillTake(0);
  InCallback(it, [&](Connection& connection) {
    connection.SetWatermarks(20, 10);
    const std::string text(21, 'a');
    if (way == 0) connection.Write(text);
    if (way == 1) connection.Writev({"a", text});
    if (way == 2) connection.WriteOwned(text);
    if (way == 3) connection.WriteShared(std::make_shared<const std::string>(text));
    if (way == 4) {
      std::span<char> room = connection.Reserve(21);
      std::copy(text.begin(), text.end(), room.begin());
      connection.Commit(21);
    }
    congested = connection.Congested();
  });
  CHECK(congested);
  TakeAll(it);
  CHECK(it.handler.drains == 1);
}

TEST_CASE("a large write that takes the staged bytes along relieves the connection",
          "[net][limits]") {
  OneConnection it{kSmallWater};
  InCallback(it, [&](Connection& connection) {
    connection.SetWatermarks(20, 10);
    connection.Write(std::string(21, 'a'));
    connection.Write(std::string(40'000, 'b'));  // goes at once
    CHECK(connection.Congested());
    CHECK(connection.Pending() == 0);
  });
  it.RunUntilQuiet();
  CHECK_FALSE(it.connection().Congested());
  CHECK(it.handler.drains == 1);
  it.handler.on_data = {};
  it.wire.WillReceive("abc");
  it.RaiseEdge();
  CHECK(it.handler.text == "abc");
}

TEST_CASE("watermarks of zero congest at the first byte, and drain at the last", "[net][limits]") {
  const bool by_option = GENERATE(true, false);
  OneConnection it{by_option ? Options{.high_water = 0, .low_water = 0} : Options{}};
  if (!by_option) it.connection().SetWatermarks(0, 0);
  Fill(it, 2);
  CHECK(it.connection().Congested());
  Take(it, 1);
  CHECK(it.handler.drains == 0);
  Take(it, 1);
  CHECK(it.handler.drains == 1);
}

TEST_CASE("a low watermark above the high one fails a check", "[net][limits]") {
  CHECK(Aborts([] { OneConnection().connection().SetWatermarks(10, 11); }));
  CHECK(LivesThrough([] { OneConnection().connection().SetWatermarks(11, 11); }));
}

TEST_CASE("watermarks set after the end change nothing", "[net][limits]") {
  OneConnection it;
  Fill(it, 500);
  Connection& connection = it.connection();
  connection.Close();
  connection.SetWatermarks(10, 5);
  CHECK_FALSE(connection.Congested());
  TakeAll(it);
  CHECK(TakeCalls(it.handler) == "close");
}

// ---- max_output

namespace {

using WriteWay = std::function<bool(Connection&, const std::string&)>;

bool Build(Connection& connection, const std::string& text) {
  const std::span<char> room = connection.Reserve(text.size());
  if (room.empty()) return false;
  std::copy(text.begin(), text.end(), room.begin());
  connection.Commit(text.size());
  return connection.IsOpen();
}

std::vector<WriteWay> WriteWays() {
  return {
      [](Connection& connection, const std::string& text) { return connection.Write(text); },
      [](Connection& connection, const std::string& text) {
        const std::string_view view = text;
        const std::size_t half = view.size() / 2;
        return connection.Writev({view.substr(0, half), view.substr(half)});
      },
      [](Connection& connection, const std::string& text) { return connection.WriteOwned(text); },
      [](Connection& connection, const std::string& text) {
        return connection.WriteShared(std::make_shared<const std::string>(text));
      },
      Build,
  };
}

}  // namespace

TEST_CASE("a write that would pass max_output takes nothing, and the connection is reset",
          "[net][limits]") {
  const std::size_t way = GENERATE(0U, 1U, 2U, 3U, 4U);
  const std::size_t extra = GENERATE(0U, 1U);
  const std::size_t scale = GENERATE(1U, 1000U);
  const bool in_callback = GENERATE(true, false);
  CAPTURE(way, extra, scale, in_callback);
  OneConnection it{{.max_output = 10 * scale}};
  if (scale > 1) {
    Fill(it, 5 * scale);
  } else {
    it.wire.WillTake(0);  // what is staged, or queued, below
  }
  bool taken = false;
  std::size_t pending = 0;
  const auto write = [&](Connection& connection) {
    if (scale == 1) connection.Write("12345");
    taken = WriteWays()[way](connection, std::string(5 * scale + extra, 'w'));
    pending = connection.Pending();
    CHECK(connection.IsOpen() == taken);
    CHECK(it.handler.closes == 0);
    CHECK(connection.Write("") == taken);
  };
  if (in_callback) {
    InCallback(it, write);
  } else {
    write(it.connection());
  }
  CHECK(taken == (extra == 0));
  CHECK(pending == (taken ? 10 : 5) * scale);
  it.RunUntilQuiet();
  if (taken) {
    TakeAll(it);
    CHECK(it.wire.sent.size() == 10 * scale);
  } else {
    CHECK(it.wire.sent.empty());
    CHECK(it.wire.reset);
    CHECK(it.handler.reason == CloseReason::kOutputLimit);
    CHECK(it.handler.closes == 1);
  }
}

TEST_CASE("the first piece is taken whole, whatever max_output says", "[net][limits]") {
  const std::size_t way = GENERATE(0U, 1U, 2U, 3U, 4U);
  const std::size_t most = GENERATE(std::size_t{0}, std::size_t{1}, std::size_t{10});
  const std::size_t size = GENERATE(std::size_t{11}, std::size_t{3000}, std::size_t{100'000});
  const bool in_callback = GENERATE(true, false);
  CAPTURE(way, most, size, in_callback);
  OneConnection it{{.max_output = most}};
  bool first = false;
  bool second = true;
  it.wire.WillTake(0);
  const auto write = [&](Connection& connection) {
    first = WriteWays()[way](connection, std::string(size, 'w'));
    CHECK(connection.Pending() == size);
    second = connection.Write("x");
  };
  if (in_callback) {
    InCallback(it, write);
  } else {
    write(it.connection());
  }
  CHECK(first);
  CHECK_FALSE(second);
  it.RunUntilQuiet();
  CHECK(it.handler.reason == CloseReason::kOutputLimit);
}

TEST_CASE("max_output counts what waits, not what has left", "[net][limits]") {
  OneConnection it{{.max_output = 10}};
  for (int i = 0; i < 20; ++i) {
    InCallback(it, [](Connection& connection) {
      CHECK(connection.Write("12345"));
      CHECK(connection.Write("67890"));
    });
  }
  CHECK(it.wire.sent.size() == 200);
  CHECK(it.connection().IsOpen());
}

// ---- write_budget

TEST_CASE("a fast reader takes write_budget a turn, no edge, and others are served in between",
          "[net][limits]") {
  constexpr std::size_t kBudget = 1 << 20;
  constexpr std::size_t kAll = 20 << 20;
  Recorder neighbour;
  ScriptedWire neighbours_wire;
  OneConnection it;
  ConnectionImpl& other = it.Open(neighbours_wire, neighbour);
  it.RunUntilQuiet();
  const bool closes = GENERATE(false, true);
  it.wire.WillTake(0);
  it.connection().Write(std::string(kAll, 'o'));
  it.RunUntilQuiet();
  it.poller.Report(it.token(), EPOLLOUT);
  for (std::size_t turn = 1; turn <= 20; ++turn) {
    neighbours_wire.WillReceive("x");
    it.poller.Report(other.token, EPOLLIN);
    it.Turn();
    CHECK(neighbour.text.size() == turn);
    CHECK(it.wire.sent.size() == turn * kBudget);
    if (turn < 20) CHECK(it.HasWork());
    if (closes && turn == 2) it.connection().Close();
  }
  it.RunUntilQuiet();
  CHECK(it.wire.fin == closes);
  CHECK(it.handler.drains == (closes ? 0 : 1));
}

TEST_CASE("the write budget of a turn is not spent twice when OnDrain becomes due",
          "[net][limits]") {
  OneConnection it{{.write_budget = 1, .high_water = 10, .low_water = 5}};
  const bool in_pieces = GENERATE(true, false);
  Fill(it, in_pieces ? 1 : 20);
  std::string expected = in_pieces ? "o" : std::string(20, 'o');
  if (in_pieces) {
    it.connection().WriteOwned(std::string(3000, 'p'));
    it.connection().Write("tail");
    expected += std::string(3000, 'p') + "tail";
  }
  it.poller.Report(it.token(), EPOLLOUT);
  for (std::size_t turn = 1; turn <= expected.size(); ++turn) {
    it.Turn();
    REQUIRE(it.wire.sent.size() == turn);
  }
  it.RunUntilQuiet();
  CHECK((it.wire.sent == expected));
  CHECK(it.handler.drains == 1);
}

TEST_CASE("nor is it when an earlier send of the same visit has made OnDrain due",
          "[net][limits]") {
  constexpr std::size_t kPiece = 2048;  // the least that is queued as a piece of its own
  constexpr std::size_t kOneSend = weir::Wire::kMostPieces * kPiece;
  constexpr std::size_t kBudget = kOneSend + 10;
  OneConnection it{{.write_budget = kBudget, .high_water = kOneSend, .low_water = 2 * kPiece}};
  it.wire.WillTake(0);
  for (std::size_t i = 0; i < weir::Wire::kMostPieces + 2; ++i) {
    it.connection().WriteOwned(std::string(kPiece, 'o'));
  }
  it.RunUntilQuiet();
  REQUIRE(it.connection().Congested());
  it.RaiseEdge({.writable = true});
  CHECK(it.wire.sent.size() == kBudget);
  CHECK(it.HasWork());
  it.Turn();
  CHECK(it.wire.sent.size() == kOneSend + 2 * kPiece);
  CHECK(it.handler.drains == 1);
}

TEST_CASE("what is flushed at the end of a turn keeps to the write budget", "[net][limits]") {
  OneConnection it{{.write_budget = 1000}};
  for (int i = 0; i < 10; ++i) it.connection().Write(std::string(700, 'o'));
  for (std::size_t turn = 1; turn <= 7; ++turn) {
    it.Turn();
    CHECK(it.wire.sent.size() == turn * 1000);
  }
  CHECK_FALSE(it.HasWork());
  CHECK(it.wire.sends == 7);
}

TEST_CASE("a budget that ends where the socket does waits for the edge, and does not spin",
          "[net][limits]") {
  OneConnection it{{.write_budget = 1000}};
  Fill(it, 2500);
  it.wire.WillTake(1000).WillTake(0);
  it.RaiseEdge({.writable = true});
  it.RunUntilQuiet();
  CHECK(it.wire.sends == 2);
  CHECK(it.wire.sent.size() == 1000);
  TakeAll(it);
  CHECK(it.wire.sent.size() == 2500);
}

TEST_CASE("a failed send of staged and large output is tried once", "[net][limits]") {
  OneConnection it;
  it.wire.WillFailSend(ECONNRESET).WillFailSend(EPIPE);
  InCallback(it, [](Connection& connection) {
    connection.Write("staged");
    connection.Write(std::string(40'000, 'l'));
    CHECK(connection.Pending() == 0);
  });
  it.RunUntilQuiet();
  CHECK(it.wire.sends == 1);
  CHECK(it.handler.reason == CloseReason::kError);
  CHECK(it.handler.closed_with.value() == ECONNRESET);
}

TEST_CASE("with every limit at its least, all bytes still arrive in order", "[net][limits]") {
  const std::size_t high = GENERATE(0U, 1U, 7U);
  OneConnection it{{.read_chunk = 1,
                    .read_budget = 1,
                    .write_budget = 1,
                    .turn_budget = 1,
                    .max_input = 1,
                    .high_water = high,
                    .low_water = 0,
                    .max_output = 1}};
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    if (connection.Pending() > 0) return std::size_t{0};  // max_output
    connection.Write(in);
    return in.size();
  };
  std::string text(300, '\0');
  std::iota(text.begin(), text.end(), '\0');
  it.wire.WillReceive(text);
  it.RaiseEdge();
  it.RunUntilQuiet();
  CHECK((it.wire.sent == text));
  CHECK(it.connection().IsOpen());
}

// ---- max_buffered

namespace {

// Connections of one loop, none of which holds anything yet.
struct Crowd {
  explicit Crowd(std::size_t count, Options options)
      : handlers(count), wires(count), loop(options) {
    for (std::size_t i = 0; i < count; ++i) members.push_back(&loop.Open(wires[i], handlers[i]));
    loop.RunUntilQuiet();
    for (std::size_t i = 0; i < count; ++i) tokens.push_back(members[i]->token);
  }
  void Report(std::size_t member, std::uint32_t bits = EPOLLIN) {
    loop.poller.Report(tokens[member], bits);
  }
  // So much output waits for this one's peer.
  void HoldOutput(std::size_t member, std::size_t size) {
    wires[member].WillTake(0);
    members[member]->WriteOwned(std::string(size, 'o'));
  }
  // The next bytes that come stay unread, so that it holds a ring.
  void HoldInput(std::size_t member, std::size_t size) {
    handlers[member].on_data = [](Connection&, std::string_view) { return std::size_t{0}; };
    wires[member].WillReceive(std::string(size, 'i'));
    Report(member);
  }
  Connection& Public(std::size_t member) { return *members[member]; }
  Stats GetStats() { return loop.loop->GetStats(); }

  std::vector<Recorder> handlers;
  std::vector<ScriptedWire> wires;
  ScriptedLoop loop;
  std::vector<ConnectionImpl*> members;
  std::vector<weir::Token> tokens;
};

}  // namespace

TEST_CASE("what buffers hold is counted, rings and strings, and given back", "[net][limits]") {
  Crowd it(3, {});
  it.HoldOutput(0, 9000);
  it.wires[1].WillTake(0);
  it.members[1]->Write(std::string(3000, 'c'));
  it.HoldInput(2, 5000);
  it.loop.RunUntilQuiet();
  CHECK(it.GetStats().buffered == it.loop.core().Buffered());
  CHECK(it.GetStats().buffered >= 9000 + 4096 + 8192);
  CHECK(it.GetStats().buffered < 9000 + 4096 + 8192 + 32);
  it.Report(0, EPOLLOUT);
  it.Report(1, EPOLLOUT);
  it.members[2]->Consume(5000);
  it.loop.RunUntilQuiet();
  CHECK(it.GetStats().buffered == 0);
}

TEST_CASE("above max_buffered the largest holder is reset, for what it holds", "[net][limits]") {
  const bool by_input = GENERATE(true, false);
  Crowd it(3, {.max_buffered = 20'000});
  if (by_input) {
    it.HoldInput(1, 10'000);  // a ring of 16 KiB
  } else {
    it.HoldOutput(1, 15'000);
  }
  it.HoldOutput(0, 5000);
  it.HoldOutput(2, 2100);
  it.loop.RunUntilQuiet();
  CHECK(it.handlers[1].closes == 1);
  CHECK(it.handlers[1].reason == (by_input ? CloseReason::kInputLimit : CloseReason::kOutputLimit));
  CHECK(it.wires[1].reset);
  CHECK(it.handlers[0].closes + it.handlers[2].closes == 0);
  CHECK(it.GetStats().shed == 1);
  CHECK(it.GetStats().buffered == it.loop.core().Buffered());
  CHECK(it.GetStats().buffered < 7200);
  it.Report(0, EPOLLOUT);
  it.loop.RunUntilQuiet();
  CHECK(it.wires[0].sent.size() == 5000);
}

TEST_CASE("as many are reset as it takes, the largest first, and no more", "[net][limits]") {
  Crowd it(5, {.max_buffered = 12'000});
  const std::size_t sizes[] = {4000, 9000, 3000, 11'000, 3500};
  for (std::size_t i = 0; i < 5; ++i) it.HoldOutput(i, sizes[i]);
  it.loop.RunUntilQuiet();
  CHECK(it.GetStats().shed == 2);
  CHECK(it.handlers[1].closes == 1);
  CHECK(it.handlers[3].closes == 1);
  CHECK(it.GetStats().connections == 3);
}

TEST_CASE("as much as max_buffered is not too much", "[net][limits]") {
  const std::size_t most = GENERATE(16'384U, 16'383U);
  Crowd it(2, {.max_buffered = most});
  it.HoldInput(0, 8192);
  it.HoldInput(1, 8192);
  it.loop.RunUntilQuiet();
  CHECK(it.GetStats().shed == (most == 16'384 ? 0 : 1));
}

TEST_CASE("a turn that frees as much as it buffers is looked at, too", "[net][limits]") {
  constexpr std::size_t kMost = 20'000;
  const bool by_input = GENERATE(true, false);
  CAPTURE(by_input);
  Crowd it(4, {.max_buffered = kMost});
  const auto hold = [&](std::size_t member) {
    if (by_input) {
      it.HoldInput(member, 20'000);  // a ring of 32 KiB
    } else {
      it.HoldOutput(member, 25'000);
    }
  };
  // Each is shed at the end of its turn, and freed in the next, in which another one takes as much.
  std::size_t before = 0;
  for (std::size_t member = 0; member < 4; ++member) {
    hold(member);
    it.loop.Turn();
    CHECK(it.GetStats().shed == member + 1);
    if (member > 0) CHECK(it.loop.core().Buffered() == before);
    before = it.loop.core().Buffered();
    CHECK(before > kMost);
    CHECK(it.loop.HasWork());
  }
  it.loop.RunUntilQuiet();
  CHECK(it.loop.core().Buffered() <= kMost);
  CHECK(it.GetStats().buffered == it.loop.core().Buffered());
  CHECK(it.GetStats().connections == 0);
}

TEST_CASE("what dies already is counted as gone: nobody else is reset for it", "[net][limits]") {
  Crowd it(2, {.max_buffered = 12'000});
  it.HoldOutput(0, 4000);
  it.HoldOutput(1, 10'000);
  it.Public(1).Abort();
  it.handlers[1].on_close = [&](Connection&) { CHECK(it.GetStats().shed == 0); };
  it.loop.RunUntilQuiet();
  CHECK(it.GetStats().shed == 0);
  CHECK(it.handlers[0].closes == 0);
  CHECK(it.handlers[1].reason == CloseReason::kLocal);
}

TEST_CASE("one that dies in the turn in which memory is full is not reset a second time",
          "[net][limits]") {
  Crowd it(3, {.max_buffered = 8192});
  it.HoldInput(0, 8192);  // all that may be held, and no more
  it.HoldOutput(1, 10'000);
  it.handlers[2].on_batch_end = [&](weir::EventLoop&) { it.Public(1).Abort(); };
  it.wires[2].WillReceive("x");
  it.Report(2);
  it.loop.RunUntilQuiet();
  CHECK(it.GetStats().shed == 0);
  CHECK(it.handlers[0].closes == 0);
}

TEST_CASE("one that is closing may be the largest, and keeps its own reason", "[net][limits]") {
  Crowd it(2, {.max_buffered = 12'000});
  it.HoldOutput(0, 4000);
  it.HoldOutput(1, 10'000);
  it.Public(1).Close();
  it.loop.RunUntilQuiet();
  CHECK(it.GetStats().shed == 1);
  CHECK(it.handlers[1].reason == CloseReason::kLocal);
  CHECK(it.wires[1].reset);
  CHECK(it.handlers[0].closes == 0);
}

TEST_CASE("while memory is full only those that hold none are read; others go on by themselves",
          "[net][limits]") {
  Crowd it(4, {.max_buffered = 20'000});
  it.HoldOutput(0, 5000);
  it.HoldInput(1, 2000);
  it.loop.RunUntilQuiet();
  CHECK(it.GetStats().shed == 0);

  // The first edge of the turn makes it full; the rest have bytes, too.
  it.handlers[2].on_data = [&](Connection& connection, std::string_view in) {
    it.wires[2].WillTake(0);
    connection.WriteOwned(std::string(16'000, 'o'));
    return in.size();
  };
  it.handlers[1].on_data = {};
  for (const std::size_t member : {2U, 0U, 1U, 3U}) {
    it.wires[member].WillReceive("more");
    it.Report(member);
  }
  const auto receives = [&](std::size_t member) { return it.wires[member].receives; };
  const int before[] = {receives(0), receives(1)};
  it.loop.Turn();
  CHECK(it.loop.core().IsFull());
  CHECK(receives(0) == before[0]);
  CHECK(receives(1) == before[1]);
  CHECK(it.handlers[3].text == "more");
  CHECK(it.GetStats().shed == 1);

  it.loop.RunUntilQuiet();
  CHECK(it.handlers[2].reason == CloseReason::kOutputLimit);
  CHECK(it.handlers[0].text == "more");
  CHECK(it.handlers[1].text.size() == 2004);
  CHECK(it.loop.core().held.empty());
}

TEST_CASE("memory that is full and free again within one turn still wakes those who waited",
          "[net][limits]") {
  Crowd it(2, {.max_buffered = 20'000});
  it.HoldInput(0, 2000);
  it.loop.RunUntilQuiet();
  it.handlers[0].on_data = {};
  it.wires[0].WillReceive("more");
  it.wires[1].WillReceive("x");
  it.handlers[1].on_data = [](Connection& connection, std::string_view in) {
    connection.SetFlush(weir::Flush::kBatch);  // nothing leaves before the turn's flush
    connection.WriteOwned(std::string(30'000, 'o'));
    return in.size();
  };
  it.Report(1);
  it.Report(0);
  it.loop.Turn();
  CHECK(it.handlers[0].text.empty());
  CHECK(it.wires[1].sent.size() == 30'000);
  it.loop.RunUntilQuiet();
  CHECK(it.handlers[0].text.size() == 2004);
  CHECK(it.GetStats().shed == 0);
}

TEST_CASE("a closed connection's input is discarded also while memory is full", "[net][limits]") {
  Crowd it(2, {.max_buffered = 20'000});
  it.HoldOutput(0, 5000);
  it.Public(0).Close();
  it.loop.RunUntilQuiet();
  it.handlers[1].on_data = [&](Connection& connection, std::string_view in) {
    it.wires[1].WillTake(0);
    connection.WriteOwned(std::string(16'000, 'o'));
    return in.size();
  };
  it.wires[1].WillReceive("x");
  it.wires[0].WillReceive("unread");
  const int before = it.wires[0].receives;
  it.Report(1);
  it.Report(0);
  it.loop.Turn();
  CHECK(it.wires[0].receives > before);
}

TEST_CASE("a string shared by many counts little more than once", "[net][limits]") {
  Crowd it(200, {.max_buffered = 400'000});
  const auto text = std::make_shared<const std::string>(50'000, 't');
  for (std::size_t i = 0; i < 200; ++i) {
    it.wires[i].WillTake(0);
    it.members[i]->WriteShared(text);
  }
  it.loop.RunUntilQuiet();
  CHECK(it.GetStats().shed == 0);
  CHECK(it.GetStats().connections == 200);
  CHECK(it.GetStats().buffered >= 50'000);
  for (std::size_t i = 0; i < 200; ++i) it.Report(i, EPOLLOUT);
  it.loop.RunUntilQuiet();
  CHECK(it.GetStats().buffered == 0);
}

TEST_CASE("without max_buffered it is a quarter of the memory there is", "[net][limits]") {
  ScriptedLoop it;
  CHECK(it.core().max_buffered == weir::Machine{}.Memory() / 4);
  CHECK(it.core().max_buffered > 0);
  ScriptedLoop set({.max_buffered = 5});
  CHECK(set.core().max_buffered == 5);
}

namespace {

// A real listener; its first client's data makes the loop's memory full in the turn in which the
// second one comes.
struct FullLoop {
  RealLoop<> it{Options{.max_buffered = 100'000}};
  Client first = it.ConnectAndOpen();
  Connection* const open = it.handler.last;

  explicit FullLoop(weir::Flush flush) {
    open->SetFlush(flush);
    it.RunUntilQuiet();
  }
};

}  // namespace

TEST_CASE("while memory is full nobody is accepted; who waits gets in when it is free again",
          "[net][limits][accept]") {
  FullLoop full(weir::Flush::kBatch);
  auto& it = full.it;
  Connection* const open = full.open;
  const Client second = it.Connect();
  const int opens = it.handler.opens;
  // Mail runs before the edges: the listener's finds 200'000 bytes queued. They leave at the flush.
  it.loop.Post([open] {
    for (int i = 0; i < 10; ++i) open->WriteOwned(std::string(20'000, 'o'));
  });
  it.Turn();
  CHECK(it.handler.opens == opens);
  it.RunUntil([&] {
    full.first.Receive();
    return it.handler.opens > opens;
  });
  CHECK(it.loop.GetStats().shed == 0);
}
