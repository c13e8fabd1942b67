// ConnRef: what is asked from any thread is done on the loop's, later, in order, and only to the
// connection that was meant.

#include "weir/connection_ref.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "os/sys.h"
#include "support/catch.h"
#include "support/one_connection.h"
#include "support/real_loop.h"

using namespace std::chrono_literals;
using weir::CloseReason;
using weir::Connection;
using weir::ConnectionImpl;
using weir::ConnRef;
using weir::EventLoop;
using weir::Options;
using weir::TimeoutKind;
using weir::Transfer;
using weir::Wire;
using weir::sys::fake::Advance;
using weir::test::Client;
using weir::test::OneConnection;
using weir::test::RealLoop;
using weir::test::Recorder;
using weir::test::ScriptedLoop;
using weir::test::ScriptedWire;

namespace {

using Calls = std::vector<std::string>;

ConnRef RefOf(OneConnection& it) { return it.connection().Ref(); }

// Each of a ref's calls; true if all of them say `expected`.
bool AllSay(bool expected, const ConnRef& ref) {
  const auto shared = std::make_shared<const std::string>("shared");
  const bool said[] = {ref.Send("bytes"), ref.Send(shared), ref.Post([](Connection&) {}),
                       ref.Wake(),        ref.Close(),      ref.Abort()};
  return std::all_of(std::begin(said), std::end(said), [&](bool one) { return one == expected; });
}

// Leaves all input, and so waits to be woken.
struct Waiting : OneConnection {
  explicit Waiting(const Options& options = {}) : OneConnection(options) {
    handler.on_data = [this](Connection&, std::string_view in) {
      seen.emplace_back(in);
      return consumes ? in.size() : 0;
    };
  }
  void Receive(std::string_view bytes) {
    wire.WillReceive(bytes);
    RaiseEdge();
    RunUntilQuiet();
    seen.clear();
  }
  void WakeNow() {
    CHECK(RefOf(*this).Wake());
    RunUntilQuiet();
  }
  Calls seen;  // what each OnData was given
  bool consumes = false;
};

}  // namespace

TEST_CASE("a ref that refers to nobody does nothing", "[net][ref]") {
  const ConnRef nobody;
  CHECK(nobody.Get() == nullptr);
  CHECK(nobody.Id() == 0);
  CHECK(AllSay(false, nobody));
  CHECK(nobody == ConnRef());
  CHECK_FALSE(nobody.Send(std::string()));
}

TEST_CASE("refs of one connection are equal, and of two are not", "[net][ref]") {
  Recorder other;
  ScriptedWire others_wire;
  OneConnection it;
  const ConnRef ref = RefOf(it);
  const ConnRef copy = ref;
  CHECK(copy == RefOf(it));
  CHECK(copy.Id() == it.token().Packed());
  CHECK(copy.Get() == &it.connection());
  CHECK(it.Open(others_wire, other).Ref() != ref);
  CHECK(ref != ConnRef());
}

TEST_CASE("a ref finds its connection from OnOpen until it is closed", "[net][ref]") {
  Recorder other;
  ScriptedWire others_wire;
  OneConnection it;
  Connection* in_open = nullptr;
  other.on_open = [&](Connection& connection) { in_open = connection.Ref().Get(); };
  ConnectionImpl& opened = it.Open(others_wire, other);
  CHECK(in_open == &opened);

  const ConnRef ref = RefOf(it);
  const int end = GENERATE(0, 1);
  it.handler.on_close = [&](Connection&) { CHECK(ref.Get() == nullptr); };
  end == 0 ? it.connection().Close() : it.connection().Abort();
  CHECK(ref.Get() == nullptr);
  it.RunUntilQuiet();
  CHECK(ref.Get() == nullptr);
}

TEST_CASE("on the loop's own thread too, all that is asked for comes later", "[net][ref]") {
  OneConnection it;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    const ConnRef ref = connection.Ref();
    CHECK(ref.Send("later"));
    CHECK(connection.Pending() == 0);
    CHECK(ref.Close());
    CHECK(connection.IsOpen());
    CHECK(connection.Write("now "));
    return in.size();
  };
  it.wire.WillReceive("x");
  it.RaiseEdge();
  CHECK(it.wire.sent == "now ");
  CHECK(it.connection().IsOpen());
  it.RunUntilQuiet();
  CHECK(it.wire.sent == "now later");
  CHECK(it.handler.reason == CloseReason::kLocal);
}

