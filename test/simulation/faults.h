// What goes wrong, and when.
//
// A life has some kinds of faults and not others, so that rare combinations are not drowned by the
// common ones (swarm testing: Groce, Zhang, Eide, Chen, Regehr, ISSTA 2012).
//
// OWNER     One life.
// THREADS   One.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "simulation/choices.h"

namespace weir::sim {

enum class Fault : std::uint8_t {
  kInterrupted,        // EINTR of recv and send
  kInterruptedWait,    // epoll_wait ends early, with nothing
  kShortReceive,       // less than was there; TCP tells of the rest by another edge
  kNothingYet,         // EAGAIN: what an edge has told of arrives after this call, with an edge
  kReset,              // the peer, or a machine between, resets the connection
  kNetworkError,       // ICMP, or a time-out: the connection ends with another error
  kSoftError,          // an error is pending on the socket, which goes on
  kShortSend,          // the kernel takes a part, and tells when it takes more
  kNoRoom,             // EAGAIN of send, likewise
  kNoBuffers,          // ENOBUFS, ENOMEM of send
  kAcceptStarved,      // EMFILE, ENFILE, ENOBUFS, ENOMEM: the client stays in the queue
  kAcceptPassing,      // ECONNABORTED and its like: the client is gone
  kFewDescriptors,     // the limit of the process is low (decided once)
  kAddFails,           // EPOLL_CTL_ADD: ENOMEM, ENOSPC
  kModifyFails,        // EPOLL_CTL_MOD: ENOMEM
  kFewEvents,          // a wait returns some of what is ready
  kOtherOrder,         // a wait returns it in another order
  kSpuriousEvent,      // an event that nothing has caused
  kStaleEvent,         // one of a registration that is gone
  kTimeJump,           // the process was not scheduled for a while
  kSetUpFails,         // a call of the set-up fails; a thread does not start
  kSlowNetwork,        // what is sent is on its way for some time (decided once)
  kMessageBoundaries,  // AF_UNIX: a receive stops at each message (decided once)
  kCount,
};

class Faults {
 public:
  // Decides which kinds this life has, and how often each comes.
  explicit Faults(Choices& choices);

  // Now?
  [[nodiscard]] bool Strikes(Fault fault);
  // Decided once for the life.
  [[nodiscard]] bool Has(Fault fault) const noexcept {
    return one_in_[static_cast<std::size_t>(fault)] != 0;
  }
  // Any of these, each as likely.
  int OneOf(std::initializer_list<int> errors);

  // From now on the weather is fine.
  void Stop() noexcept { one_in_ = {}; }

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  void Note() noexcept { ++count_; }

 private:
  Choices& choices_;
  std::array<std::uint32_t, static_cast<std::size_t>(Fault::kCount)> one_in_{};  // 0: never
  std::uint64_t count_ = 0;
};

}  // namespace weir::sim
