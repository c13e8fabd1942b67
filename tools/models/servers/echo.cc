// Nothing is read for a client whose last bytes are not sent. So one that does not take his echo
// costs one read's memory and no more: his further bytes stay in the kernel, its buffer fills, and
// TCP tells the client to wait. And when recv tells his end everything has been sent before it.

#include "models/servers/echo.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <optional>
#include <string_view>

namespace models {
namespace {

// How many the kernel took before it would have waited; nothing if the client is gone. A short send
// is tried again: only EAGAIN promises an edge to who is edge-triggered.
std::optional<std::size_t> SendWithoutWaiting(int fd, std::string_view bytes) {
  std::size_t all = 0;
  while (all < bytes.size()) {
    const ssize_t sent = ::send(fd, bytes.data() + all, bytes.size() - all, MSG_NOSIGNAL);
    if (sent >= 0) {
      all += static_cast<std::size_t>(sent);
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR) {
      return std::nullopt;
    }
  }
  return all;
}

}  // namespace

Client::~Client() { ::close(fd_); }

Copied Client::CopyOnce(std::span<char, kReadSize> buffer) {
  if (!unsent_.empty()) {
    const auto sent = SendWithoutWaiting(fd_, unsent_);
    if (!sent) return Copied::kEnd;
    unsent_.erase(0, *sent);
    if (!unsent_.empty()) return *sent == 0 ? Copied::kNothing : Copied::kSome;
    unsent_.shrink_to_fit();
  }
  ssize_t got = 0;
  do {
    got = ::recv(fd_, buffer.data(), buffer.size(), 0);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) return Copied::kNothing;
  if (got <= 0) return Copied::kEnd;

  const std::string_view bytes(buffer.data(), static_cast<std::size_t>(got));
  const auto sent = SendWithoutWaiting(fd_, bytes);
  if (!sent) return Copied::kEnd;
  unsent_ = bytes.substr(*sent);
  return bytes.size() == buffer.size() ? Copied::kFull : Copied::kSome;
}

}  // namespace models
