#include "net/peer_address.h"

#include <algorithm>
#include <cstring>

#include "os/sys.h"

namespace weir {
namespace {

constexpr std::array<unsigned char, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr std::size_t kScopeAt = 4;

bool IsLinkLocal(const std::array<unsigned char, 16>& ip) noexcept {
  return ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80;
}

}  // namespace

PeerAddress::PeerAddress(const Address& address) noexcept {
  if (address.IsUnix()) return;
  if (address.RawSize() == sizeof(sockaddr_in)) {
    sockaddr_in v4;
    std::memcpy(&v4, address.Raw(), sizeof v4);
    std::copy(kMapped.begin(), kMapped.end(), ip_.begin());
    std::memcpy(ip_.data() + kMapped.size(), &v4.sin_addr, sizeof v4.sin_addr);
    port_ = v4.sin_port;
  } else if (address.RawSize() == sizeof(sockaddr_in6)) {
    sockaddr_in6 v6;
    std::memcpy(&v6, address.Raw(), sizeof v6);
    std::memcpy(ip_.data(), &v6.sin6_addr, ip_.size());
    if (IsLinkLocal(ip_)) {
      std::memcpy(ip_.data() + kScopeAt, &v6.sin6_scope_id, sizeof v6.sin6_scope_id);
    }
    port_ = v6.sin6_port;
  }
}

Address PeerAddress::Expand() const {
  if (std::equal(kMapped.begin(), kMapped.end(), ip_.begin())) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = port_;
    std::memcpy(&v4.sin_addr, ip_.data() + kMapped.size(), sizeof v4.sin_addr);
    return Address::FromRaw(&v4, sizeof v4);
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = port_;
  std::array<unsigned char, 16> ip = ip_;
  if (IsLinkLocal(ip)) {
    std::memcpy(&v6.sin6_scope_id, ip.data() + kScopeAt, sizeof v6.sin6_scope_id);
    std::fill_n(ip.begin() + kScopeAt, sizeof v6.sin6_scope_id, static_cast<unsigned char>(0));
  }
  std::memcpy(&v6.sin6_addr, ip.data(), ip.size());
  return Address::FromRaw(&v6, sizeof v6);
}

}  // namespace weir
