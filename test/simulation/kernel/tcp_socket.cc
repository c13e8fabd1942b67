#include "simulation/kernel/tcp_socket.h"

#include <netinet/tcp.h>
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

// tcp_poll().
std::uint32_t TcpSocket::Poll() {
  if (listens_) return queue_.empty() ? 0U : EPOLLIN | EPOLLRDNORM;
  std::uint32_t bits = 0;
  const bool is_closed = state_ == State::kFresh || state_ == State::kDone;
  if ((no_more_in_ && no_more_out_) || is_closed) bits |= EPOLLHUP;
  if (no_more_in_) bits |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
  if (state_ != State::kConnecting) bits |= PollData();
  if (error_ != 0) bits |= EPOLLERR;
  return bits;
}

std::uint32_t TcpSocket::PollData() {
  std::uint32_t bits = 0;
  // An urgent byte alone is nothing to read.
  const std::size_t least = mark_ == read_ ? 2 : 1;
  if (Available() >= least) bits |= EPOLLIN | EPOLLRDNORM;
  if (mark_.has_value() && *mark_ < read_ + Available()) bits |= EPOLLPRI;
  if (no_more_out_ || IsWritable()) {
    bits |= EPOLLOUT | EPOLLWRNORM;
  } else {
    wants_room_ = true;
  }
  return bits;
}

// sk_stream_is_writeable(): a third of the buffer is free.
bool TcpSocket::IsWritable() const noexcept {
  const std::size_t used = unsent_.size();
  return used < sizes_.send && sizes_.send - used >= used / 2;
}

std::size_t TcpSocket::Window() const noexcept {
  return sizes_.receive - std::min(sizes_.receive, arrived_.size());
}

// ---- The calls

// tcp_recvmsg_locked().
ssize_t TcpSocket::Receive(char* room, std::size_t size) {
  if (listens_ || state_ == State::kFresh)
    return error_ != 0 ? -std::exchange(error_, 0) : -ENOTCONN;
  if (size == 0 && !arrived_.empty()) return 0;
  std::size_t copied = 0;
  while (copied < size && !arrived_.empty()) {
    std::size_t count = std::min(size - copied, arrived_.size());
    if (mark_.has_value()) {
      if (*mark_ == read_) {
        if (copied > 0) break;  // one receive does not cross the mark
        arrived_.erase(0, 1);   // the urgent byte is not in the stream
        ++read_;
        mark_.reset();
        continue;
      }
      count = std::min<std::size_t>(count, *mark_ - read_);
    }
    std::copy_n(arrived_.begin(), count, room + copied);
    arrived_.erase(0, count);
    read_ += count;
    copied += count;
  }
  if (TcpSocket* const peer = Peer(); peer != nullptr) peer->Push();  // the window has opened
  if (copied > 0) return static_cast<ssize_t>(copied);
  if (fin_received_) return 0;  // SOCK_DONE: even if an error came after it
  if (error_ != 0) return -std::exchange(error_, 0);
  return no_more_in_ ? 0 : -EAGAIN;
}

// tcp_sendmsg_locked().
ssize_t TcpSocket::Queue(std::string_view bytes) {
  if (error_ != 0) return -std::exchange(error_, 0);
  if (no_more_out_ || state_ == State::kFresh) return -EPIPE;
  if (state_ == State::kConnecting) return -EAGAIN;
  const std::size_t count =
      std::min(bytes.size(), sizes_.send - std::min(sizes_.send, unsent_.size()));
  unsent_ += bytes.substr(0, count);
  if (count < bytes.size()) wants_room_ = true;
  return count == 0 && !bytes.empty() ? -EAGAIN : static_cast<ssize_t>(count);
}

ssize_t TcpSocket::Send(std::string_view bytes) {
  const ssize_t taken = Queue(bytes);
  if (taken > 0) Push();
  return taken;
}

ssize_t TcpSocket::SendUrgent(std::string_view bytes) {
  const ssize_t taken = Queue(bytes);
  if (taken > 0) {
    mark_sent_ = sent_ + unsent_.size() - 1;
    Push();
  }
  return taken;
}

// inet_shutdown().
int TcpSocket::Shutdown(int how) {
  if (listens_) {
    if (how == SHUT_WR) return 0;
    listens_ = false;
    while (Socket* const client = TakeClient()) static_cast<TcpSocket*>(client)->SendReset();
    Wake(kAll);
    return 0;
  }
  if (state_ == State::kConnecting) {  // it gives up
    state_ = State::kFresh;
    error_ = ECONNRESET;
    Wake(kAll);
    return 0;
  }
  const bool is_connected = state_ == State::kOpen;
  if (how != SHUT_WR) no_more_in_ = true;
  if (how != SHUT_RD) no_more_out_ = true;
  if (is_connected) Push();
  Wake(kAll);
  return is_connected ? 0 : -ENOTCONN;
}

int TcpSocket::TakeError() { return std::exchange(error_, 0); }

// tcp_inq(): up to the urgent mark.
int TcpSocket::Unread() const {
  std::size_t count = arrived_.size();
  if (mark_.has_value() && *mark_ >= read_) count = std::min<std::size_t>(count, *mark_ - read_);
  return static_cast<int>(count);
}

