// Objects at stable addresses, in numbered slots, that are found by a token which may be stale.
//
//   chunk 0                                  chunk 1
//   | hot 0 | hot 1 | ... | hot 255 |        | hot 256 | ...        what every event touches
//   | cold 0 | cold 1 | ... | cold 255 |     | cold 256 | ...       what few events touch
//   | link 0 | link 1 | ... | link 255 |     | link 256 | ...       used while a slot is free
//
// A free slot waits in quarantine until Reclaim(): events and lists of the turn that freed it may
// still speak of its old owner.
//
// OWNER     The slab owns all objects. They are built once, with their chunk, and used again:
//           whoever allocates resets them. Hot has a public `Token token`, which the slab writes.
// LIFETIME  An address is good for as long as the slab is.
// THREADS   One.
// ERRORS    The constructor throws std::length_error, Allocate() std::bad_alloc, changing nothing.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "base/check.h"
#include "data/token.h"

namespace weir {

template <class Hot, class Cold>
class Slab {
 public:
  static constexpr std::uint32_t kChunkSlots = 256;
  static constexpr std::size_t kMaxSlots = std::size_t{1} << 31;

  explicit Slab(std::size_t max_slots) : max_slots_(max_slots) {
    if (max_slots > kMaxSlots) throw std::length_error("weir: slab too large");
  }
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  // The slot that was freed last comes first. Returns null if max_slots are live or in quarantine.
  [[nodiscard]] Hot* Allocate();

  // REQUIRES: `hot` is live. From here on no token finds it.
  void Free(Hot& hot) noexcept;

  // Ends the quarantine. The loop calls it just before it waits.
  void Reclaim() noexcept {
    if (quarantine_.head != kNone) Splice();
  }

  // Null if the slot is free or has another owner since, and for what was never a token.
  [[nodiscard]] Hot* Find(Token token) noexcept {
    if (token.slot >= used_ || token.generation == 0) return nullptr;
    Hot& hot = At(token.slot);
    return hot.token.generation == token.generation ? &hot : nullptr;
  }

  // The same for a token that this slab gave, or one whose slot it has never used.
  [[nodiscard]] Hot* FindGiven(Token token) noexcept {
    if (token.slot >= used_) return nullptr;
    Hot& hot = At(token.slot);
    return hot.token.generation == token.generation ? &hot : nullptr;
  }

  // REQUIRES: `slot` is of a token that this slab gave.
  [[nodiscard]] Hot& At(std::uint32_t slot) noexcept {
    return chunks_[slot / kChunkSlots]->hot[slot % kChunkSlots];
  }
  [[nodiscard]] Cold& ColdAt(std::uint32_t slot) noexcept {
    return chunks_[slot / kChunkSlots]->cold[slot % kChunkSlots];
  }
  // The same without a look at the table: both stand in one chunk, which begins with the hot ones.
  [[nodiscard]] static Cold& ColdOf(Hot& hot) noexcept {
    const std::size_t index = hot.token.slot % kChunkSlots;
    auto* const at = reinterpret_cast<std::byte*>(&hot);
    // &chunk.cold[index], with one multiplication by a small power of two instead of two by sizes.
    return *reinterpret_cast<Cold*>(at + sizeof(Chunk::hot) - index * (sizeof(Hot) - sizeof(Cold)));
  }

  // Calls visit(Hot&) for each live object, in the order of slots. `visit` may free any of them,
  // which are then not visited any more, and may allocate: what is new may be visited or not.
  template <class Visit>
  void ForEach(Visit&& visit) {
    for (std::uint32_t slot = 0, end = used_; slot < end; ++slot) {
      if (Hot& hot = At(slot); hot.token.generation != 0) visit(hot);
    }
  }

  [[nodiscard]] std::size_t live() const noexcept { return live_; }
  // Slots that ever had an owner: all live ones are below.
  [[nodiscard]] std::uint32_t slots() const noexcept { return used_; }

 private:
  static_assert(alignof(Hot) % 64 == 0, "hot objects do not share cache lines");
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

  struct Link {
    std::uint32_t next = kNone;
    std::uint32_t generation = 1;  // of the next owner: while free, the object's own token says 0
  };
  struct List {
    std::uint32_t head = kNone;
    std::uint32_t tail = kNone;
  };
  struct Chunk {
    std::array<Hot, kChunkSlots> hot;
    std::array<Cold, kChunkSlots> cold;
    std::array<Link, kChunkSlots> link;
  };

  [[nodiscard]] Link& LinkAt(std::uint32_t slot) noexcept {
    return chunks_[slot / kChunkSlots]->link[slot % kChunkSlots];
  }
  void Splice() noexcept;

  std::vector<std::unique_ptr<Chunk>> chunks_;
  std::size_t max_slots_;
  std::size_t live_ = 0;
  std::size_t retired_ = 0;  // slots whose generations are used up
  std::uint32_t used_ = 0;   // slots that ever had an owner: all those below it
  std::uint32_t free_ = kNone;
  List quarantine_;
};

template <class Hot, class Cold>
Hot* Slab<Hot, Cold>::Allocate() {
  std::uint32_t slot = free_;
  if (slot != kNone) {
    free_ = LinkAt(slot).next;
  } else {
    if (used_ - retired_ >= max_slots_ || used_ == kNone) return nullptr;
    if (used_ == chunks_.size() * kChunkSlots) chunks_.push_back(std::make_unique<Chunk>());
    slot = used_++;
  }
  Hot& hot = At(slot);
  hot.token = Token{.slot = slot, .generation = LinkAt(slot).generation};
  ++live_;
  return &hot;
}

template <class Hot, class Cold>
void Slab<Hot, Cold>::Free(Hot& hot) noexcept {
  Check(Find(hot.token) == &hot, "an object is freed once, to the slab that it is of");
  const std::uint32_t slot = hot.token.slot;
  Link& link = LinkAt(slot);
  link.generation = hot.token.generation + 1;
  hot.token.generation = 0;
  --live_;
  if (link.generation == 0) {  // an old token would mean a new owner: never used again
    ++retired_;
    return;
  }
  link.next = std::exchange(quarantine_.head, slot);
  if (link.next == kNone) quarantine_.tail = slot;
}

template <class Hot, class Cold>
void Slab<Hot, Cold>::Splice() noexcept {
  LinkAt(quarantine_.tail).next = free_;
  free_ = quarantine_.head;
  quarantine_ = {};
}

}  // namespace weir
