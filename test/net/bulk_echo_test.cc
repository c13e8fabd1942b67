// 64 MiB echoed through small socket buffers, in random pieces, with random pauses on both sides:
// what comes back is what was sent, byte for byte, whatever the order of short sends, full
// receives, pauses and edges. The seed is fixed: a failure repeats as far as the kernel lets it.

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <vector>

#include "support/catch.h"
#include "support/real_loop.h"

using weir::CloseReason;
using weir::Connection;
using weir::ConnRef;
using weir::EventLoop;
using weir::Handler;
using weir::Options;
using weir::test::Client;
using weir::test::RealLoop;

namespace {

using Random = std::minstd_rand;

std::size_t Pick(Random& random, std::size_t least, std::size_t most) {
  return std::uniform_int_distribution<std::size_t>(least, most)(random);
}

// The stream of each client: random bytes with a prime period, so that no piece of it that was
// lost, repeated or swapped goes unnoticed.
class Stream {
 public:
  static constexpr std::size_t kPeriod = 1'000'003;

  Stream() {
    Random random(7);
    for (char& byte : bytes_) byte = static_cast<char>(random() >> 8);
  }
  // At most `most` bytes from `position` on.
  [[nodiscard]] std::string_view At(std::uint64_t position, std::size_t most) const {
    const auto start = static_cast<std::size_t>(position % kPeriod);
    return std::string_view(bytes_).substr(start, most);
  }
  [[nodiscard]] bool Matches(std::uint64_t position, std::string_view bytes) const {
    while (!bytes.empty()) {
      const std::string_view expected = At(position, bytes.size());
      if (bytes.substr(0, expected.size()) != expected) return false;
      bytes.remove_prefix(expected.size());
      position += expected.size();
    }
    return true;
  }

 private:
  std::string bytes_ = std::string(kPeriod, '\0');
};

// Echoes in random pieces; pauses at random, and while its peer does not read.
class MoodyEcho final : public Handler {
 public:
  static constexpr std::size_t kMuch = 64 << 10;

  int opens = 0;
  int ends = 0;
  int closes = 0;
  int bad_closes = 0;
  int pauses = 0;

  void OnOpen(Connection&) override { ++opens; }

  std::size_t OnData(Connection& connection, std::string_view in) override {
    std::size_t taken = in.size() > kMuch ? in.size() : Pick(random_, 0, in.size());
    if (Pick(random_, 0, 3) == 0) taken = in.size();
    WriteInPieces(connection, in.substr(0, taken));
    if (connection.Pending() > kMuch) {
      Pause(connection, 0);
    } else if (Pick(random_, 0, 15) == 0) {
      Pause(connection, Pick(random_, 0, 20));
    }
    return taken;
  }

  void OnEnd(Connection& connection) override {
    ++ends;
    WriteInPieces(connection, connection.Input());
    connection.Consume(connection.Input().size());
    connection.Close();
  }

  void OnClose(Connection&, CloseReason reason, std::error_code error) override {
    ++closes;
    if (reason != CloseReason::kPeerEnd || error) ++bad_closes;
  }