std::size_t TcpSocket::Arrived() const {
  const bool has_urgent = mark_.has_value() && *mark_ >= read_ && *mark_ - read_ < arrived_.size();
  return arrived_.size() - (has_urgent ? 1 : 0);
}

bool TcpSocket::HasNews() const {
  const std::size_t least = mark_ == read_ ? 2 : 1;
  return Available() >= least || no_more_in_ || error_ != 0;
}

// tcp_close().
void TcpSocket::OnReleased() {
  orphan_ = true;
  if (listens_) {
    listens_ = false;
    while (Socket* const client = TakeClient()) static_cast<TcpSocket*>(client)->SendReset();
    return;
  }
  if (state_ != State::kOpen) return;
  no_more_in_ = true;
  no_more_out_ = true;
  if (!arrived_.empty() || lingers_not_) {
    arrived_.clear();
    SendReset();
    return;
  }
  Push();
}

void TcpSocket::SendReset() {
  unsent_.clear();
  state_ = State::kDone;
  if (Peer() != nullptr) Peer()->OnReset();
}

// What passes at once on a network without loss and delay is not told apart.
int TcpSocket::StateNumber() const noexcept {
  if (listens_) return TCP_LISTEN;
  if (state_ == State::kConnecting) return TCP_SYN_SENT;
  if (state_ != State::kOpen) return TCP_CLOSE;
  if (fin_received_) return no_more_out_ ? TCP_LAST_ACK : TCP_CLOSE_WAIT;
  if (fin_sent_) return TCP_FIN_WAIT2;
  return no_more_out_ ? TCP_FIN_WAIT1 : TCP_ESTABLISHED;
}

// ---- Connecting

bool TcpSocket::ConnectTo(TcpSocket& listener, TcpSocket& end) {
  state_ = State::kConnecting;
  if (listener.drops_syns_ || !listener.HasPlace()) return false;
  peer_ = &end;
  end.peer_ = this;
  state_ = end.state_ = State::kOpen;
  end.port = listener.port;
  listener.Enqueue(end);
  Wake(kAll);
  return true;
}

void TcpSocket::Refuse() { OnFatal(ECONNREFUSED); }

// ---- The network

void TcpSocket::Push() {
  if (!holds_back) Arrive(SIZE_MAX);
}

bool TcpSocket::HasInFlight() const noexcept {
  if (state_ != State::kOpen || Peer() == nullptr) return false;
  if (!unsent_.empty()) return Peer()->orphan_ || Peer()->Window() > 0;
  return no_more_out_ && !fin_sent_;
}

void TcpSocket::Arrive(std::size_t most) {
  if (state_ != State::kOpen || Peer() == nullptr) return;
  TcpSocket& peer = *Peer();
  if (!unsent_.empty()) {
    if (peer.orphan_ || (peer.no_more_out_ && peer.no_more_in_)) {  // nobody will read it
      peer.OnReset();
      return OnReset();
    }
    const std::size_t count = std::min({most, unsent_.size(), peer.Window()});
    if (count == 0) return;
    const std::string segment = unsent_.substr(0, count);
    unsent_.erase(0, count);
    sent_ += count;
    if (mark_sent_.has_value()) peer.mark_ = std::exchange(mark_sent_, std::nullopt);
    peer.OnSegment(segment);
    OnAcknowledged();
  }
  if (unsent_.empty() && no_more_out_ && !fin_sent_) {
    fin_sent_ = true;
    peer.OnFin();
    FinishIfBothEnded();
  }
}

void TcpSocket::OnSegment(std::string_view bytes) {
  arrived_ += bytes;
  Wake(kReadable);
}

void TcpSocket::OnAcknowledged() {
  if (wants_room_ && IsWritable()) TellRoom();
}

void TcpSocket::TellRoom() {
  if (!wants_room_ || !IsWritable()) return;
  wants_room_ = false;
  Wake(kWritable);
}

void TcpSocket::OnFin() {
  fin_received_ = true;
  no_more_in_ = true;
  Wake(kAll);
  FinishIfBothEnded();
}

void TcpSocket::FinishIfBothEnded() {
  if (!fin_sent_ || !fin_received_ || state_ == State::kDone) return;
  Finish();
}

// tcp_done().
void TcpSocket::Finish() {
  state_ = State::kDone;
  no_more_in_ = no_more_out_ = true;
  Wake(kAll);
}

// tcp_reset(): what has arrived can still be read.
void TcpSocket::OnReset() {
  if (state_ == State::kDone) return;
  // CLOSE_WAIT has its own error.
  OnFatal(fin_received_ && !fin_sent_ ? EPIPE : ECONNRESET);
}

void TcpSocket::OnFatal(int error) {
  if (state_ == State::kDone) return;
  error_ = error;
  unsent_.clear();
  Finish();
  Wake(EPOLLERR);
}

void TcpSocket::Break(int error) {
  if (state_ != State::kOpen) return;
  OnFatal(error);
  Peer()->OnReset();
}

void TcpSocket::OnSoftError(int error) {
  if (state_ != State::kOpen) return;
  error_ = error;
  Wake(EPOLLERR);
}

}  // namespace weir::sim
