// What both embed examples serve: an echo that its host program can speak through, too. The two
// programs are about how a host's own loop and weir's live on one thread.

#pragma once

#include <unistd.h>
#include <weir/weir.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <string_view>
#include <system_error>
#include <vector>

#include "options.h"

namespace example {

constexpr std::chrono::seconds kReportPeriod{1};

class EmbeddedEcho final : public weir::Handler {
 public:
  explicit EmbeddedEcho(std::size_t listeners) : listeners_(listeners) {}

  // ---- Called by weir

  void OnStart(weir::EventLoop& loop) override { PrintListeners(loop, listeners_); }

  void OnOpen(weir::Connection& connection) override {
    connections_.push_back(&connection);
    // A timer of weir's. The connection may be gone by then: a Ref() says so, a reference dangles.
    connection.Loop().RunAfter(kPatience, [ref = connection.Ref()] {
      weir::Connection* const still_open = ref.Get();
      if (still_open != nullptr && still_open->BytesIn() == 0)
        still_open->Write("* are you there?\n");
    });
  }

  std::size_t OnData(weir::Connection& connection, std::string_view in) override {
    connection.Write(in);
    return in.size();
  }

  void OnClose(weir::Connection& connection, weir::CloseReason, std::error_code) override {
    std::erase(connections_, &connection);
  }

  // ---- Called by the host, from events of its own

  // Reads `fd` once and sends what came to every client. These writes stand outside weir's turns:
  // they make PollFd() readable and NextTimeout() zero, and leave in the turn that follows.
  // Returns false at the end of input.
  bool PassOn(int fd) {
    std::array<char, 4096> buffer;
    const ssize_t size = read(fd, buffer.data(), buffer.size());
    if (size <= 0) return false;
    const std::string_view text(buffer.data(), static_cast<std::size_t>(size));
    for (weir::Connection* const connection : connections_) connection->Write(text);
    return true;
  }

  // Says how many clients there are, if that has changed.
  void Report() {
    if (connections_.size() == reported_) return;
    reported_ = connections_.size();
    std::printf("clients: %zu\n", reported_);
    std::fflush(stdout);
  }

 private:
  static constexpr std::chrono::milliseconds kPatience{500};

  std::size_t listeners_;
  std::size_t reported_ = 0;
  std::vector<weir::Connection*> connections_;  // from OnOpen to OnClose
};

}  // namespace example
