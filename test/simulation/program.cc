#include "simulation/program.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace weir::sim {
namespace {

using std::chrono::milliseconds;

// Hands over `bytes` in one of the ways that there are.
bool WriteSomehow(Life& life, Connection& connection, const std::string& bytes) {
  switch (life.Plan(6)) {
    case 1:
      return connection.WriteOwned(bytes);
    case 2:
      return connection.WriteShared(std::make_shared<const std::string>(bytes));
    case 3: {
      const std::string_view all(bytes);
      const std::size_t half = all.size() / 2;
      const std::array<std::string_view, 3> pieces{all.substr(0, half), "", all.substr(half)};
      return connection.Writev(pieces);
    }
    case 4: {
      const std::span<char> room = connection.Reserve(bytes.size() + 7);
      if (room.empty()) return false;
      std::copy(bytes.begin(), bytes.end(), room.begin());
      connection.Commit(bytes.size());
      return true;
    }
    default:
      return connection.Write(bytes);
  }
}

bool MayTouch(const Exchange& exchange) {
  return exchange.opened && !exchange.closed && exchange.ref.Get() != nullptr;
}

}  // namespace

void WriteSome(Life& life, Exchange& exchange, std::size_t count) {
  if (!MayTouch(exchange)) return;
  const std::string bytes = BytesOf(exchange.Downstream(), exchange.written, count);
  if (exchange.connection->Pending() == 0) exchange.whole = std::max(exchange.whole, count);
  if (WriteSomehow(life, *exchange.connection, bytes)) {
    exchange.written += count;
    if (exchange.fin_wanted) life.world().Find("written: behind the end of the stream");
  }
}

void Pause(Life& life, Exchange& exchange) {
  if (!MayTouch(exchange) || exchange.paused) return;
  exchange.paused = true;
  exchange.connection->PauseRead();
  // Somebody resumes it in the end.
  Exchange* const self = &exchange;
  const Clock::time_point due = life.world().scheduler.now() + milliseconds(1 + life.Plan(40));
  World* const world = &life.world();
  static_cast<void>(exchange.connection->Loop().RunAfter(
      due - life.world().scheduler.now(), [self, due, world, mark = Life::TimerMark(life)] {
        if (world->scheduler.now() < due) world->Find("timer: early");
        Resume(*self);
      }));
}

void Resume(Exchange& exchange) {
  if (!exchange.paused) return;
  exchange.paused = false;
  exchange.NoteVisit();
  if (!MayTouch(exchange)) return;
  if (!exchange.in_on_data) exchange.is_due = true;
  exchange.connection->ResumeRead();
}

void CloseIt(Exchange& exchange) {
  if (!MayTouch(exchange)) return;
  exchange.NoteClose();
  exchange.connection->Close();
}

void AbortIt(Exchange& exchange) {
  if (!MayTouch(exchange)) return;
  exchange.abort_said = true;
  exchange.connection->Abort();
}

Program::Program(Life& life, bool has_second) : life_(life) {
  if (has_second) second_ = std::make_unique<Program>(life, false);
}

bool Program::OnAccept(EventLoop&, const Accepted&) { return life_.Plan(24) != 23; }

Exchange* Program::Expect(Connection& connection, const char* callback) {
  World& world = life_.world();
  Exchange* const exchange = life_.Find(connection);
  if (exchange == nullptr) {
    world.Find("callbacks: {} of a stranger", callback);
    return nullptr;
  }
  world.Trace("{} of {}", callback, exchange->id);
  if (EventLoop::Current() != &connection.Loop()) world.Find("thread: {} on another", callback);
  if (!exchange->opened || exchange->closed) {
    world.Find("callbacks: {} {}", callback, exchange->closed ? "after OnClose" : "before OnOpen");
  }
  return exchange;
}

// None of these comes to a connection that is closing, whoever closes it.
Exchange* Program::ExpectOpen(Connection& connection, const char* callback) {
  Exchange* const exchange = Expect(connection, callback);
  if (exchange == nullptr) return nullptr;
  const bool is_closing = exchange->close_said || exchange->abort_said;
  if (is_closing || exchange->ref.Get() == nullptr) {
    life_.world().Find("callbacks: {} after {}", callback, is_closing ? "Close" : "it was closed");
  }
  return exchange;
}

void Program::OnOpen(Connection& connection) {
  World& world = life_.world();
  Exchange* const exchange = life_.Find(connection);
  if (exchange == nullptr) return world.Find("callbacks: OnOpen of a stranger");
  world.Trace("OnOpen of {}, descriptor {}", exchange->id, connection.Fd());
  if (exchange->opened) world.Find("callbacks: OnOpen twice");
  connection.Emplace<Exchange*>(exchange);
  exchange->opened = true;
  exchange->connection = &connection;
  exchange->ref = connection.Ref();
  exchange->loop = connection.Loop().Index();
  exchange->moved = connection.Loop().Now();
  exchange->idle = life_.options().idle_timeout;
  life_.NoteOpen(*exchange);
  ++world.tally.connections;
  if (life_.Plan(4) == 3) WriteSome(life_, *exchange, 1 + life_.Plan(8000));
  if (life_.Plan(4) == 3) Act(*exchange, connection);
}

