// What the command line says.

#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace echo_load {

struct Options {
  std::string url;
  std::size_t connections = 50;
  std::size_t size_bytes = 64;
  std::size_t depth = 1;
  std::chrono::duration<double> time{2.0};
  bool reconnect = false;
  int server_pid = 0;  // 0: nobody's CPU time is looked at
  bool json = false;
};

extern const std::string_view kHelp;

// Nothing if help was asked for. Throws UsageError.
std::optional<Options> ParseOptions(int argc, char** argv);

}  // namespace echo_load
