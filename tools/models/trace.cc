// Three processes: this one, which traces; the server, which asked to be traced before it began, so
// that all its threads are; and a client, which stops itself before each request. All that happens
// comes to one waitpid(). The client goes on once all threads of the server sleep: so no call of an
// earlier request is counted, or of a later one forgotten.

#include "models/trace.h"

#include <fmt/format.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "echo_load/failure.h"
#include "echo_load/fd.h"
#include "models/asleep.h"
#include "models/end_with_parent.h"
#include "models/guest.h"
#include "models/serve.h"
#include "models/trace_client.h"
#include "models/words.h"

namespace models {
namespace {

using echo_load::Failure;

constexpr std::size_t kWarmUp = 20;
constexpr std::size_t kRequests = 100;
constexpr std::chrono::seconds kLimit{10};

constexpr auto kNames = std::to_array<std::pair<long, const char*>>({
#ifdef SYS_select
    {SYS_select, "select"},
#endif
#ifdef SYS_poll
    {SYS_poll, "poll"},
#endif
#ifdef SYS_epoll_wait
    {SYS_epoll_wait, "epoll_wait"},
#endif
    {SYS_pselect6, "pselect6"},
    {SYS_ppoll, "ppoll"},
    {SYS_epoll_pwait, "epoll_pwait"},
    {SYS_epoll_ctl, "epoll_ctl"},
    {SYS_read, "read"},
    {SYS_readv, "readv"},
    {SYS_write, "write"},
    {SYS_writev, "writev"},
    {SYS_recvfrom, "recvfrom"},
    {SYS_recvmsg, "recvmsg"},
    {SYS_sendto, "sendto"},
    {SYS_sendmsg, "sendmsg"},
    {SYS_accept4, "accept4"},
    {SYS_nanosleep, "nanosleep"},
    {SYS_clock_nanosleep, "clock_nanosleep"},
    {SYS_io_uring_enter, "io_uring_enter"},
    {SYS_clone, "clone"},
    {SYS_clone3, "clone3"},
    {SYS_set_robust_list, "set_robust_list"},
    {SYS_rseq, "rseq"},
    {SYS_rt_sigprocmask, "rt_sigprocmask"},
    {SYS_mmap, "mmap"},
    {SYS_mprotect, "mprotect"},
    {SYS_munmap, "munmap"},
    {SYS_madvise, "madvise"},
    {SYS_futex, "futex"},
    {SYS_exit, "exit"},
    {SYS_sched_yield, "sched_yield"},
    {SYS_sigaltstack, "sigaltstack"},
    {SYS_getpid, "getpid"},
    {SYS_gettid, "gettid"},
    {SYS_tgkill, "tgkill"},
    {SYS_rt_sigreturn, "rt_sigreturn"},
});

std::string NameOf(std::uint64_t number) {
  for (const auto& [known, name] : kNames) {
    if (static_cast<std::uint64_t>(known) == number) return name;
  }
  return fmt::format("syscall {}", number);
}

// A process that is gone when this is.
class Child final {
 public:
  // `be`: what the child does; it does not return.
  template <class Be>
  explicit Child(Be be) {
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) echo_load::FailCall("fork");
    if (pid_ != 0) return;
    EndWithParent(parent);
    be();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ == 0) return;
    ::kill(pid_, SIGKILL);
    // Traced threads are waited for one by one, and the process last.
    for (pid_t ended = 0; ended != pid_;) {
      ended = ::waitpid(-1, nullptr, __WALL);
      if (ended < 0 && errno != EINTR) return;
    }
  }

  [[nodiscard]] pid_t Pid() const { return pid_; }
  void WasWaitedFor() { pid_ = 0; }

 private:
  pid_t pid_ = 0;
};

// What it says.
struct Heard {
  Words said{"stderr of a server"};
  Words printed{"stdout of a server"};
};

[[noreturn]] void BeServer(const Model& model, int listener, const Heard& heard) {
  heard.said.TakePlaceOf(STDERR_FILENO);
  if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(126);
  ::raise(SIGSTOP);  // until the options are set
  if (model.IsGuest()) BecomeGuest(model, heard.printed);
  RunServer(model, listener);
  ::_exit(0);
}

void Resume(pid_t thread, int signal) {
  // It may have been killed meanwhile.
  ::ptrace(PTRACE_SYSCALL, thread, nullptr, static_cast<std::uintptr_t>(signal));
}

class Tracer final {
 public:
  Tracer(Child& server, Child& client) : server_(server), client_(client) {}

  [[nodiscard]] Traced Run() {
    for (std::size_t i = 0; i < kWarmUp + kRequests; ++i) {
      RunUntilRest();
      counts_ = i >= kWarmUp;
      client_stopped_ = false;
      ::kill(client_.Pid(), SIGCONT);
    }
    RunUntilRest();
    return std::move(traced_);
  }

