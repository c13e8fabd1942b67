#include "models/server_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <vector>

#include "echo_load/cpu_time.h"
#include "echo_load/failure.h"
#include "models/asleep.h"
#include "models/end_with_parent.h"
#include "models/guest.h"
#include "models/serve.h"
#include "models/server_child.h"
#include "models/servers/server.h"

namespace models {

using echo_load::ErrorText;
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

// The number behind `name` in a file of "name: number" lines.
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

// For the server's process: becomes this program anew, and nothing of the laboratory stays in it.
void BecomeModel(const Model& model, int listener, int shared_page) {
  std::vector<std::string> words = ChildArguments(model.name, listener, shared_page);
  words.insert(words.begin(), "weir-models");
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  ::fcntl(listener, F_SETFD, 0);
  ::fcntl(shared_page, F_SETFD, 0);
  ::execv("/proc/self/exe", arguments.data());
  fmt::print(stderr, "execv /proc/self/exe: {}\n", ErrorText(errno));
  ::_exit(127);
}

std::string HowItEnded(int status) {
  if (WIFSIGNALED(status)) return fmt::format("died of signal {}", WTERMSIG(status));
  return fmt::format("ended with exit code {}", WEXITSTATUS(status));
}

}  // namespace

ServerProcess::ServerProcess(const Model& model, std::optional<int> cpu)
    : is_guest_(model.IsGuest()) {
  if (is_guest_) {
    Start(cpu, [&] { BecomeGuest(model, printed_); });
    return;
  }
  const Listener listener = Listen(0);
  const echo_load::Fd owner(listener.fd);
  url_ = fmt::format("tcp://127.0.0.1:{}", listener.port);
  Start(cpu, [&] { BecomeModel(model, listener.fd, page_.Descriptor()); });
}

ServerProcess::~ServerProcess() {
  if (pid_ == 0) return;
  ::kill(-pid_, SIGKILL);  // its group: a guest may have children
  ::kill(pid_, SIGKILL);   // and itself, if it is not yet in that
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) continue;
}

template <class Become>
void ServerProcess::Start(std::optional<int> cpu, Become become) {
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

void ServerProcess::AwaitListening() {
  if (!is_guest_) return;
  AwaitAlive([&] { return GuestUrl(printed_).has_value(); }, kNoGuestUrl);
  url_ = *GuestUrl(printed_);
}

void ServerProcess::Stop() {
  if (!Ended()) ::kill(pid_, SIGTERM);
  if (!Await([&] { return Ended().has_value(); })) throw Failure("the server does not end");
  if (!EndedAsAsked()) throw Failure("the server did not end as it was asked to");
}

bool ServerProcess::EndedAsAsked() const {
  return status_ == 0 || (is_guest_ && WIFSIGNALED(status_) && WTERMSIG(status_) == SIGTERM);
}

std::chrono::nanoseconds ServerProcess::CpuTime() const { return echo_load::CpuTime(pid_); }

template <class Condition>
void ServerProcess::AwaitAlive(Condition condition, const char* otherwise) {
  const bool came = Await([&] { return Ended() || condition(); });
  if (!came || Ended()) throw Failure(otherwise);
}

void ServerProcess::AwaitRest() {
  AwaitAlive([&] { return AllThreadsSleep(pid_); }, "the server does not come to rest");
}

Switches ServerProcess::ReadSwitches() { return is_guest_ ? SumOfThreads() : AskForSwitches(); }

Switches ServerProcess::AskForSwitches() {
  const std::uint64_t question = page_->asked.load() + 1;
  page_->asked = question;
  if (!Ended()) ::kill(pid_, SIGUSR1);  // and never kill(0), which is the laboratory itself
  AwaitAlive([&] { return page_->answered.load() == question; },
             "the server does not tell what it uses");
  // The signal has ended its wait: that it waits again is still a part of this.
  AwaitAlive([&] { return FirstThreadSleeps(pid_); }, "the server does not come to rest");
  return {.wakeups = page_->wakeups.load(), .preemptions = page_->preemptions.load()};
}

Switches ServerProcess::SumOfThreads() const {
  Switches sum;
  for (const auto& thread : std::filesystem::directory_iterator(ProcFile("task"))) {
    const std::string status = thread.path() / "status";
    sum.wakeups += NumberIn(status, "voluntary_ctxt_switches:");
    sum.preemptions += NumberIn(status, "nonvoluntary_ctxt_switches:");
  }
  return sum;
}

std::optional<Calls> ServerProcess::ReadCalls() const {
  if (is_guest_) return std::nullopt;
  const Counters& counters = page_->counters;
  return Calls{.waits = counters.waits.load(),
               .receives = counters.receives.load(),
               .sends = counters.sends.load(),
               .in_vain = counters.in_vain.load(),
               .others = counters.others.load() + counters.threads.load()};
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

bool ServerProcess::IsNotToBeHad() {
  return !is_guest_ && Ended() && WIFEXITED(status_) && WEXITSTATUS(status_) == kNotToBeHad;
}

std::string ServerProcess::ProcFile(const char* name) const {
  return fmt::format("/proc/{}/{}", pid_, name);
}

std::size_t KernelStackBytes() { return NumberIn("/proc/meminfo", "KernelStack:") << 10; }

}  // namespace models
