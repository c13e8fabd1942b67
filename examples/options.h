// The command line of an example server, and what it prints of itself.
//
// LIFETIME  The views are of argv.

#pragma once

#include <getopt.h>
#include <weir/weir.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace example {

struct About {
  const char* name;
  const char* what;  // whole lines, for --help
};

struct CommandLine {
  std::vector<std::string_view> urls;  // at least one
  std::optional<int> exit_code;        // set: there is nothing left to do but to exit with it
};

constexpr const char* kHelp =
    "SIGINT and SIGTERM drain it: what has arrived is answered first; a second signal ends it at\n"
    "once.\n"
    "\n"
    "  --listen URL  where to listen; repeatable (default tcp://127.0.0.1:7000)\n"
    "                  tcp://127.0.0.1:7000  tcp://[::1]:7000  tcp://:7000 (every address)\n"
    "                  unix:/path  unix:@abstract\n"
    "                with ?backlog=N, &v6only=1, &mode=0660; port 0 takes a free one\n"
    "  --help        this text\n"
    "  --version     the version\n";

// The exit code of who only had to print `text`.
inline int Print(const About& about, const std::string& text) {
  if (std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0) return 0;
  std::fprintf(stderr, "%s: stdout: %s\n", about.name,
               std::generic_category().message(errno).c_str());
  return 1;
}

inline CommandLine ParseOptions(int argc, char** argv, const About& about) {
  const option options[] = {{"listen", required_argument, nullptr, 'l'},
                            {"help", no_argument, nullptr, 'h'},
                            {"version", no_argument, nullptr, 'v'},
                            {}};
  const std::string name = about.name;
  CommandLine line;
  for (int option; (option = getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    switch (option) {
      case 'l':
        line.urls.emplace_back(optarg);
        continue;
      case 'h':
        line.exit_code =
            Print(about, "usage: " + name + " [--listen URL]...\n" + about.what + kHelp);
        break;
      case 'v':
        line.exit_code = Print(about, name + " (weir) " WEIR_VERSION_STRING "\n");
        break;
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
