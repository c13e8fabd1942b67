// A queue of bytes: what arrived and was not consumed yet, or what is to be sent and was not taken
// yet. While empty it is one null pointer: an idle connection owns no buffer.
//
//   head + size <= capacity: one piece           beyond it, the content wraps: two pieces
//
//   0      head        head+size   capacity      0        head+size-capacity  head     capacity
//   | free |  First()  |   free    |             | Second() |      free       | First() |
//                      '- Reserve -'
//
// OWNER     The ring owns its block, which comes from the pool passed to each call: always the same
//           one. Clear() the ring before it dies.
// LIFETIME  Views and spans die at the next call that is not const.
// THREADS   One.
// ERRORS    What may grow throws std::bad_alloc or std::length_error: the ring is then unchanged.
// UNITS     Bytes.

#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

#include "data/buffer_pool.h"

namespace weir {

class RingBuffer {
 public:
  RingBuffer() noexcept = default;
  RingBuffer(RingBuffer&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  RingBuffer& operator=(RingBuffer&& other) noexcept;  // REQUIRES: this one owns no block
  RingBuffer(const RingBuffer&) = delete;
  RingBuffer& operator=(const RingBuffer&) = delete;
  ~RingBuffer();

  // Copies `bytes` behind the newest one. REQUIRES: they are not this ring's own.
  void Append(BufferPool& pool, std::string_view bytes);

  // All the contiguous room behind the newest byte: `minimum` bytes or more. From here on the
  // content is one piece, until Append() wraps it. Commit() says how many bytes of the room were
  // filled; if none were, ReleaseIfEmpty() gives back the block that an empty ring took in vain.
  [[nodiscard]] std::span<char> Reserve(BufferPool& pool, std::size_t minimum);
  void Commit(std::size_t count) noexcept;
  void ReleaseIfEmpty(BufferPool& pool) noexcept;

  // Drops the oldest `count` bytes, and gives the block back if none is left.
  // REQUIRES: count <= size().
  void Consume(BufferPool& pool, std::size_t count) noexcept;
  void Clear(BufferPool& pool) noexcept;

  // The whole content in one piece. Moves bytes only if it wraps: for input, which is looked at
  // after each arrival, use Reserve(), whose content never does.
  [[nodiscard]] std::string_view Contiguous(BufferPool& pool) noexcept;

  // The content is First(), then Second(), which is empty unless the content wraps.
  [[nodiscard]] std::string_view First() const noexcept;
  [[nodiscard]] std::string_view Second() const noexcept;

  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  [[nodiscard]] bool OwnsMemory() const noexcept { return block_ != nullptr; }
  [[nodiscard]] std::size_t size() const noexcept { return block_ == nullptr ? 0 : block_->size; }
  [[nodiscard]] std::size_t capacity() const noexcept {
    return block_ == nullptr ? 0 : block_->capacity;
  }

 private:
  [[nodiscard]] bool Wraps() const noexcept;
  [[nodiscard]] std::span<char> TailRoom() const noexcept;  // REQUIRES: a block, and no wrap
  void MakeRoom(BufferPool& pool, std::size_t minimum);
  void Grow(BufferPool& pool, std::size_t minimum_free);
  void MoveToFront(BufferPool& pool) noexcept;
  void Straighten(BufferPool& pool) noexcept;

  Block* block_ = nullptr;
};

static_assert(sizeof(RingBuffer) == sizeof(void*), "an idle connection pays for one pointer");

}  // namespace weir