TEST_CASE("what one thread asks of refs and loop comes in its order", "[net][ref]") {
  OneConnection it;
  const ConnRef ref = RefOf(it);
  std::string order;
  CHECK(it.loop->Post([&] { order += "a"; }));
  CHECK(ref.Post([&](Connection&) { order += "b"; }));
  CHECK(ref.Send("c"));
  CHECK(it.loop->Post([&] { order += std::to_string(it.connection().Pending()); }));
  CHECK(ref.Send(std::make_shared<const std::string>("d")));
  CHECK(ref.Post([&](Connection& connection) { connection.Write("e"); }));
  CHECK(ref.Wake());
  CHECK(it.loop->Post([&] { order += "f"; }));
  CHECK(ref.Close());
  CHECK(ref.Send("too late"));
  CHECK(ref.Post([&](Connection&) { order += "too late"; }));
  CHECK(it.wire.sends == 0);
  it.RunUntilQuiet();
  CHECK(order == "ab1f");
  CHECK(it.wire.sent == "cde");
  CHECK(it.wire.sends == 1);
  CHECK(it.handler.calls == Calls{"data 0", "close", "batch"});
}

// ---- Send

namespace {

// Remembers where the bytes of each send stood.
class PlacesWire final : public Wire {
 public:
  PlacesWire() : Wire(ScriptedWire::kTcp) {}
  std::vector<const char*> places;
  Transfer TryReceive(int, std::span<char>) override { return Transfer(-EAGAIN); }
  Transfer TrySend(int, std::string_view bytes) override {
    places.push_back(bytes.data());
    return Transfer(static_cast<std::ptrdiff_t>(bytes.size()));
  }
  Transfer TrySendPieces(int, std::span<const std::string_view> pieces) override {
    std::size_t size = 0;
    for (const std::string_view piece : pieces) {
      places.push_back(piece.data());
      size += piece.size();
    }
    return Transfer(static_cast<std::ptrdiff_t>(size));
  }
  int ShutdownWrite(int) override { return 0; }
  void Close(int) override {}
  void Reset(int) override {}
  int TakeError(int) override { return 0; }
  std::size_t Unread(int) override { return 0; }
  bool AtUrgentMark(int) override { return false; }
};

}  // namespace

