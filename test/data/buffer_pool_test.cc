// BufferPool: powers of two, the last released first, and a limit on what it keeps.

#include "data/buffer_pool.h"

#include <cstring>
#include <limits>
#include <stdexcept>

#include "support/allocations.h"
#include "support/catch.h"

using weir::Block;
using weir::BufferPool;
using weir::test::Allocations;

TEST_CASE("a block holds what was asked for, and its capacity is a power of two", "[data][pool]") {
  BufferPool pool;
  const auto [asked, given] = GENERATE(table<std::size_t, std::size_t>({{0, 1024},
                                                                        {1, 1024},
                                                                        {1024, 1024},
                                                                        {1025, 2048},
                                                                        {1 << 20, 1 << 20},
                                                                        {(1 << 20) + 1, 1 << 21}}));
  Block* const block = pool.Acquire(asked);
  CHECK(block->capacity == given);
  CHECK(block->size == 0);
  CHECK(pool.bytes_in_use() == given);
  std::memset(block->data(), 'x', block->capacity);  // a sanitizer would object
  pool.Release(block);
  CHECK(pool.bytes_in_use() == 0);
}

TEST_CASE("the block that was released last is given first, and looks new", "[data][pool]") {
  BufferPool pool;
  Block* const first = pool.Acquire(2000);
  Block* const second = pool.Acquire(2000);
  Block* const other = pool.Acquire(4000);
  second->head = 5;
  second->size = 7;
  pool.Release(first);
  pool.Release(second);
  pool.Release(other);
  CHECK(pool.bytes_cached() == 2048 + 2048 + 4096);

  const std::size_t before = Allocations();
  CHECK(pool.Acquire(2000) == second);
  CHECK(pool.Acquire(2000) == first);
  CHECK(pool.Acquire(4000) == other);
  CHECK(Allocations() == before);
  CHECK(second->head == 0);
  CHECK(second->size == 0);
  CHECK(second->next == nullptr);
  CHECK(second->capacity == 2048);
  CHECK(pool.bytes_cached() == 0);
  for (Block* block : {first, second, other}) pool.Release(block);
}

TEST_CASE("a pool keeps no more than its limit", "[data][pool]") {
  BufferPool pool(3000);
  Block* const first = pool.Acquire(2048);
  Block* const second = pool.Acquire(1024);
  Block* const third = pool.Acquire(512);
  pool.Release(first);
  CHECK(pool.bytes_cached() == 2048);
  pool.Release(second);  // 3072 would be too much
  pool.Release(third);
  CHECK(pool.bytes_cached() == 2048);
  CHECK(pool.bytes_in_use() == 0);
}

TEST_CASE("a block above 1 MiB is not kept, whatever the limit", "[data][pool]") {
  BufferPool pool(std::numeric_limits<std::size_t>::max());
  pool.Release(pool.Acquire((std::size_t{1} << 20) + 1));
  CHECK(pool.bytes_cached() == 0);
  pool.Release(pool.Acquire(std::size_t{1} << 20));
  CHECK(pool.bytes_cached() == std::size_t{1} << 20);
}

TEST_CASE("an absurd size is refused, and nothing changes", "[data][pool]") {
  BufferPool pool;
  const auto size = GENERATE(std::numeric_limits<std::size_t>::max(), BufferPool::kMaxCapacity + 1);
  CHECK_THROWS_AS(pool.Acquire(size), std::length_error);
  CHECK(pool.bytes_in_use() == 0);
}
