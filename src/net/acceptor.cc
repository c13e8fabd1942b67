// Accepting, when the queue of waiting clients is announced only once.
//
// An edge says "a client came". Whoever stops before EAGAIN, because its budget is spent or because
// no descriptor is left, gets no further edge for those that wait, not even when descriptors are
// free again. So the acceptor enters the owed list, or, out of descriptors, tries again after each
// close of ours and by a timer: it neither spins nor sleeps on clients, who stay in the backlog
// meanwhile.
//
// A listener that stops lets no other handshake begin, but one that has begun ends when the ACK of
// its client comes, after a round trip. The client takes itself for connected by then, and would be
// reset if nobody listened any more: so the listener closes only some time later, and nobody waits
// for it but Run().

#include "net/acceptor.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>

#include "base/log.h"
#include "os/sys.h"

namespace weir {
namespace {

constexpr std::chrono::milliseconds kFirstRetry{5};
constexpr std::chrono::milliseconds kLastRetry{100};
constexpr std::chrono::milliseconds kHandshake{100};  // TCP: how long one may take that had begun
constexpr std::chrono::seconds kTellAgain{10};

// accept(2): the client that was to be taken is gone, or the network has an error for it. The next
// one may be well.
bool IsPassing(int error) noexcept {
  switch (error) {
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case ETIMEDOUT:
      return true;
    default:
      return false;
  }
}

}  // namespace

Acceptor::Acceptor(LoopCore& core, int number, const Endpoint& endpoint, Handler& handler)
    : core_(core),
      number_(number),
      handler_(handler),
      socket_(endpoint, core.options),
      address_(socket_.address()),
      token_(core.engine.AddSource(*this, socket_.fd(), Interest::kAccept)) {
  log::Info("listening on {}", socket_.url());
}

Acceptor::~Acceptor() { Close(/*unlink_path=*/true); }

void Acceptor::Close(bool unlink_path) noexcept {
  core_.engine.CancelTimer(retry_timer_);
  core_.engine.RemoveSource(token_);
  socket_.Close(unlink_path);
}

void Acceptor::Stop() {
  if (!IsOpen() || stopping_) return;
  stopping_ = true;
  if (const int result = socket_.RefuseNew(); result < 0) {
    log::Warning("listener {}: clients that come while it closes may be reset: {}", socket_.url(),
                 std::error_code(-result, std::system_category()).message());
  }
  close_at_ = Engine::DeadlineIn(socket_.is_unix() ? Duration::zero() : kHandshake);
  Owe();
}

void Acceptor::Owe() {
  if (owed_) return;
  owed_ = true;
  core_.engine.OweSource(token_);
}

void Acceptor::OnEdge(Edge) {
  if (!owed_) AcceptSome();
}

void Acceptor::OnOwed() {
  owed_ = false;
  AcceptSome();
}

void Acceptor::OnTimer() {
  retry_timer_ = 0;
  AcceptSome();
}

void Acceptor::AcceptSome() {
  if (!IsOpen()) return;
  waits_ = false;
  if (core_.IsFull()) {
    core_.HoldAccepting();
    return Wait();
  }
  for (int budget = core_.options.accepts_per_turn; budget > 0; --budget) {
    switch (AcceptOne()) {
      case Outcome::kTaken:
      case Outcome::kNext:
        continue;
      case Outcome::kStarved:
        return Wait();
      case Outcome::kDrained:
        if (stopping_) CloseInTime();
        return;
    }
  }
  Owe();  // no edge will announce those that are left
}

void Acceptor::CloseInTime() {
  if (core_.engine.Now() >= close_at_) return Close(/*unlink_path=*/true);
  waits_ = true;
  core_.engine.CancelTimer(retry_timer_);
  retry_timer_ = core_.engine.ArmTimerAt(close_at_, token_);
}

Acceptor::Outcome Acceptor::AcceptOne() {
  sockaddr_storage storage;
  socklen_t size = sizeof storage;
  const int fd = sys::Accept(socket_.fd(), &storage, &size);
  if (fd < 0) return OnAcceptError(-fd);
  retry_ = {};
  const Address peer = Address::FromRaw(&storage, size);
  const std::size_t most = core_.options.max_connections;
  const bool has_room = most == 0 || core_.table.live() < most;
  if (has_room && HandlerTakes(fd, peer)) {
    OpenConnection(fd, peer);
  } else {
    core_.engine.counters().refused.Add(1);
    core_.tcp.Close(fd);
  }
  return Outcome::kTaken;
}

Acceptor::Outcome Acceptor::OnAcceptError(int error) {
  if (error == EAGAIN) {
    core_.engine.counters().would_block.Add(1);
    return Outcome::kDrained;
  }
  core_.engine.counters().accept_errors.Add(1);
  if (IsPassing(error)) return Outcome::kNext;
  Starve(error);
  return Outcome::kStarved;
}

// EMFILE, ENFILE, ENOBUFS, ENOMEM, and whatever else a kernel may invent: later.
void Acceptor::Starve(int error) {
  // Seldom: clients that come and go at the limit, thousands in a second, would fill the log.
  const Clock::time_point now = core_.engine.Now();
  if (!told_ || now - *told_ >= kTellAgain) {
    told_ = now;
    log::Warning("listener {}: accept: {}; clients wait until descriptors are free", socket_.url(),
                 std::error_code(error, std::system_category()).message());
  }
  retry_ = std::clamp(retry_ * 2, kFirstRetry, kLastRetry);
  core_.engine.CancelTimer(retry_timer_);
  retry_timer_ = core_.engine.ArmTimer(retry_, token_);
}

void Acceptor::Wait() {
  waits_ = true;
  std::vector<Token>& waiting = core_.waiting_acceptors;
  if (std::find(waiting.begin(), waiting.end(), token_) == waiting.end()) waiting.push_back(token_);
}

bool Acceptor::HandlerTakes(int fd, const Address& peer) {
  core_.NoteCalled(handler_);
  try {
    return handler_.OnAccept(core_.loop, {.listener = number_, .peer = peer, .fd = fd});
  } catch (...) {
    core_.NoteException(fmt::format("listener {}: OnAccept", socket_.url()));
  }
  return false;
}

void Acceptor::OpenConnection(int fd, const Address& peer) {
  Wire* const wire = socket_.is_unix() ? &core_.unix_stream : &core_.tcp;
  ConnectionImpl* connection = nullptr;
  try {
    connection = core_.table.Allocate();
  } catch (const std::bad_alloc&) {
    log::Error("listener {}: no memory for another connection: refused", socket_.url());
  }
  if (connection == nullptr) {
    core_.engine.counters().refused.Add(1);
    return wire->Close(fd);
  }
  core_.engine.counters().accepted.Add(1);
  connection->Open(core_, {.fd = fd,
                           .wire = wire,
                           .handler = &handler_,
                           .listener = number_,
                           .peer = PeerAddress(peer)});
  if (core_.draining) connection->Drain();
}

}  // namespace weir
