// What the kernel calls the two ends of a socket.
//
// ERRORS    No address, when the kernel no longer knows: after a reset it forgets the peer.

#pragma once

#include "os/sys.h"
#include "weir/address.h"

namespace weir {

inline Address LocalAddressOf(int fd) noexcept {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  return sys::GetSocketName(fd, &storage, &size) < 0 ? Address() : Address::FromRaw(&storage, size);
}

inline Address PeerAddressOf(int fd) noexcept {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  return sys::GetPeerName(fd, &storage, &size) < 0 ? Address() : Address::FromRaw(&storage, size);
}

}  // namespace weir
