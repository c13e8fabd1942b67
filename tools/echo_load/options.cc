#include "echo_load/options.h"

#include <fmt/format.h>
#include <getopt.h>

#include <array>
#include <span>

#include "echo_load/failure.h"
#include "echo_load/parse_number.h"

namespace echo_load {

const std::string_view kHelp =
    "Usage: weir-echo-load --connect URL [OPTION...]\n"
    "Drives an echo server and checks every byte that comes back.\n"
    "\n"
    "  --connect URL      tcp://HOST:PORT or unix:/PATH\n"
    "  --connections N    connections at the same time (50)\n"
    "  --size BYTES       bytes of a request (64)\n"
    "  --depth N          requests in flight on each connection (1)\n"
    "  --seconds S        how long; fractions are welcome (2)\n"
    "  --reconnect        a reset after each echo, and another connection in its place; latency\n"
    "                     is then from connect to echo (needs --depth 1)\n"
    "  --server-pid PID   also tells the CPU time that process PID took for a request\n"
    "  --json             one line of JSON instead of the table\n"
    "  --help             this text\n";

namespace {

enum Code : int {
  kFirstCode = 256,
  kConnect,
  kConnections,
  kSize,
  kDepth,
  kSeconds,
  kReconnect,
  kServerPid,
  kJson,
  kShowHelp
};

std::string_view OptionAt(std::span<char* const> arguments, int index) {
  return arguments[static_cast<std::size_t>(index)];
}

// What getopt_long() did not take: a letter (there are none), or else a whole argument.
std::string Rejected(std::span<char* const> arguments) {
  if (optopt > 0 && optopt < kFirstCode) return fmt::format("'-{}'", static_cast<char>(optopt));
  return fmt::format("'{}'", OptionAt(arguments, optind - 1));
}

}  // namespace

std::optional<Options> ParseOptions(int argc, char** argv) {
  static constexpr std::array<option, 10> kOptions = {{
      {"connect", required_argument, nullptr, kConnect},
      {"connections", required_argument, nullptr, kConnections},
      {"size", required_argument, nullptr, kSize},
      {"depth", required_argument, nullptr, kDepth},
      {"seconds", required_argument, nullptr, kSeconds},
      {"reconnect", no_argument, nullptr, kReconnect},
      {"server-pid", required_argument, nullptr, kServerPid},
      {"json", no_argument, nullptr, kJson},
      {"help", no_argument, nullptr, kShowHelp},
      {nullptr, 0, nullptr, 0},
  }};
  const std::span<char* const> arguments(argv, static_cast<std::size_t>(argc));
  Options options;
  opterr = 0;
  for (int found = 0; (found = getopt_long(argc, argv, ":", kOptions.data(), nullptr)) != -1;) {
    const std::string_view value = optarg != nullptr ? optarg : "";
    switch (found) {
      case kConnect:
        options.url = value;
        break;
      case kConnections:
        options.connections = ParseNumber<std::size_t>("--connections", value, 1, 1'000'000);
        break;
      case kSize:
        options.size_bytes = ParseNumber<std::size_t>("--size", value, 1, 1 << 30);
        break;
      case kDepth:
        options.depth = ParseNumber<std::size_t>("--depth", value, 1, 65536);
        break;
      case kSeconds:
        options.time =
            std::chrono::duration<double>(ParseNumber("--seconds", value, 0.001, 86400.0));
        break;
      case kReconnect:
        options.reconnect = true;
        break;
      case kServerPid:
        options.server_pid = ParseNumber("--server-pid", value, 1, 1 << 30);
        break;
      case kJson:
        options.json = true;
        break;
      case kShowHelp:
        return std::nullopt;
      case ':':
        throw UsageError(fmt::format("{} needs a value", OptionAt(arguments, optind - 1)));
      default:
        throw UsageError("unknown option " + Rejected(arguments));
    }
  }
  if (optind < argc) {
    throw UsageError(fmt::format("unexpected argument '{}'", OptionAt(arguments, optind)));
  }
  if (options.url.empty()) throw UsageError("--connect URL is missing");
  if (options.reconnect && options.depth != 1) throw UsageError("--reconnect needs --depth 1");
  return options;
}

}  // namespace echo_load
