// A poller that reports what a test tells it, and writes down what it is asked.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "os/poller.h"

namespace weir::test {

class ScriptedPoller final : public Poller {
 public:
  // Reported together by the next wait that comes.
  void Report(Token token, std::uint32_t bits) {
    Event event{};
    event.events = bits;
    event.data.u64 = token.Packed();
    next_.push_back(event);
  }

  int Add(int fd, Interest interest, Token token) override {
    log.push_back("add " + Describe(fd, interest));
    if (add_error != 0) return -add_error;
    tokens.push_back(token);
    if (on_change) on_change(fd, interest, token);
    return 0;
  }
  int Modify(int fd, Interest interest, Token token) override {
    log.push_back("mod " + Describe(fd, interest));
    if (modify_error != 0) return -modify_error;
    if (on_change) on_change(fd, interest, token);
    return 0;
  }
  int Remove(int fd) override {
    log.push_back("del " + std::to_string(fd));
    return 0;
  }
  int Wait(std::span<Event> events, int milliseconds) override {
    timeouts.push_back(milliseconds);
    if (on_wait) on_wait(milliseconds);
    const std::size_t count = std::min(events.size(), next_.size());
    std::copy_n(next_.begin(), count, events.begin());
    next_.erase(next_.begin(), next_.begin() + static_cast<std::ptrdiff_t>(count));
    return static_cast<int>(count);
  }

  [[nodiscard]] int fd() const noexcept override { return -1; }

  std::vector<std::string> log;  // "add 1000 read", "mod 1000 read+write"
  std::vector<Token> tokens;     // of each Add
  std::vector<int> timeouts;     // of each Wait, in milliseconds; -1 is for ever
  std::function<void(int)> on_wait;
  std::function<void(int fd, Interest, Token)> on_change;  // an Add or Modify that went well
  int add_error = 0;
  int modify_error = 0;

 private:
  static std::string Describe(int fd, Interest interest) {
    const char* const what = interest == Interest::kReadWrite      ? "read+write"
                             : interest == Interest::kRead         ? "read"
                             : interest == Interest::kAcceptShared ? "accept shared"
                                                                   : "accept";
    return std::to_string(fd) + " " + what;
  }

  std::deque<Event> next_;
};

}  // namespace weir::test
