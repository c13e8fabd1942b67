#include "loop/work_lists.h"

#include <cstdint>
#include <deque>
#include <random>

#include "support/catch.h"

using weir::WorkLists;
using weir::WorkQueue;

TEST_CASE("a work queue gives back what came first", "[loop]") {
  WorkQueue<int> queue;
  CHECK(queue.IsEmpty());
  queue.Push(1);
  queue.Push(2);
  CHECK(queue.size() == 2);
  CHECK(queue.Pop() == 1);
  queue.Push(3);
  CHECK(queue.Pop() == 2);
  CHECK(queue.Pop() == 3);
  CHECK(queue.IsEmpty());
}

TEST_CASE("a work queue keeps its order however it is filled and emptied", "[loop]") {
  std::mt19937 random(3);
  WorkQueue<std::uint32_t> queue;
  std::deque<std::uint32_t> model;
  bool equal = true;
  for (std::uint32_t i = 0; i < 200'000; ++i) {
    // Long phases that fill it, and long ones that empty it: so it compacts.
    const bool fills = (i / 20'000) % 2 == 0;
    if (random() % 8 < (fills ? 5U : 3U) || model.empty()) {
      queue.Push(i);
      model.push_back(i);
    } else {
      equal = equal && queue.Pop() == model.front();
      model.pop_front();
    }
    equal = equal && queue.size() == model.size() && queue.IsEmpty() == model.empty();
  }
  CHECK(equal);
}

TEST_CASE("each of the three lists is work", "[loop]") {
  WorkLists work;
  CHECK_FALSE(work.Any());
  SECTION("owed") { work.owed.Push({}); }
  SECTION("dirty") { work.dirty.Push({}); }
  SECTION("retiring") { work.retiring.Push({}); }
  CHECK(work.Any());
}

TEST_CASE("a work queue counts what stands in it, whatever came before", "[loop]") {
  // Around the sizes at which it compacts, and to its end again and again.
  WorkQueue<std::size_t> queue;
  std::size_t pushed = 0;
  std::size_t popped = 0;
  bool right = true;
  const auto check = [&] {
    right = right && queue.size() == pushed - popped && queue.IsEmpty() == (pushed == popped);
  };
  for (const std::size_t burst : {1U, 2U, 1023U, 1024U, 1025U, 1026U, 2049U, 5000U}) {
    for (const std::size_t left : {0U, 1U, 3U, 1000U}) {
      for (std::size_t i = 0; i < burst; ++i, check()) queue.Push(pushed++);
      while (pushed - popped > left) {
        right = right && queue.Pop() == popped++;
        check();
      }
    }
  }
  while (!queue.IsEmpty()) right = right && queue.Pop() == popped++;
  CHECK(right);
  CHECK(popped == pushed);
  CHECK(queue.size() == 0);
}

TEST_CASE("a list that was emptied is no work any more", "[loop]") {
  WorkLists work;
  for (int i = 0; i < 3; ++i) {
    work.owed.Push({});
    work.dirty.Push({});
    work.retiring.Push({});
    CHECK(work.Any());
    work.owed.Pop();
    CHECK(work.Any());
    work.dirty.Pop();
    CHECK(work.Any());
    work.retiring.Pop();
    CHECK_FALSE(work.Any());
  }
}
