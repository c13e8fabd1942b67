// Every form is replaced: a sanitizer has its own of those that are not, and would then see memory
// of one allocator freed by the other.

#include "support/allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> allocations{0};  // tests may start threads

void* Get(std::size_t size) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(size == 0 ? 1 : size);
}

void* Get(std::size_t size, std::align_val_t align) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  const auto unit = static_cast<std::size_t>(align);
  return std::aligned_alloc(unit, (size + unit - 1) / unit * unit);
}

void* OrThrow(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

namespace weir::test {

std::size_t Allocations() noexcept { return allocations.load(std::memory_order_relaxed); }

}  // namespace weir::test

void* operator new(std::size_t size) { return OrThrow(Get(size)); }
void* operator new[](std::size_t size) { return OrThrow(Get(size)); }
void* operator new(std::size_t size, std::align_val_t align) { return OrThrow(Get(size, align)); }
void* operator new[](std::size_t size, std::align_val_t align) { return OrThrow(Get(size, align)); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return Get(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return Get(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
