// Context switches of threads that have ended are in no file of /proc, but getrusage(2) has them,
// for the process itself. So the laboratory asks the server, by SIGUSR1, whose handler writes what
// getrusage() says into memory that both share.

#include "models/server_child.h"

#include <sys/resource.h>

#include <csignal>

#include "echo_load/failure.h"
#include "echo_load/parse_number.h"
#include "models/serve.h"
#include "models/shared_page.h"

namespace models {
namespace {

SharedPage* page = nullptr;

extern "C" void TellUsage(int) {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);  // it cannot fail so
  page->wakeups = static_cast<std::uint64_t>(usage.ru_nvcsw);
  page->preemptions = static_cast<std::uint64_t>(usage.ru_nivcsw);
  page->answered = page->asked.load();
}

}  // namespace

std::vector<std::string> ChildArguments(std::string_view model, int listener, int shared_page) {
  return {std::string(kChildCommand), std::string(model), std::to_string(listener),
          std::to_string(shared_page)};
}

int RunChild(std::span<char* const> arguments) {
  const auto number = [&](std::size_t index) {
    const std::string_view text = index < arguments.size() ? arguments[index] : "";
    return echo_load::ParseNumber<int>(kChildCommand, text, 0, 1 << 20);
  };
  const Model* const model = arguments.size() > 1 ? FindModel(arguments[1]) : nullptr;
  if (model == nullptr) throw echo_load::UsageError("measured-server: no such model");
  page = &MapSharedPage(number(3));
  struct sigaction action {};
  action.sa_handler = &TellUsage;
  // No SA_RESTART: ThreadSanitizer runs a handler when the call returns that was interrupted.
  if (::sigaction(SIGUSR1, &action, nullptr) != 0) echo_load::FailCall("sigaction");
  Install(page->counters);
  RunServer(*model, number(2));
  return 0;
}

}  // namespace models
