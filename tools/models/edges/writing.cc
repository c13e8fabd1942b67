// EPOLLOUT: "there is room" is nearly always true. Who asks for it level-triggered, and has nothing
// to send, is told for ever.

#include <sys/socket.h>

#include <cerrno>

#include "models/edges/groups.h"
#include "models/edges/sockets.h"

namespace models::edges {
namespace {

constexpr std::uint32_t kAlways = EPOLLIN | EPOLLOUT;
constexpr std::int64_t kAsk = 1000;

struct Tally {
  std::int64_t asked = 0;
  std::int64_t returns = 0;

  [[nodiscard]] std::vector<Figure> Figures() const {
    return {{"asked", asked}, {"returns", returns}};
  }
};

Tally AskOften(Epoll& epoll) {
  const Tally before{epoll.asked(), epoll.returns()};
  while (epoll.asked() - before.asked < kAsk) epoll.Ask();
  return {epoll.asked() - before.asked, epoll.returns() - before.returns};
}

// Sends until EAGAIN; how much.
std::size_t Fill(int fd) {
  const std::string piece(16 << 10, 'x');
  std::size_t filled = 0;
  for (;;) {
    const ssize_t sent = ::send(fd, piece.data(), piece.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) return filled;
    filled += static_cast<std::size_t>(Checked(sent, "send"));
  }
}

}  // namespace

EdgeGroup RoomForOutput() {
  const Pair level_pair;
  Epoll level(level_pair.server.Get(), kAlways);
  const Tally spin = AskOften(level);

  const Pair pair;
  Epoll edge(pair.server.Get(), kAlways | EPOLLET);
  const Tally idle = AskOften(edge);

  // Some of it the peer's kernel takes before the peer does, which may bring the edge early. Nobody
  // asks until all is read, and one EAGAIN brings one edge: so it is the same, whenever it comes.
  const std::size_t filled = Fill(pair.server.Get());
  static_cast<void>(pair.client.Receive(filled));
  AwaitAcknowledged(pair.server.Get());
  const Tally room = AskOften(edge);

  return {"EPOLLOUT asked for from the start, with nothing to send; 1,000 times epoll_wait",
          {
              {"out-lt", "LT", "there is room, and it says so each time: a loop that never sleeps",
               spin.Figures()},
              {"out-et", "ET", "said once, and then silence", idle.Figures()},
              {"out-et-room", "ET, filled until EAGAIN; the peer reads",
               "the edge comes when there is room again, once", room.Figures()},
          }};
}

}  // namespace models::edges
