// Accepted sockets on their way from the loop that accepts to the loop that serves them.
//
// They travel as mail. A mailbox is closed when its loop ends, and what is in it then is destroyed:
// so no loop ends while a socket is on its way to it. The two sides agree on that by two counters
// and a flag:
//
//     the accepting loop                      the serving loop
//     (1) announced += 1                      (a) leaving = true
//     (2) if leaving: announced -= 1,         (b) it ends only when arrived == announced
//           and give it to somebody else      (c) arrived += 1, for each that it takes
//
// 1, 2, a and b are seq_cst: if 2 did not see a, then b sees 1, and waits for that socket.
//
// OWNER     The Inbox: its loop. The Distributor: Server.

#pragma once

#include <atomic>
#include <cstdint>

#include "net/peer_address.h"
#include "os/unique_fd.h"

namespace weir {

class Inbox {
 public:
  // ---- The accepting loop's thread

  // False: the loop is about to end. Then, and if the post fails, call Withdraw().
  [[nodiscard]] bool Announce() noexcept {
    announced_.fetch_add(1, std::memory_order_seq_cst);
    return !leaving_.load(std::memory_order_seq_cst);
  }
  void Withdraw() noexcept { announced_.fetch_sub(1, std::memory_order_seq_cst); }

  // How many are on their way. (acquire: whose arrival is counted is counted as open, too.)
  [[nodiscard]] std::uint64_t OnTheirWay() const noexcept {
    const std::uint64_t arrived = arrived_.load(std::memory_order_acquire);
    return announced_.load(std::memory_order_relaxed) - arrived;
  }
  // A hint: Announce() decides.
  [[nodiscard]] bool IsLeaving() const noexcept { return leaving_.load(std::memory_order_relaxed); }

  // ---- The serving loop's thread

  void SetLeaving() noexcept { leaving_.store(true, std::memory_order_seq_cst); }
  [[nodiscard]] bool IsEmpty() const noexcept {
    return announced_.load(std::memory_order_seq_cst) == arrived_.load(std::memory_order_relaxed);
  }
  void NoteArrived() noexcept { arrived_.fetch_add(1, std::memory_order_release); }

 private:
  std::atomic<std::uint64_t> announced_{0};
  std::atomic<std::uint64_t> arrived_{0};
  std::atomic<bool> leaving_{false};
};

// Chooses the loop for what one loop accepts.
class Distributor {
 public:
  // The accepting loop's thread. False: nobody took it, and it is closed.
  virtual bool HandOver(int listener, UniqueFd fd, const PeerAddress& peer) = 0;

 protected:
  ~Distributor() = default;
};

}  // namespace weir
