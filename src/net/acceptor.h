// A listener at work: takes clients from its queue, and gives them to its own loop's Reception or
// to whom the Distributor chooses.
//
// OWNER     EventLoop::Impl.
// THREADS   The loop's thread; address() any.
// ERRORS    The constructor throws weir::Error. From then on nothing that accept(2) says ends it.

#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "data/timer_wheel.h"
#include "loop/event_source.h"
#include "net/handover.h"
#include "net/loop_core.h"
#include "net/reception.h"
#include "net/shared_listener.h"
#include "os/listen_socket.h"
#include "weir/clock.h"
#include "weir/handler.h"

namespace weir {

// Where a loop's clients come from: one of the first three.
struct ListenSource {
  std::unique_ptr<ListenSocket> own{};      // a socket of this loop's
  SharedListener* shared = nullptr;         // one that other loops accept from as well
  const ListenSocket* elsewhere = nullptr;  // one of another loop, which hands over
  Distributor* distributor = nullptr;       // who serves what `own` accepts; null: this loop
};

class Acceptor final : public EventSource {
 public:
  enum class Closing : std::uint8_t {
    kRunning,    // the loop goes on, and so may others that share the socket
    kDestroyed,  // the loop is being destroyed
    kForked,     // in a child: everything but the descriptors is the parent's
  };

  Acceptor(LoopCore& core, int number, ListenSource source);
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;
  ~Acceptor();

  // Before the first turn.
  void SetHandler(Handler& handler) noexcept { reception_.SetHandler(handler); }
  [[nodiscard]] Handler* handler() const noexcept { return reception_.handler(); }

  // Lets nobody else in, takes what is queued, in the owed list, then closes: a Unix listener at
  // once, one of TCP when handshakes that had begun have had their time. A queue that other loops
  // share is theirs from now on; the last one does as above.
  void Stop();
  void Close(Closing how) noexcept;

  // Another loop that shares the socket may have left clients in the queue.
  void Look();
  // A client that another loop has accepted.
  void TakeHanded(UniqueFd fd, const PeerAddress& peer);

  [[nodiscard]] bool IsOpen() const noexcept { return socket_ != nullptr; }
  // Clients may be in the queue, or may come, though the loop stops: there are no descriptors or no
  // memory for them, or their handshakes have not ended.
  [[nodiscard]] bool IsWaiting() const noexcept { return waits_; }
  [[nodiscard]] const Address& address() const noexcept { return address_; }
  [[nodiscard]] const std::string& url() const noexcept { return reception_.url(); }
  [[nodiscard]] int fd() const noexcept { return socket_ != nullptr ? socket_->fd() : -1; }

  void OnEdge(Edge edge) override;
  void OnOwed() override;
  void OnTimer() override;

 private:
  enum class Outcome : std::uint8_t { kTaken, kNext, kDrained, kStarved };

  void AcceptSome();
  Outcome AcceptOne();
  Outcome OnAcceptError(int error);
  void OnDrained();
  void OnStopDrained();
  void Starve(int error);
  void RetryLater();
  void Wait();
  void Owe();
  void LeaveShared(Closing how);
  [[nodiscard]] int Register();
  void Deregister();
  void Forget() noexcept;

  LoopCore& core_;
  const std::unique_ptr<ListenSocket> own_;
  SharedListener* const shared_;
  Distributor* const distributor_;
  ListenSocket* socket_;  // own_ or shared_'s; null once closed, or if another loop accepts
  const Address address_;
  Reception reception_;
  Token token_;
  bool is_registered_ = false;
  bool owed_ = false;
  bool stopping_ = false;
  bool is_last_ = false;  // of those that shared the socket
  bool waits_ = false;

  // Once it is stopping.
  int may_still_take_ = 0;  // of an inherited socket's queue
  Clock::time_point close_at_;

  // While there are no descriptors: when to look again, should no close of ours come first.
  std::chrono::milliseconds retry_{0};
  TimerId retry_timer_ = 0;
  std::optional<Clock::time_point> told_;  // when the log was told of it
};

}  // namespace weir
