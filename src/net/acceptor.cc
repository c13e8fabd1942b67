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
//
// A socket that several loops share is level-triggered instead (net/shared_listener.h): so one that
// is starved takes it out of its epoll, or would be told for ever, and puts it in again when it has
// got to the end of the queue.

#include "net/acceptor.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "os/sys.h"
#include "weir/error.h"

namespace weir {
namespace {

constexpr std::chrono::milliseconds kFirstRetry{5};
constexpr std::chrono::milliseconds kLastRetry{100};
// TCP: how long a handshake may take that had begun. Less than the second after which whoever is
// not let in any more tries again, and finds another listener of the port.
constexpr std::chrono::milliseconds kHandshake{100};
constexpr std::chrono::seconds kTellAgain{10};

// As many as a queue can hold (net.core.somaxconn).
constexpr int kMostQueued = 4096;

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

Acceptor::Acceptor(LoopCore& core, int number, ListenSource source)
    : core_(core),
      own_(std::move(source.own)),
      shared_(source.shared),
      distributor_(source.distributor),
      socket_(shared_ != nullptr ? &shared_->socket() : own_.get()),
      address_((socket_ != nullptr ? *socket_ : *source.elsewhere).address()),
      reception_(core, number, (socket_ != nullptr ? *socket_ : *source.elsewhere).url(),
                 address_.IsUnix()),
      token_(core.engine.AddSource(*this, -1, Interest::kAccept)) {
  if (socket_ == nullptr) return;
  if (const int result = Register(); result < 0) {
    core.engine.RemoveSource(token_);
    throw Error::System("epoll_ctl ADD", -result);
  }
  if (shared_ != nullptr) shared_->Join(core, *this);
}

Acceptor::~Acceptor() { Close(Closing::kDestroyed); }

int Acceptor::Register() {
  if (is_registered_) return 0;
  const Interest interest = shared_ != nullptr ? Interest::kAcceptShared : Interest::kAccept;
  const int result = core_.engine.poller().Add(socket_->fd(), interest, token_);
  is_registered_ = result >= 0;
  return result;
}

void Acceptor::Deregister() {
  if (std::exchange(is_registered_, false)) {
    static_cast<void>(core_.engine.poller().Remove(socket_->fd()));
  }
}

void Acceptor::Forget() noexcept {
  core_.engine.CancelTimer(retry_timer_);
  core_.engine.RemoveSource(token_);
  socket_ = nullptr;
}

void Acceptor::Close(Closing how) noexcept {
  if (socket_ == nullptr) return;
  if (shared_ != nullptr && !is_last_) return LeaveShared(how);
  socket_->Close(/*unlink_path=*/how != Closing::kForked);
  Forget();
}

void Acceptor::LeaveShared(Closing how) {
  if (how != Closing::kForked) Deregister();  // a child has its parent's epoll
  if (shared_->Leave()) {
    is_last_ = true;
    return Close(how);
  }
  Forget();  // and tells nobody: only a loop that is being destroyed comes here, Stop() came before
}

void Acceptor::Stop() {
  if (!IsOpen() || stopping_) return;
  stopping_ = true;
  if (shared_ != nullptr) {
    Deregister();
    is_last_ = shared_->Leave();
    if (!is_last_) {
      Forget();
      return shared_->Nudge(*this);
    }
  }
  if (const int result = socket_->RefuseNew(); result < 0) {
    log::Warning("listener {}: clients that come while it closes may be reset: {}", url(),
                 std::error_code(-result, std::system_category()).message());
  }
  const bool has_handshakes = !socket_->is_unix() && !socket_->is_inherited();
  close_at_ = Engine::DeadlineIn(has_handshakes ? kHandshake : Duration::zero());
  may_still_take_ = kMostQueued;
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

void Acceptor::Look() {
  if (!owed_ && !waits_) AcceptSome();
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
        if (!IsOpen()) return;  // OnAccept has stopped it
        continue;
      case Outcome::kNext:
        continue;
      case Outcome::kStarved:
        return Wait();
      case Outcome::kDrained:
        return stopping_ ? OnStopDrained() : OnDrained();
    }
  }
  Owe();  // no edge will announce those that are left
}

Acceptor::Outcome Acceptor::AcceptOne() {
  // Those who come to an inherited socket while we leave are for whoever else has it.
  if (stopping_ && socket_->is_inherited() && may_still_take_-- == 0) return Outcome::kDrained;
  sockaddr_storage storage;
  socklen_t size = sizeof storage;
  const int fd = sys::Accept(socket_->fd(), &storage, &size);
  if (fd < 0) return OnAcceptError(-fd);
  retry_ = {};
  UniqueFd client(fd);
  const Address peer = Address::FromRaw(&storage, size);
  if (distributor_ == nullptr) {
    reception_.Take(std::move(client), peer);
  } else if (!distributor_->HandOver(reception_.number(), std::move(client), PeerAddress(peer))) {
    reception_.NoteRefused();
  }
  return Outcome::kTaken;
}

void Acceptor::TakeHanded(UniqueFd fd, const PeerAddress& peer) {
  reception_.Take(std::move(fd), address_.IsUnix() ? Address() : peer.Expand());
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

void Acceptor::OnDrained() {
  if (Register() < 0) {  // no memory for it, or no watch left
    RetryLater();
    Wait();
  }
}

void Acceptor::OnStopDrained() {
  if (core_.engine.Now() >= close_at_) return Close(Closing::kRunning);
  waits_ = true;
  core_.engine.CancelTimer(retry_timer_);
  retry_timer_ = core_.engine.ArmTimerAt(close_at_, token_);
}

// EMFILE, ENFILE, ENOBUFS, ENOMEM, and whatever else a kernel may invent: later.
void Acceptor::Starve(int error) {
  // Seldom: clients that come and go at the limit, thousands in a second, would fill the log.
  const Clock::time_point now = core_.engine.Now();
  if (!told_ || now - *told_ >= kTellAgain) {
    told_ = now;
    log::Warning("listener {}: accept: {}; clients wait until descriptors are free", url(),
                 std::error_code(error, std::system_category()).message());
  }
  RetryLater();
}

void Acceptor::RetryLater() {
  retry_ = std::clamp(retry_ * 2, kFirstRetry, kLastRetry);
  core_.engine.CancelTimer(retry_timer_);
  retry_timer_ = core_.engine.ArmTimer(retry_, token_);
}

void Acceptor::Wait() {
  waits_ = true;
  std::vector<Token>& waiting = core_.waiting_acceptors;
  if (std::find(waiting.begin(), waiting.end(), token_) == waiting.end()) waiting.push_back(token_);
  if (shared_ == nullptr || !is_registered_) return;
  Deregister();
  if (!is_last_) shared_->Nudge(*this);  // they may have memory where we have none
}

}  // namespace weir
