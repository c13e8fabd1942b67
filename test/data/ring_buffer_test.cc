// RingBuffer: against a queue that is plainly right, and what it costs to keep input contiguous.

#include "data/ring_buffer.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>

#include "support/catch.h"

using weir::BufferPool;
using weir::RingBuffer;

namespace {

constexpr std::size_t kHuge = std::numeric_limits<std::size_t>::max();

std::string Content(const RingBuffer& ring) {
  return std::string(ring.First()).append(ring.Second());
}

void Receive(BufferPool& pool, RingBuffer& ring, std::string_view bytes, std::size_t minimum) {
  const std::span<char> room = ring.Reserve(pool, minimum);
  REQUIRE(room.size() >= std::max(minimum, bytes.size()));
  std::copy(bytes.begin(), bytes.end(), room.begin());
  ring.Commit(bytes.size());
}

struct Fixture {
  BufferPool pool;
  RingBuffer ring;
  ~Fixture() { ring.Clear(pool); }

  // A ring of 1024 whose content is `First` behind byte 1000, and `Second` in front.
  void Wrap(std::string_view content) {
    ring.Append(pool, std::string(1000, '-'));
    ring.Append(pool, content.substr(0, 1));
    ring.Consume(pool, 1000);
    ring.Append(pool, content.substr(1));
  }
};

}  // namespace

TEST_CASE("an empty ring owns no block", "[data][ring]") {
  Fixture it;
  CHECK(it.ring.empty());
  CHECK(it.ring.capacity() == 0);
  it.ring.Append(it.pool, "");
  it.ring.Consume(it.pool, 0);
  it.ring.ReleaseIfEmpty(it.pool);
  it.ring.Commit(0);
  CHECK(it.pool.bytes_in_use() == 0);
  CHECK(it.ring.First().empty());
  CHECK(it.ring.Second().empty());
  CHECK(it.ring.Contiguous(it.pool).empty());

  it.ring.Append(it.pool, "abc");
  CHECK(it.pool.bytes_in_use() == 1024);
  it.ring.Consume(it.pool, 2);
  CHECK(it.ring.First() == "c");
  it.ring.Consume(it.pool, 1);
  CHECK(it.pool.bytes_in_use() == 0);
}

TEST_CASE("room that was reserved in vain is given back", "[data][ring]") {
  Fixture it;
  CHECK(it.ring.Reserve(it.pool, 10).size() == 1024);
  it.ring.Commit(0);
  CHECK(it.pool.bytes_in_use() == 1024);
  it.ring.ReleaseIfEmpty(it.pool);
  CHECK(it.pool.bytes_in_use() == 0);

  it.ring.Append(it.pool, "abc");
  it.ring.ReleaseIfEmpty(it.pool);
  CHECK(it.ring.First() == "abc");
}

TEST_CASE("appending wraps around the end, and keeps the order", "[data][ring]") {
  Fixture it;
  it.Wrap("0123456789012345678901234567890");
  CHECK(it.ring.First() == "012345678901234567890123");
  CHECK(it.ring.Second() == "4567890");
  CHECK(it.ring.size() == 31);
  CHECK(it.ring.capacity() == 1024);

  SECTION("consuming passes the end") {
    it.ring.Consume(it.pool, 25);
    CHECK(it.ring.First() == "567890");
    CHECK(it.ring.Second().empty());
  }
  SECTION("consuming up to the end") {
    it.ring.Consume(it.pool, 24);
    CHECK(it.ring.First() == "4567890");
    CHECK(it.ring.Second().empty());
  }
  SECTION("on demand it is one piece, and then stays so for nothing") {
    CHECK(it.ring.Contiguous(it.pool) == "0123456789012345678901234567890");
    const std::uint64_t moved = it.pool.bytes_moved();
    CHECK(moved > 0);
    CHECK(it.ring.Contiguous(it.pool).size() == 31);
    CHECK(it.pool.bytes_moved() == moved);
  }
  SECTION("growing unrolls it") {
    it.ring.Append(it.pool, std::string(1000, 'x'));
    CHECK(it.ring.capacity() == 2048);
    CHECK(it.ring.First() == "0123456789012345678901234567890" + std::string(1000, 'x'));
    CHECK(it.ring.Second().empty());
  }
  SECTION("reserving makes it one piece") {
    CHECK(it.ring.Reserve(it.pool, 1).size() == 1024 - 31);
    CHECK(it.ring.First() == "0123456789012345678901234567890");
  }
}

TEST_CASE("a full ring that wraps is one piece on demand", "[data][ring]") {
  Fixture it;
  std::string content(1024, 'x');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7);
  it.Wrap(content);
  CHECK(it.ring.capacity() == 1024);
  CHECK(it.ring.Contiguous(it.pool) == content);
}

