#include "simulation/campaign_worker.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <system_error>

#include "simulation/choices.h"

namespace weir::sim {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

// Ctrl-C is for the whole group of processes; when to end is the campaign's to say.
void LeaveSignalsToParent(pid_t parent) noexcept {
  for (const int signal : {SIGINT, SIGTERM}) static_cast<void>(std::signal(signal, SIG_IGN));
  sigset_t none;
  ::sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);  // it died before it was said
}

// noexcept: what a life throws ends the process, as it would a server's.
[[noreturn]] void Work(const WorkerTask& task) noexcept {
  Slot& slot = task.slot;
  while (!task.board.stop.load(kRelaxed)) {
    const std::uint64_t index = task.board.claimed.fetch_add(1, kRelaxed);
    if (index >= task.seeds) break;
    const std::uint64_t seed = task.first_seed + index;
    slot.seed.store(seed, kRelaxed);
    Choices choices(seed);
    const Outcome outcome = task.life(choices);
    slot.Add(outcome.tally);
    slot.seeds.fetch_add(1, kRelaxed);
    if (!outcome.finding.empty()) {
      outcome.finding.copy(slot.finding.data(), slot.finding.size() - 1);
      break;
    }
    task.words.Forget();
  }
  ::_exit(0);
}

}  // namespace

void Slot::Add(const Tally& tally) noexcept {
  calls.fetch_add(tally.calls, kRelaxed);
  faults.fetch_add(tally.faults, kRelaxed);
  turns.fetch_add(tally.turns, kRelaxed);
  connections.fetch_add(tally.connections, kRelaxed);
  bytes.fetch_add(tally.bytes, kRelaxed);
}

Tally Slot::Sum() const noexcept {
  return {.calls = calls.load(kRelaxed),
          .faults = faults.load(kRelaxed),
          .turns = turns.load(kRelaxed),
          .connections = connections.load(kRelaxed),
          .bytes = bytes.load(kRelaxed)};
}

pid_t StartWorker(const WorkerTask& task) {
  task.slot.finding.fill('\0');
  task.words.Forget();
  static_cast<void>(std::fflush(nullptr));  // or the worker's copy is flushed, too
  const pid_t parent = ::getpid();
  const pid_t worker = ::fork();
  if (worker < 0) throw std::system_error(errno, std::system_category(), "fork");
  if (worker != 0) return worker;
  const rlimit no_core{.rlim_cur = 0, .rlim_max = 0};
  static_cast<void>(::setrlimit(RLIMIT_CORE, &no_core));
  LeaveSignalsToParent(parent);
  task.words.RedirectStderr();
  Work(task);
}

}  // namespace weir::sim
