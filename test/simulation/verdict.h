// How one simulated life went, as somebody outside of it can tell.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "simulation/choices.h"
#include "simulation/play.h"

namespace weir::sim {

// What is played: Play(), or what a test has in its place.
using Life = std::function<Outcome(Choices&)>;

enum class End : std::uint8_t {
  kQuiet,    // nothing was wrong
  kFinding,  // the life told a finding
  kDeath,    // its process died
  kTooLong,  // it came to no end
};

struct Verdict {
  End end = End::kQuiet;
  std::string text;  // one line; empty if nothing was wrong
  Tally tally;       // nothing of a life that did not end by itself
  Schedule taken;    // what was answered; quiet answers at its end may be missing

  [[nodiscard]] bool Failed() const noexcept { return end != End::kQuiet; }

  // Failures of one class are taken for the same bug. Findings are worded "class: details"; a dead
  // process leaves its signal and a message that names the place.
  [[nodiscard]] std::string_view Class() const noexcept {
    const std::string_view line = text;
    switch (end) {
      case End::kQuiet:
        return "";
      case End::kFinding:
        return line.substr(0, line.find(':'));
      case End::kDeath:
        return line;
      case End::kTooLong:
        return "too long";
    }
    return line;
  }
};

[[nodiscard]] inline bool SameFailure(const Verdict& a, const Verdict& b) noexcept {
  return a.Failed() && a.end == b.end && a.Class() == b.Class();
}

}  // namespace weir::sim
