// A TCP peer's address in 18 bytes: what accept4 gave, kept because getpeername(2) fails after a
// reset.
//
// IPv4 is kept as v4-mapped IPv6 (RFC 4291, 2.5.5.2). The scope of a link-local address goes into
// its bytes 4 to 7, which are zero by definition (RFC 4291, 2.5.6), as the KAME kernels do.

#pragma once

#include <array>
#include <cstdint>

#include "weir/address.h"

namespace weir {

class PeerAddress {
 public:
  PeerAddress() noexcept = default;
  explicit PeerAddress(const Address& address) noexcept;  // of a Unix socket: nothing is kept

  [[nodiscard]] Address Expand() const;

  // The address without its port; all zero for a Unix socket, and for nobody else.
  [[nodiscard]] const std::array<unsigned char, 16>& ip() const noexcept { return ip_; }

 private:
  std::array<unsigned char, 16> ip_{};
  std::uint16_t port_ = 0;  // network order
};

}  // namespace weir
