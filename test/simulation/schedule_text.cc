#include "simulation/schedule_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>
#include <vector>

namespace weir::sim {
namespace {

constexpr std::array<std::string_view, kStreams> kNames = {"plan", "faults", "order"};
constexpr std::size_t kColumns = 100;
constexpr std::string_view kZeros = "0*";
constexpr std::size_t kMostChoices = std::size_t{1} << 26;  // of a stream: what "0*..." may ask for

void AppendStream(std::string_view name, std::span<const std::uint32_t> choices,
                  std::string& text) {
  std::size_t line = 0;  // columns of the last one; 0: none is begun
  while (!choices.empty()) {
    const auto* const end =
        std::ranges::find_if(choices, [](std::uint32_t choice) { return choice != 0; }).base();
    const auto zeros = static_cast<std::size_t>(end - choices.data());
    const std::string word =
        zeros > 1 ? fmt::format(" {}{}", kZeros, zeros) : fmt::format(" {}", choices.front());
    choices = choices.subspan(std::max(zeros, std::size_t{1}));
    if (line == 0 || line + word.size() > kColumns) {
      if (line != 0) text += '\n';
      text += name;
      text += ':';
      line = name.size() + 1;
    }
    text += word;
    line += word.size();
  }
  if (line != 0) text += '\n';
}

// Takes what stands before `separator` off the front of `text`, and the separator with it.
std::string_view TakeUntil(char separator, std::string_view& text) {
  const std::size_t end = std::min(text.find(separator), text.size());
  const std::string_view taken = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return taken;
}

template <class Number>
bool ReadNumber(std::string_view word, Number& number) {
  const char* const end = word.data() + word.size();
  const auto [stop, error] = std::from_chars(word.data(), end, number);
  return error == std::errc() && stop == end;
}

// Returns what is wrong with it, or "".
std::string AppendWord(std::string_view word, std::vector<std::uint32_t>& choices) {
  std::uint32_t choice = 0;
  std::size_t count = 1;
  const bool zeros = word.starts_with(kZeros);
  const bool read =
      zeros ? ReadNumber(word.substr(kZeros.size()), count) : ReadNumber(word, choice);
  if (!read || count == 0)
    return fmt::format("'{}' is neither a number below 2^32 nor 0*COUNT", word);
  if (count > kMostChoices - std::min(choices.size(), kMostChoices)) {
    return fmt::format("'{}' makes more than {} choices", word, kMostChoices);
  }
  choices.resize(choices.size() + count - 1);
  choices.insert(choices.end(), 1, choice);
  return "";
}

std::string ParseLine(std::string_view line, Schedule& schedule) {
  if (line.empty() || line.starts_with('#')) return "";
  if (line.find(':') == std::string_view::npos) return fmt::format("no ':' in '{}'", line);
  const std::string_view name = TakeUntil(':', line);
  const auto* const known = std::ranges::find(kNames, name);
  if (known == kNames.end()) {
    return fmt::format("'{}' is none of {}", name, fmt::join(kNames, ", "));
  }
  std::vector<std::uint32_t>& choices =
      schedule.streams[static_cast<std::size_t>(known - kNames.begin())];
  while (!line.empty()) {
    const std::string_view word = TakeUntil(' ', line);
    if (word.empty()) continue;
    if (std::string wrong = AppendWord(word, choices); !wrong.empty()) return wrong;
  }
  return "";
}

}  // namespace

std::string ToText(const Schedule& schedule) {
  std::string text;
  for (std::size_t stream = 0; stream < kStreams; ++stream) {
    AppendStream(kNames[stream], schedule.streams[stream], text);
  }
  return text;
}

Schedule ParseSchedule(std::string_view text) {
  Schedule schedule;
  for (int number = 1; !text.empty(); ++number) {
    const std::string wrong = ParseLine(TakeUntil('\n', text), schedule);
    if (!wrong.empty()) throw ScheduleError(fmt::format("line {}: {}", number, wrong));
  }
  return schedule;
}

}  // namespace weir::sim
