// All connections, for the time that they have, and what was measured.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
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
  explicit Load(const Options& options) : options_(options), buffer_(kChunk) {}

  // Throws Failure, and how many there were by then.
  void Open();
  // For as long as the options say, then to the end of every connection. Throws Failure.
  void Run();
  void PrintTable() const;
  void PrintJson() const;

 private:
  void OpenOne(const Target& target);
  void Turn(Clock::time_point end);
  void Handle(Connection& connection, std::uint32_t events);
  void Watch(Connection& connection);
  [[noreturn]] void Silence() const;

  [[nodiscard]] double PerSecond() const {
    return static_cast<double>(latencies_.Total()) / elapsed_.count();
  }
  [[nodiscard]] double MegabytesPerSecond() const {
    return PerSecond() * static_cast<double>(options_.size_bytes) / 1e6;
  }

  const Options& options_;
  Pattern pattern_;
  std::vector<char> buffer_;
  Fd epoll_;
  std::vector<Connection> connections_;
  std::size_t open_ = 0;
  bool asking_ = false;
  Clock::time_point last_byte_;
  std::chrono::duration<double> elapsed_{};
  Histogram latencies_;
};

}  // namespace echo_load
