// Every decision that a simulated life leaves open, drawn from a seed, recorded, and played again.
//
// A run asks for numbers below a bound, and 0 is always the quiet answer: no fault, the next one in
// line, the plain option. So a recorded schedule can be made smaller by deleting numbers and by
// lowering them, and whatever is left is a schedule too (after Hypothesis, MacIver and Donaldson,
// ECOOP 2020: "Test-Case Reduction via Test-Case Generation").
//
// OWNER     One run.
// THREADS   One.
// ERRORS    None: a schedule that has ended answers 0.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace weir::sim {

// Who asks. Each kind has numbers of its own, so that a schedule without its faults still has the
// same peers.
enum class Stream : std::uint8_t {
  kPlan,    // what the server and its peers are to do
  kFaults,  // what the kernel does to them
  kOrder,   // who goes on next, and when
};
inline constexpr std::size_t kStreams = 3;

struct Schedule {
  std::array<std::vector<std::uint32_t>, kStreams> streams;

  [[nodiscard]] std::vector<std::uint32_t>& operator[](Stream stream) noexcept {
    return streams[static_cast<std::size_t>(stream)];
  }
  [[nodiscard]] const std::vector<std::uint32_t>& operator[](Stream stream) const noexcept {
    return streams[static_cast<std::size_t>(stream)];
  }
  [[nodiscard]] std::size_t Size() const noexcept {
    std::size_t size = 0;
    for (const std::vector<std::uint32_t>& stream : streams) size += stream.size();
    return size;
  }
  friend bool operator==(const Schedule&, const Schedule&) = default;
};

class Mirror;

class Choices {
 public:
  // Draws from the seed.
  explicit Choices(std::uint64_t seed) noexcept;
  // Plays what was recorded; a number too large for its bound counts modulo that.
  explicit Choices(Schedule schedule) noexcept;

  // 0 to bound - 1, each as likely. REQUIRES: bound > 0.
  std::uint32_t Below(Stream stream, std::uint32_t bound);
  // True once in `n` times; the quiet answer is false.
  bool OneIn(Stream stream, std::uint32_t n) { return Below(stream, n) == n - 1 && n > 1; }
  // low to high, both included; the quiet answer is low.
  std::uint32_t Between(Stream stream, std::uint32_t low, std::uint32_t high) {
    return low + Below(stream, high - low + 1);
  }

  // Each answer from now on is also written there. `mirror` has to live as long as this.
  void MirrorTo(Mirror& mirror) noexcept { mirror_ = &mirror; }

  // All that was answered so far.
  [[nodiscard]] const Schedule& taken() const noexcept { return taken_; }

 private:
  struct Generator {  // splitmix64 (Steele, Lea, Flood, OOPSLA 2014)
    std::uint64_t state;
    std::uint64_t Next() noexcept;
  };

  const bool replays_;
  std::array<Generator, kStreams> generators_;
  Schedule given_;
  Schedule taken_;
  Mirror* mirror_ = nullptr;  // null: nowhere
};

}  // namespace weir::sim
