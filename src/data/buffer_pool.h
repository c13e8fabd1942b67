// Blocks of memory for ring buffers, a power of two each, kept for the next one that asks.
//
// OWNER     The pool owns the blocks that nobody uses. One that is acquired is its holder's until
//           it is released to the same pool. It dies last: blocks still in use then are a bug.
// THREADS   One.
// ERRORS    Acquire() throws std::bad_alloc, or std::length_error beyond kMaxCapacity.
// UNITS     Bytes of capacity: headers (32 bytes a block) are not counted.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace weir {

// The header of a block; its bytes follow in the same allocation.
struct Block {
  Block* next = nullptr;
  std::size_t capacity = 0;
  std::size_t head = 0;
  std::size_t size = 0;

  [[nodiscard]] char* data() noexcept { return reinterpret_cast<char*>(this + 1); }
};

class BufferPool {
 public:
  static constexpr std::size_t kMinCapacity = std::size_t{1} << 10;
  static constexpr std::size_t kMaxCachedCapacity = std::size_t{1} << 20;  // larger ones are freed
  static constexpr std::size_t kMaxCapacity = std::size_t{1}
                                              << (std::numeric_limits<std::size_t>::digits - 2);
  static constexpr std::size_t kDefaultCacheLimit = std::size_t{4} << 20;

  explicit BufferPool(std::size_t cache_limit = kDefaultCacheLimit) noexcept
      : cache_limit_(cache_limit) {}
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // An empty block whose capacity is the least power of two that holds `minimum_capacity` bytes.
  // The block that was released last comes first: its memory is warm.
  [[nodiscard]] Block* Acquire(std::size_t minimum_capacity);
  void Release(Block* block) noexcept;

  // A ring reports each byte that it had to move: the cost of keeping input contiguous.
  void CountMoved(std::size_t bytes) noexcept { bytes_moved_ += bytes; }

  [[nodiscard]] std::size_t bytes_in_use() const noexcept { return bytes_in_use_; }
  [[nodiscard]] std::size_t bytes_cached() const noexcept { return bytes_cached_; }
  [[nodiscard]] std::uint64_t bytes_moved() const noexcept { return bytes_moved_; }

 private:
  static constexpr std::size_t kClasses = 11;  // 1 KiB, 2 KiB, ... 1 MiB
  static_assert(kMinCapacity << (kClasses - 1) == kMaxCachedCapacity);

  std::array<Block*, kClasses> cached_{};
  std::size_t cache_limit_;
  std::size_t bytes_in_use_ = 0;
  std::size_t bytes_cached_ = 0;
  std::uint64_t bytes_moved_ = 0;
};

}  // namespace weir
