#include "net/socket_wire.h"

#include <algorithm>
#include <array>

#include "os/sys.h"

namespace weir {
namespace {

// sendmsg does not write through the pointer, but its type does not say so.
iovec Piece(std::string_view bytes) noexcept {
  return {.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
}

}  // namespace

SocketWire::SocketWire(Kind kind) noexcept
    : Wire({.short_receive_drains = kind == Kind::kTcp,
            .write_interest_is_noisy = kind == Kind::kUnix,
            .peer_is_remembered = kind == Kind::kTcp}) {}

Transfer SocketWire::TrySendPieces(int fd, std::span<const std::string_view> pieces) {
  std::array<iovec, kMostPieces> vectors;
  std::transform(pieces.begin(), pieces.end(), vectors.begin(), Piece);
  return Transfer(sys::SendMessage(fd, vectors.data(), pieces.size()));
}

int SocketWire::ShutdownWrite(int fd) { return sys::Shutdown(fd, SHUT_WR); }

void SocketWire::Close(int fd) { static_cast<void>(sys::Close(fd)); }

void SocketWire::Reset(int fd) {
  // SO_LINGER with time 0 makes close() send RST (tcp(7)); on AF_UNIX it changes nothing, and a
  // close with unread input resets the peer there.
  const linger now{.l_onoff = 1, .l_linger = 0};
  static_cast<void>(sys::SetOption(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now));
  Close(fd);
}

int SocketWire::TakeError(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  const int result = sys::GetOption(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return result < 0 ? -result : error;
}

std::size_t SocketWire::Unread(int fd) {
  int count = 0;
  return sys::UnreadBytes(fd, &count) < 0 || count < 0 ? 0 : static_cast<std::size_t>(count);
}

bool SocketWire::AtUrgentMark(int fd) { return sys::AtUrgentMark(fd) == 1; }

}  // namespace weir
