// Where a callback's output gathers, so that it leaves in one send when the callback returns.
//
// One buffer for the whole loop is enough, because callbacks do not nest: it belongs to the
// connection whose callback is running.
//
// OWNER     The loop.
// THREADS   The loop's thread.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"

namespace weir {

class ConnectionImpl;

class Staging {
 public:
  static constexpr std::size_t kCapacity = 64 << 10;

  // Takes no more than `limit` bytes.
  explicit Staging(std::size_t limit) noexcept : limit_(std::min(limit, kCapacity)) {}

  // A piece of this size costs more to copy than a send costs: it goes to the kernel from where it
  // is.
  static constexpr std::size_t kLargePiece = 32 << 10;
  static constexpr std::size_t kKeepApart = 1
                                            << 20;  // of the buffer apart, from one use to the next

  [[nodiscard]] ConnectionImpl* owner() const noexcept { return owner_; }
  void Lend(ConnectionImpl* owner) noexcept { owner_ = owner; }
  void Return() noexcept {
    owner_ = nullptr;
    reserved_by_ = nullptr;  // a reservation ends with the callback
  }

  // No for nothing, too.
  [[nodiscard]] bool Takes(std::size_t size) const noexcept {
    return size - 1 < kLargePiece - 1 && size <= limit_ - size_;
  }
  // REQUIRES: Takes(bytes.size()).
  void Append(std::string_view bytes) noexcept {
    char* const end = bytes_.get() + size_;
    size_ += bytes.size();
    reserved_by_ = nullptr;  // a reservation does not survive other output
    std::memcpy(end, bytes.data(), bytes.size());
  }
  [[nodiscard]] std::string_view Bytes() const noexcept { return {bytes_.get(), size_}; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  void Clear() noexcept { size_ = 0; }

  // Room to build output in: behind what is staged if `here` and it fits, else in a buffer apart.
  std::span<char> Reserve(const ConnectionImpl& by, std::size_t count, bool here) {
    if (here && Takes(count)) {
      reserved_ = {bytes_.get() + size_, count};
    } else {
      if (apart_.capacity() > kKeepApart) apart_ = {};
      apart_.resize(count);
      reserved_ = apart_;
    }
    reserved_by_ = &by;
    return reserved_;
  }

  // Ends a reservation: the first `count` bytes of it.
  std::string_view TakeReserved(const ConnectionImpl& by, std::size_t count) noexcept {
    Check(reserved_by_ == &by && count <= reserved_.size(),
          "Commit() follows its Reserve(), and is for no more than that gave");
    reserved_by_ = nullptr;
    return {std::exchange(reserved_, {}).data(), count};
  }

  // True if `built` stands behind what is staged: now it is staged, too.
  bool Adopt(std::string_view built) noexcept {
    if (built.data() != bytes_.get() + size_) return false;
    size_ += built.size();
    return true;
  }

 private:
  ConnectionImpl* owner_ = nullptr;
  const std::size_t limit_;
  std::size_t size_ = 0;
  std::unique_ptr<char[]> bytes_{new char[kCapacity]};  // not touched before it is used

  const ConnectionImpl* reserved_by_ = nullptr;
  std::span<char> reserved_;
  std::vector<char> apart_;
};

}  // namespace weir
