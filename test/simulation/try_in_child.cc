#include "simulation/try_in_child.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string>
#include <system_error>

#include "simulation/last_words.h"
#include "simulation/mirror.h"
#include "simulation/shared_memory.h"

namespace weir::sim {
namespace {

using std::chrono::milliseconds;

// What parent and child share.
struct Report {
  Mirror mirror;
  Tally tally;
  std::array<char, 4096> finding{};  // with a 0 behind it
};

void SendSelfAfter(__itimer_which timer, milliseconds time) noexcept {
  itimerval value{};
  value.it_value.tv_sec = time.count() / 1000;
  value.it_value.tv_usec = time.count() % 1000 * 1000;
  static_cast<void>(::setitimer(timer, &value, nullptr));
}

// Both signals end the process, unless somebody up the stack had other plans for them.
void LimitTime(milliseconds limit) noexcept {
  sigset_t none;
  ::sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
  for (const int signal : {SIGPROF, SIGALRM}) static_cast<void>(std::signal(signal, SIG_DFL));
  SendSelfAfter(ITIMER_PROF, limit);
  SendSelfAfter(ITIMER_REAL, 10 * limit);
}

[[noreturn]] void PlayInChild(const Life& life, Choices& choices, milliseconds limit, pid_t parent,
                              const LastWords& words, Report& report) noexcept {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);  // it died before it was said
  const rlimit no_core{.rlim_cur = 0, .rlim_max = 0};
  static_cast<void>(::setrlimit(RLIMIT_CORE, &no_core));
  words.RedirectStderr();
  LimitTime(limit);
  choices.MirrorTo(report.mirror);
  const Outcome outcome = life(choices);
  report.tally = outcome.tally;
  outcome.finding.copy(report.finding.data(), report.finding.size() - 1);
  ::_exit(0);
}

int WaitFor(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) != child) {
    if (errno != EINTR) throw std::system_error(errno, std::system_category(), "waitpid");
  }
  return status;
}

Verdict TryInChild(const Life& life, Choices choices, milliseconds limit) {
  const SharedMemory<Report> report;
  const LastWords words;
  static_cast<void>(std::fflush(nullptr));  // or the child's copy is flushed, too
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) throw std::system_error(errno, std::system_category(), "fork");
  if (child == 0) PlayInChild(life, choices, limit, parent, words, *report);
  const int status = WaitFor(child);

  Verdict verdict{.end = End::kQuiet, .text = {}, .tally = report->tally, .taken = {}};
  if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGPROF || WTERMSIG(status) == SIGALRM)) {
    verdict.end = End::kTooLong;
    verdict.text = TooLongText(limit);
  } else if (status != 0) {
    verdict.end = End::kDeath;
    verdict.text = DeathText(status, words);
  } else if (report->finding[0] != '\0') {
    verdict.end = End::kFinding;
    verdict.text = report->finding.data();
  }
  verdict.taken = report->mirror.ToSchedule();
  return verdict;
}

}  // namespace

Verdict TryInChild(const Life& life, std::uint64_t seed, milliseconds limit) {
  return TryInChild(life, Choices(seed), limit);
}

Verdict TryInChild(const Life& life, const Schedule& schedule, milliseconds limit) {
  return TryInChild(life, Choices(schedule), limit);
}

}  // namespace weir::sim
