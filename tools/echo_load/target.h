// Where the traffic goes.

#pragma once

#include <sys/socket.h>

#include <string>

#include "echo_load/fd.h"

namespace echo_load {

struct Target {
  sockaddr_storage address{};
  socklen_t size = 0;
};

// tcp://HOST:PORT, unix:/PATH or unix:@NAME. Throws UsageError, or Failure for a host without
// address.
Target ParseUrl(const std::string& url);

// A connected, non-blocking socket. Throws Failure with the call and the reason.
Fd Connect(const Target& target);

}  // namespace echo_load
