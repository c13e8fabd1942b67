// Where to listen, as a value parsed from a URL.
//
//   tcp://127.0.0.1:80  tcp://[::1]:80   one address; port 0 lets the kernel choose
//   tcp://:80  tcp://*:80                every address, IPv4 and IPv6 by one dual-stack socket
//   tcp4://:80                           every IPv4 address
//   tcp6://:80                           every IPv6 address, and no IPv4 peer
//   unix:/run/x.sock  unix:@name         also written unix:///run/x.sock; '@': the abstract name
//   space
//   fd://3                               a listening socket that the process inherited
//
// Options stand behind a '?', joined by '&': backlog=1..65535, v6only=0|1 (IPv6), reuseport=0|1
// (TCP: other processes of this user may share the port, if they say so too), mode=0660 (octal; the
// permissions of a Unix path). An inherited socket has none: it is as whoever made it wanted it.
//
// A host is numeric: what a name means is not asked here. There are no %-escapes, so a path that
// holds a space, a '?' or a '%' cannot be said.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "weir/address.h"

namespace weir {

struct Endpoint {
  enum class Kind : std::uint8_t { kTcp, kUnix, kInherited };

  // Throws weir::Error: one line that quotes the URL, what is wrong, and what would be right.
  static Endpoint Parse(std::string_view url);

  Kind kind = Kind::kTcp;
  Address address;               // none for kInherited: the socket itself says
  int inherited = -1;            // the descriptor; -1 but for kInherited
  int backlog = 4096;            // the kernel takes at most net.core.somaxconn of it
  bool v6only = false;           // no meaning but for an IPv6 address
  bool reuse_port = false;       // no meaning but for TCP
  std::optional<unsigned> mode;  // none: what the umask leaves
  std::string url;               // as it was given
};

// "tcp://127.0.0.1:7000", "tcp://[::1]:7000", "unix:///run/x.sock", "unix:@name"; "" for no
// address.
[[nodiscard]] std::string UrlOf(const Address& address);

}  // namespace weir
