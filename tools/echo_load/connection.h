// One connection: it keeps its requests in flight, and checks what comes back.
//
// ERRORS    Failure, from any function, when the stream is not what it has to be.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "echo_load/fd.h"
#include "echo_load/histogram.h"
#include "echo_load/options.h"
#include "echo_load/pattern.h"

namespace echo_load {

using Clock = std::chrono::steady_clock;

class Connection final {
 public:
  Connection(Fd fd, std::size_t number, const Options& options, const Pattern& pattern)
      : fd_(std::move(fd)),
        number_(number),
        size_(options.size_bytes),
        once_(options.reconnect),
        start_(number * 7919),
        pattern_(pattern),
        asked_at_(options.depth) {}

  void AskFirst(Clock::time_point now) {
    for (Clock::time_point& at : asked_at_) at = now;
    goal_ += size_ * asked_at_.size();
  }

  // Ends it with a reset, which leaves no port in TIME_WAIT.
  void Reset();

  // The same, and begins anew on `fd`. REQUIRES: Idle().
  void Renew(Fd fd);

  // One recv. Records the requests that are answered and, while `ask` is set, makes up for them
  // (not with --reconnect).
  // Returns false if there was nothing.
  bool Receive(std::span<char> buffer, bool ask, Histogram& latencies);

  // Sends what may be sent, and says the end when it has come.
  void Send();

  // No more requests; when all is sent, the end.
  void Finish() {
    finishing_ = true;
    Send();
  }

  [[nodiscard]] int Descriptor() const { return fd_.Get(); }
  [[nodiscard]] bool Blocked() const { return blocked_; }
  [[nodiscard]] bool Ended() const { return ended_; }
  [[nodiscard]] bool Idle() const { return received_ == goal_; }
  [[nodiscard]] std::uint64_t Answered() const { return answered_; }  // requests, since it began
  [[nodiscard]] std::string Position() const;                         // how far it is, in words

  bool watched_for_output = false;  // Load's note of what epoll was told

 private:
  void Verify(std::span<const char> got) const;
  void PeerEnded();

  Fd fd_;
  std::size_t number_;
  std::size_t size_;
  bool once_;            // one request, then Renew()
  std::uint64_t start_;  // of its stream in the pattern
  const Pattern& pattern_;

  // Positions in the stream: received_ <= sent_ <= goal_.
  std::uint64_t received_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t goal_ = 0;

  std::uint64_t answered_ = 0;               // requests
  std::vector<Clock::time_point> asked_at_;  // of request n at n % depth

  bool blocked_ = false;  // the last send was refused, or taken in part
  bool finishing_ = false;
  bool half_closed_ = false;
  bool ended_ = false;
};

}  // namespace echo_load
