// One LIFO list for each power of two from 1 KiB to 1 MiB. A released block goes to its list unless
// the lists together would then hold more than the limit.

#include "data/buffer_pool.h"

#include <algorithm>
#include <bit>
#include <new>
#include <stdexcept>
#include <utility>

#include "base/check.h"

namespace weir {

namespace {

// REQUIRES: capacity is a power of two, kMinCapacity or more.
std::size_t ClassOf(std::size_t capacity) noexcept {
  return static_cast<std::size_t>(std::countr_zero(capacity / BufferPool::kMinCapacity));
}

Block* NewBlock(std::size_t capacity) {
  Block* const block = ::new (::operator new(sizeof(Block) + capacity)) Block;
  block->capacity = capacity;
  return block;
}

}  // namespace

BufferPool::~BufferPool() {
  Check(bytes_in_use_ == 0, "every block is released before its pool dies");
  for (Block* block : cached_) {
    while (block != nullptr) ::operator delete(std::exchange(block, block->next));
  }
}

Block* BufferPool::Acquire(std::size_t minimum_capacity) {
  if (minimum_capacity > kMaxCapacity) throw std::length_error("weir: buffer too large");
  const std::size_t capacity = std::bit_ceil(std::max(minimum_capacity, kMinCapacity));

  Block* block = nullptr;
  if (capacity <= kMaxCachedCapacity && cached_[ClassOf(capacity)] != nullptr) {
    Block*& first = cached_[ClassOf(capacity)];
    block = std::exchange(first, first->next);
    bytes_cached_ -= capacity;
    *block = Block{.capacity = capacity};
  } else {
    block = NewBlock(capacity);
  }
  bytes_in_use_ += capacity;
  return block;
}

void BufferPool::Release(Block* block) noexcept {
  const std::size_t capacity = block->capacity;
  bytes_in_use_ -= capacity;
  const bool keep = capacity <= kMaxCachedCapacity && bytes_cached_ <= cache_limit_ &&
                    capacity <= cache_limit_ - bytes_cached_;
  if (!keep) {
    ::operator delete(block);
    return;
  }
  Block*& first = cached_[ClassOf(capacity)];
  block->next = std::exchange(first, block);
  bytes_cached_ += capacity;
}

}  // namespace weir
