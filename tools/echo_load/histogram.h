// Log-linear: 32 buckets to each power of two, so a quantile is off by 3 % at most. The
// worst is exact.

#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace echo_load {

class Histogram final {
 public:
  void Record(std::chrono::nanoseconds latency) {
    ++counts_[Bucket(static_cast<std::uint64_t>(std::max<std::int64_t>(latency.count(), 0)))];
    ++total_;
    worst_ = std::max(worst_, latency);
  }

  [[nodiscard]] std::uint64_t Total() const { return total_; }

  [[nodiscard]] double WorstMicros() const { return static_cast<double>(worst_.count()) / 1000.0; }

  [[nodiscard]] double QuantileMicros(double quantile) const {
    const auto wanted = static_cast<std::uint64_t>(quantile * static_cast<double>(total_));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen > wanted) return std::min(static_cast<double>(Middle(i)) / 1000.0, WorstMicros());
    }
    return 0.0;
  }

 private:
  static constexpr std::size_t kSubBits = 5;
  static constexpr std::size_t kSub = std::size_t{1} << kSubBits;

  static std::size_t Bucket(std::uint64_t value) {
    if (value < kSub) return value;
    const auto shift = static_cast<std::size_t>(std::bit_width(value)) - 1 - kSubBits;
    return (shift + 1) * kSub + ((value >> shift) & (kSub - 1));
  }
  static std::uint64_t Middle(std::size_t bucket) {
    if (bucket < kSub) return bucket;
    const std::size_t shift = bucket / kSub - 1;
    return ((kSub + bucket % kSub) << shift) + (std::uint64_t{1} << shift) / 2;
  }

  std::array<std::uint64_t, (65 - kSubBits) * kSub> counts_{};
  std::uint64_t total_ = 0;
  std::chrono::nanoseconds worst_{};
};

}  // namespace echo_load
