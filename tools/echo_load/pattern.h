// An endless stream of bytes. Its period is a prime, so that no size of message or buffer hides a
// shift, and each connection starts at another place, so that none can be taken for its neighbour.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace echo_load {

constexpr std::size_t kChunk = 256 << 10;  // bytes asked of one recv or send

class Pattern final {
 public:
  Pattern() : bytes_(kPeriod + kChunk) {
    std::uint64_t state = 0x9e3779b97f4a7c15;
    for (std::size_t i = 0; i < kPeriod; ++i) {
      state = state * 6364136223846793005 + 1442695040888963407;
      bytes_[i] = static_cast<char>(state >> 56);
    }
    for (std::size_t i = kPeriod; i < bytes_.size(); ++i) bytes_[i] = bytes_[i - kPeriod];
  }

  // REQUIRES: count <= kChunk.
  [[nodiscard]] std::span<const char> At(std::uint64_t offset, std::size_t count) const {
    return std::span(bytes_).subspan(offset % kPeriod, count);
  }

 private:
  static constexpr std::size_t kPeriod = 65521;
  std::vector<char> bytes_;
};

}  // namespace echo_load
