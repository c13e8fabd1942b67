// A model that serves in a process of its own, and what that process uses.
//
// OWNER     It owns the process: the destructor kills what Stop() has not ended.
// ERRORS    echo_load::Failure: the system refused something, or the server died or does not end
//           (Ended() tells). Of Listen(): std::system_error.

#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "models/catalogue.h"
#include "models/shared_page.h"
#include "models/words.h"

namespace models {

// Of all its threads, also of those that have ended (but not of a guest's).
struct Switches {
  std::uint64_t wakeups = 0;      // voluntary context switches: a thread slept, and was woken
  std::uint64_t preemptions = 0;  // involuntary ones: it was put aside for another
};

// Calls that the server has made, and the bytes that are its own.
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

class ServerProcess final {
 public:
  // `cpu`: the only one that it may use.
  ServerProcess(const Model& model, std::optional<int> cpu);
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;
  ~ServerProcess();

  // Until it can be connected to: a guest has to say where.
  void AwaitListening();

  // Ends it as Ctrl-C does, and wants exit code 0. A guest may die of the signal.
  void Stop();

  [[nodiscard]] const std::string& Url() const { return url_; }
  [[nodiscard]] std::chrono::nanoseconds CpuTime() const;
  // Asks the server itself, by a signal, and waits until it rests again; of a guest it looks into
  // /proc. REQUIRES: nothing is in flight.
  [[nodiscard]] Switches ReadSwitches();
  // What a question adds to the answer of the next: to sleep again.
  [[nodiscard]] std::uint64_t WakeupsOfQuestion() const { return is_guest_ ? 0 : 1; }
  // Until each of its threads sleeps: what is answered may have something to do still.
  void AwaitRest();
  [[nodiscard]] std::optional<Calls> ReadCalls() const;  // nobody counts those of a guest
  [[nodiscard]] std::size_t Threads() const;
  [[nodiscard]] std::size_t PrivateBytes() const;  // memory that no other process has

  // The last line that it has said on stderr, or nothing.
  [[nodiscard]] std::string Said() const { return said_.LastLine(); }
  // How it ended, if it has.
  [[nodiscard]] std::optional<std::string> Ended();
  // It has ended because the system does not have, or allow, what the model is made of.
  [[nodiscard]] bool IsNotToBeHad();

 private:
  // Waits for it, as long as the server lives; throws Failure with `otherwise`.
  template <class Condition>
  void AwaitAlive(Condition condition, const char* otherwise);
  // `become`: what the child does. It does not return.
  template <class Become>
  void Start(std::optional<int> cpu, Become become);
  [[nodiscard]] Switches AskForSwitches();
  [[nodiscard]] Switches SumOfThreads() const;
  [[nodiscard]] bool EndedAsAsked() const;
  [[nodiscard]] std::string ProcFile(const char* name) const;

  const bool is_guest_;
  OwnedPage page_;
  Words said_{"stderr of a server"};
  Words printed_{"stdout of a server"};
  std::string url_;
  pid_t pid_ = 0;   // 0: it has ended, and is waited for
  int status_ = 0;  // how
};

// Kernel stacks of the whole machine: of each thread one, which no process's own figures show.
[[nodiscard]] std::size_t KernelStackBytes();

}  // namespace models