 private:
  void WriteInPieces(Connection& connection, std::string_view bytes) {
    while (!bytes.empty()) {
      const std::string_view piece = bytes.substr(0, Pick(random_, 1, 50'000));
      connection.Write(piece);
      bytes.remove_prefix(piece.size());
      if (Pick(random_, 0, 7) == 0) connection.FlushNow();
    }
  }

  // Resumes after so many turns, and not before its output has left.
  void Pause(Connection& connection, std::size_t turns) {
    ++pauses;
    connection.PauseRead();
    ResumeLater(connection.Loop(), connection.Ref(), turns);
  }
  void ResumeLater(EventLoop& loop, ConnRef ref, std::size_t turns) {
    loop.Post([this, &loop, ref, turns] {
      Connection* const connection = ref.Get();
      if (connection == nullptr) return;
      if (turns == 0 && connection->Pending() < kMuch / 2) return connection->ResumeRead();
      ResumeLater(loop, ref, turns == 0 ? 0 : turns - 1);
    });
  }

  Random random_{11};
};

// Sends its stream in random pieces, reads in random pieces, and at times does neither.
class MoodyClient {
 public:
  MoodyClient(Client client, const Stream& stream, std::uint64_t size, unsigned seed)
      : client_(std::move(client)),
        stream_(stream),
        offset_(seed * std::uint64_t{7919}),
        size_(size),
        random_(seed) {}

  [[nodiscard]] int fd() const { return client_.fd(); }
  [[nodiscard]] bool IsDone() const { return client_.ended; }
  [[nodiscard]] std::uint64_t received() const { return received_; }
  [[nodiscard]] bool is_equal() const { return is_equal_; }

  // Returns true if a byte moved, or a pause passed.
  bool Step() {
    if (IsDone()) return false;
    if (pause_ > 0) return --pause_, true;
    if (Pick(random_, 0, 63) == 0) pause_ = Pick(random_, 1, 40);
    const bool sent = SendSome();
    return ReceiveSome() || sent;
  }

 private:
  bool SendSome() {
    if (sent_ == size_) return false;
    const std::uint64_t left = size_ - sent_;
    const std::size_t want = std::min<std::uint64_t>(left, Pick(random_, 1, 30'000));
    const std::size_t n = client_.TrySend(stream_.At(offset_ + sent_, want));
    sent_ += n;
    if (sent_ == size_) client_.HalfClose();
    return n > 0;
  }
  bool ReceiveSome() {
    client_.received.clear();
    const std::size_t n = client_.Receive(Pick(random_, 1, 30'000));
    if (client_.error != 0) is_equal_ = false;
    is_equal_ = is_equal_ && stream_.Matches(offset_ + received_, client_.received);
    received_ += n;
    return n > 0;
  }

  Client client_;
  const Stream& stream_;
  std::uint64_t offset_;
  std::uint64_t size_;
  std::uint64_t sent_ = 0;
  std::uint64_t received_ = 0;
  bool is_equal_ = true;
  std::size_t pause_ = 0;
  Random random_;
};

constexpr std::chrono::seconds kStalled{20};  // a guard against hanging: nothing waits for it

class Bulk {
 public:
  Bulk(RealLoop<MoodyEcho>& loop, std::uint64_t each) : loop_(loop), each_(each) {}

  void Connect(int listener, int count, int receive_buffer) {
    for (int i = 0; i < count; ++i) {
      const auto seed = static_cast<unsigned>(clients_.size() + 1);
      Client client(loop_.loop.ListenAddress(listener), receive_buffer);
      clients_.emplace_back(std::move(client), stream_, each_, seed);
    }
  }

  void Run() {
    auto last_progress = std::chrono::steady_clock::now();
    while (!AllDone()) {
      bool moved = loop_.Turn() > 0;
      for (MoodyClient& client : clients_) moved = client.Step() || moved;
      peak_ = std::max(peak_, loop_.core().buffers.bytes_in_use());
      const auto now = std::chrono::steady_clock::now();
      if (moved) {
        last_progress = now;
      } else {
        REQUIRE(now - last_progress < kStalled);
        WaitForClients();
      }
    }
  }

  void Check() const {
    for (const MoodyClient& client : clients_) {
      CHECK(client.is_equal());
      CHECK(client.received() == each_);
    }
  }
  [[nodiscard]] std::size_t peak() const { return peak_; }

 private:
  [[nodiscard]] bool AllDone() const {
    return std::all_of(clients_.begin(), clients_.end(),
                       [](const MoodyClient& client) { return client.IsDone(); });
  }
  // TCP's own timers are at work (delayed ACK, window probe): no use in turning meanwhile.
  void WaitForClients() const {
    std::vector<pollfd> wanted;
    for (const MoodyClient& client : clients_) {
      if (!client.IsDone()) wanted.push_back({client.fd(), POLLIN, 0});
    }
    static_cast<void>(::poll(wanted.data(), wanted.size(), 1));
  }

  RealLoop<MoodyEcho>& loop_;
  const std::uint64_t each_;
  const Stream stream_;
  std::vector<MoodyClient> clients_;
  std::size_t peak_ = 0;
};

}  // namespace

TEST_CASE("64 MiB echoed through small buffers, with pauses on both sides, come back unchanged",
          "[net][real][bulk]") {
  constexpr int kConnections = 8;
  constexpr std::uint64_t kEach = (std::uint64_t{64} << 20) / kConnections;
  const int socket_buffer = GENERATE(16 << 10, 4 << 10);
  RealLoop<MoodyEcho> it{{.read_chunk = 8 << 10,
                          .read_budget = 24 << 10,
                          .turn_budget = 64 << 10,
                          .recv_buffer = socket_buffer,
                          .send_buffer = socket_buffer}};
  const int unix_listener =
      it.loop.Listen("unix:@weir-bulk-test-" + std::to_string(::getpid()), it.handler);
  Bulk bulk(it, kEach);
  bulk.Connect(it.listener, kConnections / 2, socket_buffer);
  bulk.Connect(unix_listener, kConnections / 2, socket_buffer);

  bulk.Run();
  it.RunUntil([&] { return it.handler.closes == kConnections; });

  bulk.Check();
  CHECK(it.handler.ends == kConnections);
  CHECK(it.handler.bad_closes == 0);
  CHECK(it.handler.pauses > 100);
  CHECK(it.core().table.live() == 0);
  CHECK(it.core().buffers.bytes_in_use() == 0);
  CHECK(bulk.peak() <= kConnections * (std::size_t{512} << 10));
}

TEST_CASE("small amounts come back unchanged for many seeds and sizes of the loop's buffer",
          "[net][real][bulk]") {
  const std::size_t chunk =
      GENERATE(std::size_t{1}, std::size_t{7}, std::size_t{1000}, std::size_t{65536});
  RealLoop<MoodyEcho> it{{.read_chunk = chunk, .read_budget = chunk * 3, .send_buffer = 4096}};
  Bulk bulk(it, 20'000);
  bulk.Connect(it.listener, 20, 4096);

  bulk.Run();
  it.RunUntil([&] { return it.handler.closes == 20; });

  bulk.Check();
  CHECK(it.handler.bad_closes == 0);
  CHECK(it.core().buffers.bytes_in_use() == 0);
}
