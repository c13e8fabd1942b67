// A listener at work: takes connections from its queue and opens them.
//
// OWNER     EventLoop::Impl.
// THREADS   The loop's thread.
// ERRORS    The constructor throws weir::Error. From then on nothing that accept(2) says ends it.

#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "data/timer_wheel.h"
#include "loop/event_source.h"
#include "net/loop_core.h"
#include "os/listen_socket.h"
#include "weir/clock.h"
#include "weir/handler.h"

namespace weir {

class Acceptor final : public EventSource {
 public:
  Acceptor(LoopCore& core, int number, const Endpoint& endpoint, Handler& handler);
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;
  ~Acceptor();

  // Lets nobody else in, takes what is queued, in the owed list, then closes: a Unix listener at
  // once, one of TCP when handshakes that had begun have had their time.
  void Stop();
  // Closes now; `unlink_path` is false in a forked child.
  void Close(bool unlink_path) noexcept;

  [[nodiscard]] bool IsOpen() const noexcept { return socket_.fd() >= 0; }
  // Clients wait in the queue because there are no descriptors, or no memory, for them; or nobody
  // does, and it waits to close.
  [[nodiscard]] bool IsWaiting() const noexcept { return waits_; }
  [[nodiscard]] const Address& address() const noexcept { return address_; }
  [[nodiscard]] Handler& handler() const noexcept { return handler_; }

  void OnEdge(Edge edge) override;
  void OnOwed() override;
  void OnTimer() override;

 private:
  enum class Outcome : std::uint8_t { kTaken, kNext, kDrained, kStarved };

  void AcceptSome();
  Outcome AcceptOne();
  Outcome OnAcceptError(int error);
  void OpenConnection(int fd, const Address& peer);
  [[nodiscard]] bool HandlerTakes(int fd, const Address& peer);
  void Starve(int error);
  void Wait();
  void CloseInTime();
  void Owe();

  LoopCore& core_;
  const int number_;
  Handler& handler_;
  ListenSocket socket_;
  const Address address_;
  Token token_;
  bool owed_ = false;
  bool stopping_ = false;
  bool waits_ = false;

  Clock::time_point close_at_;  // once it is stopping

  // While there are no descriptors: when to look again, should no close of ours come first.
  std::chrono::milliseconds retry_{0};
  TimerId retry_timer_ = 0;
  std::optional<Clock::time_point> told_;  // when the log was told of it
};

}  // namespace weir
