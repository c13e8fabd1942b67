// What the command line of weir-simulate says.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace weir::sim {

// What the user got wrong: exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct SimulateOptions {
  // One life, in this process:
  std::optional<std::uint64_t> seed;
  std::string schedule;  // a file; empty: none
  bool trace = false;
  // Many:
  std::optional<std::uint64_t> first;  // none: one that no run had before
  std::optional<std::uint64_t> seeds;
  std::optional<std::chrono::milliseconds> time;
  std::size_t jobs = 1;
  bool keep_going = false;
  bool shrink = true;

  [[nodiscard]] bool IsOneLife() const noexcept { return seed || !schedule.empty(); }
};

extern const std::string_view kSimulateHelp;

// Nothing if help was asked for. Throws UsageError.
std::optional<SimulateOptions> ParseSimulateOptions(int argc, char** argv);

}  // namespace weir::sim
