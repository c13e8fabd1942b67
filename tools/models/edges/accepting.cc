// A listener is a descriptor like any other: what it has to read is its queue of clients.

#include <vector>

#include "models/edges/groups.h"
#include "models/edges/sockets.h"

namespace models::edges {
namespace {

// A listener of which epoll tells, and what came of it.
class Acceptor final {
 public:
  explicit Acceptor(std::uint32_t events) : epoll_(door_.fd.Get(), events) {}

  void Arrive(int count) {
    for (int i = 0; i < count; ++i) {
      clients_.emplace_back(door_.port).Send(1);
      clients_.back().AwaitTaken();
    }
  }

  // One accept for each return.
  void AcceptOneEach() {
    while (epoll_.Ask() != 0) static_cast<void>(AcceptOne());
  }

  void DrainEach() {
    while (epoll_.Ask() != 0) {
      while (AcceptOne()) continue;
    }
  }

  // The figures up to here; whoever still waits is then found by accepting.
  std::vector<Figure> Figures() {
    std::vector<Figure> figures = {
        {"returns", epoll_.returns()}, {"accepts", accepts_}, {"eagains", eagains_}};
    const std::int64_t accepts = accepts_;
    while (AcceptOne()) continue;
    figures.push_back({"waiting", accepts_ - accepts});
    return figures;
  }

 private:
  bool AcceptOne() {
    const bool accepted = Accept(door_).Get() >= 0;
    ++(accepted ? accepts_ : eagains_);
    return accepted;
  }

  Door door_;
  Epoll epoll_;
  std::vector<Client> clients_;
  std::int64_t accepts_ = 0;
  std::int64_t eagains_ = 0;
};

}  // namespace

EdgeGroup QueuedClients() {
  Acceptor level(EPOLLIN);
  level.Arrive(3);
  level.AcceptOneEach();

  Acceptor edge(EPOLLIN | EPOLLET);
  edge.Arrive(3);
  edge.AcceptOneEach();

  Acceptor fourth(EPOLLIN | EPOLLET);
  fourth.Arrive(3);
  fourth.AcceptOneEach();
  fourth.Arrive(1);
  fourth.AcceptOneEach();

  Acceptor drain(EPOLLIN | EPOLLET);
  drain.Arrive(3);
  drain.DrainEach();

  return {"three clients are in the listener's queue",
          {
              {"accept-lt", "LT, one accept for each return", "told again until the queue is empty",
               level.Figures()},
              {"accept-et", "ET, one accept for each return",
               "two clients are connected, and nobody serves them", edge.Figures()},
              {"accept-et-fourth", "ET, the same, and a fourth comes",
               "a new edge lets in the second: the queue is two behind for ever", fourth.Figures()},
              {"accept-et-drain", "ET, accepts until EAGAIN", "all are served", drain.Figures()},
          }};
}

}  // namespace models::edges
