// The wire moves bytes between a connection and its peer, and knows what kind of socket it is.
//
// One wire serves all connections of its kind; the descriptor says which. Virtual, because it is a
// resource's seam: tests script one, and another kind of kernel interface may stand here. An
// indirect call is lost beside the system call that follows it.
//
// OWNER     One loop.
// THREADS   The loop's thread.
// ERRORS    Results are the kernel's: errno travels untouched, in Transfer.

#pragma once

#include <cerrno>
#include <cstddef>
#include <span>
#include <string_view>

namespace weir {

// What one receive or send did.
class Transfer {
 public:
  // As the kernel says it: bytes, or -errno.
  explicit constexpr Transfer(std::ptrdiff_t result) noexcept : result_(result) {}

  [[nodiscard]] constexpr bool Moved() const noexcept { return result_ > 0; }
  [[nodiscard]] constexpr bool Ended() const noexcept { return result_ == 0; }  // a receive: FIN
  [[nodiscard]] constexpr bool WouldBlock() const noexcept { return result_ == -EAGAIN; }
  [[nodiscard]] constexpr bool Interrupted() const noexcept { return result_ == -EINTR; }
  [[nodiscard]] constexpr bool MovedAll(std::size_t size) const noexcept {
    return result_ == static_cast<std::ptrdiff_t>(size);
  }
  [[nodiscard]] constexpr std::size_t Bytes() const noexcept {
    return result_ > 0 ? static_cast<std::size_t>(result_) : 0;
  }
  // 0 unless it failed; EAGAIN is no failure.
  [[nodiscard]] constexpr int Error() const noexcept {
    return result_ < 0 && result_ != -EAGAIN ? static_cast<int>(-result_) : 0;
  }

 private:
  std::ptrdiff_t result_;
};

class Wire {
 public:
  static constexpr std::size_t kMostPieces = 64;  // the kernel would take 1024

  // What the kind of socket promises.
  struct Traits {
    // A receive that filled less than its room has emptied the socket: TCP, but not AF_UNIX, where
    // a receive also stops at a message that carries descriptors or credentials.
    bool short_receive_drains;
    // EPOLLOUT must be asked for only while output waits: on AF_UNIX every read of the peer raises
    // it.
    bool write_interest_is_noisy;
    // The peer's address is what accept4 gave (TCP: getpeername fails after a reset). AF_UNIX is
    // asked when somebody wants to know: its peers rarely have a name, and it may be long.
    bool peer_is_remembered;
  };

  explicit Wire(Traits traits) noexcept : traits_(traits) {}
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;
  virtual ~Wire() = default;

  [[nodiscard]] const Traits& traits() const noexcept { return traits_; }

  // Interrupted by a signal, they try again: here, so that the wire's own function keeps nothing
  // for another try.
  Transfer Receive(int fd, std::span<char> room) {
    return Uninterrupted([&] { return TryReceive(fd, room); });
  }
  Transfer Send(int fd, std::string_view bytes) {
    return Uninterrupted([&] { return TrySend(fd, bytes); });
  }
  // One call for all pieces, in order. REQUIRES: at most kMostPieces.
  Transfer SendPieces(int fd, std::span<const std::string_view> pieces) {
    return Uninterrupted([&] { return TrySendPieces(fd, pieces); });
  }

  virtual int ShutdownWrite(int fd) = 0;  // 0 or -errno
  virtual void Close(int fd) = 0;
  virtual void Reset(int fd) = 0;  // closes with RST: what is queued is dropped

  virtual int TakeError(int fd) = 0;  // the socket's pending errno, or 0
  // Bytes that a receive would find, up to an urgent byte.
  virtual std::size_t Unread(int fd) = 0;
  virtual bool AtUrgentMark(int fd) = 0;  // one is next

  // Why a call failed: the socket's own error says more than ENOTCONN or EPIPE.
  int ErrorOr(int fd, int error) {
    const int own = TakeError(fd);
    return own != 0 ? own : error;
  }

  // One try: it may be interrupted.
  virtual Transfer TryReceive(int fd, std::span<char> room) = 0;
  virtual Transfer TrySend(int fd, std::string_view bytes) = 0;
  virtual Transfer TrySendPieces(int fd, std::span<const std::string_view> pieces) = 0;

 private:
  template <class Try>
  static Transfer Uninterrupted(Try&& attempt) {
    for (;;) {
      const Transfer result = attempt();
      if (!result.Interrupted()) [[likely]] {
        return result;
      }
    }
  }

  const Traits traits_;
};

}  // namespace weir
