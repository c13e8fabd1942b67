// A T that a process shares with the children that it forks: what they wrote is there when they
// have died.
//
// ERRORS    The constructor throws std::system_error.

#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <new>
#include <system_error>

namespace weir::sim {

template <class T>
class SharedMemory final {
 public:
  SharedMemory() {
    void* const memory = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::system_error(errno, std::system_category(), "mmap");
    value_ = new (memory) T;
  }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { ::munmap(value_, sizeof(T)); }

  T& operator*() const noexcept { return *value_; }
  T* operator->() const noexcept { return value_; }

 private:
  T* value_;
};

}  // namespace weir::sim
