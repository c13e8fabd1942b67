// Several loops that serve the same URLs, each on a thread of its own: one for each processor,
// where one is not enough.
//
//     weir::Server server([](weir::EventLoop&) { return std::make_unique<Echo>(); }, {.loops = 4});
//     server.Listen("tcp://127.0.0.1:7000");
//     server.Run();
//
// OWNER     The program. The server owns its loops, their threads, and the handlers that the
//           factory made: so each handler is used by one thread, and needs no locks.
// LIFETIME  Create it after fork(). It must outlive every call that other threads make on it or on
//           its loops, and every ConnRef that is still used. Its destructor is Stop(0) and Join().
// THREADS   The thread that made it, but for what is marked [any]; [signal] is safe in a signal
//           handler too. The threads that it starts take no signal but those that a fault of their
//           own raises.
// ERRORS    The constructors and Listen() throw weir::Error. Run() and Start() throw the first
//           exception of a factory or an OnStart, and then nothing was served; Run() and Join() the
//           first one that came out of a loop (OnException::kFinishTurnThenRethrow), after a drain.
//
// A handler is made on the thread of its loop, when all sockets listen and before the first client
// is accepted; no loop accepts before all are set up. It is destroyed there, too, when its loop has
// ended. The factory of the constructor makes one even if each listener has another.

#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "weir/address.h"
#include "weir/clock.h"
#include "weir/event_loop.h"
#include "weir/handler.h"
#include "weir/options.h"
#include "weir/stats.h"

namespace weir {

// "This one handler may be called by several threads at a time." Its OnStart, OnStop and OnBatchEnd
// come once for each loop.
struct Shared {
  Handler& handler;
};

class Server {
 public:
  // Makes the handler of one loop; called on that loop's thread. Loop::Index() says which it is.
  using Factory = std::function<std::unique_ptr<Handler>(EventLoop&)>;

  explicit Server(Factory factory, const Options& options = {});
  // A borrowed handler, which must outlive the server. One that is not said to be Shared serves one
  // loop only: with more, this throws.
  explicit Server(Handler& handler, const Options& options = {});
  explicit Server(Shared shared, const Options& options = {});
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server();

  // Before Run() or Start(); any number of times. URLs are those of EventLoop::Listen(). Everything
  // is bound here, for every loop, and every error is told here: nothing runs yet. Port 0 gives one
  // port, which all loops share; one that somebody else listens on is refused, unless the URL says
  // reuseport=1. Returns the listener's number, the same on all loops.
  int Listen(std::string_view url);
  // The same, with handlers of its own.
  int Listen(std::string_view url, Factory factory);

  // Once: serves until all loops have ended, loop 0 on this thread.
  void Run();
  // The same with a thread for each loop: Start() returns when all are set up, Join() when all have
  // ended.
  void Start();
  void Join();

  // [any] [signal] As EventLoop::Stop(), of all loops: what is queued is accepted, what had arrived
  // is answered, and a second call is Stop(0). Where loop 0 accepts for the others, these are told
  // when it has handed over all that was queued. Loop 0 leads: when that loop alone is stopped, all
  // are; any other may be stopped alone.
  void Stop(Duration grace = Duration::max()) noexcept;

  // The real addresses, by the numbers that Listen() returned.
  [[nodiscard]] std::vector<Address> Addresses() const;

  [[nodiscard]] int Loops() const noexcept;
  // REQUIRES: 0 <= index < Loops().
  [[nodiscard]] EventLoop& Loop(int index) noexcept;

  // [any] Sums, and the spread of the connections.
  [[nodiscard]] Stats GetStats() const noexcept;

 private:
  class Impl;

  std::unique_ptr<Impl> impl_;
};

}  // namespace weir
