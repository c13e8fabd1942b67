// A server on its own threads, the real kernel and the real clock, and a handler that writes down
// for all of them what happens. Nothing sleeps: Await() is woken, and its time is but a guard.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/real_loop.h"
#include "weir/weir.h"

namespace weir::test {

// What all handlers of a server have seen, by loop.
class Tally {
 public:
  struct OfLoop {
    int made = 0;
    int starts = 0;
    int opens = 0;
    int closes = 0;
    int stops = 0;
    int destroyed = 0;
    bool operator==(const OfLoop&) const = default;
  };

  template <class Change>
  void Note(int loop, Change change) {
    {
      const std::lock_guard lock(mutex_);
      change(loops_[loop]);
    }
    changed_.notify_all();
  }

  // What has to hold on a loop's thread: Catch2 is told by the test's own, by Broken().
  void Expect(bool holds, const char* what) {
    if (holds) return;
    const std::lock_guard lock(mutex_);
    broken_ += std::string(what) + "; ";
  }
  [[nodiscard]] std::string Broken() {
    const std::lock_guard lock(mutex_);
    return broken_;
  }

  [[nodiscard]] OfLoop Of(int loop) {
    const std::lock_guard lock(mutex_);
    return loops_[loop];
  }
  [[nodiscard]] int Sum(int OfLoop::*what) {
    const std::lock_guard lock(mutex_);
    return SumLocked(what);
  }
  [[nodiscard]] bool AwaitSum(int OfLoop::*what, int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60),
                             [&] { return SumLocked(what) >= count; });
  }

 private:
  int SumLocked(int OfLoop::*what) const {
    int sum = 0;
    for (const auto& [loop, tally] : loops_) sum += tally.*what;
    return sum;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int, OfLoop> loops_;
  std::string broken_;
};

// Opened once; until then whoever passes waits.
class Barrier {
 public:
  ~Barrier() { Open(); }
  void Open() {
    {
      const std::lock_guard lock(mutex_);
      is_open_ = true;
    }
    changed_.notify_all();
  }
  void Pass() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return is_open_; });
  }
  [[nodiscard]] bool AwaitArrivals(int count, Duration at_most) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, at_most, [&] { return arrived_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_open_ = false;
  int arrived_ = 0;
};

// Echoes, and tells the Tally. Its hooks are called on the loop's thread.
class TellingEcho final : public Handler {
 public:
  struct Hooks {
    std::function<void(EventLoop&)> on_make{}, on_start{}, on_stop{}, on_destroy{};
    std::function<bool(EventLoop&, const Accepted&)> on_accept{};
    std::function<void(Connection&)> on_open{};
    std::function<void(Connection&, std::string_view)> on_data{};
    bool drains = true;  // false: at a stop connections stay until their clients end them
  };

  TellingEcho(EventLoop& loop, Tally& tally, const Hooks& hooks)
      : loop_(loop), tally_(tally), hooks_(hooks) {
    Note(&Tally::OfLoop::made);
    if (hooks_.on_make) hooks_.on_make(loop);
  }
  TellingEcho(const TellingEcho&) = delete;
  TellingEcho& operator=(const TellingEcho&) = delete;
  ~TellingEcho() override {
    if (hooks_.on_destroy) hooks_.on_destroy(loop_);
    Note(&Tally::OfLoop::destroyed);
  }

  void OnStart(EventLoop& loop) override {
    Note(&Tally::OfLoop::starts);
    if (hooks_.on_start) hooks_.on_start(loop);
  }
  bool OnAccept(EventLoop& loop, const Accepted& accepted) override {
    return !hooks_.on_accept || hooks_.on_accept(loop, accepted);
  }
  void OnOpen(Connection& connection) override {
    if (hooks_.on_open) hooks_.on_open(connection);
    Note(&Tally::OfLoop::opens);
  }
  std::size_t OnData(Connection& connection, std::string_view in) override {
    if (hooks_.on_data) hooks_.on_data(connection, in);
    connection.Write(in);
    return in.size();
  }
  void OnClose(Connection&, CloseReason, std::error_code) override { Note(&Tally::OfLoop::closes); }
  void OnStop(EventLoop& loop) override {
    Note(&Tally::OfLoop::stops);
    if (hooks_.on_stop) hooks_.on_stop(loop);
    if (hooks_.drains) Handler::OnStop(loop);
  }

 private:
  void Note(int Tally::OfLoop::*what) {
    tally_.Note(loop_.Index(), [&](Tally::OfLoop& of) { ++(of.*what); });
  }

  EventLoop& loop_;
  Tally& tally_;
  const Hooks& hooks_;
};

struct RealServer {
  explicit RealServer(const Options& options, TellingEcho::Hooks its_hooks = {})
      : hooks(std::move(its_hooks)), server(Factory(), options) {}

  Server::Factory Factory() {
    return [this](EventLoop& loop) { return std::make_unique<TellingEcho>(loop, tally, hooks); };
  }
  [[nodiscard]] Client Connect(int listener = 0) const {
    return Client(server.Addresses()[static_cast<std::size_t>(listener)]);
  }
  // Connected and open, one after the other.
  [[nodiscard]] std::vector<Client> ConnectAndOpen(int count, int listener = 0) {
    std::vector<Client> clients;
    for (int i = 0; i < count; ++i) {
      const int before = tally.Sum(&Tally::OfLoop::opens);
      clients.push_back(Connect(listener));
      REQUIRE(tally.AwaitSum(&Tally::OfLoop::opens, before + 1));
    }
    return clients;
  }

  Tally tally;
  TellingEcho::Hooks hooks;
  Server server;
};

// Reads until the stream ends or fails.
inline void ReadToEnd(Client& client) {
  do {
    REQUIRE(client.WaitReadable());
    client.Receive();
  } while (!client.ended && client.error == 0);
}

inline std::string Replied(Client& client, std::string_view text) {
  client.Send(text);
  client.Await(text.size());
  return std::exchange(client.received, "");
}

// Raises the soft limit of descriptors; false if the hard one does not allow so many.
inline bool AllowDescriptors(rlim_t count) {
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  if (limit.rlim_cur >= count) return true;
  if (limit.rlim_max < count) return false;
  limit.rlim_cur = count;
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

}  // namespace weir::test
