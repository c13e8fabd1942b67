// A TCP socket and its peer in a few lines: what arrives, what is taken, and the edges that epoll
// would raise for it. A scripted wire says what each call returns; this one says what a kernel
// would.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "net/wire.h"
#include "support/scripted_poller.h"

namespace weir::test {

class ModelSocket final : public Wire {
 public:
  explicit ModelSocket(Traits traits) : Wire(traits) {}

  // ---- The peer's part

  // `marked`: its last byte is urgent; a receive stops in front of the bytes that follow.
  void Arrive(std::string_view bytes, bool marked = false) {
    if (peer_ended || error != 0) return;
    if (unread.empty() || closed_piece_) unread.emplace_back();
    unread.back() += bytes;
    arrived += bytes;
    closed_piece_ = marked;
    urgent = urgent || marked;
    edge = true;
  }
  void End() {
    if (peer_ended || error != 0) return;
    peer_ended = edge = true;
  }
  void Fail(int number) {
    if (error != 0) return;
    error = pending_error = number;
    edge = true;
  }
  void Drain(std::size_t bytes) {
    room += bytes;
    if (!no_space) return;
    no_space = false;
    edge = edge || (interest == Interest::kReadWrite);
  }

  // ---- Facts

  // Something that a receive would tell, and has not told yet.
  [[nodiscard]] bool HasNews() const {
    return !unread.empty() || (peer_ended && !end_was_read) || pending_error != 0;
  }
  [[nodiscard]] std::uint32_t Bits() const {
    std::uint32_t bits = !unread.empty() || peer_ended || error != 0 ? EPOLLIN : 0U;
    if (peer_ended) bits |= EPOLLRDHUP;
    if ((peer_ended && fin) || error != 0) bits |= EPOLLHUP;
    if (error != 0) bits |= EPOLLERR | EPOLLRDHUP;
    if (urgent) bits |= EPOLLPRI;
    if (interest == Interest::kReadWrite && (room > 0 || error != 0)) bits |= EPOLLOUT;
    return bits;
  }

  std::deque<std::string> unread;  // pieces that one receive does not cross
  std::string arrived;             // all that ever came
  std::string sent;                // all that was ever taken
  std::size_t room = 1 << 20;
  bool peer_ended = false;
  bool end_was_read = false;
  bool urgent = false;
  int error = 0;  // sticky; pending_error is what SO_ERROR would say
  int pending_error = 0;
  bool no_space = false;
  bool fin = false;
  int closes = 0;
  bool reset = false;
  bool edge = false;  // the next wait reports it
  Interest interest = Interest::kWake;
  Token token;

  // ---- The wire

  Transfer TryReceive(int, std::span<char> into) override {
    if (!unread.empty()) {
      std::string& piece = unread.front();
      const std::size_t count = std::min(into.size(), piece.size());
      std::copy_n(piece.begin(), count, into.begin());
      piece.erase(0, count);
      if (piece.empty()) {
        unread.pop_front();
        if (unread.empty()) closed_piece_ = false;
      }
      return Transfer(static_cast<std::ptrdiff_t>(count));
    }
    if (pending_error != 0) return Transfer(-std::exchange(pending_error, 0));
    if (!peer_ended && error == 0) return Transfer(-EAGAIN);
    end_was_read = true;
    return Transfer(0);
  }
  Transfer TrySend(int, std::string_view bytes) override {
    if (error != 0) return Transfer(-BrokenPipe());
    const std::size_t count = std::min(room, bytes.size());
    no_space = count < bytes.size();
    room -= count;
    sent += bytes.substr(0, count);
    return Transfer(count == 0 ? -EAGAIN : static_cast<std::ptrdiff_t>(count));
  }
  Transfer TrySendPieces(int fd, std::span<const std::string_view> pieces) override {
    std::string all;
    for (const std::string_view piece : pieces) all += piece;
    return TrySend(fd, all);
  }
  int ShutdownWrite(int) override {
    if (error != 0) return -ENOTCONN;
    fin = true;
    return 0;
  }
  void Close(int) override { ++closes; }
  void Reset(int) override {
    ++closes;
    reset = true;
  }
  int TakeError(int) override { return std::exchange(pending_error, 0); }
  std::size_t Unread(int) override {
    std::size_t count = 0;
    for (const std::string& piece : unread) count += piece.size();
    return count;
  }
  bool AtUrgentMark(int) override { return false; }

 private:
  int BrokenPipe() { return pending_error != 0 ? std::exchange(pending_error, 0) : EPIPE; }

  bool closed_piece_ = false;  // the last piece ends in an urgent byte
};

// Makes a scripted poller report the edges of model sockets as epoll would.
class ModelKernel {
 public:
  explicit ModelKernel(ScriptedPoller& poller) : poller_(poller) {
    poller.on_change = [this](int fd, Interest interest, Token token) {
      const auto found = sockets_.find(fd);
      if (found == sockets_.end()) return;
      found->second->interest = interest;
      found->second->token = token;
      const std::uint32_t bits = found->second->Bits();
      if (bits != 0) found->second->edge = true;  // ADD and MOD report what is ready
    };
  }

  void Adopt(int fd, ModelSocket& socket) { sockets_[fd] = &socket; }
  void Forget(int fd) { sockets_.erase(fd); }

  [[nodiscard]] bool HasEdges() const {
    return std::any_of(sockets_.begin(), sockets_.end(),
                       [](const auto& entry) { return IsDue(*entry.second); });
  }
  // To be called by each wait.
  void ReportEdges() {
    for (const auto& [fd, socket] : sockets_) {
      if (!IsDue(*socket)) continue;
      socket->edge = false;
      if (socket->Bits() != 0) poller_.Report(socket->token, socket->Bits());
    }
  }

 private:
  static bool IsDue(const ModelSocket& socket) {
    return socket.edge && socket.interest != Interest::kWake && socket.closes == 0;
  }

  ScriptedPoller& poller_;
  std::map<int, ModelSocket*> sockets_;
};

}  // namespace weir::test
