// A number out of what a user typed.

#pragma once

#include <fmt/format.h>

#include <charconv>
#include <string_view>
#include <system_error>

#include "echo_load/failure.h"

namespace echo_load {

template <class Number>
Number ParseNumber(std::string_view option, std::string_view text, Number least, Number most) {
  Number value{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  // Not "value < least || value > most": that lets NaN pass.
  if (error != std::errc() || stop != end || !(value >= least && value <= most)) {
    throw UsageError(fmt::format("{} '{}': not a number from {} to {}", option, text, least, most));
  }
  return value;
}

}  // namespace echo_load
