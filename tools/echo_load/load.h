// All connections, for the time that they have, and what was measured.

#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "echo_load/connection.h"
#include "echo_load/fd.h"
#include "echo_load/histogram.h"
#include "echo_load/options.h"
#include "echo_load/pattern.h"
#include "echo_load/target.h"

namespace echo_load {

class Load final {
 public:
  // Throws UsageError, for a URL that is none, or Failure.
  explicit Load(const Options& options);

  // Throws Failure, and how many there were by then.
  void Open();
  // For as long as the options say, then to the end of every connection. Throws Failure.
  void Run();

  // In place of Run(), and as often as is wanted: asks for that long (in no time each connection
  // asks once), then waits until all is answered. Calls `halfway` in the middle of the time. What
  // the observers tell is of the last call. Throws Failure. REQUIRES: no --reconnect.
  void Ask(std::chrono::duration<double> time, const std::function<void()>& halfway = nullptr);
  void Finish();  // each connection half-closes, and wants the peer's end; throws Failure
  void Reset();   // each connection is reset

  [[nodiscard]] const Histogram& Latencies() const { return latencies_; }
  [[nodiscard]] std::chrono::duration<double> Elapsed() const { return elapsed_; }
  [[nodiscard]] std::uint64_t Answered() const;  // all requests so far, also those of no latency

  void PrintTable() const;
  void PrintJson() const;

 private:
  void OpenOne();
  void AskUntil(Clock::time_point end, const std::function<void()>& halfway);
  Fd ConnectAndWatch(std::size_t index);
  void Turn(Clock::time_point end);
  void Handle(Connection& connection, std::uint32_t events);
  void Renew(Connection& connection);
  void Watch(Connection& connection);
  [[noreturn]] void Silence() const;

  [[nodiscard]] double PerSecond() const {
    return static_cast<double>(latencies_.Total()) / elapsed_.count();
  }
  [[nodiscard]] double ServerMicrosPerRequest() const {
    const auto requests = static_cast<double>(std::max<std::uint64_t>(latencies_.Total(), 1));
    return static_cast<double>(server_time_.count()) / 1000.0 / requests;
  }
  [[nodiscard]] double MegabytesPerSecond() const {
    return PerSecond() * static_cast<double>(options_.size_bytes) / 1e6;
  }

  const Options& options_;
  Target target_;
  Pattern pattern_;
  std::vector<char> buffer_;
  Fd epoll_;
  std::vector<Connection> connections_;
  std::size_t open_ = 0;
  bool asking_ = false;
  Clock::time_point last_byte_;
  std::chrono::duration<double> elapsed_{};
  std::chrono::nanoseconds server_time_{};
  Histogram latencies_;
};

}  // namespace echo_load
