// Output in order: copied bytes and strings that were handed over, against a plain string.

#include "data/output_queue.h"

#include <array>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.h"

using weir::BufferPool;
using weir::ContextPool;
using weir::OutputPools;
using weir::OutputQueue;

namespace {

struct Fixture {
  BufferPool buffers;
  ContextPool objects;
  std::size_t held = 0;
  OutputPools pools{buffers, objects, held};
  OutputQueue queue;

  ~Fixture() { queue.Clear(pools); }

  [[nodiscard]] std::string Gathered(std::size_t most = 64) const {
    std::array<std::string_view, 64> views;
    const std::size_t count = queue.Gather(std::span(views.data(), most));
    std::string all;
    for (std::size_t i = 0; i < count; ++i) all += views[i];
    return all;
  }
};

}  // namespace

TEST_CASE("bytes and pieces keep one order", "[data][output]") {
  Fixture it;
  it.queue.Append(it.pools, "one ");
  it.queue.AppendOwned(it.pools, "two ");
  it.queue.Append(it.pools, "three ");
  it.queue.AppendShared(it.pools, std::make_shared<const std::string>("four "));
  it.queue.AppendOwned(it.pools, "five ");
  it.queue.Append(it.pools, "six");

  CHECK(it.Gathered() == "one two three four five six");
  CHECK(it.queue.size() == 27);
  it.queue.Consume(it.pools, 6);
  CHECK(it.Gathered() == "o three four five six");
}

TEST_CASE("a piece may be queued without its beginning", "[data][output]") {
  Fixture it;
  it.queue.AppendOwned(it.pools, "already sent, rest", 14);
  CHECK(it.Gathered() == "rest");
  it.queue.AppendOwned(it.pools, "all of it", 9);
  CHECK(it.Gathered() == "rest");
}

TEST_CASE("an empty queue owns nothing, and a shared string only while it waits",
          "[data][output]") {
  Fixture it;
  const auto text = std::make_shared<const std::string>(5000, 'x');
  it.queue.AppendShared(it.pools, text);
  it.queue.AppendOwned(it.pools, std::string(100, 'y'));
  CHECK(text.use_count() == 2);

  it.queue.Consume(it.pools, 5000);
  CHECK(text.use_count() == 1);  // given back as soon as its last byte has left
  CHECK_FALSE(it.queue.empty());
  it.queue.Consume(it.pools, 100);

  CHECK(it.queue.empty());
  CHECK(it.buffers.bytes_in_use() == 0);
  CHECK(it.objects.in_use() == 0);
}

TEST_CASE("Gather fills no more views than it is given", "[data][output]") {
  Fixture it;
  for (int i = 0; i < 10; ++i) it.queue.AppendOwned(it.pools, std::to_string(i));
  CHECK(it.Gathered(3) == "012");
  it.queue.Consume(it.pools, 3);
  CHECK(it.Gathered() == "3456789");
}

TEST_CASE("an output queue knows what memory it holds, and so do its pools", "[data][output]") {
  Fixture it;
  CHECK(it.queue.held() == 0);
  it.queue.Append(it.pools, std::string(1500, 'a'));
  CHECK(it.queue.held() == 2048);  // the ring's block
  CHECK(it.held == 0);             // which its pool counts
  CHECK(it.buffers.bytes_in_use() == 2048);

  std::string owned(5000, 'b');
  owned.reserve(9000);
  const std::size_t capacity = owned.capacity();
  it.queue.AppendOwned(it.pools, std::move(owned), 4000);
  CHECK(it.held == capacity);  // all of it, however little is still to be sent
  CHECK(it.queue.held() == 2048 + capacity);
  it.queue.AppendOwned(it.pools, std::string(3000, 'c'));
  CHECK(it.queue.held() == 2048 + it.held);

  it.queue.Consume(it.pools, 1500 + 999);
  CHECK(it.held >= capacity + 3000);  // to its last byte
  it.queue.Consume(it.pools, 1);
  CHECK(it.held == it.queue.held() - it.buffers.bytes_in_use());
  CHECK(it.held < 3100);
  CHECK(it.held >= 3000);
  it.queue.Consume(it.pools, 3000);
  CHECK(it.held == 0);
  CHECK(it.queue.held() == 0);
}

TEST_CASE("clearing an output queue, whatever of it has left, gives back what it held",
          "[data][output]") {
  const std::size_t consumed = GENERATE(0U, 1U, 3000U, 3001U, 6500U, 8999U);
  Fixture it;
  for (int i = 0; i < 3; ++i) it.queue.AppendOwned(it.pools, std::string(3000, 'p'));
  it.queue.Consume(it.pools, consumed);
  CHECK(it.held == it.queue.held());
  it.queue.Clear(it.pools);
  CHECK(it.held == 0);
}

TEST_CASE("those who share a string share what it counts for", "[data][output]") {
  constexpr std::size_t kQueues = 100;
  Fixture pools;
  std::vector<OutputQueue> queues(kQueues);
  auto text = std::make_shared<const std::string>(100'000, 't');
  for (OutputQueue& queue : queues) queue.AppendShared(pools.pools, text);
  CHECK(pools.held >= text->capacity());      // never too little
  CHECK(pools.held <= 5 * text->capacity());  // and far from a hundred times
  std::size_t sum = 0;
  for (const OutputQueue& queue : queues) sum += queue.held();
  CHECK(sum == pools.held);

  // What each counts for stays as it was when it came, so that the sum is right at the end.
  for (std::size_t i = 0; i < kQueues; i += 2) queues[i].Consume(pools.pools, 100'000);
  for (OutputQueue& queue : queues) queue.Clear(pools.pools);
  CHECK(pools.held == 0);

  Fixture alone;
  const std::size_t capacity = text->capacity();
  alone.queue.AppendShared(alone.pools, std::move(text));
  CHECK(alone.held == capacity);
}

TEST_CASE("an output queue is a string that loses its front", "[data][output]") {
  Fixture it;
  std::string model;
  std::mt19937 random(GENERATE(1U, 2U, 3U));
  const auto below = [&](std::size_t n) { return std::size_t{random()} % n; };
  unsigned char next = 0;
  const auto bytes = [&](std::size_t count) {
    std::string made(count, '\0');
    for (char& c : made) c = static_cast<char>(next++);
    return made;
  };

  for (int step = 0; step < 40'000; ++step) {
    const std::string made = bytes(below(below(20) == 0 ? 3000 : 60));
    const std::size_t from = below(made.size() + 1);
    switch (below(5)) {
      case 0:
        it.queue.Append(it.pools, made);
        model += made;
        break;
      case 1:
        it.queue.AppendOwned(it.pools, made, from);
        model += made.substr(from);
        break;
      case 2:
        it.queue.AppendShared(it.pools, std::make_shared<const std::string>(made), from);
        model += made.substr(from);
        break;
      default: {
        const std::size_t count =
            below(below(10) == 0 ? model.size() + 1 : 200) % (model.size() + 1);
        it.queue.Consume(it.pools, count);
        model.erase(0, count);
      }
    }
    REQUIRE(it.queue.size() == model.size());
    REQUIRE(it.queue.empty() == model.empty());
    REQUIRE(it.queue.held() == it.held + it.buffers.bytes_in_use());
    if (step % 7 == 0) {
      const std::string front = it.Gathered();
      REQUIRE(front == model.substr(0, front.size()));
      REQUIRE((model.empty() || !front.empty()));
    }
  }
}