TEST_CASE("a string that is sent is moved to the kernel, never copied", "[net][ref]") {
  Recorder handler;
  PlacesWire wire;
  ScriptedLoop it;
  ConnectionImpl* const connection = it.core().table.Allocate();
  connection->Open(
      it.core(),
      {.fd = 5, .wire = &wire, .handler = &handler, .listener = 0, .peer = weir::PeerAddress()});
  it.RunUntilQuiet();
  std::string bytes(static_cast<std::size_t>(GENERATE(3000, 100'000)), 'b');
  const char* const place = bytes.data();
  auto shared = std::make_shared<const std::string>(bytes);
  const char* const shared_place = shared->data();
  CHECK(connection->Ref().Send(std::move(bytes)));
  CHECK(connection->Ref().Send(shared));
  CHECK(shared.use_count() == 2);
  it.RunUntilQuiet();
  CHECK(wire.places == std::vector<const char*>{place, shared_place});
  CHECK(shared.use_count() == 1);
}

TEST_CASE("a shared string is given back however its send ends", "[net][ref]") {
  const auto shared = std::make_shared<const std::string>(5000, 's');
  std::weak_ptr<const std::string> watch;
  {
    OneConnection it{{.max_mail = 2}};
    const ConnRef ref = RefOf(it);
    const int end = GENERATE(0, 1, 2, 3, 4);
    CAPTURE(end);
    if (end == 0) CHECK(ref.Send(shared));
    if (end == 1) {  // it waits for the peer when the connection ends
      it.wire.WillTake(0);
      CHECK(ref.Send(shared));
      it.RunUntilQuiet();
      CHECK(shared.use_count() == 2);
      CHECK(ref.Abort());
    }
    if (end == 2) {  // the connection is gone
      it.connection().Abort();
      it.RunUntilQuiet();
      CHECK(ref.Send(shared));
      CHECK(shared.use_count() == 2);
    }
    if (end == 3) {  // the mailbox is full
      CHECK(ref.Wake());
      CHECK(ref.Wake());
      CHECK_FALSE(ref.Send(shared));
      CHECK(shared.use_count() == 1);
    }
    if (end == 4) {  // the loop is destroyed before it runs
      auto only = std::make_shared<const std::string>(5000, 'o');
      watch = only;
      CHECK(ref.Send(std::move(only)));
      CHECK_FALSE(watch.expired());
    } else {
      it.RunUntilQuiet();
    }
    if (end != 4) CHECK(shared.use_count() == 1);
  }
  CHECK(watch.expired());
  CHECK(shared.use_count() == 1);
}

TEST_CASE("what is sent to one that takes no more output is dropped", "[net][ref]") {
  OneConnection it;
  it.connection().ShutdownWrite();
  CHECK(RefOf(it).Send(std::string(5000, 'x')));
  it.RunUntilQuiet();
  CHECK(it.wire.sent.empty());
  CHECK(it.connection().IsOpen());
}

// ---- The connection is gone

TEST_CASE("what is asked for a connection that is gone does not happen", "[net][ref]") {
  const int end = GENERATE(0, 1, 2);
  Recorder next;
  ScriptedWire nexts_wire;
  OneConnection it;
  const ConnRef ref = RefOf(it);
  if (end == 0) it.connection().Abort();
  if (end == 1) {
    it.connection().Close();
    it.wire.ThenEnd();
  }
  if (end == 2) {
    it.wire.ThenFail(ECONNRESET);
    it.RaiseEdge();
  }
  it.RunUntilQuiet();
  if (end == 1) it.RaiseEdge({.readable = true, .peer_ended = true});
  it.RunUntilQuiet();
  REQUIRE(it.core().table.live() == 0);

  ConnectionImpl& successor = it.Open(nexts_wire, next);
  it.RunUntilQuiet();
  REQUIRE(successor.token.slot == it.token().slot);
  next.calls.clear();
  CHECK(AllSay(true, ref));
  it.RunUntilQuiet();
  CHECK(next.calls.empty());
  CHECK(nexts_wire.sends == 0);
  CHECK(successor.IsOpen());
  CHECK(ref.Get() == nullptr);
  CHECK(ref != successor.Ref());
}

TEST_CASE("asked before it closes, and done after, is nothing", "[net][ref]") {
  OneConnection it;
  const ConnRef ref = RefOf(it);
  CHECK(AllSay(true, ref));
  it.connection().Close();
  it.RunUntilQuiet();
  CHECK(it.wire.sent.empty());
  CHECK_FALSE(it.wire.reset);
  CHECK(it.handler.calls == Calls{"close", "batch"});
}

TEST_CASE("in 10,000 connections no stale ref ever hits another", "[net][ref]") {
  constexpr std::size_t kConnections = 10'000;
  std::mt19937 random(5);
  Recorder handler;
  handler.on_data = [](Connection&, std::string_view) { return std::size_t{0}; };
  std::vector<ScriptedWire> wires(4);
  ScriptedLoop it;
  std::vector<ConnRef> all;
  std::set<std::uint64_t> ids;
  std::vector<ConnectionImpl*> open;
  int hits = 0;
  int meant = 0;
  for (std::size_t i = 0; i < kConnections; ++i) {
    open.push_back(&it.Open(wires[i % 4], handler));
    all.push_back(open.back()->Ref());
    ids.insert(all.back().Id());
    // A live one, asked now, which may be gone when it is looked for.
    for (int asked = 0; asked < 2; ++asked) {
      const ConnRef& ref = all[all.size() - 1 - random() % std::min<std::size_t>(all.size(), 8)];
      REQUIRE(ref.Post(
          [&, ref](Connection& connection) { connection.Ref() == ref ? ++meant : ++hits; }));
      if (ref.Get() != nullptr) continue;
      REQUIRE(ref.Send("to a stranger"));
      REQUIRE(ref.Wake());
      REQUIRE(ref.Close());
      REQUIRE(ref.Abort());
    }
    if (open.size() == 4) {
      const std::size_t victim = random() % 4;
      open[victim]->AbortLocally();
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(victim));
    }
    it.Turn();
    handler.last = nullptr;
  }
  it.RunUntilQuiet();
  CHECK(ids.size() == kConnections);
  CHECK(hits == 0);
  CHECK(meant > 3000);
  CHECK(it.core().table.slots() <= 16);  // all in a few slots
  CHECK(it.core().table.live() == 3);
  for (const ScriptedWire& wire : wires) CHECK(wire.sent.empty());
  CHECK(std::count(handler.calls.begin(), handler.calls.end(), "data 0") == 0);
}

// ---- The loop has ended, or its mailbox is full

TEST_CASE("once the loop has ended a ref says no", "[net][ref]") {
  OneConnection it;
  const ConnRef ref = RefOf(it);
  it.loop->Stop(weir::Duration::zero());
  CHECK(ref.Send("not yet"));
  it.loop->Run();
  CHECK(it.loop->IsStopped());
  CHECK(AllSay(false, ref));
  CHECK(ref.Get() == nullptr);
}

TEST_CASE("while max_mail posts wait a ref says no, and then yes again", "[net][ref]") {
  OneConnection it{{.max_mail = 3}};
  const ConnRef ref = RefOf(it);
  CHECK(ref.Send("a"));
  CHECK(ref.Wake());
  CHECK(ref.Send("b"));
  CHECK(AllSay(false, ref));
  it.RunUntilQuiet();
  CHECK(it.wire.sent == "ab");
  CHECK(it.connection().IsOpen());
  CHECK(ref.Send("c"));
  it.RunUntilQuiet();
  CHECK(it.wire.sent == "abc");
}

// ---- Post

TEST_CASE("work that cannot be copied is posted, run once and destroyed", "[net][ref]") {
  OneConnection it;
  const ConnRef ref = RefOf(it);
  auto owned = std::make_unique<std::string>("owned");
  const auto token = std::make_shared<int>();
  CHECK(ref.Post([owned = std::move(owned), token](Connection& connection) mutable {
    connection.Write(*owned);
    owned.reset();
  }));
  CHECK(token.use_count() == 2);
  it.RunUntilQuiet();
  CHECK(token.use_count() == 1);
  CHECK(it.wire.sent == "owned");

  struct Counter {
    int* count;
    void operator()(Connection&) const { ++*count; }
  };
  int count = 0;
  Counter counter{&count};
  CHECK(ref.Post(counter));  // an lvalue is copied
  CHECK(ref.Post(std::as_const(counter)));
  it.RunUntilQuiet();
  CHECK(count == 2);
}

TEST_CASE("what posted work throws is counted, and the connection lives on", "[net][ref]") {
  OneConnection it;
  const ConnRef ref = RefOf(it);
  CHECK(ref.Post([](Connection&) { throw std::runtime_error("posted"); }));
  CHECK(ref.Send("and on"));
  it.RunUntilQuiet();
  CHECK(it.loop->GetStats().exceptions == 1);
  CHECK(it.connection().IsOpen());
  CHECK(it.wire.sent == "and on");
}

TEST_CASE("work posted for nobody is destroyed without having run", "[net][ref]") {
  OneConnection it;
  const ConnRef ref = RefOf(it);
  const auto token = std::make_shared<int>();
  it.connection().Abort();
  CHECK(ref.Post([token](Connection&) { FAIL("ran"); }));
  it.RunUntilQuiet();
  CHECK(token.use_count() == 1);
}

// ---- Close and Abort

TEST_CASE("Close sends what is queued; Abort drops it", "[net][ref]") {
  OneConnection it;
  const ConnRef ref = RefOf(it);
  const bool aborts = GENERATE(true, false);
  it.wire.WillTake(2);
  CHECK(ref.Send("pending"));
  it.RunUntilQuiet();
  CHECK(it.wire.sent == "pe");
  CHECK((aborts ? ref.Abort() : ref.Close()));
  it.RunUntilQuiet();
  if (!aborts) it.RaiseEdge({.writable = true});
  it.RunUntilQuiet();
  CHECK(it.wire.sent == (aborts ? "pe" : "pending"));
  CHECK(it.wire.reset == aborts);
  CHECK(it.wire.fin == !aborts);
  CHECK(it.handler.closes == 1);
  CHECK(it.handler.reason == CloseReason::kLocal);
}

TEST_CASE("to close, or abort, what has ended or is closing changes nothing", "[net][ref]") {
  OneConnection it;
  const ConnRef ref = RefOf(it);
  it.wire.WillTake(0);
  it.connection().Write("bye");
  it.connection().Close();
  CHECK(ref.Abort());  // it is not open any more
  CHECK(ref.Close());
  it.RunUntilQuiet();
  CHECK_FALSE(it.wire.reset);
  it.RaiseEdge({.writable = true});
  it.RunUntilQuiet();
  CHECK(it.wire.sent == "bye");
  CHECK(it.handler.closes == 1);
}

TEST_CASE("Close after the peer's end says so", "[net][ref]") {
  OneConnection it;
  it.handler.on_end = [](Connection&) {};
  it.wire.ThenEnd();
  it.RaiseEdge({.readable = true, .peer_ended = true});
  CHECK(RefOf(it).Close());
  it.RunUntilQuiet();
  CHECK(it.handler.reason == CloseReason::kPeerEnd);
}

// ---- Wake

TEST_CASE("woken without input, OnData is called with nothing", "[net][ref][wake]") {
  Waiting it;
  it.WakeNow();
  CHECK(it.seen == Calls{""});
  CHECK(it.wire.receives == 0);
  it.WakeNow();
  CHECK(it.seen.size() == 2);
}

TEST_CASE("inside an OnData with nothing all calls work", "[net][ref][wake]") {
  Recorder upgraded;
  Waiting it;
  int calls = 0;
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    ++calls;
    CHECK(connection.Input().empty());
    CHECK(connection.Scanned() == 0);
    CHECK(connection.Write("woken"));
    CHECK(connection.Pending() == 5);
    connection.Consume(0);
    connection.PauseRead();
    connection.ResumeRead();
    connection.SetHandler(upgraded);
    return in.size();
  };
  it.WakeNow();
  CHECK(calls == 1);
  CHECK(it.wire.sent == "woken");
  CHECK(upgraded.calls.empty());
  it.wire.WillReceive("new");
  it.RaiseEdge();
  CHECK(upgraded.text == "new");
}

TEST_CASE("woken, OnData gets what was unconsumed, and may consume it", "[net][ref][wake]") {
  Waiting it;
  it.Receive("waiting");
  it.WakeNow();
  CHECK(it.seen == Calls{"waiting"});
  CHECK(it.connection().Scanned() == 7);
  it.consumes = true;
  it.WakeNow();
  CHECK(it.seen == Calls{"waiting", "waiting"});
  CHECK(it.connection().Input().empty());
  CHECK(it.core().buffers.bytes_in_use() == 0);
  CHECK(it.wire.receives == 1);
}

TEST_CASE("woken, OnData may reject, throw, close and abort", "[net][ref][wake]") {
  const bool has_input = GENERATE(true, false);
  const int what = GENERATE(0, 1, 2, 3, 4);
  Waiting it;
  if (has_input) it.Receive("input");
  it.handler.on_data = [&](Connection& connection, std::string_view in) -> std::size_t {
    connection.Write("last");
    if (what == 0) return weir::Handler::kReject;
    if (what == 1) throw std::runtime_error("woken");
    if (what == 2) connection.Close();
    if (what == 3) connection.Abort();
    if (what == 4) return in.size() + 1;
    return in.size();
  };
  it.WakeNow();
  CHECK(it.handler.closes == 1);
  CHECK(it.wire.sent == (what == 3 ? "" : "last"));
  const CloseReason reasons[] = {CloseReason::kRejected, CloseReason::kException,
                                 CloseReason::kLocal, CloseReason::kLocal, CloseReason::kRejected};
  CHECK(it.handler.reason == reasons[what]);
}

TEST_CASE("woken while it is paused, a connection is called when it resumes", "[net][ref][wake]") {
  Waiting it;
  const bool has_input = GENERATE(true, false);
  if (has_input) it.Receive("waiting");
  it.connection().PauseRead();
  it.WakeNow();
  it.WakeNow();
  CHECK(it.seen.empty());
  it.connection().ResumeRead();
  CHECK(it.seen.empty());
  it.RunUntilQuiet();
  CHECK(it.seen == (has_input ? Calls{"waiting"} : Calls{}));
  it.RunUntilQuiet();
  CHECK(it.seen.size() == (has_input ? 1 : 0));
}

TEST_CASE("woken while it is congested, a connection is called", "[net][ref][wake]") {
  Waiting it{{.high_water = 10, .low_water = 5}};
  it.Receive("waiting");
  it.wire.WillTake(0);
  it.connection().Write(std::string(20, 'w'));
  it.RunUntilQuiet();
  REQUIRE(it.connection().Congested());
  it.WakeNow();
  CHECK(it.seen == Calls{"waiting"});
  it.seen.clear();
  it.RaiseEdge({.writable = true});
  it.RunUntilQuiet();
  CHECK(it.handler.drains == 1);
  CHECK(it.seen == Calls{"waiting"});  // what it left while it was congested comes back
}

TEST_CASE("woken after the peer's end, nothing comes", "[net][ref][wake]") {
  Waiting it;
  const bool has_input = GENERATE(true, false);
  if (has_input) it.Receive("waiting");
  it.handler.on_end = [](Connection&) {};
  it.wire.ThenEnd();
  it.RaiseEdge({.readable = true, .peer_ended = true});
  it.WakeNow();
  CHECK(it.seen.empty());
  CHECK(it.handler.ends == 1);
  CHECK(it.connection().IsOpen());
}

TEST_CASE("woken with less than it needs, OnData is called, and the need stays",
          "[net][ref][wake]") {
  Waiting it;
  it.Receive("123");
  it.connection().NeedAtLeast(6);
  it.WakeNow();
  CHECK(it.seen == Calls{"123"});
  it.Receive("45");
  CHECK(std::count(it.handler.calls.begin(), it.handler.calls.end(), "data 5") == 0);
  it.wire.WillReceive("6");
  it.RaiseEdge();
  CHECK(it.seen == Calls{"123456"});
}

TEST_CASE("woken, OnData may need something else", "[net][ref][wake]") {
  Waiting it;
  it.Receive("123");
  it.connection().NeedAtLeast(6);
  it.handler.on_data = [&](Connection& connection, std::string_view in) {
    it.seen.emplace_back(in);
    if (it.seen.size() == 1) connection.NeedAtLeast(4);
    return std::size_t{0};
  };
  it.WakeNow();
  it.wire.WillReceive("4");
  it.RaiseEdge();
  CHECK(it.seen == Calls{"123", "1234"});
}

TEST_CASE("woken with as much as it needs, OnData clears the need", "[net][ref][wake]") {
  Waiting it;
  it.Receive("a whole frame");
  it.connection().NeedAtLeast(13);  // it is there, but what it asks for is not
  it.consumes = true;
  it.WakeNow();
  CHECK(it.seen == Calls{"a whole frame"});
  it.wire.WillReceive("short");
  it.RaiseEdge();
  CHECK(it.seen == Calls{"a whole frame", "short"});
}

TEST_CASE("a need that was met does not come back when its bytes are consumed elsewhere",
          "[net][ref][wake]") {
  Waiting it;
  it.Receive("a whole frame");
  it.connection().NeedAtLeast(13);
  it.WakeNow();
  it.connection().Consume(13);
  it.wire.WillReceive("short");
  it.RaiseEdge();
  CHECK(it.seen == Calls{"a whole frame", "short"});
}

TEST_CASE("woken, OnData that consumes what was too little needs nothing any more",
          "[net][ref][wake]") {
  Waiting it;
  it.Receive("123");
  it.connection().NeedAtLeast(6);
  it.consumes = true;
  it.WakeNow();
  it.wire.WillReceive("4");
  it.RaiseEdge();
  CHECK(it.seen == Calls{"123", "4"});
}

TEST_CASE("woken, OnData that sets another handler does not leave it the need",
          "[net][ref][wake]") {
  Recorder upgraded;
  Waiting it;
  it.Receive("123");
  it.connection().NeedAtLeast(6);
  it.handler.on_data = [&](Connection& connection, std::string_view) {
    connection.SetHandler(upgraded);
    return std::size_t{0};
  };
  it.WakeNow();
  CHECK(upgraded.text == "123");
}

TEST_CASE("a wake counts as a call of its handler", "[net][ref][wake]") {
  Waiting it;
  it.handler.batches = 0;
  it.WakeNow();
  CHECK(it.handler.batches == 1);
}

TEST_CASE("wherever in a turn a connection is woken, it is called later, and once",
          "[net][ref][wake]") {
  enum Where { kMail, kTimer, kOpen, kData, kDrain, kTimeout, kEnd, kClose, kBatchEnd, kOutside };
  const int where =
      GENERATE(kMail, kTimer, kOpen, kData, kDrain, kTimeout, kEnd, kClose, kBatchEnd, kOutside);
  CAPTURE(where);
  Recorder other;
  ScriptedWire others_wire;
  Waiting it{{.high_water = 10, .low_water = 5}};
  it.Receive("waiting");
  const ConnRef ref = RefOf(it);
  int woken = 0;
  const auto wake = [&] {
    ++woken;
    CHECK(ref.Wake());
    CHECK(it.seen.empty());
  };
  if (where == kMail) it.loop->Post(wake);
  if (where == kTimer) it.loop->RunAfter(1ms, wake);
  if (where == kOpen) other.on_open = [&](Connection&) { wake(); };
  if (where == kClose) other.on_close = [&](Connection&) { wake(); };
  ConnectionImpl& helper = it.Open(others_wire, other);
  it.RunUntilQuiet();
  const auto edge = [&](std::uint32_t bits) { it.poller.Report(helper.token, bits); };
  switch (where) {
    case kMail:
    case kOpen:
      break;
    case kTimer:
      Advance(2ms);
      break;
    case kData:
      other.on_data = [&](Connection&, std::string_view in) {
        wake();
        return in.size();
      };
      others_wire.WillReceive("x");
      edge(EPOLLIN);
      break;
    case kDrain:
      other.on_drain = [&](Connection&) { wake(); };
      helper.Write(std::string(20, 'w'));
      break;
    case kTimeout:
      other.on_timeout = [&](Connection&, TimeoutKind) { wake(); };
      helper.SetReadDeadline(it.loop->Now());
      Advance(1ms);
      break;
    case kEnd:
      other.on_end = [&](Connection&) { wake(); };
      others_wire.ThenEnd();
      edge(EPOLLIN | EPOLLRDHUP);
      break;
    case kClose:
      helper.AbortLocally();
      break;
    case kBatchEnd:
      it.handler.on_batch_end = [&](EventLoop&) {
        if (woken == 0) wake();
      };
      it.loop->Post([&] { it.core().NoteCalled(it.handler); });
      break;
    default:
      wake();
  }
  for (int i = 0; i < 5; ++i) it.loop->RunOnce(weir::Duration::zero());
  it.RunUntilQuiet();
  CHECK(woken == 1);
  CHECK(it.seen == Calls{"waiting"});
}

TEST_CASE("a connection that wakes itself for ever does not hold the turn", "[net][ref][wake]") {
  Recorder other;
  ScriptedWire others_wire;
  Waiting it;
  int calls = 0;
  it.handler.on_data = [&](Connection& connection, std::string_view) {
    if (++calls < 100'000) CHECK(connection.Ref().Wake());
    return std::size_t{0};
  };
  ConnectionImpl& neighbour = it.Open(others_wire, other);
  CHECK(RefOf(it).Wake());
  it.RunUntilQuiet(5);
  others_wire.WillReceive("served");
  it.poller.Report(neighbour.token, EPOLLIN);
  it.Turn();
  CHECK(other.text == "served");
  CHECK(calls < 100'000);
}

// ---- From other threads

TEST_CASE("threads' sends, posts and wakes come once each, in each thread's order", "[net][ref]") {
  constexpr int kThreads = 4;
  constexpr int kRounds = 500;
  RealLoop<> it;
  std::vector<int> next(kThreads, 0);
  bool ordered = true;
  int wakes = 0;
  int finished = 0;
  it.handler.on_data = [&](Connection&, std::string_view in) {
    wakes += in.empty() ? 1 : 0;
    return in.size();
  };
  Client client = it.ConnectAndOpen();
  const ConnRef ref = it.handler.last->Ref();
  const auto note = [&](int id, int step) {
    int& expected = next[static_cast<std::size_t>(id)];
    ordered = ordered && expected == step;
    expected = step + 1;
  };
  std::atomic<bool> all_taken{true};
  std::vector<std::thread> threads;
  for (int id = 0; id < kThreads; ++id) {
    threads.emplace_back([&, id] {
      bool taken = true;
      for (int i = 0; i < kRounds; ++i) {
        const std::string line = std::to_string(id) + ":" + std::to_string(2 * i) + "\n";
        taken = taken && it.loop.Post([&note, id, i] { note(id, 3 * i); });
        taken = taken && ref.Send(line);
        taken = taken && ref.Post([&note, id, i](Connection&) { note(id, 3 * i + 1); });
        taken = taken && ref.Send(std::make_shared<const std::string>(
                             std::to_string(id) + ":" + std::to_string(2 * i + 1) + "\n"));
        taken = taken && ref.Wake();
        taken = taken && it.loop.Post([&note, id, i] { note(id, 3 * i + 2); });
      }
      taken = taken && it.loop.Post([&finished] { ++finished; });
      if (!taken) all_taken = false;
    });
  }
  it.RunUntil(
      [&] {
        client.Receive();
        return finished == kThreads;
      },
      100'000'000);
  for (std::thread& thread : threads) thread.join();
  CHECK(all_taken);
  CHECK(ordered);
  CHECK(next == std::vector<int>(kThreads, 3 * kRounds));
  CHECK(wakes == kThreads * kRounds);

  it.handler.last->Close();
  it.RunToEndOf(client);
  std::vector<int> next_line(kThreads, 0);
  bool lines_ordered = true;
  std::size_t at = 0;
  for (std::size_t end; (end = client.received.find('\n', at)) != std::string::npos; at = end + 1) {
    const auto id = static_cast<std::size_t>(client.received[at] - '0');
    const int number = std::stoi(client.received.substr(at + 2, end - at - 2));
    lines_ordered = lines_ordered && std::exchange(next_line[id], number + 1) == number;
  }
  CHECK(lines_ordered);
  CHECK(next_line == std::vector<int>(kThreads, 2 * kRounds));
}

TEST_CASE("another thread ends a connection by its ref, and a sleeping loop wakes for it",
          "[net][ref]") {
  const bool aborts = GENERATE(true, false);
  RealLoop<> it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();
  const ConnRef ref = it.handler.last->Ref();
  it.handler.on_close = [&](Connection& connection) { connection.Loop().Stop(); };
  bool asked = false;
  std::thread asker([&] { asked = ref.Send("bye") && (aborts ? ref.Abort() : ref.Close()); });
  std::thread reader([&] {
    while (!client.ended && client.error == 0) {
      if (!client.WaitReadable()) return;
      client.Receive();
    }
    client.Close();
  });
  it.loop.Run();
  asker.join();
  reader.join();
  CHECK(asked);
  CHECK(it.handler.closes == 1);
  CHECK(client.ended == !aborts);
  if (!aborts) CHECK(client.received == "bye");
  CHECK(AllSay(false, ref));
}

TEST_CASE("threads ask of connections that come and go", "[net][ref]") {
  // Each connection gives its ref away, and is asked of by two threads while it ends.
  constexpr int kConnections = 300;
  RealLoop<> it;
  std::atomic<int> wrong{0};
  std::atomic<int> ran{0};
  for (int i = 0; i < kConnections; ++i) {
    Client client = it.ConnectAndOpen();
    const ConnRef ref = it.handler.last->Ref();
    std::atomic<int> done{0};
    const auto ask = [&] {
      for (int k = 0; k < 20; ++k) {
        ref.Post([&, ref](Connection& connection) { connection.Ref() == ref ? ++ran : ++wrong; });
        ref.Send("x");
        ref.Wake();
      }
      ++done;
    };
    std::thread first(ask);
    std::thread second(ask);
    if (i % 2 == 0) {
      client.Reset();
    } else {
      ref.Close();
    }
    it.RunUntil([&] { return done == 2; }, 100'000'000);
    first.join();
    second.join();
    client.Close();
    it.RunUntil([&] { return it.core().table.live() == 0; }, 100'000'000);
    it.RunUntilQuiet(2);
  }
  CHECK(wrong == 0);
  CHECK(it.handler.closes == kConnections);
}
