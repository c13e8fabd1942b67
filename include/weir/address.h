// A socket's address as a value: IPv4, IPv6 or Unix. Numeric only: nothing here asks a name server.
//
// ERRORS    Parse() throws weir::Error (IsUsage()) that quotes the text and says what is wrong with
// it.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace weir {

class Address {
 public:
  Address() noexcept = default;  // no address

  // "127.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80", "/run/x.sock", "@abstract".
  static Address Parse(std::string_view text);

  // As Parse() takes it; "" for no address and for a Unix socket without a name, as most clients
  // are. An IPv4 peer of a dual-stack socket is written as IPv4.
  [[nodiscard]] std::string ToString() const;
  [[nodiscard]] std::string Ip() const;               // "127.0.0.1", "fe80::1%eth0"; "" for Unix
  [[nodiscard]] std::uint16_t Port() const noexcept;  // 0 for Unix
  [[nodiscard]] bool IsUnix() const noexcept;

  // The kernel's own form (a struct sockaddr), for calls that weir does not make.
  [[nodiscard]] const void* Raw() const noexcept { return bytes_.data(); }
  [[nodiscard]] std::size_t RawSize() const noexcept { return size_; }
  // Copies a struct sockaddr, of which accept(2) or getsockname(2) said `size`. One that is cut
  // short is no address.
  static Address FromRaw(const void* sockaddr, std::size_t size) noexcept;

  // Equal when they are written alike: an IPv4 address is the same behind a dual-stack socket.
  friend bool operator==(const Address& a, const Address& b) noexcept;

 private:
  static constexpr std::size_t kCapacity = 112;  // sockaddr_un is 110
  alignas(8) std::array<unsigned char, kCapacity> bytes_{};
  std::uint32_t size_ = 0;
};

}  // namespace weir
