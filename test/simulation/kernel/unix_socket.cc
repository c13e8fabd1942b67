#include "simulation/kernel/unix_socket.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace weir::sim {
namespace {

constexpr std::uint32_t kAll = 0;
constexpr std::uint32_t kReadable = EPOLLIN | EPOLLPRI | EPOLLRDNORM | EPOLLRDBAND;
constexpr std::uint32_t kWritable = EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;

}  // namespace

// unix_poll().
std::uint32_t UnixSocket::Poll() {
  std::uint32_t bits = 0;
  if (error_ != 0) bits |= EPOLLERR;
  if (no_more_in_ && no_more_out_) bits |= EPOLLHUP;
  if (no_more_in_) bits |= EPOLLRDHUP | EPOLLIN | EPOLLRDNORM;
  if (!arrived_.empty() || !queue_.empty()) bits |= EPOLLIN | EPOLLRDNORM;
  if (!listens_ && peer_ == nullptr) bits |= EPOLLHUP;
  if (!listens_ && IsWritable()) bits |= EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;
  return bits;
}

// unix_stream_read_generic().
ssize_t UnixSocket::Receive(char* room, std::size_t size) {
  if (peer_ == nullptr) return -EINVAL;
  if (size == 0 && !arrived_.empty()) return 0;
  std::size_t copied = 0;
  while (copied < size && !arrived_.empty()) {
    Message& message = arrived_.front();
    const std::size_t count = std::min(size - copied, message.bytes.size() - message.read);
    std::copy_n(message.bytes.data() + message.read, count, room + copied);
    message.read += count;
    copied += count;
    if (message.read < message.bytes.size()) break;
    const std::size_t whole = message.bytes.size();
    arrived_.pop_front();
    Peer()->Uncharge(whole);
    if (stops_at_message_) break;
  }
  if (copied > 0) return static_cast<ssize_t>(copied);
  if (error_ != 0) return -std::exchange(error_, 0);
  return no_more_in_ ? 0 : -EAGAIN;
}

// unix_write_space(): it asks nobody whether he was waiting.
void UnixSocket::Uncharge(std::size_t bytes) {
  account_ -= bytes;
  TellRoom();
}

void UnixSocket::TellRoom() {
  if (IsWritable()) Wake(kWritable);
}

// unix_stream_sendmsg().
ssize_t UnixSocket::Send(std::string_view bytes) {
  if (peer_ == nullptr) return -ENOTCONN;
  if (no_more_out_) return -EPIPE;
  if (bytes.empty()) return 0;
  UnixSocket& peer = *Peer();
  if (account_ >= sizes_.send) return -EAGAIN;
  if (peer.orphan_ || peer.no_more_in_) return -EPIPE;
  const std::size_t count = std::min(bytes.size(), sizes_.send - account_);
  account_ += count;
  peer.arrived_.push_back({.bytes = std::string(bytes.substr(0, count))});
  peer.Wake(kReadable);
  return static_cast<ssize_t>(count);
}

ssize_t UnixSocket::SendUrgent(std::string_view) { return -EOPNOTSUPP; }

// unix_shutdown().
int UnixSocket::Shutdown(int how) {
  if (how != SHUT_WR) no_more_in_ = true;
  if (how != SHUT_RD) no_more_out_ = true;
  Wake(kAll);
  if (peer_ == nullptr) return 0;
  if (how != SHUT_WR) Peer()->no_more_out_ = true;
  if (how != SHUT_RD) Peer()->no_more_in_ = true;
  Peer()->Wake(kAll);
  return 0;
}

int UnixSocket::TakeError() { return std::exchange(error_, 0); }

int UnixSocket::Unread() const {
  std::size_t count = 0;
  for (const Message& message : arrived_) count += message.bytes.size() - message.read;
  return static_cast<int>(count);
}

bool UnixSocket::HasNews() const { return !arrived_.empty() || no_more_in_ || error_ != 0; }

bool UnixSocket::HasRoom() const { return no_more_out_ || IsWritable(); }

// unix_release_sock().
void UnixSocket::OnReleased() {
  orphan_ = true;
  listens_ = false;
  // Whoever still waits is reset.
  while (Socket* const client = TakeClient()) {
    auto& end = static_cast<UnixSocket&>(*client);
    end.orphan_ = true;
    end.Peer()->error_ = ECONNRESET;
    end.Peer()->no_more_in_ = end.Peer()->no_more_out_ = true;
    end.Peer()->Wake(kAll);
  }
  if (peer_ == nullptr) return;
  UnixSocket& peer = *Peer();
  if (!peer.orphan_) {
    peer.no_more_in_ = peer.no_more_out_ = true;
    if (!arrived_.empty()) peer.error_ = ECONNRESET;
    peer.Wake(kAll);
  }
  // What was not read is given back to its sender.
  std::size_t charged = 0;
  for (const Message& message : arrived_) charged += message.bytes.size();
  arrived_.clear();
  if (charged > 0) peer.Uncharge(charged);
}

int UnixSocket::ConnectTo(UnixSocket& listener, UnixSocket& end) {
  if (!listener.listens_ || listener.no_more_in_) return -ECONNREFUSED;
  if (!listener.HasPlace()) return -EAGAIN;
  if (listens_) return -EINVAL;
  if (peer_ != nullptr) return -EISCONN;
  peer_ = &end;
  end.peer_ = this;
  end.path = listener.path;
  listener.Enqueue(end);
  return 0;
}

}  // namespace weir::sim
