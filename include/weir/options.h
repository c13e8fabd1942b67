// Everything about a loop that a program may set. The defaults suit a server on the open network.
//
// Everything but loops, balance and pin_cpus is of each loop; those three are for Server and Serve:
// an EventLoop is one loop, and does not look at them.
//
// ERRORS    EventLoop's and Server's constructors throw weir::Error for a value that cannot work,
//           and name it.
// UNITS     Sizes are bytes, counts are counts, times are durations.

#pragma once

#include <cstddef>
#include <cstdint>

#include "weir/clock.h"

namespace weir {

// When queued output leaves: as the callback that wrote it returns, or only after OnBatchEnd() has
// returned, so that what OnBatchEnd makes durable is acknowledged after it is (group commit).
enum class Flush : std::uint8_t { kCallback, kBatch };

// What follows an exception out of a callback. One out of a connection's callback closes that
// connection in any case; one out of a task, a timer or OnBatchEnd() is logged.
enum class OnException : std::uint8_t {
  kCloseConnection,        // log, count, go on
  kFinishTurnThenRethrow,  // the turn is finished, then Run() or RunOnce() throws the first one
  kTerminate,              // std::terminate() where it is caught
};

// Who decides which loop of a server serves a client.
enum class Balance : std::uint8_t {
  // The kernel, by a hash, among the listeners of the loops, of which each has its own
  // (SO_REUSEPORT): nothing is handed over, and few connections may lie unevenly. Of a Unix or an
  // inherited socket, which the loops share: a loop that sleeps.
  kReusePort,
  // Loop 0 accepts, and hands each client over:
  kRoundRobin,        // to one loop after the other
  kLeastConnections,  // to the loop that has the fewest at that moment
  kSourceHash,        // by the client's address without its port: always to the same loop.
                      // Clients without an address (Unix) go round robin
};

struct Options {
  // How many loops a server has, each with a thread of its own; 0: as many as threads of this
  // process can run at a time (processors it may use, control groups).
  int loops = 1;
  Balance balance = Balance::kReusePort;
  // Binds loop i to the i-th processor that the process may use, counted round. With kReusePort a
  // client is then served, if it can be, by the loop on the processor that its packets come by:
  // worth it where the network card spreads its queues over the same processors.
  bool pin_cpus = false;

  // Reading. The buffer belongs to the LOOP and is lent to each connection in turn: an idle
  // connection owns none.
  std::size_t read_chunk = 256 << 10;

  // Fairness: how much one connection, and the list of those that have more to do, may take of a
  // turn before the loop looks at everybody else again.
  std::size_t read_budget = 256 << 10;
  std::size_t write_budget = 1 << 20;
  std::size_t turn_budget = 1 << 20;
  int accepts_per_turn = 64;
  int mail_per_turn = 256;

  // Unconsumed bytes that are kept for one connection; more close it with kInputLimit.
  std::size_t max_input = 1 << 20;

  // Output. Above high_water a connection is Congested(); OnDrain() comes when it is down to
  // low_water. With auto_pause the loop does not read a congested connection meanwhile, so that a
  // peer which sends and does not read is slowed down by TCP itself; then it goes on, also with
  // what OnData had left. Without it, OnDrain() is the place to look at Input() again.
  std::size_t high_water = 256 << 10;
  std::size_t low_water = 64 << 10;
  bool auto_pause = true;
  // A write that would leave more than this unsent is refused, and the connection is reset
  // (kOutputLimit): its stream would have a hole. The first piece on an empty queue is taken whole.
  std::size_t max_output = 64 << 20;
  Flush flush = Flush::kCallback;

  // What the buffers of all connections of the loop may hold together; 0 stands for a quarter of
  // the memory that this process may use (cgroup, or the machine), shared by the loops of a server.
  // Above it nothing is read for those that hold a buffer, accepting pauses, and the largest
  // holders are reset.
  std::size_t max_buffered = 0;

  // Connections at one time, those that linger included; a client beyond it is accepted and closed
  // (Stats::refused). 0: as many as descriptors allow.
  std::size_t max_connections = 0;

  // Posts that may wait for the loop at one time; Post() returns false beyond it.
  std::size_t max_mail = 1 << 20;

  // Where Connection::SetIdleTimeout() starts; zero: none.
  Duration idle_timeout{};
  // A peer that takes nothing of what is queued for so long is reset (kTimeout); zero: never.
  Duration write_stall = std::chrono::seconds(60);
  // How long Close() waits: for the peer to take another byte of what is queued, and then for its
  // end.
  Duration close_linger = std::chrono::seconds(5);
  // How long Stop() lets connections finish.
  Duration drain = std::chrono::seconds(30);

  OnException on_exception = OnException::kCloseConnection;

  // Sockets. Set once on the listener, from which accepted ones inherit; 0 leaves the kernel's own
  // size.
  bool no_delay = true;
  int recv_buffer = 0;
  int send_buffer = 0;
};

}  // namespace weir
