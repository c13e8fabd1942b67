// What a loop has done since it was made, and what it holds now; of a server, the sums of its
// loops.
//
// THREADS   EventLoop::GetStats() and Server::GetStats() may be called from any thread. Each figure
//           is read by itself: two of them may be a turn apart.

#pragma once

#include <cstdint>

namespace weir {

struct Stats {
  // Now
  std::uint64_t connections = 0;  // from OnOpen to OnClose
  // The same of the loop of a server that has the most, and of the one that has the least. Of one
  // loop: `connections`.
  std::uint64_t connections_most = 0;
  std::uint64_t connections_least = 0;
  std::uint64_t lingering = 0;  // closed, waiting for the peer's end
  std::uint64_t buffered = 0;   // bytes of memory that their buffers hold

  // So far
  std::uint64_t accepted = 0;
  std::uint64_t refused = 0;  // by OnAccept, beyond Options::max_connections, or by a full mailbox
  std::uint64_t closed = 0;   // OnClose has come
  std::uint64_t accept_errors = 0;
  std::uint64_t turns = 0;
  std::uint64_t events = 0;        // what epoll reported
  std::uint64_t stale_events = 0;  // of these, for a slot whose owner was gone
  std::uint64_t receives = 0;      // receive calls
  std::uint64_t sends = 0;         // send calls
  std::uint64_t would_block = 0;   // of both, and of accepting: calls that found nothing (EAGAIN)
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  std::uint64_t owed = 0;        // visits from the owed list
  std::uint64_t paused = 0;      // times that a connection was not read because it was congested
  std::uint64_t timeouts = 0;    // OnTimeout calls, and peers that stalled
  std::uint64_t shed = 0;        // connections reset because of Options::max_buffered
  std::uint64_t mail = 0;        // posted tasks run
  std::uint64_t wakeups = 0;     // sleeps ended by a post, or by work from outside a turn
  std::uint64_t exceptions = 0;  // out of callbacks and tasks
};

}  // namespace weir
