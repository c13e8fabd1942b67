// A stream socket of the simulated kernel, of whichever family: what the calls ask of it, and the
// queue of a listener.
//
// The two families are in tcp_socket.h and unix_socket.h. Both tell of each thing that happens by
// the same wake-ups as the kernel's own: that is what an edge-triggered program lives on.

#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "simulation/kernel/file.h"

namespace weir::sim {

class Socket : public File {
 public:
  // How much a socket that is made from now on holds, each way.
  struct Sizes {
    std::size_t send = 64 << 10;
    std::size_t receive = 64 << 10;
  };

  Socket(int family, Sizes sizes) noexcept : family_(family), sizes_(sizes) {}

  [[nodiscard]] int family() const noexcept { return family_; }
  [[nodiscard]] const Sizes& sizes() const noexcept { return sizes_; }

  // ---- The calls

  virtual ssize_t Receive(char* room, std::size_t size) = 0;
  virtual ssize_t Send(std::string_view bytes) = 0;
  // The last byte is urgent (MSG_OOB).
  virtual ssize_t SendUrgent(std::string_view bytes) = 0;
  virtual int Shutdown(int how) = 0;
  // SO_ERROR: tells it once.
  virtual int TakeError() = 0;
  // FIONREAD.
  [[nodiscard]] virtual int Unread() const = 0;
  // Bytes of the stream that have arrived and were not received, those behind an urgent one, too.
  [[nodiscard]] virtual std::size_t Arrived() const = 0;
  [[nodiscard]] virtual bool IsAtMark() const { return false; }  // an urgent byte is next

  int Listen(int backlog);
  // The next client: its socket on this side, or null.
  Socket* TakeClient();

  // SO_LINGER with time 0.
  void LingerNot(bool on) noexcept { lingers_not_ = on; }

  // ---- Facts

  [[nodiscard]] bool IsListening() const noexcept { return listens_; }
  [[nodiscard]] std::size_t Queued() const noexcept { return queue_.size(); }
  [[nodiscard]] bool IsConnected() const noexcept { return peer_ != nullptr; }
  [[nodiscard]] Socket* peer() const noexcept { return peer_; }
  // The last descriptor was closed.
  [[nodiscard]] bool IsOrphan() const noexcept { return orphan_; }
  // Bytes that a receive would find, however many calls it takes.
  [[nodiscard]] virtual bool HasNews() const = 0;
  // A send would take something.
  [[nodiscard]] virtual bool HasRoom() const = 0;

  // Of these, how many a program knows of that has asked: no receive may deny them.
  std::size_t told = 0;

  // What it is bound to; 0 and "" are nothing yet.
  std::uint16_t port = 0;
  std::string path;
  bool shares_port = false;  // SO_REUSEPORT

  // ---- For whoever makes the weather

  // The kernel has less memory than it takes: a send that found room takes nothing for now, and
  // the socket will tell when it does.
  virtual void NoteNoRoom() = 0;
  virtual void TellRoom() = 0;
  // Somebody between the two ends it: this side with `error`, the other with a reset. (There is
  // nobody between two on one machine.)
  virtual void Break(int /*error*/) {}
  // An error that ends nothing: the next call tells it, once.
  virtual void OnSoftError(int /*error*/) {}
  // A receive stops in front of the next message, as it does where the sender's credentials change,
  // though more is there, and no edge will tell of that. (TCP knows no messages.)
  virtual void StopAtMessages() {}

 protected:
  // True if another client fits.
  [[nodiscard]] bool HasPlace() const noexcept {
    return queue_.size() <= static_cast<std::size_t>(backlog_);
  }
  void Enqueue(Socket& client);

  const int family_;
  const Sizes sizes_;
  Socket* peer_ = nullptr;
  bool orphan_ = false;
  bool lingers_not_ = false;
  bool listens_ = false;
  int backlog_ = 0;
  std::deque<Socket*> queue_;  // those that wait to be accepted
};

}  // namespace weir::sim
