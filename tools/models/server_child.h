// The server's side of a measurement: this program once more, in a process of its own, with nothing
// in its memory but what a server has.

#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace models {

// No command for people: ModelProcess starts it.
inline constexpr std::string_view kChildCommand = "measured-server";

[[nodiscard]] std::vector<std::string> ChildArguments(std::string_view model, int listener,
                                                      int shared_page);

// Serves as `arguments` say, which are those of ChildArguments(), and returns the exit code.
[[nodiscard]] int RunChild(std::span<char* const> arguments);

}  // namespace models
