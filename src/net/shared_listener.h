// A listening socket from which several loops accept: of a Unix path or an inherited socket, which
// cannot be bound once for each loop.
//
// It stands in the epoll of every loop (Interest::kAcceptShared). A client wakes one loop that
// sleeps, and is that loop's business: so whoever stops looking before the queue is empty has to
// say so to the others (Nudge), who would sleep on.
//
// OWNER     Server. Outlives the loops.
// THREADS   Before the loops run, the one that sets them up. Then Leave() and Nudge(): any loop's.

#pragma once

#include <atomic>
#include <vector>

#include "os/listen_socket.h"

namespace weir {

class Acceptor;
struct LoopCore;

class SharedListener {
 public:
  SharedListener(const Endpoint& endpoint, const Options& options) : socket_(endpoint, options) {}
  SharedListener(const SharedListener&) = delete;
  SharedListener& operator=(const SharedListener&) = delete;

  [[nodiscard]] ListenSocket& socket() noexcept { return socket_; }

  // ---- Set-up

  void Join(LoopCore& core, Acceptor& acceptor);

  // ---- Running

  // One loop less. True for the last one, whose the socket then is: to empty, and to close. The
  // others must not touch it again.
  [[nodiscard]] bool Leave() noexcept {
    // acq_rel: what the others did with the socket stands before what the last one does.
    return users_.fetch_sub(1, std::memory_order_acq_rel) == 1;
  }

  // Every other loop looks whether somebody waits.
  void Nudge(const Acceptor& from) const noexcept;

 private:
  struct Member {
    LoopCore* core;
    Acceptor* acceptor;
  };

  ListenSocket socket_;
  std::vector<Member> members_;  // not changed once the loops run
  std::atomic<int> users_{0};
};

}  // namespace weir
