// The parent sleeps until a worker ends, a signal comes, or there is something to look at: progress
// to tell, the time used up, a worker that has had its seed for too long.

#include "simulation/campaign.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <ctime>
#include <string>
#include <utility>

#include "simulation/campaign_worker.h"
#include "simulation/last_words.h"
#include "simulation/shared_memory.h"

namespace weir::sim {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kRelaxed = std::memory_order_relaxed;

struct Worker {
  pid_t pid = 0;              // 0: none in this place
  std::uint64_t seeds = 0;    // of its slot, when it was last looked at
  Clock::time_point since{};  // when that number changed
  bool stalled = false;       // and was killed for it
  LastWords words{};
};

// Blocked, and waited for, and given back.
class OwnSignals final {
 public:
  OwnSignals() noexcept {
    ::sigemptyset(&set_);
    for (const int signal : {SIGCHLD, SIGINT, SIGTERM}) ::sigaddset(&set_, signal);
    ::pthread_sigmask(SIG_BLOCK, &set_, &before_);
  }
  OwnSignals(const OwnSignals&) = delete;
  OwnSignals& operator=(const OwnSignals&) = delete;
  ~OwnSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  // Which one came, or -1.
  [[nodiscard]] int WaitUntil(Clock::time_point time) const noexcept {
    const auto left = std::max(time - Clock::now(), Clock::duration::zero());
    const auto seconds = std::chrono::floor<std::chrono::seconds>(left);
    const timespec timeout{.tv_sec = seconds.count(), .tv_nsec = (left - seconds).count()};
    return ::sigtimedwait(&set_, nullptr, &timeout);
  }

 private:
  sigset_t set_{};
  sigset_t before_{};
};

class Campaign final {
 public:
  Campaign(const Life& life, const CampaignOptions& options)
      : life_(life),
        options_(options),
        in_place_(options.progress != nullptr && ::isatty(::fileno(options.progress)) == 1),
        workers_(std::clamp(options.jobs, std::size_t{1}, kMaxJobs)) {}
  Campaign(const Campaign&) = delete;
  Campaign& operator=(const Campaign&) = delete;
  ~Campaign();

  CampaignResult Run();

 private:
  void Start(std::size_t index);
  void Reap();
  void OnEnded(std::size_t index, int status);
  void LookAtWorkers();
  void Stop() noexcept { board_->stop.store(true, kRelaxed); }
  [[nodiscard]] bool Stopped() const noexcept { return board_->stop.load(kRelaxed); }
  [[nodiscard]] bool HasMore() const noexcept;
  [[nodiscard]] Clock::time_point NextLook() const;

  void Sum();
  void TellProgress();
  [[nodiscard]] Clock::duration ProgressPeriod() const noexcept {
    return std::chrono::seconds(in_place_ ? 1 : 10);
  }

