// Random lives: what a kernel may do, in any order, against what a program may do, from anywhere.
// The model (support/model_socket.h) raises edges as epoll does, so that a connection which
// forgets something is found asleep on it.

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "os/sys.h"
#include "support/catch.h"
#include "support/model_socket.h"
#include "support/one_connection.h"
#include "weir/log.h"

namespace weir {
namespace {

using test::ModelKernel;
using test::ModelSocket;
using test::ScriptedLoop;
using test::ScriptedWire;

using std::chrono::milliseconds;

constexpr milliseconds kLinger(40);

// What a sequence got wrong, once: a check for each of millions of steps would be slow.
class Verdict {
 public:
  void Expect(bool holds, const char* what) {
    if (!holds && wrong_.empty()) wrong_ = what;
  }
  [[nodiscard]] const std::string& wrong() const { return wrong_; }

 private:
  std::string wrong_;
};

struct Life {
  explicit Life(Wire::Traits traits) : socket(traits) {}

  ModelSocket socket;
  ConnRef ref;
  Connection* connection = nullptr;  // from OnOpen until OnClose has returned
  int opens = 0;
  int ends = 0;
  int closes = 0;
  bool ever_paused = false;
  bool paused = false;   // as the program asked
  bool aborted = false;  // Abort(), or an end that may lose output
  bool shut_down = false;
  std::size_t consumed = 0;  // of socket.arrived
  std::string written;       // what Write() took
  std::size_t need = 0;      // NeedAtLeast()

  // Backpressure, and what OnData left because of it.
  std::size_t high = 0;
  std::size_t low = 0;
  bool waits_for_drain = false;

  // Times, as the program set them. A byte moved last at `moved`.
  Duration idle{};
  Clock::time_point idle_from;
  Clock::time_point moved;
  std::size_t moved_bytes = 0;
  bool idle_told = false;
  Clock::time_point read_deadline;
  Clock::time_point write_deadline;
  std::uint64_t set_in = 0;  // the turn of the latest of these calls
};

class Session final : public Handler {
 public:
  Session(std::uint32_t seed, Wire::Traits traits)
      : random_(seed),
        traits_(traits),
        options_(MakeOptions(random_)),
        loop_(options_),
        kernel_(loop_.poller) {
    loop_.poller.on_wait = [this](int timeout) {
      const bool idle = !loop_.HasWork() && !kernel_.HasEdges();
      verdict.Expect(timeout == 0 || !loop_.HasWork(), "it slept on work");
      if (timeout == 0 && idle && !zero_wait_asked_) verdict.Expect(false, "it spins");
      kernel_.ReportEdges();
    };
  }

  void Play(int steps) {
    for (int i = 0; i < steps; ++i) Step();
    End();
  }

  Verdict verdict;
  std::uint64_t callbacks = 0;

