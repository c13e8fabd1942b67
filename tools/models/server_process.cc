#include "models/server_process.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <fstream>

#include "echo_load/cpu_time.h"
#include "echo_load/failure.h"
#include "models/asleep.h"
#include "models/end_with_parent.h"

namespace models {

using echo_load::Failure;

namespace {

constexpr std::chrono::seconds kLimit{20};  // for an answer, and for an end
constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 100'000};

// Looks every now and then whether it is so. False if it is not for too long.
template <class Condition>
bool Await(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + kLimit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    ::nanosleep(&kPause, nullptr);
  }
  return true;
}

std::string HowItEnded(int status) {
  if (WIFSIGNALED(status)) return fmt::format("died of signal {}", WTERMSIG(status));
  return fmt::format("ended with exit code {}", WEXITSTATUS(status));
}

}  // namespace

ServerProcess::~ServerProcess() {
  if (pid_ == 0) return;
  ::kill(-pid_, SIGKILL);  // its group: a guest may have children
  ::kill(pid_, SIGKILL);   // and itself, if it is not yet in that
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) continue;
}

void ServerProcess::Start(std::optional<int> cpu, const std::function<void()>& become) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  if (cpu) CPU_SET(static_cast<std::size_t>(*cpu), &cpus);

  const pid_t laboratory = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) echo_load::FailCall("fork");
  if (pid != 0) {
    pid_ = pid;
    return;
  }
  // The child. What has been printed and not written yet is the parent's: so it ends by _exit().
  EndWithParent(laboratory);
  ::setpgid(0, 0);  // Ctrl-C is for the laboratory, and ends this with it
  said_.TakePlaceOf(STDERR_FILENO);
  if (cpu) ::sched_setaffinity(0, sizeof(cpus), &cpus);
  become();
}

void ServerProcess::Stop() {
  if (!Ended()) ::kill(pid_, SIGTERM);
  if (!Await([&] { return Ended().has_value(); })) throw Failure("the server does not end");
  if (!EndsWell(status_)) throw Failure("the server did not end as it was asked to");
}

std::chrono::nanoseconds ServerProcess::CpuTime() const { return echo_load::CpuTime(pid_); }

void ServerProcess::AwaitAlive(const std::function<bool()>& condition, const char* otherwise) {
  const bool came = Await([&] { return Ended() || condition(); });
  if (!came || Ended()) throw Failure(otherwise);
}

void ServerProcess::AwaitRest() {
  AwaitAlive([&] { return AllThreadsSleep(pid_); }, "the server does not come to rest");
}

std::size_t ServerProcess::Threads() const { return NumberIn(ProcFile("status"), "Threads:"); }

std::size_t ServerProcess::PrivateBytes() const {
  const std::string file = ProcFile("smaps_rollup");
  return (NumberIn(file, "Private_Clean:") + NumberIn(file, "Private_Dirty:")) << 10;
}

std::optional<std::string> ServerProcess::Ended() {
  if (pid_ != 0 && ::waitpid(pid_, &status_, WNOHANG) != pid_) return std::nullopt;
  pid_ = 0;
  return HowItEnded(status_);
}

std::string ServerProcess::ProcFile(std::string_view name) const {
  return fmt::format("/proc/{}/{}", pid_, name);
}

std::size_t NumberIn(const std::string& path, std::string_view name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(name)) continue;
    const std::size_t begin = line.find_first_of("0123456789", name.size());
    if (begin == std::string::npos) break;
    std::size_t value = 0;
    if (std::from_chars(line.data() + begin, line.data() + line.size(), value).ec == std::errc()) {
      return value;
    }
  }
  throw Failure(fmt::format("{}: no '{}' there", path, name));
}

std::size_t KernelStackBytes() { return NumberIn("/proc/meminfo", "KernelStack:") << 10; }

}  // namespace models
