// Output in order: copied bytes and strings that were handed over, against a plain string.

#include "data/output_queue.h"

#include <array>
#include <memory>
#include <random>
#include <string>

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
    if (step % 7 == 0) {
      const std::string front = it.Gathered();
      REQUIRE(front == model.substr(0, front.size()));
      REQUIRE((model.empty() || !front.empty()));
    }
  }
}
