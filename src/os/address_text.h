// The text of addresses, piece by piece: what Address::Parse() and Endpoint::Parse() have in
// common.
//
// ERRORS    Throws Wrong: only the caller knows what the text belongs to, and makes a weir::Error
//           of it.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "weir/address.h"

namespace weir::text {

struct Wrong {
  std::string reason;
};

// The two halves of "127.0.0.1:80", "[::1]:80" or ":80". An IPv6 host keeps its brackets.
struct HostAndPort {
  std::string_view host;
  std::uint16_t port = 0;
};
HostAndPort SplitHostAndPort(std::string_view text);

// host: "127.0.0.1", "[::1]" or "[fe80::1%eth0]".
Address ParseIp(std::string_view host, std::uint16_t port);

// "/run/x.sock" or "@abstract".
Address ParseUnix(std::string_view path);

// `name` is what a message calls the number.
struct Range {
  std::uint32_t min;
  std::uint32_t max;
};
std::uint32_t ParseNumber(std::string_view name, std::string_view digits, Range range);

// As it can stand in a one-line message: what is not printable ASCII is written \xNN, and what is
// very long is cut.
std::string Printable(std::string_view text);

}  // namespace weir::text