TEST_CASE("what fits exactly takes no larger block", "[data][ring]") {
  Fixture it;
  it.ring.Append(it.pool, std::string(1000, 'a'));
  SECTION("appended") {
    it.ring.Append(it.pool, std::string(24, 'b'));
    CHECK(it.ring.capacity() == 1024);
    CHECK(it.ring.Contiguous(it.pool).size() == 1024);
    CHECK(it.pool.bytes_moved() == 0);  // ending at the end is not wrapping
    it.ring.Append(it.pool, "c");
    CHECK(it.ring.capacity() == 2048);
    CHECK(Content(it.ring) == std::string(1000, 'a') + std::string(24, 'b') + "c");
  }
  SECTION("reserved") {
    CHECK(it.ring.Reserve(it.pool, 24).size() == 24);
    CHECK(it.ring.capacity() == 1024);
    CHECK(it.ring.Reserve(it.pool, 25).size() == 2048 - 1000);
    CHECK(Content(it.ring) == std::string(1000, 'a'));
  }
}

TEST_CASE("content moves to the front when that pays, and else the block grows", "[data][ring]") {
  Fixture it;
  it.ring.Append(it.pool, std::string(900, 'a'));
  SECTION("it pays") {
    it.ring.Consume(it.pool, 450);
    CHECK(it.ring.Reserve(it.pool, 500).size() == 1024 - 450);
    CHECK(it.ring.capacity() == 1024);
  }
  SECTION("more content than was consumed in front of it") {
    it.ring.Consume(it.pool, 449);
    CHECK(it.ring.Reserve(it.pool, 500).size() == 2048 - 451);
  }
  SECTION("it would not suffice") {
    it.ring.Consume(it.pool, 800);
    CHECK(it.ring.Reserve(it.pool, 1000).size() == 2048 - 100);
  }
  SECTION("a large need takes a block as large") {
    CHECK(it.ring.Reserve(it.pool, 100'000).size() == (1 << 17) - 900);
  }
  CHECK(Content(it.ring) == std::string(it.ring.size(), 'a'));
}

TEST_CASE("a size that cannot be is refused, and the ring is unchanged", "[data][ring]") {
  Fixture it;
  const bool fresh = GENERATE(true, false);
  if (!fresh) it.ring.Append(it.pool, "abc");
  const std::size_t in_use = it.pool.bytes_in_use();
  CHECK_THROWS_AS(it.ring.Reserve(it.pool, kHuge), std::length_error);
  CHECK_THROWS_AS(it.ring.Reserve(it.pool, kHuge - 2), std::length_error);
  CHECK_THROWS_AS(it.ring.Reserve(it.pool, BufferPool::kMaxCapacity + 1), std::length_error);
  CHECK_THROWS_AS(it.ring.Append(it.pool, std::string_view("x", kHuge)), std::length_error);
  CHECK(Content(it.ring) == (fresh ? "" : "abc"));
  CHECK(it.pool.bytes_in_use() == in_use);
}

TEST_CASE("moving a ring hands over its block", "[data][ring]") {
  Fixture it;
  it.ring.Append(it.pool, "abc");
  RingBuffer other = std::move(it.ring);
  CHECK(it.ring.empty());
  CHECK(it.ring.capacity() == 0);
  CHECK(other.First() == "abc");
  it.ring = std::move(other);
  CHECK(it.ring.First() == "abc");
  CHECK(other.capacity() == 0);
}

TEST_CASE("bytes that arrive one by one are moved less than twice each", "[data][ring][cost]") {
  constexpr std::size_t kBytes = 1 << 20;
  Fixture it;
  const bool reserve = GENERATE(true, false);
  for (std::size_t i = 0; i < kBytes; ++i) {
    if (reserve) {
      it.ring.Reserve(it.pool, 1)[0] = 'x';
      it.ring.Commit(1);
    } else {
      it.ring.Append(it.pool, "x");
    }
  }
  CHECK(it.ring.size() == kBytes);
  CHECK(it.pool.bytes_moved() <= 2 * kBytes);
}

TEST_CASE("a steady remainder costs no more moves than bytes received", "[data][ring][cost]") {
  Fixture it;
  const std::string message(1000, 'm');
  Receive(it.pool, it.ring, std::string(64, 'm'), 64);
  for (int i = 0; i < 10'000; ++i) {
    Receive(it.pool, it.ring, message, 1000);
    it.ring.Consume(it.pool, 1000);
  }
  CHECK(it.ring.size() == 64);
  CHECK(it.pool.bytes_moved() <= 10'000 * 1000);
  CHECK(it.ring.capacity() <= 4096);
}

TEST_CASE("no pair of remainder and room wanted makes small messages expensive",
          "[data][ring][cost]") {
  Fixture it;
  const std::size_t remainder = GENERATE(1U, 400U, 500U, 512U, 1000U, 5000U);
  const std::size_t wanted = GENERATE(10U, 500U, 520U, 530U, 4000U);
  constexpr std::size_t kMessage = 10;
  constexpr int kMessages = 5000;
  Receive(it.pool, it.ring, std::string(remainder, 'r'), remainder);
  for (int i = 0; i < kMessages; ++i) {
    Receive(it.pool, it.ring, std::string(kMessage, 'm'), wanted);
    it.ring.Consume(it.pool, kMessage);
  }
  CHECK(it.pool.bytes_moved() <= 2 * (remainder + kMessage * kMessages));
  CHECK(it.ring.capacity() <= 4 * (2 * remainder + wanted + 1024));
}

namespace {

// The ring beside a queue that is plainly right.
class Differential {
 public:
  explicit Differential(std::uint32_t seed) : random_(seed) {}
  ~Differential() { ring_.Clear(pool_); }

  void Step() {
    switch (Below(10)) {
      case 0:
      case 1:
      case 2:
        Append();
        break;
      case 3:
      case 4:
        Receive();
        break;
      case 5:
      case 6:
      case 7:
      case 8:
        Consume(Below(std::min<std::size_t>(ring_.size(), 700) + 1));
        break;
      default:
        Rarely();
        break;
    }
    if (ring_.size() > 8000) Consume(ring_.size() - Below(100));
    Require(ring_.size() == model_.size(), "size");
    Require(ring_.capacity() == pool_.bytes_in_use(), "one block at most");
    Require((ring_.capacity() == 0) == ring_.empty(), "no block while empty");
    if (Below(8) == 0) RequireSameContent();
  }

  void RequireSameContent() {
    const std::string content = Content(ring_);
    Require(std::equal(model_.begin(), model_.end(), content.begin(), content.end()), "content");
    Require(ring_.Second().empty() || ring_.First().data() > ring_.Second().data(), "pieces");
  }

 private:
  void Append() {
    const std::string bytes = Bytes(Length());
    ring_.Append(pool_, bytes);
    model_.insert(model_.end(), bytes.begin(), bytes.end());
  }

  void Receive() {
    const std::size_t minimum = Length();
    const std::span<char> room = ring_.Reserve(pool_, minimum);
    Require(room.size() >= minimum, "enough room");
    Require(ring_.Second().empty(), "no wrap after Reserve");
    Require(ring_.First().data() + ring_.size() == room.data(), "room is behind the content");
    std::memset(room.data(), '?', room.size());  // all of it may be written to
    const std::string bytes = Bytes(Below(std::min<std::size_t>(room.size(), 1000) + 1));
    std::copy(bytes.begin(), bytes.end(), room.begin());
    ring_.Commit(bytes.size());
    ring_.ReleaseIfEmpty(pool_);
    model_.insert(model_.end(), bytes.begin(), bytes.end());
  }

  void Consume(std::size_t count) {
    ring_.Consume(pool_, count);
    model_.erase(model_.begin(), model_.begin() + static_cast<std::ptrdiff_t>(count));
  }

  void Rarely() {
    if (Below(20) == 0) {
      ring_.Clear(pool_);
      model_.clear();
    } else if (Below(2) == 0) {
      RingBuffer other = std::move(ring_);
      ring_ = std::move(other);
    } else {
      const std::string_view content = ring_.Contiguous(pool_);
      Require(std::equal(model_.begin(), model_.end(), content.begin(), content.end()),
              "one piece");
    }
  }

  static void Require(bool holds, const char* what) {
    if (!holds) FAIL(what);
  }

  std::size_t Below(std::size_t limit) { return random_() % limit; }
  std::size_t Length() { return Below(20) == 0 ? Below(5000) : Below(300); }
  std::string Bytes(std::size_t length) {
    std::string bytes(length, '\0');
    for (char& byte : bytes) byte = static_cast<char>(next_byte_++);
    return bytes;
  }

  BufferPool pool_;
  RingBuffer ring_;
  std::deque<char> model_;
  std::mt19937 random_;
  unsigned next_byte_ = 0;
};

}  // namespace

TEST_CASE("whatever is done to a ring, it holds what a queue would", "[data][ring][random]") {
  const std::uint32_t seed = GENERATE(1U, 2U, 3U, 4U);
  Differential it(seed);
  for (int step = 0; step < 80'000; ++step) it.Step();
  it.RequireSameContent();
}
