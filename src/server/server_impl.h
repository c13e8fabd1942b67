// A server's loops, threads and handlers.
//
// OWNER     Server.
// THREADS   As server.h says.

#pragma once

#include <atomic>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "net/loop_access.h"
#include "net/shared_listener.h"
#include "os/endpoint.h"
#include "os/sys.h"
#include "server/balance.h"
#include "server/start_gate.h"
#include "weir/server.h"

namespace weir {

// Where the handlers of one or more listeners come from: one for each loop, or one that is lent.
struct HandlerSource {
  Server::Factory factory{};
  Handler* borrowed = nullptr;
};

// How many loops the options ask for. Throws weir::Error for a number that cannot be.
[[nodiscard]] int CountLoops(const Options& options);

class Server::Impl {
 public:
  // REQUIRES: a borrowed handler is for several threads, or there is one loop.
  Impl(HandlerSource handlers, const Options& options);
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl();

  int Listen(std::string_view url, std::optional<Factory> factory);
  void Run();
  void Start();
  void Join();
  void Stop(Duration grace) noexcept;

  [[nodiscard]] std::vector<Address> Addresses() const;
  [[nodiscard]] int Loops() const noexcept { return static_cast<int>(shards_.size()); }
  [[nodiscard]] EventLoop& Loop(int index) noexcept;
  [[nodiscard]] Stats GetStats() const noexcept;

 private:
  struct Shard {
    std::unique_ptr<EventLoop> loop;
    sys::Thread thread;
    std::vector<std::unique_ptr<Handler>> handlers;  // the loop's thread's
  };

  // ---- Listening
  [[nodiscard]] std::vector<ListenSource> Bind(const Endpoint& endpoint);
  [[nodiscard]] std::vector<ListenSource> BindShards(const Endpoint& endpoint);
  [[nodiscard]] std::vector<ListenSource> BindShared(const Endpoint& endpoint);
  [[nodiscard]] std::vector<ListenSource> BindOne(const Endpoint& endpoint);
  int AddAcceptors(std::vector<ListenSource> sources);
  [[nodiscard]] int CpuOf(std::size_t loop) const noexcept { return cpus_[loop % cpus_.size()]; }
  [[nodiscard]] LoopImpl& ImplOf(std::size_t loop) const noexcept {
    return LoopAccess::Impl(*shards_[loop].loop);
  }

  // ---- Running
  void LeaveToParent() noexcept;
  void BeginOnce();
  void StartThreads(std::size_t first);
  void Serve(std::size_t loop);
  void SetUp(std::size_t loop);
  void MakeHandlers(std::size_t loop);
  void RunLoop(std::size_t loop);
  void KeepFailure(std::exception_ptr failure);
  void JoinThreads();
  void RethrowFailure();
  void BeginStop(Duration grace) noexcept;
  void StopOthers(Duration grace) noexcept;

  const Options options_;
  const std::vector<int> cpus_;  // that loops are bound to; none without Options::pin_cpus
  std::vector<HandlerSource> sources_;
  std::vector<std::size_t> source_of_;  // by listener
  sys::ForkGuard fork_guard_;

  // Before the loops, which use them: they are destroyed after those.
  std::deque<SharedListener> shared_listeners_;
  std::optional<Balancer> balancer_;
  std::vector<Shard> shards_;  // not changed from the constructor on

  std::unique_ptr<StartGate> gate_;  // once it has begun
  sys::Mutex failure_mutex_;
  std::exception_ptr failure_;  // the first that came out of a loop

  // How often Stop() was called. Lock-free, hence async-signal-safe; relaxed: it guards nothing.
  std::atomic<int> stops_{0};
  static_assert(std::atomic<int>::is_always_lock_free);
};

}  // namespace weir