 private:
  static Options MakeOptions(std::mt19937& random) {
    const std::size_t chunk = std::size_t{1} << (random() % 8);
    const auto sometimes = [&](std::size_t small, std::size_t otherwise) {
      return random() % 3 == 0 ? random() % small : otherwise;
    };
    const std::size_t high = sometimes(2000, 256 << 10);
    return {.read_chunk = chunk,
            .read_budget = chunk * (1 + random() % 3),
            .write_budget = 1 + sometimes(5000, 1 << 20),
            .turn_budget = chunk * (1 + random() % 6),
            .high_water = high,
            .low_water = high / (1 + random() % 4),
            .auto_pause = random() % 4 != 0,
            .max_output = sometimes(20'000, 64 << 20),
            .idle_timeout = milliseconds(sometimes(30, 0)),
            .write_stall = milliseconds(sometimes(60, 60'000)),
            .close_linger = kLinger};
  }
  std::uint32_t Below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }
  bool OneIn(std::uint32_t bound) { return Below(bound) == 0; }

  // ---- The kernel's part

  void Step() {
    switch (Below(12)) {
      case 0:
        OpenOne();
        break;
      case 1:
      case 2:
      case 3:
        AnyLife([&](Life& life) { Arrive(life); });
        break;
      case 4:
        AnyLife([&](Life& life) {
          if (OneIn(3)) life.socket.End();
        });
        break;
      case 5:
        AnyLife([&](Life& life) {
          if (OneIn(6)) life.socket.Fail(ECONNRESET);
        });
        break;
      case 6:
        AnyLife([&](Life& life) { life.socket.Drain(1 + Below(64)); });
        break;
      case 7:
        Post();
        break;
      case 8:
        if (OneIn(3)) Advance(milliseconds(Below(30)));
        break;
      default:
        Turn();
    }
  }

  template <class Act>
  void AnyLife(Act act) {
    if (!lives_.empty()) act(*lives_[Below(static_cast<std::uint32_t>(lives_.size()))]);
  }

  void Arrive(Life& life) {
    std::string bytes(1 + Below(OneIn(8) ? 5000 : 40), '\0');
    for (char& byte : bytes) byte = static_cast<char>('a' + Below(26));
    life.socket.Arrive(bytes, OneIn(10));
  }

  void OpenOne() {
    if (lives_.size() >= 4) return;
    lives_.push_back(std::make_unique<Life>(traits_));
    Life& life = *lives_.back();
    life.socket.room = OneIn(3) ? Below(100) : 1 << 20;
    if (OneIn(2)) Arrive(life);
    if (OneIn(8)) life.socket.End();
    ConnectionImpl* const connection = loop_.core().table.Allocate();
    const int fd = next_fd_++;
    kernel_.Adopt(fd, life.socket);
    opening_ = &life;
    life.high = options_.high_water;
    life.low = options_.low_water;
    life.idle = options_.idle_timeout;
    life.idle_from = life.moved = sys::Now();
    connection->Open(
        loop_.core(),
        {.fd = fd, .wire = &life.socket, .handler = this, .listener = 0, .peer = PeerAddress()});
  }

  void Post() {
    loop_.loop->Post([this] {
      AnyLife([&](Life& life) { Act(life, nullptr); });
      if (OneIn(20)) throw std::runtime_error("a task");
    });
  }

  void Turn() {
    ++turn_;
    loop_.Turn();
    CheckLives();
  }

  void CheckLives() {
    const bool quiet = !loop_.HasWork() && !kernel_.HasEdges();
    for (const auto& life : lives_) {
      const ModelSocket& socket = life->socket;
      verdict.Expect(life->written.compare(0, socket.sent.size(), socket.sent) == 0,
                     "what left is not what was written");
      verdict.Expect(
          !socket.fin || life->aborted || socket.error != 0 || socket.sent == life->written,
          "FIN before all output");
      verdict.Expect(!socket.fin || !socket.reset || socket.sent == life->written,
                     "FIN, and then a reset that drops output");
      NoteMoved(*life);
      if (quiet) CheckQuiet(*life);
    }
  }

  void Advance(Duration time) {
    for (const auto& life : lives_) NoteMoved(*life);
    sys::fake::Advance(time);
  }

  // REQUIRES: time has stood still since the bytes moved.
  static void NoteMoved(Life& life) {
    Connection* const open = life.connection;
    const std::size_t bytes = open == nullptr ? 0 : open->BytesIn() + open->BytesOut();
    if (bytes == life.moved_bytes) return;
    life.moved_bytes = bytes;
    life.moved = sys::Now();
    life.idle_told = false;
  }

  void CheckQuiet(const Life& life) {
    const ModelSocket& socket = life.socket;
    Connection* const open = life.ref.Get();
    if (socket.closes != 0) return;
    if (open != nullptr) {
      const bool auto_paused = options_.auto_pause && open->Congested();
      verdict.Expect(life.paused || auto_paused || !socket.HasNews(), "it sleeps on input");
      verdict.Expect(!open->Congested() || open->Pending() > life.low, "it is owed OnDrain");
      verdict.Expect(open->Pending() <= life.high || open->Congested(), "it is not congested");
      verdict.Expect(!life.waits_for_drain || life.paused || auto_paused || life.ends > 0 ||
                         open->Input().empty() || open->Input().size() < life.need,
                     "it sleeps on what OnData left when it was congested");
      CheckTimes(life, *open);
      verdict.Expect(open->Pending() == 0 || socket.no_space, "it sleeps on output");
      verdict.Expect(socket.error == 0 || life.ends > 0, "it sleeps on an error");
      verdict.Expect(socket.pending_error == 0, "it sleeps on an error that nobody has asked for");
    } else {
      verdict.Expect(!socket.HasNews(), "closed, it sleeps on input");
    }
  }

  // What was due before this turn was told in it.
  void CheckTimes(const Life& life, const Connection& open) {
    if (life.set_in == turn_) return;
    constexpr milliseconds kSlack(2);  // ticks
    const Clock::time_point past = sys::Now() - kSlack;
    const bool waits = open.Pending() != 0 && life.moved < past;
    verdict.Expect(!IsSet(life.read_deadline) || life.read_deadline > past, "no read timeout");
    verdict.Expect(!IsSet(life.write_deadline) || life.write_deadline > past || !waits,
                   "no write timeout");
    const Clock::time_point idle_from = std::max(life.idle_from, life.moved);
    verdict.Expect(life.idle == Duration::zero() || life.idle_told || idle_from + life.idle > past,
                   "no idle timeout");
  }
  static bool IsSet(Clock::time_point deadline) { return deadline != Clock::time_point(); }

  // All peers go; nothing may be left.
  void End() {
    const bool stops = OneIn(3);
    if (stops) loop_.loop->Stop(OneIn(2) ? Duration::max() : kLinger);
    for (int i = 0; i < 6; ++i) {
      for (const auto& life : lives_) {
        if (Connection* const open = life->ref.Get()) {
          open->ResumeRead();
          life->paused = false;
        }
        if (OneIn(2)) life->socket.Drain(1 << 20);
        if (i == 3) life->socket.End();
        if (i == 4) {
          if (Connection* const open = life->ref.Get()) open->Close();
        }
      }
      for (int turns = 0; turns < 60000 && (loop_.HasWork() || kernel_.HasEdges()); ++turns) Turn();
      verdict.Expect(!loop_.HasWork(), "it never comes to rest");
      Advance(2 * kLinger);
      Turn();
      Turn();
    }
    for (const auto& life : lives_) {
      verdict.Expect(life->opens == 1 && life->closes == 1, "OnClose has not come once");
      verdict.Expect(life->socket.closes == 1, "the descriptor is not closed once");
    }
    verdict.Expect(loop_.loop->IsStopped() == stops,
                   "Stop has not ended, or has without being asked");
    verdict.Expect(loop_.core().table.live() == 0, "a slot is left");
    verdict.Expect(loop_.core().buffers.bytes_in_use() == 0, "a ring is left");
    verdict.Expect(loop_.core().contexts.in_use() == 0, "a context is left");
    verdict.Expect(loop_.core().held_output == 0, "a string is left");
    verdict.Expect(loop_.core().extensions.live() == 0, "an extension is left");
    verdict.Expect(stops || !loop_.core().engine.HasTimers(), "a timer is left");
    verdict.Expect(loop_.loop->GetStats().connections == 0, "a connection is still counted");
    verdict.Expect(loop_.loop->GetStats().lingering == 0, "a lingering one is still counted");
  }

  // ---- The program's part

  Life& Of(Connection& connection) {
    for (const auto& life : lives_) {
      if (life->connection == &connection) return *life;
    }
    throw std::logic_error("a callback for nobody");
  }

  // What a program may do to `life`, from a callback of `own` or from a task.
  void Act(Life& life, Connection* in_data_of) {
    Connection* const connection = life.connection;
    if (connection == nullptr) return;
    ++calling_;
    switch (Below(18)) {
      case 16:
        SetTime(life);
        break;
      case 17:
        if (!OneIn(3)) break;
        life.high = Below(1000);
        life.low = life.high == 0 ? 0 : Below(static_cast<std::uint32_t>(life.high) + 1);
        connection->SetWatermarks(life.high, life.low);
        break;
      case 14:
        connection->SetFlush(OneIn(2) ? Flush::kBatch : Flush::kCallback);
        break;
      case 15:
        life.need = Below(60);
        connection->NeedAtLeast(life.need);
        break;
      case 0:
      case 1:
      case 2:
      case 3:
        Write(life);
        break;
      case 4:
      case 5:
        connection->PauseRead();
        life.paused = life.ever_paused = true;
        break;
      case 6:
      case 7:
        connection->ResumeRead();
        life.paused = false;
        break;
      case 8:
        connection->FlushNow();
        break;
      case 9:
        if (OneIn(4)) connection->Close();
        break;
      case 10:
        if (!OneIn(6)) break;
        connection->Abort();
        life.aborted = true;
        break;
      case 11:
        if (!OneIn(4)) break;
        connection->ShutdownWrite();
        life.shut_down = true;
        break;
      case 12:
        connection->Emplace<std::string>(std::size_t{100}, 'x');
        break;
      default:
        Consume(life, in_data_of);
    }
    --calling_;
  }

  void SetTime(Life& life) {
    if (!life.connection->IsOpen()) return;
    life.set_in = turn_;
    NoteMoved(life);
    const Clock::time_point deadline =
        OneIn(4) ? Clock::time_point() : sys::Now() + milliseconds(Below(50)) - milliseconds(10);
    switch (Below(3)) {
      case 0:
        life.idle = milliseconds(OneIn(3) ? 0 : Below(40));
        life.idle_from = sys::Now();
        life.idle_told = false;
        return life.connection->SetIdleTimeout(life.idle);
      case 1:
        return life.connection->SetReadDeadline(life.read_deadline = deadline);
      default:
        return life.connection->SetWriteDeadline(life.write_deadline = deadline);
    }
  }

  void Write(Life& life) {
    std::string bytes(OneIn(20) ? 40'000 : OneIn(10) ? 3000 : Below(30), '\0');
    for (char& byte : bytes) byte = static_cast<char>('A' + Below(26));
    const bool open = life.connection->IsOpen();
    const bool taken = WriteSomehow(*life.connection, bytes);
    verdict.Expect(!taken || (open && !life.shut_down), "a Write() after the end is taken");
    if (taken) life.written += bytes;
    if (open && !taken && !life.connection->IsOpen()) life.aborted = true;  // max_output
  }

  bool WriteSomehow(Connection& connection, const std::string& bytes) {
    const std::string_view view = bytes;
    switch (Below(6)) {
      case 0:
        return connection.WriteOwned(bytes);
      case 1:
        return connection.WriteShared(std::make_shared<const std::string>(bytes));
      case 2: {
        const std::size_t cut = view.size() / 3;
        return connection.Writev({view.substr(0, cut), view.substr(cut)});
      }
      case 3: {
        const std::span<char> room = connection.Reserve(bytes.size() + 1);
        if (room.empty()) return false;
        std::copy(bytes.begin(), bytes.end(), room.begin());
        connection.Commit(bytes.size());
        return connection.IsOpen();
      }
      default:
        return connection.Write(bytes);
    }
  }

  void Consume(Life& life, const Connection* in_data_of) {
    Connection& connection = *life.connection;
    if (&connection == in_data_of) return;
    const std::string_view input = connection.Input();
    if (input.empty()) return;
    verdict.Expect(life.socket.arrived.compare(life.consumed, input.size(), input) == 0,
                   "Input() is not what arrived");
    const std::size_t count = Below(static_cast<std::uint32_t>(input.size() + 1));
    connection.Consume(count);
    life.consumed += count;
  }

  void ActSome(Connection& own, bool in_data = false) {
    verdict.Expect(calling_ == 0, "a callback inside a call");
    ++callbacks;
    while (OneIn(2)) {
      Life& life = OneIn(3) ? *lives_[Below(static_cast<std::uint32_t>(lives_.size()))] : Of(own);
      Act(life, in_data ? &own : nullptr);
    }
    if (OneIn(60)) throw std::runtime_error("a callback");
  }

  void OnOpen(Connection& connection) override {
    Life& life = *opening_;
    life.connection = &connection;
    life.ref = connection.Ref();
    ++life.opens;
    verdict.Expect(life.opens == 1, "a second OnOpen");
    ActSome(connection);
  }

  std::size_t OnData(Connection& connection, std::string_view in) override {
    Life& life = Of(connection);
    verdict.Expect(life.ends == 0, "OnData after OnEnd");
    verdict.Expect(life.closes == 0, "OnData after OnClose");
    verdict.Expect(connection.IsOpen(), "OnData of one that is closed");
    verdict.Expect(!life.paused, "OnData of one that is paused");
    verdict.Expect(!in.empty(), "OnData of nothing");
    verdict.Expect(in.size() >= life.need, "OnData with less than was needed");
    life.need = 0;
    verdict.Expect(connection.Scanned() <= in.size(), "scanned more than there is");
    verdict.Expect(connection.Input() == in, "Input() is not what OnData was given");
    verdict.Expect(life.socket.arrived.compare(life.consumed, in.size(), in) == 0,
                   "OnData is not what arrived");
    verdict.Expect(!options_.auto_pause || !connection.Congested(), "OnData of a congested one");
    life.waits_for_drain = false;
    ActSome(connection, true);
    if (OneIn(80)) return Handler::kReject;
    if (OneIn(150)) return in.size() + 1;
    const std::size_t count =
        OneIn(2) ? in.size() : Below(static_cast<std::uint32_t>(in.size() + 1));
    if (connection.IsOpen()) life.consumed += count;
    life.waits_for_drain = count < in.size() && options_.auto_pause && connection.Congested();
    return count;
  }

  void OnDrain(Connection& connection) override {
    Life& life = Of(connection);
    verdict.Expect(life.closes == 0 && connection.IsOpen(), "OnDrain of one that is closed");
    ActSome(connection);
  }

  void OnTimeout(Connection& connection, TimeoutKind kind) override {
    Life& life = Of(connection);
    verdict.Expect(life.closes == 0 && connection.IsOpen(), "OnTimeout of one that is closed");
    NoteMoved(life);
    const Clock::time_point now = sys::Now();
    switch (kind) {
      case TimeoutKind::kIdle:
        verdict.Expect(life.idle != Duration::zero() && !life.idle_told, "idle is told twice");
        verdict.Expect(now >= std::max(life.idle_from, life.moved) + life.idle, "idle is early");
        life.idle_told = true;
        break;
      case TimeoutKind::kRead:
        verdict.Expect(IsSet(life.read_deadline) && now >= life.read_deadline, "read is early");
        life.read_deadline = {};
        break;
      case TimeoutKind::kWrite:
        verdict.Expect(IsSet(life.write_deadline) && now >= life.write_deadline, "write is early");
        verdict.Expect(connection.Pending() != 0, "a write timeout, and no output waits");
        life.write_deadline = {};
        break;
    }
    ActSome(connection);
    if (OneIn(4)) Handler::OnTimeout(connection, kind);
    if (!connection.IsOpen()) life.aborted = true;
  }

  void OnEnd(Connection& connection) override {
    Life& life = Of(connection);
    ++life.ends;
    verdict.Expect(life.ends == 1 && life.closes == 0, "a second OnEnd, or one after OnClose");
    verdict.Expect(!life.paused, "OnEnd of one that is paused");
    verdict.Expect(life.socket.unread.empty(), "OnEnd before all data");
    verdict.Expect(life.consumed + connection.Input().size() == life.socket.arrived.size(),
                   "OnEnd, and bytes are lost");
    ActSome(connection);
    if (OneIn(2)) connection.Close();
  }

  void OnClose(Connection& connection, CloseReason reason, std::error_code error) override {
    Life& life = Of(connection);
    ++life.closes;
    verdict.Expect(life.closes == 1, "a second OnClose");
    verdict.Expect(!connection.IsOpen(), "open in OnClose");
    verdict.Expect(life.ref.Get() == nullptr, "Get() finds it in OnClose");
    verdict.Expect(!connection.Write("x"), "Write() in OnClose is taken");
    verdict.Expect(reason != CloseReason::kError || error, "an error without an errno");
    verdict.Expect(reason != CloseReason::kError || life.ever_paused || connection.Congested() ||
                       life.consumed + connection.Input().size() == life.socket.arrived.size(),
                   "an error before all data");
    if (error) life.aborted = true;
    struct Forget {
      Connection*& connection;
      ~Forget() { connection = nullptr; }
    } forget{life.connection};
    ActSome(connection);
  }

  void OnBatchEnd(EventLoop&) override {
    verdict.Expect(calling_ == 0, "OnBatchEnd inside a call");
    if (OneIn(3)) AnyLife([&](Life& life) { Act(life, nullptr); });
    if (OneIn(100)) throw std::runtime_error("a batch");
  }

  std::mt19937 random_;
  const Wire::Traits traits_;
  const Options options_;
  std::uint64_t turn_ = 0;
  std::deque<std::unique_ptr<Life>> lives_;
  Life* opening_ = nullptr;
  int next_fd_ = 1000;
  int calling_ = 0;
  bool zero_wait_asked_ = true;  // Turn() never waits
  ScriptedLoop loop_;
  ModelKernel kernel_;
};

void PlayMany(std::uint32_t first_seed, std::uint32_t count, Wire::Traits traits) {
  std::uint64_t callbacks = 0;
  std::map<std::string, std::uint32_t> wrong;  // what, and the first seed that shows it
  for (std::uint32_t seed = first_seed; seed < first_seed + count; ++seed) {
    Session session(seed, traits);
    session.Play(40);
    callbacks += session.callbacks;
    if (!session.verdict.wrong().empty()) wrong.emplace(session.verdict.wrong(), seed);
  }
  for (const auto& [what, seed] : wrong) UNSCOPED_INFO(what << " (seed " << seed << ")");
  CHECK(wrong.empty());
  CHECK(callbacks > count);  // it did try something
}

TEST_CASE("no order of events and calls breaks a TCP connection's life", "[net][model]") {
  PlayMany(1, 12'000, ScriptedWire::kTcp);
}

TEST_CASE("no order of events and calls breaks a Unix connection's life", "[net][model]") {
  PlayMany(1'000'000, 12'000, ScriptedWire::kUnix);
}

}  // namespace
}  // namespace weir
