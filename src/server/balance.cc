// What is on its way to a loop counts as that loop's: else a burst, which is accepted faster than
// it arrives, would all go to the loop that had the fewest when it began.

#include "server/balance.h"

#include <algorithm>
#include <array>
#include <new>
#include <utility>

namespace weir {
namespace {

// What travels as mail. Destroyed unrun, it closes its socket.
struct Handover {
  LoopImpl* loop;
  UniqueFd fd;
  int listener;
  PeerAddress peer;

  void operator()() {
    loop->TakeHanded(listener, std::move(fd), peer);
    loop->inbox().NoteArrived();
  }
};
static_assert(Work::kFitsInline<Handover>, "a hand-over allocates nothing");

bool HasAddress(const PeerAddress& peer) noexcept {
  return std::any_of(peer.ip().begin(), peer.ip().end(),
                     [](unsigned char byte) { return byte != 0; });
}

}  // namespace

std::uint64_t SourceHash(const PeerAddress& peer) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const unsigned char byte : peer.ip()) hash = (hash ^ byte) * 0x100000001b3;
  hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccd;
  hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53;
  return hash ^ (hash >> 33);
}

bool Balancer::HandOver(int listener, UniqueFd fd, const PeerAddress& peer) {
  for (;;) {
    const std::size_t chosen = Choose(peer);
    LoopImpl& loop = *loops_[chosen];
    if (chosen == 0) {
      loop.TakeHanded(listener, std::move(fd), peer);
      return true;
    }
    Mailbox& mailbox = loop.engine().mailbox();
    const bool stays = loop.inbox().Announce();
    bool is_posted = false;
    try {
      is_posted = stays && mailbox.Post(Handover{&loop, std::move(fd), listener, peer});
    } catch (const std::bad_alloc&) {
    }
    if (is_posted) return true;
    loop.inbox().Withdraw();
    mailbox.Wake();  // a loop that ends may be waiting for what does not come
    if (stays) return false;
  }
}

// A loop that is leaving is passed over; loop 0 never is, since it is running this.
std::size_t Balancer::Choose(const PeerAddress& peer) noexcept {
  std::size_t chosen = 0;
  if (how_ == Balance::kLeastConnections) {
    chosen = Fewest();
  } else if (how_ == Balance::kSourceHash && HasAddress(peer)) {
    chosen = static_cast<std::size_t>(SourceHash(peer) % loops_.size());
  } else {
    chosen = next_;
    next_ = (next_ + 1) % loops_.size();
  }
  while (IsLeaving(chosen)) chosen = (chosen + 1) % loops_.size();
  return chosen;
}

std::size_t Balancer::Fewest() noexcept {
  std::size_t fewest = 0;
  std::uint64_t least = UINT64_MAX;
  for (std::size_t i = 0; i < loops_.size(); ++i) {
    const std::size_t loop = (next_ + i) % loops_.size();
    const std::uint64_t connections = IsLeaving(loop) ? UINT64_MAX : ConnectionsOf(loop);
    if (connections >= least) continue;
    least = connections;
    fewest = loop;
  }
  next_ = (fewest + 1) % loops_.size();
  return fewest;
}

// Read in this order, an arrival between the two is counted twice, and never not at all.
std::uint64_t Balancer::ConnectionsOf(std::size_t loop) const noexcept {
  const std::uint64_t on_their_way = loops_[loop]->inbox().OnTheirWay();
  return on_their_way + loops_[loop]->engine().counters().connections.Get();
}

bool Balancer::IsLeaving(std::size_t loop) const noexcept {
  return loop != 0 && loops_[loop]->inbox().IsLeaving();
}

}  // namespace weir
