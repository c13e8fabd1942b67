// Where a callback's output gathers, so that it leaves in one send when the callback returns.
//
// One buffer for the whole loop is enough, because callbacks do not nest: it belongs to the
// connection whose callback is running.
//
// OWNER     The loop.
// THREADS   The loop's thread.

#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>

namespace weir {

class ConnectionImpl;

class Staging {
 public:
  static constexpr std::size_t kCapacity = 64 << 10;
  // A piece of this size costs more to copy than a send costs: it goes to the kernel from where it
  // is.
  static constexpr std::size_t kLargePiece = 32 << 10;

  [[nodiscard]] ConnectionImpl* owner() const noexcept { return owner_; }
  void Lend(ConnectionImpl* owner) noexcept { owner_ = owner; }

  [[nodiscard]] bool Takes(std::size_t size) const noexcept {
    return size < kLargePiece && size <= kCapacity - size_;
  }
  // REQUIRES: Takes(bytes.size()).
  void Append(std::string_view bytes) noexcept {
    std::memcpy(bytes_.get() + size_, bytes.data(), bytes.size());
    size_ += bytes.size();
  }
  [[nodiscard]] std::string_view Bytes() const noexcept { return {bytes_.get(), size_}; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  void Clear() noexcept { size_ = 0; }

 private:
  ConnectionImpl* owner_ = nullptr;
  std::size_t size_ = 0;
  std::unique_ptr<char[]> bytes_{new char[kCapacity]};  // not touched before it is used
};

}  // namespace weir
