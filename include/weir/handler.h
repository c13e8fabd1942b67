// What a server does: the calls that a loop makes.
//
// OWNER     The program. A loop borrows its handlers: each must outlive the loop.
// LIFETIME  A Connection& is good from its OnOpen until its OnClose returns.
// THREADS   The loop's thread only. One handler for each loop needs no locks.
// ERRORS    An exception out of a connection's callback closes that connection (kException); out of
//           OnStart it stops the start and leaves Run(); out of OnBatchEnd, OnAccept and OnStop it
//           is logged, and the loop goes on.
// REENTRY   No callback runs inside a call that you make: Close(), Write() and the rest return
//           first.
//
// The order of the calls for one connection:
//
//     OnOpen  (OnData | OnDrain | OnTimeout)*  (OnEnd (OnDrain | OnTimeout)*)?  OnClose

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <system_error>

#include "weir/address.h"

namespace weir {

class Connection;
class EventLoop;

// Why a connection ended; OnClose's error_code says more where the kernel said something.
enum class CloseReason : std::uint8_t {
  kPeerEnd,      // the peer ended its stream, and the connection was closed after it
  kLocal,        // Close() or Abort()
  kError,        // the kernel's error: a reset, a broken network, no memory
  kTimeout,      // closed inside OnTimeout, or the peer took no output for Options::write_stall
  kInputLimit,   // more unconsumed input than Options::max_input, or max_buffered
  kOutputLimit,  // more unsent output than Options::max_output, or max_buffered
  kRejected,     // OnData answered kReject
  kException,    // a callback threw
  kShutdown,     // the loop was stopped
};

[[nodiscard]] std::string_view ToString(CloseReason reason) noexcept;

// Which time ran out: see Connection::SetIdleTimeout() and the two beside it.
enum class TimeoutKind : std::uint8_t { kIdle, kRead, kWrite };

// A connection that has just been accepted. `fd` is borrowed: set options on it, never close or
// keep it.
struct Accepted {
  int listener;
  const Address& peer;
  int fd;
};

class Handler {
 public:
  // OnData's answer to input that cannot be understood: no more input, what is queued is sent, then
  // the connection closes with CloseReason::kRejected.
  static constexpr std::size_t kReject = SIZE_MAX;

  virtual ~Handler() = default;

  // The loop is about to run for the first time; its listeners are bound, nothing is accepted yet.
  virtual void OnStart(EventLoop& loop);

  // Return false to refuse: the socket is closed, and nothing else was done for it.
  virtual bool OnAccept(EventLoop& loop, const Accepted& accepted);

  virtual void OnOpen(Connection& connection);

  // `in` is everything that is not yet consumed, contiguous, oldest byte first; it dies when this
  // call returns. Returns how many bytes were consumed. The rest comes back, in front of more, with
  // the bytes that arrive next; it is not delivered again by itself. To return more than in.size()
  // is a bug of the handler: it is logged, and the connection closes with kRejected. After Close()
  // or Abort() the return value is ignored. The default consumes everything.
  virtual std::size_t OnData(Connection& connection, std::string_view in);

  // The peer will send no more (it sent FIN), and all it sent was delivered; writing still works.
  // Default: connection.Close().
  virtual void OnEnd(Connection& connection);

  // Output fell to low_water after it had passed high_water: once for each crossing.
  virtual void OnDrain(Connection& connection);

  // A time that was set has run out. What it closes has CloseReason::kTimeout. The default is
  // Close() for kIdle and kRead, and Abort() for kWrite: whoever takes no output takes no FIN.
  virtual void OnTimeout(Connection& connection, TimeoutKind kind);

  // The last call. Fd(), Input() and the context still work in it; the context is destroyed after
  // it. `error` is the kernel's, or empty.
  virtual void OnClose(Connection& connection, CloseReason reason, std::error_code error);

  // At the end of each turn in which this handler was called, before queued output leaves.
  virtual void OnBatchEnd(EventLoop& loop);

  // EventLoop::Stop() was called, and what was queued on the listeners is accepted; they let nobody
  // else in. Default: loop.DrainAll().
  virtual void OnStop(EventLoop& loop);
};

}  // namespace weir
