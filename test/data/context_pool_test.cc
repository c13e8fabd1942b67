// ContextPool: small objects, no heap allocation once warm.

#include "data/context_pool.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "support/allocations.h"
#include "support/catch.h"

using weir::ContextPool;
using weir::test::Allocations;

TEST_CASE("an object that is freed makes room for the next of its size class", "[data][context]") {
  ContextPool pool;
  void* const first = pool.Allocate(33, 8);
  void* const second = pool.Allocate(48, 16);
  void* const larger = pool.Allocate(49, 8);
  pool.Free(first, 33, 8);
  pool.Free(second, 48, 16);
  CHECK(pool.Allocate(40, 4) == second);  // the last freed first
  CHECK(pool.Allocate(40, 4) == first);
  CHECK(pool.in_use() == 3);
  for (void* memory : {first, second}) pool.Free(memory, 40, 4);
  pool.Free(larger, 49, 8);
  CHECK(pool.in_use() == 0);
}

TEST_CASE("a pool that is warm asks the heap for nothing", "[data][context]") {
  ContextPool pool;
  std::vector<void*> objects(1000);
  const auto all_come_and_go = [&] {
    for (void*& memory : objects) memory = pool.Allocate(100, 8);
    for (void* memory : objects) pool.Free(memory, 100, 8);
  };
  const std::size_t cold = Allocations();
  all_come_and_go();
  CHECK(Allocations() > cold);

  const std::size_t warm = Allocations();
  all_come_and_go();
  CHECK(Allocations() == warm);
}

TEST_CASE("what is too large or aligned too strictly comes from the heap", "[data][context]") {
  ContextPool pool;
  const auto [size, align] =
      GENERATE(table<std::size_t, std::size_t>({{1025, 8}, {100'000, 16}, {64, 64}, {10, 4096}}));
  const std::size_t before = Allocations();
  void* const memory = pool.Allocate(size, align);
  CHECK(Allocations() == before + 1);
  CHECK(reinterpret_cast<std::uintptr_t>(memory) % align == 0);
  std::memset(memory, 1, size);
  pool.Free(memory, size, align);
  CHECK(pool.in_use() == 0);
}

TEST_CASE("objects are aligned, and none overlaps another", "[data][context]") {
  struct Object {
    unsigned char* bytes;
    std::size_t size;
    unsigned char fill;
  };
  ContextPool pool;
  std::mt19937 random(20240601);
  std::vector<Object> objects;
  bool intact = true;
  const auto free_last = [&] {
    const Object object = objects.back();
    objects.pop_back();
    intact = intact && std::all_of(object.bytes, object.bytes + object.size,
                                   [&](unsigned char byte) { return byte == object.fill; });
    pool.Free(object.bytes, object.size, 16);
  };
  for (int step = 0; step < 20'000; ++step) {
    if (random() % 5 < 3) {
      const std::size_t size = random() % 1024 + 1;
      const auto fill = static_cast<unsigned char>(random());
      auto* const bytes = static_cast<unsigned char*>(pool.Allocate(size, 16));
      intact = intact && reinterpret_cast<std::uintptr_t>(bytes) % 16 == 0;
      std::memset(bytes, fill, size);
      objects.push_back({bytes, size, fill});
    } else if (!objects.empty()) {
      std::swap(objects[random() % objects.size()], objects.back());
      free_last();
    }
  }
  while (!objects.empty()) free_last();
  CHECK(intact);
  CHECK(pool.in_use() == 0);
}

TEST_CASE("an object of no size has an address of its own", "[data][context]") {
  ContextPool pool;
  void* const first = pool.Allocate(0, 1);
  void* const second = pool.Allocate(0, 1);
  CHECK(first != second);
  pool.Free(first, 0, 1);
  pool.Free(second, 0, 1);
}
