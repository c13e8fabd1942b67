// A TCP socket, as net/ipv4/tcp*.c has it, on a network without loss.
//
// What a program has sent stands in `unsent_` until the peer's window has room for it; what has
// arrived stands in `arrived_`. Between the two lies the network, which may hold bytes back
// (`holds_back`): so they arrive in pieces, each with its own edge.

#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "simulation/kernel/socket.h"

namespace weir::sim {

class TcpSocket final : public Socket {
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
  [[nodiscard]] std::size_t Arrived() const override;
  [[nodiscard]] bool IsAtMark() const override { return mark_ == read_; }
  [[nodiscard]] bool HasNews() const override;
  [[nodiscard]] bool HasRoom() const override { return IsWritable(); }
  void NoteNoRoom() override { wants_room_ = true; }
  void TellRoom() override;
  void Break(int error) override;
  void OnSoftError(int error) override;

  // A handshake that succeeds at once: `end` is the listener's side. False if the listener has no
  // place, or lets nobody in: the SYN was dropped, and the client tries again in a second.
  bool ConnectTo(TcpSocket& listener, TcpSocket& end);
  // Nobody listens there.
  void Refuse();
  // A listener that lets no new handshake begin (a socket filter).
  void DropSyns() noexcept { drops_syns_ = true; }

  // The peer's, or the network's: RST, ICMP and time-outs end it with an error.
  void OnReset();
  void OnFatal(int error);

  // What TCP_INFO calls it: TCP_ESTABLISHED and the like.
  [[nodiscard]] int StateNumber() const noexcept;

  // ---- The network

  // While it is true, what is sent to the peer is on its way; Arrive() lets some of it in.
  bool holds_back = false;
  [[nodiscard]] bool HasInFlight() const noexcept;
  // An urgent byte that was sent from here has not been read past.
  [[nodiscard]] bool HasUrgentOnTheWay() const noexcept {
    return mark_sent_.has_value() || (Peer() != nullptr && Peer()->mark_.has_value());
  }
  // At most `most` bytes, and the FIN once all have arrived.
  void Arrive(std::size_t most);

 private:
  enum class State : std::uint8_t { kFresh, kConnecting, kOpen, kDone };

  [[nodiscard]] TcpSocket* Peer() const noexcept { return static_cast<TcpSocket*>(peer_); }
  [[nodiscard]] std::uint32_t PollData();
  [[nodiscard]] bool IsWritable() const noexcept;
  [[nodiscard]] std::size_t Window() const noexcept;
  [[nodiscard]] std::size_t Available() const noexcept { return arrived_.size(); }
  ssize_t Queue(std::string_view bytes);
  void Push();
  void OnSegment(std::string_view bytes);
  void OnFin();
  void OnAcknowledged();
  void FinishIfBothEnded();
  void Finish();
  void SendReset();

  State state_ = State::kFresh;
  std::string unsent_;
  std::string arrived_;
  std::uint64_t sent_ = 0;                  // position in the stream of what left unsent_
  std::uint64_t read_ = 0;                  // position of arrived_'s first byte
  std::optional<std::uint64_t> mark_;       // position of an urgent byte that was not read past
  std::optional<std::uint64_t> mark_sent_;  // of the urgent byte that is to be announced
  int error_ = 0;
  bool no_more_in_ = false;   // RCV_SHUTDOWN
  bool no_more_out_ = false;  // SEND_SHUTDOWN
  bool fin_received_ = false;
  bool fin_sent_ = false;  // it has arrived
  bool wants_room_ = false;
  bool drops_syns_ = false;
};

}  // namespace weir::sim
