#include "simulation/peer.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

namespace weir::sim {
namespace {

using std::chrono::milliseconds;

constexpr int kMostTries = 3;

}  // namespace

Peer::Peer(World& world, Exchange& exchange, Target target)
    : world_(world), exchange_(exchange), target_(std::move(target)) {
  exchange_.is_unix = target_.IsUnix();
  Plan();
}

// ---- The script

void Peer::Plan() {
  Choices& choices = world_.choices;
  static constexpr std::array<std::uint32_t, 5> kSizes{32, 1, 500, 4000, 20000};
  if (choices.OneIn(Stream::kPlan, 3)) {
    script_.push_back({Verb::kWait, choices.Between(Stream::kPlan, 1, 200)});
  }
  script_.push_back({Verb::kConnect});
  const std::uint32_t exchanges = choices.Below(Stream::kPlan, 5);
  for (std::uint32_t i = 0; i < exchanges; ++i) {
    const std::uint32_t most = kSizes[choices.Below(Stream::kPlan, kSizes.size())];
    script_.push_back({Verb::kSend, choices.Between(Stream::kPlan, 1, most)});
    switch (choices.Below(Stream::kPlan, 8)) {
      case 0:
      case 1:
      case 2:
        script_.push_back({Verb::kReceive, 1});
        break;
      case 3:
        script_.push_back({Verb::kWait, choices.Between(Stream::kPlan, 1, 100)});
        break;
      case 4:
        script_.push_back({Verb::kSendUrgent});
        break;
      default:
        break;  // and sends on
    }
  }
  PlanEnd();
}

void Peer::PlanEnd() {
  Choices& choices = world_.choices;
  switch (choices.Below(Stream::kPlan, 8)) {
    case 0:
    case 1:
    case 2:
      script_.push_back({Verb::kEnd});
      script_.push_back({Verb::kDrain});
      break;
    case 3:
      script_.push_back({Verb::kDrain});  // until the server has had enough
      break;
    case 4:
      script_.push_back({Verb::kEnd});
      script_.push_back({Verb::kWait, choices.Between(Stream::kPlan, 1, 3000)});
      script_.push_back({Verb::kDrain});
      break;
    case 5:
      script_.push_back({Verb::kReset});
      return;
    case 6:
      script_.push_back({Verb::kEnd});
      break;
    default:
      script_.push_back({Verb::kWait, choices.Between(Stream::kPlan, 1, 9000)});
      break;
  }
  script_.push_back({Verb::kClose});
}

void Peer::Next() noexcept {
  ++at_;
  moved_ = 0;
  wakes_at_ = kNever;
}

// ---- Its turn

bool Peer::CanAct() {
  if (done_) return false;
  if (Now().verb == Verb::kWait && wakes_at_ == kNever) {
    wakes_at_ = world_.scheduler.now() + milliseconds(Now().amount);
  }
  if (wakes_at_ != kNever) return wakes_at_ <= world_.scheduler.now();
  switch (Now().verb) {
    case Verb::kSend:
      return socket()->HasRoom() || socket()->HasNews();
    case Verb::kReceive:
    case Verb::kDrain:
      return socket()->HasNews();
    default:
      return true;
  }
}

Clock::time_point Peer::WakesAt() { return done_ ? kNever : wakes_at_; }

void Peer::Act() {
  switch (Now().verb) {
    case Verb::kWait:
      return Next();
    case Verb::kConnect:
      return Connect();
    case Verb::kSend:
      return Send();
    case Verb::kSendUrgent:
      return SendUrgent();
    case Verb::kReceive:
    case Verb::kDrain:
      return Receive();
    case Verb::kEnd:
      if (world_.clients.Shutdown(fd_, SHUT_WR) == 0) exchange_.peer_ended = true;
      world_.Trace("peer {}: ends", exchange_.id);
      return Next();
    case Verb::kClose:
      return Leave(/*reset=*/false);
    case Verb::kReset:
      return Leave(/*reset=*/true);
  }
}

void Peer::Connect() {
  wakes_at_ = kNever;
  if (fd_ >= 0) static_cast<void>(world_.clients.Close(fd_));
  int result = 0;
  if (target_.IsUnix()) {
    fd_ = world_.clients.Socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un local{};
    local.sun_family = AF_UNIX;
    std::memcpy(local.sun_path, target_.path.data(), target_.path.size());
    const std::size_t end = target_.path.starts_with('/') ? 1 : 0;
    result = world_.clients.Connect(
        fd_, &local,
        static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + target_.path.size() + end));
    connected_ = result == 0;
  } else {
    fd_ = world_.clients.Socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in ip{};
    ip.sin_family = AF_INET;
    ip.sin_port = htons(target_.port);
    ip.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    result = world_.clients.Connect(fd_, &ip, sizeof ip);
    connected_ = socket()->peer() != nullptr;
    if (!connected_) result = -socket()->TakeError();
  }
  world_.Trace("peer {}: connects to {}: {}", exchange_.id,
               target_.IsUnix() ? std::string("unix") : fmt::format(":{}", target_.port), result);
  if (connected_) {
    if (auto* const tcp = dynamic_cast<TcpSocket*>(socket())) {
      const bool is_slow = world_.faults.Has(Fault::kSlowNetwork);
      tcp->holds_back = is_slow;
      static_cast<TcpSocket*>(tcp->peer())->holds_back = is_slow;
    }
    exchange_.socket = socket()->peer();
    return Next();
  }
  // The SYN was dropped, or the queue is full: TCP tries again after a second.
  const bool was_refused = result == -ECONNREFUSED || result == -ENOENT;
  if (was_refused || ++tries_ >= kMostTries) return Leave(/*reset=*/false);
  wakes_at_ = world_.scheduler.now() + milliseconds(1000);
}

