// The command line of an example server, and what it prints of itself.
//
// LIFETIME  The views are of argv.

#pragma once

#include <getopt.h>
#include <weir/weir.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace example {

struct About {
  const char* name;
  const char* what;        // whole lines, for --help
  bool has_loops = false;  // takes --loops, --balance and --pin
};

struct CommandLine {
  std::vector<std::string_view> urls;  // at least one
  weir::Options options;
  std::optional<int> exit_code;  // set: there is nothing left to do but to exit with it
};

constexpr const char* kHelp =
    "SIGINT and SIGTERM drain it: what has arrived is answered first; a second signal ends it at\n"
    "once.\n"
    "\n"
    "  --listen URL  where to listen; repeatable (default tcp://127.0.0.1:7000)\n"
    "                  tcp://127.0.0.1:7000  tcp://[::1]:7000  tcp://:7000 (every address)\n"
    "                  unix:/path  unix:@abstract  fd://3 (a listening socket it inherits)\n"
    "                with ?backlog=N, &v6only=1, &reuseport=1 (processes share the port),\n"
    "                &mode=0660; port 0 takes a free one\n";

constexpr const char* kLoopsHelp =
    "  --loops N     that many loops, each on a thread; 0: one per processor (default 1)\n"
    "  --balance B   which loop serves a client:\n"
    "                  reuseport          the kernel decides, by a hash (default)\n"
    "                  round-robin        one after the other\n"
    "                  least-connections  the one that has the fewest\n"
    "                  source-hash        by the client's address: always the same\n"
    "  --pin         bind each loop to a processor\n";

constexpr const char* kCommonHelp =
    "  --help        this text\n"
    "  --version     the version\n";

// The exit code of who only had to print `text`.
inline int Print(const About& about, const std::string& text) {
  if (std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0) return 0;
  std::fprintf(stderr, "%s: stdout: %s\n", about.name,
               std::generic_category().message(errno).c_str());
  return 1;
}

inline std::string HelpOf(const About& about) {
  const std::string more = about.has_loops ? " [--loops N] [--balance B] [--pin]" : "";
  return "usage: " + std::string(about.name) + " [--listen URL]..." + more + "\n" + about.what +
         kHelp + (about.has_loops ? kLoopsHelp : "") + kCommonHelp;
}

// False if `value` is none.
inline bool ParseLoops(std::string_view value, int& loops) {
  const char* const end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, loops);
  return error == std::errc{} && stop == end && loops >= 0 && loops <= 1024;
}

inline bool ParseBalance(std::string_view value, weir::Balance& balance) {
  constexpr std::array<std::pair<std::string_view, weir::Balance>, 4> kNames{
      {{"reuseport", weir::Balance::kReusePort},
       {"round-robin", weir::Balance::kRoundRobin},
       {"least-connections", weir::Balance::kLeastConnections},
       {"source-hash", weir::Balance::kSourceHash}}};
  for (const auto& [name, meaning] : kNames) {
    if (name != value) continue;
    balance = meaning;
    return true;
  }
  return false;
}

// What is wrong with one of the options that --help has for several loops; "" if nothing is.
inline std::string ParseLoopOption(int option, weir::Options& options) {
  if (option == 'p') {
    options.pin_cpus = true;
  } else if (option == 'n' && !ParseLoops(optarg, options.loops)) {
    return std::string("--loops '") + optarg + "' is not a number in 0..1024";
  } else if (option == 'b' && !ParseBalance(optarg, options.balance)) {
    return std::string("--balance '") + optarg +
           "' is none of reuseport, round-robin, least-connections, source-hash";
  }
  return "";
}

inline CommandLine ParseOptions(int argc, char** argv, const About& about) {
  const option all[] = {{"listen", required_argument, nullptr, 'l'},
                        {"help", no_argument, nullptr, 'h'},
                        {"version", no_argument, nullptr, 'v'},
                        {"loops", required_argument, nullptr, 'n'},
                        {"balance", required_argument, nullptr, 'b'},
                        {"pin", no_argument, nullptr, 'p'},
                        {}};
  const option common[] = {all[0], all[1], all[2], {}};
  const option* const options = about.has_loops ? all : common;
  const std::string name = about.name;
  CommandLine line;
  for (int option; (option = getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    switch (option) {
      case 'l':
        line.urls.emplace_back(optarg);
        continue;
      case 'h':
        line.exit_code = Print(about, HelpOf(about));
        break;
      case 'v':
        line.exit_code = Print(about, name + " (weir) " WEIR_VERSION_STRING "\n");
        break;
      case 'n':
      case 'b':
      case 'p':
        if (const std::string wrong = ParseLoopOption(option, line.options); !wrong.empty()) {
          std::fprintf(stderr, "%s: %s\n", about.name, wrong.c_str());
          line.exit_code = 2;
          break;
        }
        continue;
      default:
        line.exit_code = 2;  // getopt_long has said why
        break;
    }
    return line;
  }
  if (optind < argc) {
    std::fprintf(stderr, "%s: unexpected argument '%s'\n", about.name, argv[optind]);
    line.exit_code = 2;
  }
  if (line.urls.empty()) line.urls.emplace_back("tcp://127.0.0.1:7000");
  return line;
}

// One line for each listener, with the real port. Throws what keeps stdout from taking it.
inline void PrintListeners(const weir::EventLoop& loop, std::size_t listeners) {
  for (int i = 0; i < static_cast<int>(listeners); ++i) {
    const weir::Address address = loop.ListenAddress(i);
    const char* const scheme = address.IsUnix() ? "unix:" : "tcp://";
    std::printf("listening on %s%s\n", scheme, address.ToString().c_str());
  }
  if (std::fflush(stdout) != 0) throw std::system_error(errno, std::generic_category(), "stdout");
}

// For programs that do without weir::Serve(): says why, and returns the exit code that it would.
inline int Fail(const About& about, const std::exception& error) {
  std::fprintf(stderr, "%s: %s\n", about.name, error.what());
  const auto* const of_weir = dynamic_cast<const weir::Error*>(&error);
  return of_weir != nullptr && of_weir->IsUsage() ? 2 : 1;
}

}  // namespace example
