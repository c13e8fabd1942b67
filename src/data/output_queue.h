// What a connection has to send and the kernel has not taken yet: copied bytes in a ring, and
// strings that were handed over whole, in one order.
//
//   order    bytes  piece   bytes     piece piece  bytes
//   ring     |----|        |--------|             |-----|     one ring holds all copied bytes
//   pieces         |=====|           |====||=====|            each knows how many ring bytes stand
//                                                             between the piece before it and it
//
// While empty it is one null pointer.
//
// OWNER     The queue owns what it holds. Always pass the same pools, and Clear() it before it
//           dies.
// LIFETIME  What Gather() gives dies at the next call that is not const.
// THREADS   One.
// ERRORS    What may grow throws std::bad_alloc, and the queue is then unchanged.
// UNITS     Bytes.

#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "data/buffer_pool.h"
#include "data/context_pool.h"

namespace weir {

// Where its memory comes from, and where it is counted.
struct OutputPools {
  BufferPool& buffers;
  ContextPool& objects;
  std::size_t& held;  // bytes of the strings that all queues hold; of a shared one, a share
};

class OutputQueue {
 public:
  using Shared = std::shared_ptr<const std::string>;

  OutputQueue() noexcept = default;
  OutputQueue(const OutputQueue&) = delete;
  OutputQueue& operator=(const OutputQueue&) = delete;
  ~OutputQueue();

  void Append(OutputPools pools, std::string_view bytes);  // copies
  // Without a copy; what stands before `from` is left out. REQUIRES: from <= the string's size.
  void AppendOwned(OutputPools pools, std::string bytes, std::size_t from = 0);
  void AppendShared(OutputPools pools, Shared bytes, std::size_t from = 0);

  // The oldest bytes, in order, in at most `views.size()` pieces. Returns how many were filled.
  std::size_t Gather(std::span<std::string_view> views) const noexcept;

  // Drops the oldest `count` bytes. REQUIRES: count <= size().
  void Consume(OutputPools pools, std::size_t count) noexcept;
  void Clear(OutputPools pools) noexcept;

  [[nodiscard]] bool empty() const noexcept { return body_ == nullptr; }
  [[nodiscard]] std::size_t size() const noexcept;
  // Bytes of memory: the ring's block, and the strings (see OutputPools::held).
  [[nodiscard]] std::size_t held() const noexcept;

 private:
  struct Piece;
  struct Body;

  Body& Make(OutputPools pools);
  void Drop(OutputPools pools) noexcept;
  template <class Bytes>
  void AppendPiece(OutputPools pools, Bytes bytes, std::size_t from);

  Body* body_ = nullptr;
};

static_assert(sizeof(OutputQueue) == sizeof(void*), "an idle connection pays for one pointer");

}  // namespace weir