void Peer::Send() {
  if (!socket()->HasRoom()) return Receive();  // it has news instead: perhaps that it is over
  const std::size_t left = Now().amount - moved_;
  static constexpr std::array<std::size_t, 4> kParts{SIZE_MAX, 1, 100, 1000};
  const std::size_t part =
      std::min(left, kParts[world_.choices.Below(Stream::kOrder, kParts.size())]);
  const std::string bytes = BytesOf(exchange_.Upstream(), exchange_.peer_sent, part);
  const ssize_t sent = world_.clients.Send(fd_, bytes.data(), bytes.size());
  world_.Trace("peer {}: sends {}: {}", exchange_.id, bytes.size(), sent);
  if (sent < 0) {
    if (sent == -EAGAIN) return;
    NoteReset();
    return OnGone();
  }
  exchange_.peer_sent += static_cast<std::uint64_t>(sent);
  moved_ += static_cast<std::size_t>(sent);
  if (moved_ == Now().amount) Next();
}

// One at a time: an urgent byte that overtakes another makes that one a part of the stream.
void Peer::SendUrgent() {
  const char urgent = '!';
  auto* const tcp = dynamic_cast<TcpSocket*>(socket());
  if (tcp != nullptr && !tcp->HasUrgentOnTheWay()) {
    const ssize_t sent = world_.clients.SendUrgent(fd_, &urgent, 1);
    world_.Trace("peer {}: sends an urgent byte: {}", exchange_.id, sent);
    if (sent < 0 && sent != -EAGAIN) NoteReset();
  }
  Next();
}

void Peer::Receive() {
  std::array<char, 2048> room;
  static constexpr std::array<std::size_t, 3> kParts{room.size(), 10, 300};
  const std::size_t part = kParts[world_.choices.Below(Stream::kOrder, kParts.size())];
  const ssize_t got = world_.clients.Recv(fd_, room.data(), part);
  world_.Trace("peer {}: receives: {}", exchange_.id, got);
  if (got == -EAGAIN) return;
  if (got <= 0) {
    if (got < 0) NoteReset();
    // An error is told once: an end that comes behind it is none.
    exchange_.peer_saw_end = !exchange_.peer_saw_reset;
    return OnGone();
  }
  const std::string_view bytes(room.data(), static_cast<std::size_t>(got));
  if (!AreBytesOf(exchange_.Downstream(), exchange_.peer_received, bytes)) {
    world_.Find("wrong bytes: peer {} received others than were sent, behind {}", exchange_.id,
                exchange_.peer_received);
  }
  exchange_.peer_received += bytes.size();
  if (Now().verb != Verb::kReceive) return;
  moved_ += bytes.size();
  if (moved_ >= Now().amount) Next();
}

void Peer::NoteReset() {
  if (!exchange_.peer_saw_reset) exchange_.peer_saw_reset_at = world_.scheduler.now();
  exchange_.peer_saw_reset = true;
}

// The server has ended the stream, or it is broken. What follows in the script is no use any more.
void Peer::OnGone() {
  if (exchange_.peer_saw_end && !exchange_.peer_ended && Now().verb != Verb::kDrain &&
      world_.choices.OneIn(Stream::kPlan, 2)) {
    return Next();  // a peer that has not understood
  }
  Leave(/*reset=*/false);
}

void Peer::Leave(bool reset) {
  if (reset && !target_.IsUnix()) {
    const linger now{.l_onoff = 1, .l_linger = 0};
    static_cast<void>(world_.clients.SetOption(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now));
  }
  world_.Trace("peer {}: leaves{}", exchange_.id, reset ? " by a reset" : "");
  static_cast<void>(world_.clients.Close(fd_));
  fd_ = -1;
  connected_ = false;
  done_ = true;
}

std::string Peer::Describe() const {
  static constexpr std::array<const char*, 9> kVerbs{"waits", "connects", "sends",
                                                     "sends", "receives", "receives to the end",
                                                     "ends",  "closes",   "resets"};
  if (done_) return "has left";
  return kVerbs[static_cast<std::size_t>(Now().verb)];
}

}  // namespace weir::sim
