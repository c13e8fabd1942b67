// Why moving bytes costs a constant for each byte received, whatever a peer does:
//
//   growing   at least doubles, so that all growths of one block together move less than its
//             capacity;
//   moving    content to the front needs at least as many consumed bytes in front of it: each pays
//             for one byte that moves, and none pays twice, since the move sets head to 0;
//   wrapping  is undone in place by Reserve() only if the content is at most half the capacity: to
//             wrap again, as many new bytes must arrive as the other half holds.
//
// A rule of "at most half full" for moving would not do: with room wanted for a little more than
// half of the capacity, each byte consumed could move the whole content again.

#include "data/ring_buffer.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "base/check.h"

namespace weir {

namespace {

// REQUIRES: the destination has room, and the two do not overlap.
void CopyTo(char* to, std::string_view from) noexcept {
  if (!from.empty()) std::memcpy(to, from.data(), from.size());
}

}  // namespace

RingBuffer& RingBuffer::operator=(RingBuffer&& other) noexcept {
  Check(block_ == nullptr, "a ring that is assigned to owns no block");
  block_ = std::exchange(other.block_, nullptr);
  return *this;
}

RingBuffer::~RingBuffer() {
  Check(block_ == nullptr, "a ring gives its block back before it dies");
}

void RingBuffer::Append(BufferPool& pool, std::string_view bytes) {
  if (bytes.empty()) return;
  if (capacity() - size() < bytes.size()) Grow(pool, bytes.size());

  const std::size_t tail = (block_->head + block_->size) & (block_->capacity - 1);
  const std::size_t before_the_end = std::min(bytes.size(), block_->capacity - tail);
  CopyTo(block_->data() + tail, bytes.substr(0, before_the_end));
  CopyTo(block_->data(), bytes.substr(before_the_end));
  block_->size += bytes.size();
}

std::span<char> RingBuffer::Reserve(BufferPool& pool, std::size_t minimum) {
  if (block_ == nullptr || Wraps() || TailRoom().size() < minimum) MakeRoom(pool, minimum);
  return TailRoom();
}

void RingBuffer::Commit(std::size_t count) noexcept {
  if (count == 0) return;
  Check(block_ != nullptr && !Wraps() && count <= TailRoom().size(),
        "what is committed was reserved");
  block_->size += count;
}

void RingBuffer::ReleaseIfEmpty(BufferPool& pool) noexcept {
  if (block_ != nullptr && block_->size == 0) pool.Release(std::exchange(block_, nullptr));
}

void RingBuffer::Consume(BufferPool& pool, std::size_t count) noexcept {
  Check(count <= size(), "what is consumed was there");
  if (block_ == nullptr) return;
  block_->head = (block_->head + count) & (block_->capacity - 1);
  block_->size -= count;
  ReleaseIfEmpty(pool);
}

void RingBuffer::Clear(BufferPool& pool) noexcept { Consume(pool, size()); }

std::string_view RingBuffer::Contiguous(BufferPool& pool) noexcept {
  if (Wraps()) Straighten(pool);
  return First();
}

std::string_view RingBuffer::First() const noexcept {
  if (block_ == nullptr) return {};
  return {block_->data() + block_->head, std::min(block_->size, block_->capacity - block_->head)};
}

std::string_view RingBuffer::Second() const noexcept {
  if (!Wraps()) return {};
  return {block_->data(), block_->head + block_->size - block_->capacity};
}

bool RingBuffer::Wraps() const noexcept {
  return block_ != nullptr && block_->head + block_->size > block_->capacity;
}

std::span<char> RingBuffer::TailRoom() const noexcept {
  const std::size_t tail = block_->head + block_->size;
  return {block_->data() + tail, block_->capacity - tail};
}

// The tail room is too short, or there is none yet.
void RingBuffer::MakeRoom(BufferPool& pool, std::size_t minimum) {
  if (capacity() - size() < minimum || block_ == nullptr) return Grow(pool, minimum);

  if (Wraps()) {
    if (block_->size <= block_->capacity / 2) return Straighten(pool);
  } else {
    if (block_->size <= block_->head) return MoveToFront(pool);
  }
  Grow(pool, minimum);
}

void RingBuffer::Grow(BufferPool& pool, std::size_t minimum_free) {
  if (minimum_free > BufferPool::kMaxCapacity - size()) {
    throw std::length_error("weir: ring buffer too large");
  }
  Block* const larger = pool.Acquire(std::max(size() + minimum_free, 2 * capacity()));
  CopyTo(larger->data(), First());
  CopyTo(larger->data() + First().size(), Second());
  larger->size = size();
  pool.CountMoved(size());
  if (block_ != nullptr) pool.Release(block_);
  block_ = larger;
}

void RingBuffer::MoveToFront(BufferPool& pool) noexcept {
  CopyTo(block_->data(), First());  // size <= head: they do not overlap
  block_->head = 0;
  pool.CountMoved(block_->size);
}

//    | Second |  free  | First |
// -> | Second | First |  free  |
// -> | First | Second |  free  |
void RingBuffer::Straighten(BufferPool& pool) noexcept {
  char* const data = block_->data();
  const std::string_view first = First();
  const std::size_t second = Second().size();
  std::memmove(data + second, first.data(), first.size());
  std::rotate(data, data + second, data + block_->size);
  block_->head = 0;
  pool.CountMoved(first.size() + block_->size);
}

}  // namespace weir
