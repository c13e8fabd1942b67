// Memory for what users keep with a connection: small objects of few sizes that come and go by the
// thousand. Once warm, neither costs a heap allocation.
//
// OWNER     The pool owns its chunks until it dies, whatever is freed: its size is its peak's,
//           which the limit on connections bounds. Objects still in use when it dies are a bug.
// THREADS   One.
// ERRORS    Allocate() throws std::bad_alloc.
// UNITS     Bytes.

#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

namespace weir {

class ContextPool {
 public:
  static constexpr std::size_t kGrain = 16;        // sizes are rounded up to it
  static constexpr std::size_t kMaxPooled = 1024;  // larger ones go to operator new
  static constexpr std::size_t kChunkBytes = 16384;

  ContextPool() = default;
  ~ContextPool();
  ContextPool(const ContextPool&) = delete;
  ContextPool& operator=(const ContextPool&) = delete;

  // REQUIRES: `align` is a power of two, and Free() gets the same two numbers.
  [[nodiscard]] void* Allocate(std::size_t size, std::size_t align);
  void Free(void* memory, std::size_t size, std::size_t align) noexcept;

  [[nodiscard]] std::size_t in_use() const noexcept { return in_use_; }  // objects

 private:
  struct FreeNode {
    FreeNode* next;
  };
  struct Chunk {
    alignas(kGrain) std::array<std::byte, kChunkBytes> bytes;
  };

  void Carve(std::size_t size_class);

  std::array<FreeNode*, kMaxPooled / kGrain> free_{};  // by size class, the last freed first
  std::vector<std::unique_ptr<Chunk>> chunks_;
  std::size_t in_use_ = 0;
};

}  // namespace weir
