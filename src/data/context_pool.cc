// Size class c holds objects of (c + 1) * kGrain bytes. A chunk serves one class and is carved
// whole, so that objects of one type lie together.

#include "data/context_pool.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/check.h"

namespace weir {

namespace {

bool IsPooled(std::size_t size, std::size_t align) noexcept {
  return size <= ContextPool::kMaxPooled && align <= ContextPool::kGrain;
}

std::size_t ClassOf(std::size_t size) noexcept {
  return (std::max(size, std::size_t{1}) - 1) / ContextPool::kGrain;
}

}  // namespace

ContextPool::~ContextPool() { Check(in_use_ == 0, "every context is freed before its pool dies"); }

void* ContextPool::Allocate(std::size_t size, std::size_t align) {
  void* memory = nullptr;
  if (IsPooled(size, align)) {
    const std::size_t size_class = ClassOf(size);
    if (free_[size_class] == nullptr) Carve(size_class);
    memory = std::exchange(free_[size_class], free_[size_class]->next);
  } else {
    memory = ::operator new (size, std::align_val_t{align});
  }
  ++in_use_;
  return memory;
}

void ContextPool::Free(void* memory, std::size_t size, std::size_t align) noexcept {
  if (memory == nullptr) return;
  --in_use_;
  if (IsPooled(size, align)) {
    FreeNode*& first = free_[ClassOf(size)];
    first = ::new (memory) FreeNode{first};
  } else {
    ::operator delete (memory, std::align_val_t{align});
  }
}

void ContextPool::Carve(std::size_t size_class) {
  const std::size_t stride = (size_class + 1) * kGrain;
  chunks_.push_back(std::make_unique_for_overwrite<Chunk>());
  std::byte* const bytes = chunks_.back()->bytes.data();
  for (std::size_t i = kChunkBytes / stride; i-- > 0;) {  // backwards: the lowest is given first
    free_[size_class] = ::new (static_cast<void*>(bytes + i * stride)) FreeNode{free_[size_class]};
  }
}

}  // namespace weir
