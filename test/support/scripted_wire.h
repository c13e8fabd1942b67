// A wire on which a test sets each trap on purpose.
#pragma once

#include <algorithm>
#include <cerrno>
#include <deque>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/wire.h"

namespace weir::test {

class ScriptedWire final : public Wire {
 public:
  static constexpr Traits kTcp{
      .short_receive_drains = true, .write_interest_is_noisy = false, .peer_is_remembered = true};
  static constexpr Traits kUnix{
      .short_receive_drains = false, .write_interest_is_noisy = true, .peer_is_remembered = true};

  explicit ScriptedWire(Traits traits = kTcp) : Wire(traits) {}

  // ---- The peer's part. What is not scripted would block. One receive never crosses two pieces.
  ScriptedWire& WillReceive(std::string_view bytes) {
    input_.push_back({std::string(bytes), 0, false});
    return *this;
  }
  // An urgent byte: the next receive goes past it.
  ScriptedWire& ThenUrgent() {
    input_.push_back({"", 0, false, true});
    return *this;
  }
  ScriptedWire& ThenEnd() {
    input_.push_back({"", 0, true});
    return *this;
  }
  ScriptedWire& ThenFail(int error) {
    input_.push_back({"", error, false});
    return *this;
  }
  ScriptedWire& ThenBlock() { return ThenFail(EAGAIN); }

  // The next send takes at most this much (0: EAGAIN); after the script, everything.
  ScriptedWire& WillTake(std::size_t bytes) {
    takes_.push_back(static_cast<std::ptrdiff_t>(bytes));
    return *this;
  }
  ScriptedWire& WillFailSend(int error) {
    takes_.push_back(-error);
    return *this;
  }

  // ---- What the connection did
  std::string sent;
  int receives = 0;
  int sends = 0;
  bool fin = false;     // ShutdownWrite
  bool closed = false;  // Close or Reset
  bool reset = false;
  int pending_error = 0;         // TakeError's answer, once
  int shutdown_error = 0;        // ShutdownWrite's
  std::vector<std::string> log;  // "receive 5", "send 10/20", "fin", "close", "reset"

  Transfer TryReceive(int, std::span<char> room) override {
    ++receives;
    if (AtUrgentMark(0)) input_.pop_front();
    if (input_.empty()) return Logged("receive", -EAGAIN, room.size());
    Step& step = input_.front();
    std::ptrdiff_t result = 0;
    if (step.error != 0) {
      result = -step.error;
      input_.pop_front();
    } else if (!step.end) {
      const std::size_t count = std::min(room.size(), step.bytes.size());
      std::copy_n(step.bytes.begin(), count, room.begin());
      step.bytes.erase(0, count);
      if (step.bytes.empty()) input_.pop_front();
      result = static_cast<std::ptrdiff_t>(count);
    }  // an end is seen as often as it is read
    return Logged("receive", result, room.size());
  }

  Transfer TrySend(int, std::string_view bytes) override {
    ++sends;
    const std::size_t offered = bytes.size();
    std::ptrdiff_t takes = std::numeric_limits<std::ptrdiff_t>::max();
    if (!takes_.empty()) {
      takes = takes_.front();
      takes_.pop_front();
    }
    if (takes == 0) return Logged("send", -EAGAIN, offered);
    if (takes < 0) return Logged("send", takes, offered);
    const std::size_t count = std::min(offered, static_cast<std::size_t>(takes));
    sent += bytes.substr(0, count);
    return Logged("send", static_cast<std::ptrdiff_t>(count), offered);
  }

  // Logged as the one send that it is.
  Transfer TrySendPieces(int fd, std::span<const std::string_view> pieces) override {
    std::string all;
    for (const std::string_view piece : pieces) all += piece;
    return TrySend(fd, all);
  }

  int ShutdownWrite(int) override {
    log.emplace_back("fin");
    if (shutdown_error != 0) return -shutdown_error;
    fin = true;
    return 0;
  }
  void Close(int) override {
    log.emplace_back("close");
    closed = true;
  }
  void Reset(int) override {
    log.emplace_back("reset");
    closed = reset = true;
  }
  int TakeError(int) override { return std::exchange(pending_error, 0); }
  std::size_t Unread(int) override {
    std::size_t count = 0;
    for (const Step& step : input_) {
      if (step.mark) break;
      count += step.bytes.size();
    }
    return count;
  }
  bool AtUrgentMark(int) override { return !input_.empty() && input_.front().mark; }

 private:
  struct Step {
    std::string bytes;
    int error;
    bool end;
    bool mark = false;
  };

  Transfer Logged(const char* call, std::ptrdiff_t result, std::size_t room) {
    log.push_back(std::string(call) + " " + std::to_string(result) + "/" + std::to_string(room));
    return Transfer(result);
  }

  std::deque<Step> input_;
  std::deque<std::ptrdiff_t> takes_;  // < 0: fails
};

}  // namespace weir::test
