#include "data/output_queue.h"

#include <algorithm>
#include <new>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.h"
#include "data/ring_buffer.h"

namespace weir {
namespace {

std::size_t HeldBy(const std::string& bytes) noexcept { return bytes.capacity(); }

// Its holders share the cost, so that one string for a thousand connections does not count for a
// thousand. (Whoever came earlier counts more: the sum is a little too high, never too low.)
std::size_t HeldBy(const OutputQueue::Shared& bytes) noexcept {
  return bytes->capacity() / static_cast<std::size_t>(std::max(bytes.use_count(), 1L));
}

}  // namespace

struct OutputQueue::Piece {
  std::size_t ring_before;  // ring bytes between the piece before it (or the front) and this one
  std::size_t from;         // what of it has left, or was never to be sent
  std::size_t held;         // what it counts for in OutputPools::held
  std::variant<std::string, Shared> bytes;

  [[nodiscard]] std::string_view View() const noexcept {
    const auto* const owned = std::get_if<std::string>(&bytes);
    return std::string_view(owned != nullptr ? *owned : **std::get_if<Shared>(&bytes)).substr(from);
  }
};

struct OutputQueue::Body {
  RingBuffer ring;
  std::size_t size = 0;         // of everything
  std::size_t ring_behind = 0;  // ring bytes behind the last piece
  std::size_t first = 0;        // of the pieces that are left
  std::vector<Piece> pieces;
};

OutputQueue::~OutputQueue() {
  Check(body_ == nullptr, "an output queue is cleared before it dies");
}

OutputQueue::Body& OutputQueue::Make(OutputPools pools) {
  if (body_ == nullptr) {
    body_ = ::new (pools.objects.Allocate(sizeof(Body), alignof(Body))) Body;
  }
  return *body_;
}

void OutputQueue::Drop(OutputPools pools) noexcept {
  body_->ring.Clear(pools.buffers);
  for (std::size_t i = body_->first; i < body_->pieces.size(); ++i) {
    pools.held -= body_->pieces[i].held;
  }
  body_->~Body();
  pools.objects.Free(std::exchange(body_, nullptr), sizeof(Body), alignof(Body));
}

std::size_t OutputQueue::size() const noexcept { return body_ == nullptr ? 0 : body_->size; }

std::size_t OutputQueue::held() const noexcept {
  if (body_ == nullptr) return 0;
  std::size_t sum = body_->ring.capacity();
  for (std::size_t i = body_->first; i < body_->pieces.size(); ++i) sum += body_->pieces[i].held;
  return sum;
}

void OutputQueue::Append(OutputPools pools, std::string_view bytes) {
  if (bytes.empty()) return;
  const bool was_empty = empty();
  Body& body = Make(pools);
  try {
    body.ring.Append(pools.buffers, bytes);
  } catch (...) {
    if (was_empty) Drop(pools);
    throw;
  }
  body.ring_behind += bytes.size();
  body.size += bytes.size();
}

template <class Bytes>
void OutputQueue::AppendPiece(OutputPools pools, Bytes bytes, std::size_t from) {
  const bool was_empty = empty();
  Body& body = Make(pools);
  const std::size_t held = HeldBy(bytes);
  try {
    body.pieces.push_back(
        {.ring_before = body.ring_behind, .from = from, .held = held, .bytes = std::move(bytes)});
  } catch (...) {
    if (was_empty) Drop(pools);
    throw;
  }
  pools.held += held;
  body.ring_behind = 0;
  body.size += body.pieces.back().View().size();
}

void OutputQueue::AppendOwned(OutputPools pools, std::string bytes, std::size_t from) {
  Check(from <= bytes.size(), "no more of a piece is left out than it has");
  if (from < bytes.size()) AppendPiece(pools, std::move(bytes), from);
}

void OutputQueue::AppendShared(OutputPools pools, Shared bytes, std::size_t from) {
  Check(from <= bytes->size(), "no more of a piece is left out than it has");
  if (from < bytes->size()) AppendPiece(pools, std::move(bytes), from);
}

std::size_t OutputQueue::Gather(std::span<std::string_view> views) const noexcept {
  if (body_ == nullptr) return 0;
  std::size_t filled = 0;
  std::string_view first = body_->ring.First();
  std::string_view second = body_->ring.Second();
  // The next `count` bytes of the ring, in one view or in two.
  const auto take_ring = [&](std::size_t count) {
    while (count > 0 && filled < views.size()) {
      std::string_view& from = first.empty() ? second : first;
      const std::size_t part = std::min(count, from.size());
      views[filled++] = from.substr(0, part);
      from.remove_prefix(part);
      count -= part;
    }
  };
  for (std::size_t i = body_->first; i < body_->pieces.size() && filled < views.size(); ++i) {
    take_ring(body_->pieces[i].ring_before);
    if (filled < views.size()) views[filled++] = body_->pieces[i].View();
  }
  take_ring(body_->ring_behind);
  return filled;
}

void OutputQueue::Consume(OutputPools pools, std::size_t count) noexcept {
  if (count == 0) return;
  Check(count <= size(), "what is consumed was there");
  Body& body = *body_;
  body.size -= count;
  if (body.size == 0) return Drop(pools);

  while (count > 0) {
    const bool last = body.first == body.pieces.size();
    std::size_t& in_ring = last ? body.ring_behind : body.pieces[body.first].ring_before;
    const std::size_t from_ring = std::min(count, in_ring);
    body.ring.Consume(pools.buffers, from_ring);
    in_ring -= from_ring;
    count -= from_ring;
    if (last || count == 0) continue;  // behind the last piece there is nothing but the ring

    Piece& piece = body.pieces[body.first];
    const std::size_t from_piece = std::min(count, piece.View().size());
    piece.from += from_piece;
    count -= from_piece;
    if (!piece.View().empty()) continue;
    piece.bytes = std::string();  // given back now: it may be large, or others may wait for its end
    pools.held -= piece.held;
    ++body.first;
    // Forget the pieces that have left, seldom enough to cost each of them one move.
    if (body.first * 2 >= body.pieces.size()) {
      body.pieces.erase(body.pieces.begin(),
                        body.pieces.begin() + static_cast<std::ptrdiff_t>(body.first));
      body.first = 0;
    }
  }
}

void OutputQueue::Clear(OutputPools pools) noexcept {
  if (body_ != nullptr) Drop(pools);
}

}  // namespace weir