std::size_t Program::OnData(Connection& connection, std::string_view in) {
  World& world = life_.world();
  Exchange* const found = ExpectOpen(connection, "OnData");
  if (found == nullptr) return in.size();
  Exchange& exchange = *found;
  if (exchange.ended) world.Find("callbacks: OnData after OnEnd");
  if (exchange.paused) world.Find("paused: OnData all the same");
  if (!AreBytesOf(exchange.Upstream(), exchange.consumed, in)) {
    world.Find("wrong bytes: OnData got others than peer {} sent, behind {}", exchange.id,
               exchange.consumed);
  }
  const std::uint64_t end = exchange.consumed + in.size();
  if (end < exchange.seen) world.Find("lost bytes: OnData got less than what was unconsumed");
  if (end > exchange.peer_sent) world.Find("wrong bytes: more than were sent");
  if (in.size() < exchange.need && !exchange.woken) {
    world.Find("need: OnData with {} bytes instead of {}", in.size(), exchange.need);
  }
  if (in.empty() && !exchange.woken) world.Find("callbacks: OnData with nothing");
  if (connection.Input() != in) world.Find("input: Input() is not what OnData was given");
  exchange.seen = end;
  exchange.need = 0;
  exchange.is_due = false;
  exchange.in_on_data = true;
  const std::size_t consumed = Consume(exchange, connection, in);
  exchange.in_on_data = false;
  return consumed;
}

std::size_t Program::Consume(Exchange& exchange, Connection& connection, std::string_view in) {
  if (life_.Plan(3) == 2) Act(exchange, connection);
  std::size_t count = in.size();
  switch (life_.Plan(12)) {
    case 9:
      count = life_.Plan(static_cast<std::uint32_t>(in.size()) + 1);
      break;
    case 10:
      count = 0;
      if (exchange.ref.Get() == nullptr) break;
      exchange.need = in.size() + 1 + life_.Plan(64);
      connection.NeedAtLeast(exchange.need);
      break;
    case 11:
      if (life_.Plan(8) == 7) {
        exchange.NoteClose();
        return kReject;
      }
      break;
    default:
      break;
  }
  exchange.consumed += count;
  life_.world().tally.bytes += count;
  if (count > 0) WriteSome(life_, exchange, count * (1 + life_.Plan(3)));
  return count;
}

void Program::Act(Exchange& exchange, Connection& connection) {
  switch (life_.Plan(18)) {
    case 0:
    case 1:
      return WriteSome(life_, exchange, 1 + life_.Plan(2000));
    case 2:
      return Pause(life_, exchange);
    case 3:
      return Resume(exchange);
    case 4:
      return CloseIt(exchange);
    case 5:
      if (life_.Plan(3) == 2) AbortIt(exchange);
      return;
    case 6:
      if (!MayTouch(exchange)) return;
      exchange.fin_wanted = true;
      return connection.ShutdownWrite();
    case 7:
      return connection.FlushNow();
    case 8:
      return connection.SetFlush(life_.Plan(2) == 1 ? Flush::kBatch : Flush::kCallback);
    case 9:
      if (second_ == nullptr) return;
      exchange.need = 0;
      exchange.is_due = true;
      return connection.SetHandler(*second_);
    case 10:
    case 11:
      return ActOnOther(exchange);
    case 12:
    case 13:
      return SetTimes(exchange, connection);
    case 14:
      if (life_.Plan(3) != 2) return;
      exchange.NoteClose();
      throw std::runtime_error("a program's mistake");
    case 15: {
      const std::size_t low = life_.Plan(500);
      return connection.SetWatermarks(low + life_.Plan(2000), low);
    }
    case 16:
      switch (life_.Plan(8)) {
        case 6:
          life_.NoteDrain(exchange.loop);
          return connection.Loop().DrainAll();
        case 7:
          return life_.StopSometime();
        default:
          return;
      }
    default: {
      Exchange* const self = &exchange;
      Life* const life = &life_;
      auto work = [self, life, ticket = life->tickets().Make(-1, exchange.loop)]() mutable {
        ticket.Run();
        WriteSome(*life, *self, 100);
      };
      const std::uint64_t ticket = life_.tickets().last_made();
      if (!connection.Loop().Post(std::move(work))) life_.tickets().NoteRefused(ticket);
      return;
    }
  }
}

void Program::ActOnOther(Exchange& exchange) {
  Exchange* const other = life_.AnyOpenOn(exchange.loop);
  if (other == nullptr) return;
  switch (life_.Plan(6)) {
    case 0:
    case 1:
      return WriteSome(life_, *other, 1 + life_.Plan(3000));
    case 2:
      return Pause(life_, *other);
    case 3:
      return Resume(*other);
    case 4:
      return CloseIt(*other);
    default:
      if (life_.Plan(3) == 2) AbortIt(*other);
      return;
  }
}

