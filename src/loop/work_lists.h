// The work that no edge will announce: owed, dirty and retiring. While any of it is left, the loop
// does not sleep.
//
// The lists hold tokens, never pointers: what they name may be gone, and its slot have another
// owner, when its turn comes. Who enters a list keeps a flag, so that it stands there once.
//
// THREADS   The loop's thread.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "data/token.h"

namespace weir {

// First in, first out. Its memory is kept: steady work allocates nothing.
template <class Entry>
class WorkQueue {
 public:
  [[nodiscard]] bool IsEmpty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  void Push(const Entry& entry) {
    if (first_ > kCompactAt && first_ * 2 > entries_.size()) Compact();
    entries_.push_back(entry);
    ++size_;
  }

  // REQUIRES: not empty.
  Entry Pop() noexcept {
    const Entry entry = entries_[first_++];
    if (--size_ == 0) {
      entries_.clear();
      first_ = 0;
    }
    return entry;
  }

 private:
  static constexpr std::size_t kCompactAt = 1024;

  void Compact() noexcept {
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }

  std::size_t size_ = 0;  // each turn looks at it: one load
  std::size_t first_ = 0;
  std::vector<Entry> entries_;
};

struct Owed {
  Token token;
  std::size_t spent = 0;  // bytes that it has had in `turn`
  std::uint64_t turn = 0;
};

struct WorkLists {
  WorkQueue<Owed> owed;       // has more to do than it was given time for
  WorkQueue<Token> dirty;     // has output that is not yet handed to the kernel
  WorkQueue<Token> retiring;  // OnClose is due, or the slot is to be freed

  [[nodiscard]] bool Any() const noexcept {
    return (owed.size() | dirty.size() | retiring.size()) != 0;
  }
};

}  // namespace weir
