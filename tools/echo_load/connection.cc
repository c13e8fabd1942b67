#include "echo_load/connection.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "echo_load/failure.h"

namespace echo_load {

bool Connection::Receive(std::span<char> buffer, bool ask, Histogram& latencies) {
  const ssize_t result = ::recv(fd_.Get(), buffer.data(), buffer.size(), 0);
  if (result < 0) {
    if (errno == EAGAIN || errno == EINTR) return false;
    const std::string reason = ErrorText(errno);
    throw Failure(fmt::format("{}, then recv: {}", Position(), reason));
  }
  if (result == 0) {
    PeerEnded();
    return true;
  }
  const auto count = static_cast<std::size_t>(result);
  Verify(buffer.first(count));
  received_ += count;

  const Clock::time_point now = Clock::now();
  for (; received_ - answered_ * size_ >= size_; ++answered_) {
    if (!ask) continue;  // an answer after the time: checked, not counted
    Clock::time_point& asked_at = asked_at_[answered_ % asked_at_.size()];
    latencies.Record(now - asked_at);
    asked_at = now;
    if (!once_) goal_ += size_;
  }
  return true;
}

void Connection::Reset() {
  const linger reset{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd_.Get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  fd_.Close();
  ended_ = true;
}

void Connection::Renew(Fd fd) {
  Reset();
  ended_ = false;
  fd_ = std::move(fd);
  start_ += received_;
  received_ = sent_ = goal_ = answered_ = 0;
  watched_for_output = false;
}

void Connection::Verify(std::span<const char> got) const {
  const std::span<const char> sent = pattern_.At(start_ + received_, got.size());
  const auto [wrong, right] = std::mismatch(got.begin(), got.end(), sent.begin());
  if (wrong != got.end()) {
    const std::uint64_t at = received_ + static_cast<std::uint64_t>(wrong - got.begin());
    if (at < sent_) {
      throw WrongEcho(fmt::format(
          "connection {}: byte {} was sent as 0x{:02x} and came back as 0x{:02x}", number_, at,
          static_cast<unsigned char>(*right), static_cast<unsigned char>(*wrong)));
    }
  }
  if (received_ + got.size() > sent_) {
    throw WrongEcho(
        fmt::format("connection {}: {} bytes were sent, and more came back", number_, sent_));
  }
}

std::string Connection::Position() const {
  return fmt::format("connection {}: {} of {} bytes came back", number_, received_, sent_);
}

void Connection::PeerEnded() {
  if (!half_closed_ || received_ != sent_) {
    throw Failure(fmt::format("{}, then the server ended the connection", Position()));
  }
  ended_ = true;
  fd_.Close();
}

void Connection::Send() {
  blocked_ = false;
  while (sent_ < goal_) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(goal_ - sent_, kChunk));
    const std::span<const char> piece = pattern_.At(start_ + sent_, count);
    const ssize_t result = ::send(fd_.Get(), piece.data(), piece.size(), MSG_NOSIGNAL);
    if (result < 0 && errno == EINTR) continue;
    if (result < 0 && errno == EAGAIN) {
      blocked_ = true;
      return;
    }
    if (result < 0) {
      const std::string reason = ErrorText(errno);
      throw Failure(fmt::format("{}, then send: {}", Position(), reason));
    }
    sent_ += static_cast<std::uint64_t>(result);
  }
  if (finishing_ && !half_closed_) {
    half_closed_ = true;
    ::shutdown(fd_.Get(), SHUT_WR);  // if it fails there is no connection, and recv tells why
  }
}

}  // namespace echo_load
