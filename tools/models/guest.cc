#include "models/guest.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "echo_load/failure.h"

namespace models {

using echo_load::UsageError;

namespace {

// Of tables, in markdown and in a chart.
bool FitsName(char c) {
  const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return is_letter || (c >= '0' && c <= '9') ||
         std::string_view(" .,_-").find(c) != std::string::npos;
}

}  // namespace

Model ParseGuest(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == 0 || equals == std::string_view::npos || equals + 1 == text.size()) {
    throw UsageError(fmt::format("--also '{}': not NAME=COMMAND", text));
  }
  const std::string_view name = text.substr(0, equals);
  if (!std::ranges::all_of(name, FitsName)) {
    throw UsageError(
        fmt::format("--also '{}': a name is made of letters, digits, spaces and .,_-", text));
  }
  if (FindModel(name) != nullptr) {
    throw UsageError(fmt::format("--also '{}': there is a model of that name", text));
  }
  return {.name = name, .title = name, .command = text.substr(equals + 1)};
}

void BecomeGuest(const Model& guest, const Words& printed) {
  printed.TakePlaceOf(STDOUT_FILENO);
  const std::string command = fmt::format("exec {}", guest.command);
  ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
  fmt::print(stderr, "execl /bin/sh: {}\n", echo_load::ErrorText(errno));
  ::_exit(127);
}

std::optional<std::string> GuestUrl(const Words& printed) {
  constexpr std::string_view kScheme = "tcp://";
  auto address = printed.Behind(fmt::format("listening on {}", kScheme));
  if (address) address->insert(0, kScheme);
  return address;
}

}  // namespace models
