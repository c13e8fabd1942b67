// One reactor: an epoll instance, its connections, its listeners, its posted tasks.
//
// OWNER     The program. Create it after fork(): a loop belongs to the process that made it, and a
//           forked child that touches it fails a check.
// LIFETIME  Must outlive every call that other threads make on it. Its destructor calls no handler:
//           connections that are left are reset, their contexts destroyed.
// THREADS   The thread that calls Run() or RunOnce() is the loop's thread: everything belongs to it
//           but what is marked [any], which any thread may call; [signal] is safe in a signal
//           handler too. Before the first Run() or RunOnce(), the thread that made the loop may set
//           it up.
// ERRORS    The constructor and Listen() throw weir::Error: the call, the value, the reason.
// UNITS     Sizes are bytes, times are durations; the loop's clock ticks once a millisecond.

#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "weir/address.h"
#include "weir/clock.h"
#include "weir/function.h"
#include "weir/handler.h"
#include "weir/options.h"
#include "weir/stats.h"

namespace weir {

class Poller;

using TimerId = std::uint64_t;  // never re-used; 0 is no timer

class EventLoop {
 public:
  explicit EventLoop(const Options& options = {});
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;
  ~EventLoop();

  // ---- Listening

  // Binds and listens at once; accepting begins with the first turn. The URL is
  //   tcp://127.0.0.1:80   tcp://[::1]:80   tcp://:80 (every address)   tcp4://:80   tcp6://:80
  //   unix:/run/x.sock     unix:@abstract
  //   fd://3 (a listening socket that the process inherited: from here on the loop's to close)
  // with, as a query, ?backlog=4096&v6only=1&reuseport=1&mode=0660; reuseport lets other processes
  // of the same user share the port, if they say it too. Port 0 takes a free one. Returns the
  // listener's number, counted from 0. `handler` is borrowed and must outlive the loop.
  int Listen(std::string_view url, Handler& handler);

  // The real address of a listener, with the real port. REQUIRES: a number that Listen() returned.
  [[nodiscard]] Address ListenAddress(int listener) const;

  // Takes what is queued on it, then closes the listener; its connections live on.
  void StopListening(int listener);

  // ---- Running

  // Turns until Stop() was called and every connection has ended. Sleeps, with no system call and
  // no wake-up, while there is nothing to do. Throws only what a handler's OnStart threw.
  void Run();

  // One turn, which waits at most `max_wait` (rounded up to the millisecond). Returns how many
  // events, posted tasks and timers it served: 0 when nothing happened.
  int RunOnce(Duration max_wait);

  // ---- In another loop: wait until PollFd() is readable, or NextTimeout() has passed; then call
  // RunOnce(Duration::zero()). What other threads post, and what is written to a connection between
  // two turns, makes the descriptor readable.

  [[nodiscard]] int PollFd() const noexcept;  // borrowed: never close it
  // Zero when a turn is due, Duration::max() when only PollFd() can make one due.
  [[nodiscard]] Duration NextTimeout() const noexcept;

  // [any] [signal] Closes the listeners once what is queued on them is accepted, tells the handlers
  // (OnStop, which by default drains), and resets what is left after `grace`; Duration::max()
  // stands for Options::drain. Sticky: a Run() that comes later drains and returns. A second call
  // is Stop(0): now.
  void Stop(Duration grace = Duration::max()) noexcept;

  // Every connection reads what had arrived, delivers it, and closes (kShutdown).
  void DrainAll();

  // True once Stop() was called and all has ended: Run() would return at once.
  [[nodiscard]] bool IsStopped() const noexcept;

  // ---- Timers: O(1), no system call however many there are. They run between the callbacks of a
  // turn, at the first whole millisecond that is not too early; with a delay of zero, in the next
  // turn.

  TimerId RunAfter(Duration delay, Work work);
  // First after one period, then by its own deadlines, so that it never drifts; those that a busy
  // or stopped process has missed are left out. REQUIRES: period > 0.
  TimerId RunEvery(Duration period, Work work);
  // False, and nothing happens, if it has run (or was cancelled) already. A timer may cancel
  // itself.
  bool Cancel(TimerId timer) noexcept;

  // ---- From other threads

  // [any] Runs `work` on the loop's thread, never inside this call; FIFO for each posting thread.
  // One eventfd write for each sleep of the loop, not for each post. Returns false, and destroys
  // `work`, once Run() has returned after a Stop(), or while Options::max_mail posts wait. Work
  // that is still queued when the loop ends is destroyed on the loop's thread, not run.
  bool Post(Work work);

  // [any]
  [[nodiscard]] Stats GetStats() const noexcept;

  // ---- Facts

  // The time, read at most once a turn.
  [[nodiscard]] Clock::time_point Now() const noexcept;

  // Its number in its Server, from 0; 0 for a loop that has none.
  [[nodiscard]] int Index() const noexcept;

  // The loop that runs on this thread, or nullptr.
  [[nodiscard]] static EventLoop* Current() noexcept;

 private:
  friend class LoopAccess;  // the tests and the server floor reach the implementation through it

  class Impl;
  EventLoop(const Options& options, std::unique_ptr<Poller> poller);

  std::unique_ptr<Impl> impl_;
};

}  // namespace weir
