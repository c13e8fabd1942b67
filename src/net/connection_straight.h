// The straight path: what happens to nearly every request, in one piece, from the edge through
// OnData to the reply.
//
//     bytes have come, and nothing else is the matter; nothing is unread, nothing is unsent
//     --> one receive, into the loop's buffer
//     --> OnData, which consumes all of it
//     --> one send of what it wrote, which leaves whole
//
// It does what connection_read.cc and connection_write.cc do, without asking for what is known;
// where a step turns out otherwise, they take over from there. It is inlined into the turn: called,
// its prologue would be a tenth of it.

#pragma once

#include "net/connection_callback.h"
#include "net/loop_core.h"

namespace weir {

[[gnu::always_inline]] inline void ConnectionImpl::OnEdge(Edge edge) {
  if (edge.OnlyBytes() && !Has(kOffStraightRead) && !inbound_.OwnsMemory() && outbound_.empty())
      [[likely]] {
    ReadStraight();
  } else {
    OnAnyEdge(edge);
  }
}

[[gnu::always_inline]] inline void ConnectionImpl::ReadStraight() {
  LoopCore& loop = *loop_;
  loop.engine.counters().receives.Add(1);
  const Transfer got = TryReceive(loop);
  if (!got.Moved()) [[unlikely]] {
    return OnNothingStraight(got);
  }
  const std::string_view in(loop.read_buffer.get(), got.Bytes());
  ConnectionCold& cold = Cold();
  loop.engine.counters().bytes_in.Add(in.size());
  cold.bytes_in += in.size();
  if (in.size() == loop.options.read_chunk) [[unlikely]] {
    Set(kReadable);
  }
  BeginOnData(loop, in);
  const std::size_t consumed = CallOnData(in);
  if (consumed != in.size() || Has(kOffStraightSend) || !SentStraight(loop, cold)) [[unlikely]] {
    BeginVisit(in.size());
    FinishOnData(in, consumed, /*in_ring=*/false);
    EndVisit();
  } else {
    loop.staging.Return();
  }
  if (Has(kReadable | kTimed | kOwesLater)) [[unlikely]] {
    FinishStraight(in.size());
  }
}

// False: the rest is kept.
[[gnu::always_inline]] inline bool ConnectionImpl::SentStraight(LoopCore& loop,
                                                                ConnectionCold& cold) {
  const std::size_t size = loop.staging.size();
  if (size == 0) return true;
  const Transfer sent = TrySendStaged(loop);
  if (!sent.MovedAll(size)) [[unlikely]] {
    KeepUnsent(Account(sent.Interrupted() ? wire().Send(fd_, loop.staging.Bytes()) : sent));
    return false;
  }
  loop.engine.counters().sends.Add(1);
  loop.engine.counters().bytes_out.Add(size);
  cold.bytes_out += size;
  loop.staging.Clear();
  return true;
}

// TCP's wire is told apart: its class is known, and its call is inlined.

[[gnu::always_inline]] inline Transfer ConnectionImpl::TryReceive(LoopCore& loop) {
  if (wire_ == LoopCore::kTcp) [[likely]] {
    return loop.tcp.TryReceive(fd_, loop.ReadBuffer());
  }
  return wire().TryReceive(fd_, loop.ReadBuffer());
}

[[gnu::always_inline]] inline Transfer ConnectionImpl::TrySendStaged(LoopCore& loop) {
  if (wire_ == LoopCore::kTcp) [[likely]] {
    return loop.tcp.TrySend(fd_, loop.staging.Bytes());
  }
  return wire().TrySend(fd_, loop.staging.Bytes());
}

}  // namespace weir
