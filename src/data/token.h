// A token names what an epoll event, a list or a handle speaks of: a slot, and which of the slot's
// successive owners is meant. A token may outlive its owner: looked up, it then finds nothing.

#pragma once

#include <cstdint>

namespace weir {

struct Token {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;  // 0 names nobody

  [[nodiscard]] constexpr std::uint64_t Packed() const noexcept {
    return (std::uint64_t{generation} << 32) | slot;
  }
  static constexpr Token Unpack(std::uint64_t packed) noexcept {
    return {static_cast<std::uint32_t>(packed), static_cast<std::uint32_t>(packed >> 32)};
  }
  friend constexpr bool operator==(const Token&, const Token&) noexcept = default;
};

}  // namespace weir