void Program::SetTimes(Exchange& exchange, Connection& connection) {
  const Duration time = milliseconds(life_.Plan(50));
  switch (life_.Plan(3)) {
    case 0:
      exchange.idle = time;
      exchange.moved = connection.Loop().Now();
      return connection.SetIdleTimeout(time);
    case 1:
      exchange.read_deadline =
          time > Duration::zero() ? connection.Loop().Now() + time : Clock::time_point();
      return connection.SetReadDeadline(exchange.read_deadline);
    default:
      exchange.write_deadline =
          time > Duration::zero() ? connection.Loop().Now() + time : Clock::time_point();
      return connection.SetWriteDeadline(exchange.write_deadline);
  }
}

void Program::OnEnd(Connection& connection) {
  World& world = life_.world();
  Exchange* const found = ExpectOpen(connection, "OnEnd");
  if (found == nullptr) return;
  Exchange& exchange = *found;
  if (exchange.ended) world.Find("callbacks: OnEnd twice");
  if (exchange.paused) world.Find("paused: OnEnd all the same");
  if (Life::IsOnDataDue(exchange)) world.Find("callbacks: OnEnd before an OnData that is due");
  exchange.ended = true;
  const std::uint64_t told = exchange.consumed + connection.Input().size();
  if (told != exchange.peer_sent) {
    world.Find("lost bytes: OnEnd behind {} of {} bytes", told, exchange.peer_sent);
  }
  switch (life_.Plan(6)) {
    case 3:
      WriteSome(life_, exchange, 1 + life_.Plan(9000));
      return End(exchange, connection);
    case 4:
      Act(exchange, connection);
      return End(exchange, connection);
    case 5: {  // half-open, for a while
      Exchange* const self = &exchange;
      Life* const life = &life_;
      static_cast<void>(connection.Loop().RunAfter(milliseconds(1 + life_.Plan(20)),
                                                   [life, self, mark = Life::TimerMark(life_)] {
                                                     WriteSome(*life, *self, 500);
                                                     CloseIt(*self);
                                                   }));
      return;
    }
    default:
      return End(exchange, connection);
  }
}

void Program::End(Exchange& exchange, Connection& connection) {
  exchange.NoteClose();
  Handler::OnEnd(connection);
}

void Program::OnDrain(Connection& connection) {
  Exchange* const exchange = ExpectOpen(connection, "OnDrain");
  if (exchange == nullptr) return;
  if (connection.Congested()) life_.world().Find("drain: OnDrain of a congested connection");
  if (life_.Plan(3) == 2) Act(*exchange, connection);
}

void Program::OnTimeout(Connection& connection, TimeoutKind kind) {
  World& world = life_.world();
  Exchange* const found = ExpectOpen(connection, "OnTimeout");
  if (found == nullptr) return;
  Exchange& exchange = *found;
  const Clock::time_point now = world.scheduler.now();
  const bool is_early = kind == TimeoutKind::kIdle   ? now < exchange.moved + exchange.idle
                        : kind == TimeoutKind::kRead ? now < exchange.read_deadline
                                                     : now < exchange.write_deadline;
  if (is_early) world.Find("timer: OnTimeout is early");
  if (kind == TimeoutKind::kWrite && connection.Pending() == 0) {
    world.Find("timer: a write time-out of nothing");
  }
  switch (life_.Plan(4)) {
    case 2:
      return Act(exchange, connection);
    case 3:
      return;  // goes on
    default:
      if (kind == TimeoutKind::kWrite) {
        exchange.abort_said = true;
      } else {
        exchange.NoteClose();
      }
      return Handler::OnTimeout(connection, kind);
  }
}

void Program::OnClose(Connection& connection, CloseReason reason, std::error_code error) {
  World& world = life_.world();
  Exchange* const found = Expect(connection, "OnClose");
  if (found == nullptr) return;
  Exchange& exchange = *found;
  world.Trace("    because: {} {}", ToString(reason), error.value());
  exchange.closed = true;
  exchange.reason = reason;
  exchange.closed_at = world.scheduler.now();
  exchange.had_error = static_cast<bool>(error);
  life_.NoteClosed(exchange);
  const bool was_ours = exchange.close_said || exchange.abort_said;
  const bool is_local = reason == CloseReason::kLocal || reason == CloseReason::kRejected ||
                        reason == CloseReason::kException;
  if (is_local && !was_ours) world.Find("reason: {} of nobody's doing", ToString(reason));
  if (reason == CloseReason::kPeerEnd && !exchange.ended) world.Find("reason: no end was told");
  if (reason == CloseReason::kError && !error) world.Find("reason: an error without an errno");
  life_.JudgeDrain(exchange);
  if (life_.Plan(6) == 5) ActOnOther(exchange);
}

void Program::OnStop(EventLoop& loop) {
  life_.NoteDrain(loop.Index());
  Handler::OnStop(loop);
}

}  // namespace weir::sim