  const Life& life_;
  const CampaignOptions& options_;
  const bool in_place_;  // progress on a terminal: one line, written again and again
  const Clock::time_point begin_ = Clock::now();
  Clock::time_point next_progress_ = begin_ + ProgressPeriod();
  SharedMemory<Board> board_;
  std::vector<Worker> workers_;
  std::size_t running_ = 0;
  std::uint64_t lost_ = 0;  // seeds whose process died
  CampaignResult result_;
};

// Whoever still plays is of no interest any more: there are findings enough, or somebody has asked
// twice for an end, or there was an exception.
Campaign::~Campaign() {
  for (const Worker& worker : workers_) {
    if (worker.pid == 0) continue;
    ::kill(worker.pid, SIGKILL);
    ::waitpid(worker.pid, nullptr, 0);
  }
}

CampaignResult Campaign::Run() {
  const OwnSignals signals;
  for (std::size_t index = 0; index < workers_.size() && HasMore(); ++index) Start(index);
  while (running_ > 0 && result_.findings.size() < options_.findings) {
    const int signal = signals.WaitUntil(NextLook());
    if (signal == SIGINT || signal == SIGTERM) {
      if (result_.interrupted) break;  // asked for twice: nobody is waited for
      result_.interrupted = true;
      Stop();
    }
    Reap();
    LookAtWorkers();
    if (Clock::now() - begin_ >= options_.time) Stop();
    if (Clock::now() >= next_progress_) TellProgress();
  }
  if (in_place_) fmt::print(options_.progress, "\r\x1b[K");
  Sum();
  return result_;
}

void Campaign::Start(std::size_t index) {
  Worker& worker = workers_[index];
  Slot& slot = board_->slots[index];
  worker.seeds = slot.seeds.load(kRelaxed);
  worker.since = Clock::now();
  worker.stalled = false;
  worker.pid = StartWorker({.life = life_,
                            .first_seed = options_.first_seed,
                            .seeds = options_.seeds,
                            .board = *board_,
                            .slot = slot,
                            .words = worker.words});
  ++running_;
}

// One SIGCHLD may stand for several.
void Campaign::Reap() {
  for (std::size_t index = 0; index < workers_.size(); ++index) {
    int status = 0;
    pid_t& pid = workers_[index].pid;
    if (pid == 0 || ::waitpid(pid, &status, WNOHANG) != pid) continue;
    pid = 0;
    --running_;
    OnEnded(index, status);
    if (HasMore()) Start(index);
  }
}

void Campaign::OnEnded(std::size_t index, int status) {
  const Worker& worker = workers_[index];
  const Slot& slot = board_->slots[index];
  std::string text = slot.finding.data();
  if (text.empty() && status != 0) {
    ++lost_;
    text = worker.stalled ? TooLongText(options_.patience) : DeathText(status, worker.words);
  }
  if (text.empty() || result_.findings.size() >= options_.findings) return;
  result_.findings.push_back({.seed = slot.seed.load(kRelaxed), .text = std::move(text)});
}

void Campaign::LookAtWorkers() {
  const Clock::time_point now = Clock::now();
  for (std::size_t index = 0; index < workers_.size(); ++index) {
    Worker& worker = workers_[index];
    const std::uint64_t seeds = board_->slots[index].seeds.load(kRelaxed);
    if (seeds != worker.seeds) {
      worker.seeds = seeds;
      worker.since = now;
    } else if (worker.pid != 0 && !worker.stalled && now - worker.since >= options_.patience) {
      worker.stalled = true;
      ::kill(worker.pid, SIGKILL);
    }
  }
}

bool Campaign::HasMore() const noexcept {
  return !Stopped() && board_->claimed.load(kRelaxed) < options_.seeds;
}

Clock::time_point Campaign::NextLook() const {
  Clock::time_point next = Clock::now() + std::chrono::seconds(1);
  if (options_.progress != nullptr) next = std::min(next, next_progress_);
  if (!Stopped()) next = std::min(next, begin_ + options_.time);
  for (const Worker& worker : workers_) {
    if (worker.pid != 0 && !worker.stalled) next = std::min(next, worker.since + options_.patience);
  }
  return next;
}

void Campaign::Sum() {
  result_.seeds = lost_;
  result_.tally = {};
  for (std::size_t index = 0; index < workers_.size(); ++index) {
    result_.seeds += board_->slots[index].seeds.load(kRelaxed);
    result_.tally += board_->slots[index].Sum();
  }
  result_.time = Clock::now() - begin_;
}

void Campaign::TellProgress() {
  next_progress_ += ProgressPeriod();
  if (options_.progress == nullptr) return;
  Sum();
  const double seconds = result_.time.count();
  fmt::print(options_.progress,
             "{}{:.0f} s: {} seeds ({:.0f}/s), {} calls, {} faults, {} findings{}",
             in_place_ ? "\r" : "", seconds, result_.seeds,
             static_cast<double>(result_.seeds) / seconds, result_.tally.calls,
             result_.tally.faults, result_.findings.size(), in_place_ ? "\x1b[K" : "\n");
  static_cast<void>(std::fflush(options_.progress));
}

}  // namespace

std::size_t AllowedProcessors() noexcept {
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
  return std::clamp(static_cast<std::size_t>(CPU_COUNT(&allowed)), std::size_t{1}, kMaxJobs);
}

CampaignResult RunCampaign(const Life& life, const CampaignOptions& options) {
  return Campaign(life, options).Run();
}

}  // namespace weir::sim
