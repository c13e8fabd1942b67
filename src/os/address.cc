// An Address holds the kernel's own bytes, in one form for each address: FromRaw() straightens what
// the kernel leaves open (the padding of IPv4, where a Unix path ends), so that equal addresses
// have equal bytes. The exception is an IPv4 address in IPv6 clothes, which a dual-stack socket
// needs as it is; AsIp4() undresses it wherever it is shown or compared.

#include "weir/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <type_traits>

#include "os/address_family.h"
#include "os/address_text.h"
#include "os/sys.h"
#include "weir/error.h"

namespace weir {
namespace {

constexpr std::size_t kPathStart = offsetof(sockaddr_un, sun_path);

template <class Sockaddr>
Sockaddr As(const Address& address) noexcept {
  static_assert(std::is_trivially_copyable_v<Sockaddr>);
  Sockaddr copy{};
  std::memcpy(&copy, address.Raw(), std::min(address.RawSize(), sizeof copy));
  return copy;
}

std::optional<sockaddr_in> AsIp4(const Address& address) noexcept {
  if (FamilyOf(address) == AF_INET) return As<sockaddr_in>(address);
  if (FamilyOf(address) != AF_INET6) return std::nullopt;
  const auto ip6 = As<sockaddr_in6>(address);
  if (!IN6_IS_ADDR_V4MAPPED(&ip6.sin6_addr)) return std::nullopt;
  sockaddr_in ip4{};
  ip4.sin_family = AF_INET;
  ip4.sin_port = ip6.sin6_port;
  std::memcpy(&ip4.sin_addr, &ip6.sin6_addr.s6_addr[12], sizeof ip4.sin_addr);
  return ip4;
}

std::string Scope(std::uint32_t index) {
  if (index == 0) return "";
  std::array<char, IF_NAMESIZE> name{};
  if (sys::InterfaceName(index, name.data()) < 0) return fmt::format("%{}", index);
  return fmt::format("%{}", name.data());
}

// "/run/x.sock", "@abstract", or "" without a name.
std::string UnixName(const Address& address) {
  const std::size_t length = address.RawSize() - kPathStart;
  std::string name(static_cast<const char*>(address.Raw()) + kPathStart, length);
  if (name.empty()) return name;
  if (name.front() == '\0') {
    name.front() = '@';
  } else if (name.back() == '\0') {
    name.pop_back();
  }
  return name;
}

}  // namespace

Address Address::Parse(std::string_view text) {
  try {
    if (text.starts_with('/') || text.starts_with('@')) return text::ParseUnix(text);
    const text::HostAndPort parts = text::SplitHostAndPort(text);
    return text::ParseIp(parts.host, parts.port);
  } catch (const text::Wrong& wrong) {
    throw Error::Usage(fmt::format("address '{}'", text::Printable(text)), wrong.reason);
  }
}

std::string Address::ToString() const {
  if (IsUnix()) return UnixName(*this);
  if (AsIp4(*this)) return fmt::format("{}:{}", Ip(), Port());
  if (FamilyOf(*this) == AF_INET6) return fmt::format("[{}]:{}", Ip(), Port());
  return "";
}

std::string Address::Ip() const {
  std::array<char, INET6_ADDRSTRLEN> digits{};
  if (const auto ip4 = AsIp4(*this)) {
    return inet_ntop(AF_INET, &ip4->sin_addr, digits.data(), digits.size());
  }
  if (FamilyOf(*this) != AF_INET6) return "";
  const auto ip6 = As<sockaddr_in6>(*this);
  inet_ntop(AF_INET6, &ip6.sin6_addr, digits.data(), digits.size());
  return digits.data() + Scope(ip6.sin6_scope_id);
}

std::uint16_t Address::Port() const noexcept {
  if (FamilyOf(*this) == AF_INET) return ntohs(As<sockaddr_in>(*this).sin_port);
  if (FamilyOf(*this) == AF_INET6) return ntohs(As<sockaddr_in6>(*this).sin6_port);
  return 0;
}

bool Address::IsUnix() const noexcept { return FamilyOf(*this) == AF_UNIX; }

Address Address::FromRaw(const void* sockaddr, std::size_t size) noexcept {
  Address address;
  // For a path that leaves no room for a NUL the kernel says one byte more than a sockaddr_un has.
  size = std::min(size, sizeof(sockaddr_un));
  if (size < sizeof(sa_family_t)) return address;
  std::memcpy(address.bytes_.data(), sockaddr, size);
  address.size_ = static_cast<std::uint32_t>(size);

  switch (FamilyOf(address)) {
    case AF_INET:
      if (size < sizeof(sockaddr_in)) return {};
      std::memset(address.bytes_.data() + offsetof(sockaddr_in, sin_zero), 0,
                  kCapacity - offsetof(sockaddr_in, sin_zero));
      address.size_ = sizeof(sockaddr_in);
      break;
    case AF_INET6:
      if (size < sizeof(sockaddr_in6)) return {};
      address.size_ = sizeof(sockaddr_in6);
      break;
    case AF_UNIX: {
      // An abstract name is as long as it is said to be; a path ends with a NUL, if there is room.
      const auto local = As<sockaddr_un>(address);
      if (size == kPathStart || local.sun_path[0] == '\0') break;
      const std::size_t length = strnlen(local.sun_path, sizeof local.sun_path - 1) + 1;
      address.size_ = static_cast<std::uint32_t>(kPathStart + length);
      break;
    }
    default:
      break;
  }
  return address;
}

bool operator==(const Address& a, const Address& b) noexcept {
  const auto a4 = AsIp4(a);
  const auto b4 = AsIp4(b);
  if (a4 && b4) return a4->sin_addr.s_addr == b4->sin_addr.s_addr && a4->sin_port == b4->sin_port;
  return a.size_ == b.size_ &&
         std::equal(a.bytes_.begin(), a.bytes_.begin() + a.size_, b.bytes_.begin());
}

}  // namespace weir
