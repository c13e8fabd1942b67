// A server in a process of its own, and what that process uses: of a model, or of a guest.
//
// OWNER     It owns the process: the destructor kills what Stop() has not ended.
// ERRORS    echo_load::Failure: the system refused something, or the server died or does not end
//           (Ended() tells).

#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "models/words.h"

namespace models {

struct Switches {
  std::uint64_t wakeups = 0;      // voluntary context switches: a thread slept, and was woken
  std::uint64_t preemptions = 0;  // involuntary ones: it was put aside for another
};

// System calls that the server has made.
struct Calls {
  std::uint64_t waits = 0;
  std::uint64_t receives = 0;
  std::uint64_t sends = 0;
  std::uint64_t in_vain = 0;
  std::uint64_t others = 0;  // starting a thread is one of them

  [[nodiscard]] std::uint64_t Total() const { return waits + receives + sends + in_vain + others; }
  [[nodiscard]] Calls Since(const Calls& before) const {
    return {.waits = waits - before.waits,
            .receives = receives - before.receives,
            .sends = sends - before.sends,
            .in_vain = in_vain - before.in_vain,
            .others = others - before.others};
  }
};

class ServerProcess {
 public:
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;
  virtual ~ServerProcess();

  // Until it can be connected to, at Url().
  virtual void AwaitListening() = 0;
  [[nodiscard]] const std::string& Url() const { return url_; }

  // Ends it as Ctrl-C does, and wants it to end well.
  void Stop();

  [[nodiscard]] std::chrono::nanoseconds CpuTime() const;
  // REQUIRES: nothing is in flight.
  [[nodiscard]] virtual Switches ReadSwitches() = 0;
  // What that adds to the next answer, since the server is disturbed by it.
  [[nodiscard]] virtual std::uint64_t WakeupsOfReading() const = 0;
  // Until each of its threads sleeps: what is answered may have something to do still.
  void AwaitRest();
  // Nothing if nobody counts them.
  [[nodiscard]] virtual std::optional<Calls> ReadCalls() const = 0;
  [[nodiscard]] std::size_t Threads() const;
  [[nodiscard]] std::size_t PrivateBytes() const;  // memory that no other process has

  // The last line that it has said on stderr, or nothing.
  [[nodiscard]] std::string Said() const { return said_.LastLine(); }
  // How it ended, if it has.
  [[nodiscard]] std::optional<std::string> Ended();
  // It has ended because the system does not have, or allow, what the model is made of.
  [[nodiscard]] bool IsNotToBeHad() { return Ended() && SaysNotToBeHad(status_); }

 protected:
  ServerProcess() = default;

  // `become`: what the child does, on the only processor that it may use. It does not return.
  void Start(std::optional<int> cpu, const std::function<void()>& become);
  // Waits for it, as long as the server lives; throws Failure with `otherwise`.
  void AwaitAlive(const std::function<bool()>& condition, const char* otherwise);

  void ListensAt(std::string url) { url_ = std::move(url); }
  [[nodiscard]] pid_t Pid() const { return pid_; }
  [[nodiscard]] std::string ProcFile(std::string_view name) const;

 private:
  // Of what waitpid(2) says: whether it did what a SIGTERM asks for, and exit code kNotToBeHad.
  [[nodiscard]] virtual bool EndsWell(int status) const = 0;
  [[nodiscard]] virtual bool SaysNotToBeHad(int status) const = 0;

  Words said_{"stderr of a server"};
  std::string url_;
  pid_t pid_ = 0;   // 0: it has ended, and is waited for
  int status_ = 0;  // how
};

// The number behind `name` in a file of "name: number" lines, as /proc has them.
[[nodiscard]] std::size_t NumberIn(const std::string& path, std::string_view name);

// Kernel stacks of the whole machine: of each thread one, which no process's own figures show.
[[nodiscard]] std::size_t KernelStackBytes();

}  // namespace models
