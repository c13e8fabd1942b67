// The wire over a real socket.

#pragma once

#include "net/wire.h"

namespace weir {

class SocketWire final : public Wire {
 public:
  enum class Kind { kTcp, kUnix };

  explicit SocketWire(Kind kind) noexcept;

  Transfer Receive(int fd, std::span<char> room) override;
  Transfer Send(int fd, std::string_view bytes) override;
  Transfer SendPieces(int fd, std::span<const std::string_view> pieces) override;
  int ShutdownWrite(int fd) override;
  void Close(int fd) override;
  void Reset(int fd) override;
  int TakeError(int fd) override;
  std::size_t Unread(int fd) override;
};

}  // namespace weir
