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
#include "models/last_words.h"
#include "models/shared_page.h"

namespace models {

// Of all its threads, also of those that have ended.
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
};

class ServerProcess final {
 public:
  // `cpu`: the only one that it may use.
  ServerProcess(const Model& model, std::optional<int> cpu);
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;
  ~ServerProcess();

  // Ends it as Ctrl-C does, and wants exit code 0.
  void Stop();

  [[nodiscard]] const std::string& Url() const { return url_; }
  [[nodiscard]] std::chrono::nanoseconds CpuTime() const;
  // Asks the server itself, by a signal, and waits until it rests again. REQUIRES: nothing is in
  // flight.
  [[nodiscard]] Switches ReadSwitches();
  // Until each of its threads sleeps: what is answered may have something to do still.
  void AwaitRest();
  [[nodiscard]] Calls ReadCalls() const;
  [[nodiscard]] std::size_t Threads() const;
  [[nodiscard]] std::size_t PrivateBytes() const;  // memory that no other process has

  // The last line that it has said on stderr, or nothing.
  [[nodiscard]] std::string Said() const { return said_.Line(); }
  // How it ended, if it has.
  [[nodiscard]] std::optional<std::string> Ended();
  // It has ended because the system does not have, or allow, what the model is made of.
  [[nodiscard]] bool IsNotToBeHad();

 private:
  // Waits for it, as long as the server lives; throws Failure with `otherwise`.
  template <class Condition>
  void AwaitAlive(Condition condition, const char* otherwise);
  void Start(const Model& model, int listener, std::optional<int> cpu);
  [[nodiscard]] std::string ProcFile(const char* name) const;

  OwnedPage page_;
  LastWords said_;
  std::string url_;
  pid_t pid_ = 0;   // 0: it has ended, and is waited for
  int status_ = 0;  // how
};

// Kernel stacks of the whole machine: of each thread one, which no process's own figures show.
[[nodiscard]] std::size_t KernelStackBytes();

}  // namespace models
