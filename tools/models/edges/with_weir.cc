// weir on the same bytes, by its public interface: the figures are those of EventLoop::GetStats(),
// and what its handler was given.

#include <spdlog/logger.h>
#include <weir/log.h>
#include <weir/weir.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "models/edges/groups.h"
#include "models/edges/sockets.h"

namespace models::edges {
namespace {

// That a loop listens is no news here; what goes wrong still is.
class QuietLog final {
 public:
  QuietLog() { weir::Logger()->set_level(spdlog::level::warn); }
  QuietLog(const QuietLog&) = delete;
  QuietLog& operator=(const QuietLog&) = delete;
  ~QuietLog() { weir::Logger()->set_level(before_); }

 private:
  spdlog::level::level_enum before_ = weir::Logger()->level();
};

class Collector final : public weir::Handler {
 public:
  void OnOpen(weir::Connection& connection) override {
    ++opened;
    fd = connection.Fd();
  }
  std::size_t OnData(weir::Connection&, std::string_view in) override {
    in_order = in_order && IsPattern(in, seen);
    seen += in.size();
    return in.size();
  }
  void OnEnd(weir::Connection& connection) override {
    ended = true;
    connection.Close();
  }

  int opened = 0;
  int fd = -1;
  std::size_t seen = 0;
  bool in_order = true;
  bool ended = false;
};

// A loop, a client whom it has accepted and of whom it knows that he has said nothing yet.
class Served final {
 public:
  explicit Served(const weir::Options& options)
      : loop_(options),
        port_(loop_.ListenAddress(loop_.Listen("tcp://127.0.0.1:0", handler_)).Port()),
        client_(port_) {
    // It looks once, finds nothing, and leaves the connection to epoll.
    Await("weir has accepted", [&] {
      loop_.RunOnce(weir::Duration::zero());
      return loop_.GetStats().receives == 1;
    });
    before_ = loop_.GetStats();
  }

  [[nodiscard]] Client& Sender() noexcept { return client_; }
  [[nodiscard]] int Socket() const noexcept { return handler_.fd; }

  // What was sent has its turns once all of it is there.
  std::vector<Figure> Play() {
    AwaitBytes(Socket(), client_.sent());
    for (int turn = 0; turn < kTurns; ++turn) loop_.RunOnce(weir::Duration::zero());
    if (!handler_.in_order) throw std::runtime_error("bytes came in another order");
    const weir::Stats now = loop_.GetStats();
    const auto figure = [&](std::string_view name, std::uint64_t weir::Stats::*member) {
      return Figure{name, static_cast<std::int64_t>(now.*member - before_.*member)};
    };
    return {figure("events", &weir::Stats::events),
            figure("receives", &weir::Stats::receives),
            figure("would_block", &weir::Stats::would_block),
            {"seen", static_cast<std::int64_t>(handler_.seen)},
            {"unseen", static_cast<std::int64_t>(client_.pattern() - handler_.seen)},
            {"end", handler_.ended, true}};
  }

 private:
  // More than any of these needs: so that what is too much is counted, too.
  static constexpr int kTurns = 16;

  Collector handler_;
  weir::EventLoop loop_;
  std::uint16_t port_;
  Client client_;
  weir::Stats before_;
};

}  // namespace

EdgeGroup WeirReads() {
  const QuietLog quiet;
  weir::Options small;
  small.read_chunk = 20;
  Served by_20(small);
  by_20.Sender().Send(80);

  Served at_once({});
  at_once.Sender().Send(80);

  Served end({});
  end.Sender().Send(80);
  end.Sender().SendEnd();
  AwaitEnd(end.Socket());

  Served urgent({});
  urgent.Sender().Send(40);
  urgent.Sender().SendUrgent();
  urgent.Sender().Send(39);

  return {"weir reads the same (its own counters: EventLoop::GetStats())",
          {
              {"weir-20", "80 bytes, read_chunk 20",
               "a full read makes it owed: the loop comes back without an event, until EAGAIN",
               by_20.Play()},
              {"weir", "80 bytes, by default", "one event, one read", at_once.Play()},
              {"weir-fin", "80 bytes and FIN", "RDHUP: reads on to the end", end.Play()},
              {"weir-urgent", "40 bytes, an urgent one, 39 more",
               "PRI: reads on to EAGAIN, past the urgent byte", urgent.Play()},
          }};
}

EdgeGroup WeirAccepts() {
  const QuietLog quiet;
  Collector handler;
  weir::EventLoop loop;
  const int listener = loop.Listen("tcp://127.0.0.1:0", handler);
  constexpr int kClients = 3;
  std::vector<Client> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back(loop.ListenAddress(listener).Port()).Send(1);
    clients.back().AwaitTaken();
  }
  constexpr int kTurns = 8;
  for (int turn = 0; turn < kTurns; ++turn) loop.RunOnce(weir::Duration::zero());
  const weir::Stats stats = loop.GetStats();

  return {"weir accepts: three clients are in the queue, and each has sent a byte",
          {
              {"weir-accept",
               "by default",
               "accepts until EAGAIN, and reads a new client before epoll knows him",
               {{"events", static_cast<std::int64_t>(stats.events)},
                {"accepts", static_cast<std::int64_t>(stats.accepted)},
                {"receives", static_cast<std::int64_t>(stats.receives)},
                {"would_block", static_cast<std::int64_t>(stats.would_block)},
                {"seen", static_cast<std::int64_t>(stats.bytes_in)},
                {"waiting", kClients - handler.opened}}},
          }};
}

}  // namespace models::edges
