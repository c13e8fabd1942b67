// weir-echo-load: drives an echo server with traffic of which every byte is checked.
//
// Closed loop: each connection keeps --depth requests of --size bytes in flight, and sends another
// when one has come back. At the end each connection half-closes, and wants every byte that is
// still in flight, and then the peer's end. Anything else is said in one line.
//
// It speaks to plain sockets and shares no code with weir, so that it cannot share weir's mistakes.
// Its epoll is level-triggered for the same reason.
//
// With --reconnect a connection lives for one request: its echo is awaited, then it is reset.
//
// EXIT CODE  0 all was echoed, 1 it was not (or a connection failed), 2 wrong usage.

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <optional>

#include "echo_load/failure.h"
#include "echo_load/load.h"
#include "echo_load/options.h"

namespace echo_load {
namespace {

int Main(int argc, char** argv) {
  try {
    const std::optional<Options> options = ParseOptions(argc, argv);
    if (!options) {
      fmt::print("{}", kHelp);
      return 0;
    }
    Load load(*options);
    load.Open();
    load.Run();
    options->json ? load.PrintJson() : load.PrintTable();
    return std::fflush(stdout) == 0 ? 0 : throw Failure("stdout: " + ErrorText(errno));
  } catch (const UsageError& error) {
    fmt::print(stderr, "weir-echo-load: {} (see --help)\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "weir-echo-load: {}\n", error.what());
    return 1;
  }
}

}  // namespace
}  // namespace echo_load

int main(int argc, char** argv) { return echo_load::Main(argc, argv); }
