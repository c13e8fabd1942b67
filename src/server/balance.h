// Chooses, for each client that loop 0 accepts, the loop that is to serve it, and hands it over.
//
// OWNER     Server. Outlives the loops.
// THREADS   Loop 0's.

#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "net/handover.h"
#include "net/loop_access.h"
#include "weir/options.h"

namespace weir {

// The same for equal addresses, whatever the port, on every machine and in every version: FNV-1a
// (64 bits) over the 16 bytes of the address, IPv4 as v4-mapped IPv6, finished by MurmurHash3's
// fmix64. The loop is this modulo the number of loops.
[[nodiscard]] std::uint64_t SourceHash(const PeerAddress& peer) noexcept;

class Balancer final : public Distributor {
 public:
  // REQUIRES: `how` is not kReusePort; loops[0] is the one that accepts.
  Balancer(Balance how, std::vector<LoopImpl*> loops) : how_(how), loops_(std::move(loops)) {}

  bool HandOver(int listener, UniqueFd fd, const PeerAddress& peer) override;

 private:
  [[nodiscard]] std::size_t Choose(const PeerAddress& peer) noexcept;
  [[nodiscard]] std::size_t Fewest() noexcept;
  [[nodiscard]] std::uint64_t ConnectionsOf(std::size_t loop) const noexcept;
  [[nodiscard]] bool IsLeaving(std::size_t loop) const noexcept;

  const Balance how_;
  const std::vector<LoopImpl*> loops_;
  std::size_t next_ = 0;  // round robin's; and which of equals is the fewest
};

}  // namespace weir