 private:
  // Until the client has stopped itself, and nothing is left to do for the server.
  void RunUntilRest() {
    while (!client_stopped_) HandleOne(0);
    const auto end = std::chrono::steady_clock::now() + kLimit;
    while (HandleOne(WNOHANG) || !AllThreadsSleep(server_.Pid())) {
      if (std::chrono::steady_clock::now() > end) throw Failure("the server does not come to rest");
    }
  }

  // Returns false if nothing has happened (with WNOHANG).
  bool HandleOne(int flags) {
    int status = 0;
    const pid_t child = ::waitpid(-1, &status, flags | __WALL | WUNTRACED);
    if (child == 0) return false;
    if (child < 0 && errno != EINTR) echo_load::FailCall("waitpid");
    if (child < 0) return true;
    if (WIFSTOPPED(status) && child == client_.Pid()) {
      client_stopped_ = true;
    } else if (WIFSTOPPED(status)) {
      OnServerStop(child, status);
    } else if (child == client_.Pid()) {
      client_.WasWaitedFor();
      throw Failure(WhyTraceClientEnded(WEXITSTATUS(status)));
    } else if (child == server_.Pid()) {
      server_.WasWaitedFor();
      throw Failure("the server died");
    }
    return true;
  }

  // A thread of the server has stopped: at a system call, most of the time.
  void OnServerStop(pid_t thread, int status) {
    const int signal = WSTOPSIG(status);
    const bool at_call = signal == (SIGTRAP | 0x80);
    if (at_call && counts_) {
      __ptrace_syscall_info info{};
      if (::ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof(info), &info) < 0) {
        echo_load::FailCall("ptrace (PTRACE_GET_SYSCALL_INFO needs Linux 5.3)");
      }
      if (info.op == PTRACE_SYSCALL_INFO_ENTRY) ++traced_.calls[NameOf(info.entry.nr)];
    }
    // SIGTRAP and SIGSTOP are of the tracing itself; other signals are the server's.
    Resume(thread, at_call || signal == SIGTRAP || signal == SIGSTOP ? 0 : signal);
  }

  Child& server_;
  Child& client_;
  Traced traced_{.requests = kRequests, .calls = {}};
  bool counts_ = false;
  bool client_stopped_ = false;
};

std::string JsonLine(const Model& model, const Traced& traced) {
  std::vector<std::string> calls;
  for (const auto& [name, count] : traced.calls) {
    calls.push_back(fmt::format("\"{}\":{:g}", name, traced.PerRequest(count)));
  }
  return fmt::format("\"{}\":{{{}}}", model.name, fmt::join(calls, ","));
}

std::string TextLine(const Model& model, const Traced& traced) {
  std::string line = fmt::format("{:<26} {:>6.2f}  ", model.title, traced.Total());
  for (const auto& [name, count] : traced.calls) {
    const double each = traced.PerRequest(count);
    line += each == 1 ? " " + name : fmt::format(" {} x {:g}", name, each);
  }
  return line;
}

}  // namespace

double Traced::Total() const {
  std::size_t all = 0;
  for (const auto& [name, count] : calls) all += count;
  return PerRequest(all);
}

Traced Trace(const Model& model) {
  const Heard heard;
  const Listener listener = Listen(0);  // a guest does not use it
  const echo_load::Fd owner(listener.fd);
  Child server([&] { BeServer(model, listener.fd, heard); });
  int status = 0;
  if (::waitpid(server.Pid(), &status, __WALL) != server.Pid()) echo_load::FailCall("waitpid");
  if (!WIFSTOPPED(status)) throw Failure("ptrace: the system does not let us trace a child");
  constexpr auto kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
  if (::ptrace(PTRACE_SETOPTIONS, server.Pid(), nullptr, kOptions) != 0)
    echo_load::FailCall("ptrace");
  Resume(server.Pid(), 0);
  Child client([&] {
    const auto url = [&]() -> std::optional<std::string> {
      if (model.IsGuest()) return GuestUrl(heard.printed);
      return fmt::format("tcp://127.0.0.1:{}", listener.port);
    };
    BeTraceClient(url, kWarmUp + kRequests);
  });
  try {
    return Tracer(server, client).Run();
  } catch (const Failure& failure) {
    const std::string said = heard.said.LastLine();
    if (said.empty()) throw;
    throw Failure(fmt::format("{}; the server said: '{}'", failure.what(), said));
  }
}

bool PrintCalls(std::span<const Model* const> models, bool json) {
  std::vector<std::string> lines;
  for (const Model* const model : models) {
    try {
      const Traced traced = Trace(*model);
      lines.push_back(json ? JsonLine(*model, traced) : TextLine(*model, traced));
    } catch (const std::runtime_error& error) {  // Failure, or std::system_error
      fmt::print(stderr, "weir-models: {}: {}\n", model->name, error.what());
    }
  }
  if (json) {
    fmt::print("{{{}}}\n", fmt::join(lines, ",\n"));
  } else {
    for (const std::string& line : lines) fmt::print("{}\n", line);
  }
  return lines.size() == models.size();
}

}  // namespace models
