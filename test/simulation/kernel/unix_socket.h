// A stream socket of AF_UNIX, as net/unix/af_unix.c has it.
//
// A message stands in the receiver's queue at once, and in the sender's account until the last of
// it is read: so each read may be an EPOLLOUT edge for the sender, whether it was full or not.

#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "simulation/kernel/socket.h"

namespace weir::sim {

class UnixSocket final : public Socket {
 public:
  using Socket::Socket;

  [[nodiscard]] std::uint32_t Poll() override;
  void OnReleased() override;

  ssize_t Receive(char* room, std::size_t size) override;
  ssize_t Send(std::string_view bytes) override;
  ssize_t SendUrgent(std::string_view bytes) override;
  int Shutdown(int how) override;
  int TakeError() override;
  [[nodiscard]] int Unread() const override;
  [[nodiscard]] std::size_t Arrived() const override { return static_cast<std::size_t>(Unread()); }
  [[nodiscard]] bool HasNews() const override;
  [[nodiscard]] bool HasRoom() const override;
  void NoteNoRoom() override {}
  void TellRoom() override;
  void StopAtMessages() override { stops_at_message_ = true; }

  // 0, -EAGAIN when the queue is full, -ECONNREFUSED when the listener is shut.
  int ConnectTo(UnixSocket& listener, UnixSocket& end);

 private:
  [[nodiscard]] UnixSocket* Peer() const noexcept { return static_cast<UnixSocket*>(peer_); }
  [[nodiscard]] bool IsWritable() const noexcept { return account_ * 4 <= sizes_.send; }
  void Uncharge(std::size_t bytes);

  struct Message {
    std::string bytes;
    std::size_t read = 0;
  };

  std::deque<Message> arrived_;
  std::size_t account_ = 0;  // sent, and not yet read to the end of its message
  int error_ = 0;
  bool no_more_in_ = false;
  bool no_more_out_ = false;
  bool stops_at_message_ = false;
};

}  // namespace weir::sim
