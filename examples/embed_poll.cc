// weir inside a program that has its own poll(2) loop, with a descriptor (stdin) and a timer of its
// own.
//
//     embed_poll --listen tcp://127.0.0.1:7000      what is typed here goes to every client
//
// Three calls do it: PollFd(), NextTimeout() and RunOnce().

#include <poll.h>
#include <weir/weir.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <exception>

#include "embed.h"
#include "options.h"

namespace {

constexpr example::About kAbout{
    "embed_poll",
    "An echo in the poll(2) loop of a host program, which sends its standard input to all\n"
    "clients.\n"};

constexpr weir::Duration kNoWait = weir::Duration::zero();

weir::EventLoop* stopped_by_signals = nullptr;

void OnSignal(int) { stopped_by_signals->Stop(); }  // safe here; it makes PollFd() readable

void HandleSignals(void (*handler)(int)) {
  for (const int number : {SIGINT, SIGTERM}) static_cast<void>(std::signal(number, handler));
}

void Run(weir::EventLoop& loop, example::EmbeddedEcho& echo) {
  int input = STDIN_FILENO;
  auto report_at = weir::Clock::now() + example::kReportPeriod;

  loop.RunOnce(kNoWait);  // the first turn calls OnStart
  while (!loop.IsStopped()) {
    pollfd fds[] = {{loop.PollFd(), POLLIN, 0}, {input, POLLIN, 0}};  // poll skips a negative one
    const weir::Duration own_wait = std::max(report_at - weir::Clock::now(), kNoWait);
    const weir::Duration wait = std::min(loop.NextTimeout(), own_wait);
    // Rounded up: to wake early is to spin. Interrupted by a signal, poll leaves both revents at 0.
    poll(fds, 2, static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(wait).count()));

    if (fds[1].revents != 0 && !echo.PassOn(input)) input = -1;
    if (weir::Clock::now() >= report_at) {
      echo.Report();
      report_at += example::kReportPeriod;
    }
    // Due by an event, by a timer of weir's, or by what the host has just written.
    if (fds[0].revents != 0 || loop.NextTimeout() == kNoWait) loop.RunOnce(kNoWait);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const auto [urls, options, exit_code] = example::ParseOptions(argc, argv, kAbout);
  if (exit_code) return *exit_code;
  example::EmbeddedEcho echo(urls.size());
  try {
    weir::EventLoop loop;
    for (const std::string_view url : urls) loop.Listen(url, echo);
    stopped_by_signals = &loop;
    HandleSignals(OnSignal);
    Run(loop, echo);
    HandleSignals(SIG_DFL);  // the loop is about to go
    return 0;
  } catch (const std::exception& error) {
    return example::Fail(kAbout, error);
  }
}
