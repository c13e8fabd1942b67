// The addresses of Unix sockets, by name.

#pragma once

#include <sys/un.h>

#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>

#include "simulation/conformance/world.h"

namespace weir::sim::conformance {

// "@name" is of the abstract kind, "/path" a file.
inline Address MakeUnixAddress(std::string_view name) {
  sockaddr_un local{};
  if (name.size() >= sizeof local.sun_path) throw std::length_error(std::string(name));
  local.sun_family = AF_UNIX;
  std::memcpy(local.sun_path, name.data(), name.size());
  const bool is_abstract = name.starts_with('@');
  if (is_abstract) local.sun_path[0] = '\0';
  Address address;
  std::memcpy(&address.raw, &local, sizeof local);
  address.size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + (is_abstract ? 0 : 1));
  return address;
}

}  // namespace weir::sim::conformance
