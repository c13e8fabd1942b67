// The wire over a real socket.

#pragma once

#include "net/wire.h"
#include "os/sys.h"

namespace weir {

class SocketWire final : public Wire {
 public:
  enum class Kind { kTcp, kUnix };

  explicit SocketWire(Kind kind) noexcept;

  Transfer TryReceive(int fd, std::span<char> room) override {
    return Transfer(sys::Recv(fd, room.data(), room.size()));
  }
  Transfer TrySend(int fd, std::string_view bytes) override {
    return Transfer(sys::Send(fd, bytes.data(), bytes.size()));
  }
  Transfer TrySendPieces(int fd, std::span<const std::string_view> pieces) override;
  int ShutdownWrite(int fd) override;
  void Close(int fd) override;
  void Reset(int fd) override;
  int TakeError(int fd) override;
  std::size_t Unread(int fd) override;
  bool AtUrgentMark(int fd) override;
};

}  // namespace weir
