// The address family of an Address: AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC for no address.

#pragma once

#include <sys/socket.h>

#include <cstring>

#include "weir/address.h"

namespace weir {

inline int FamilyOf(const Address& address) noexcept {
  sa_family_t family = AF_UNSPEC;
  if (address.RawSize() >= sizeof family) std::memcpy(&family, address.Raw(), sizeof family);
  return family;
}

}  // namespace weir
