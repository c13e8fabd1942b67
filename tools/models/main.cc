// weir-models: the models of network I/O, each as a small echo server, measured side by side.
//
// EXIT CODE  0 all went as it has to (a model that says where it ends is no failure), 1 a server
//            failed, or the system refused what the laboratory needs, 2 wrong usage.

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "echo_load/failure.h"
#include "models/campaign.h"
#include "models/cpus.h"
#include "models/edges.h"
#include "models/machine.h"
#include "models/measure.h"
#include "models/options.h"
#include "models/plot.h"
#include "models/report.h"
#include "models/serve.h"
#include "models/server_child.h"
#include "models/trace.h"

namespace models {
namespace {

int Run(const MeasureOptions& options) {
  if (!options.plot.empty()) CheckPlot(options.plot);
  const std::optional<Cpus> cpus = PickCpus();
  const std::string machine = DescribeMachine(cpus);
  const Results results = RunCampaign(options, cpus);
  options.json ? PrintJson(results, options, machine) : PrintTables(results, options, machine);
  if (!options.plot.empty()) Plot(results, options, machine, options.plot);
  return results.AllAsExpected() ? 0 : 1;
}

int Run(const ServeOptions& options) {
  Serve(*options.model, options.port);
  return 0;
}

int Run(const EdgesOptions& options) {
  RunEdges(options.json);
  return 0;
}

int Run(const CallsOptions& options) { return PrintCalls(options.models, options.json) ? 0 : 1; }

int Run(const HelpOptions&) {
  fmt::print("{}", HelpText());
  return 0;
}

// Of 0, 1 and 2 all are open: whoever starts this with one of them closed would have the first file
// that is opened in its place, a server's socket or its counters, and his tables printed into it.
// Nothing can be written to what takes the place, so that a closed stdout still is an error.
void OccupyStandardStreams() {
  int fd = 0;
  do {
    fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) ::close(fd);
}

// Not fmt::print: that throws if stderr cannot be written to.
void Complain(const std::string& text) { static_cast<void>(std::fputs(text.c_str(), stderr)); }

int Main(int argc, char** argv) {
  OccupyStandardStreams();
  try {
    const std::span<char* const> words(argv, static_cast<std::size_t>(argc));
    if (argc > 1 && words[1] == kChildCommand) return RunChild(words.subspan(1));
    const Options options = ParseOptions(argc, argv);
    const int code = std::visit([](const auto& chosen) { return Run(chosen); }, options);
    FlushStdout();
    return code;
  } catch (const echo_load::UsageError& error) {
    Complain(fmt::format("weir-models: {} (see --help)\n", error.what()));
    return 2;
  } catch (const std::exception& error) {
    Complain(fmt::format("weir-models: {}\n", error.what()));
    return 1;
  }
}

}  // namespace
}  // namespace models

int main(int argc, char** argv) { return models::Main(argc, argv); }
