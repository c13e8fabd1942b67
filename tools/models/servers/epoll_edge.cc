// Multiplexing: epoll(7), edge-triggered.
//
//     epoll_ctl(ADD, fd, IN|OUT|ET) once;  for (fd in epoll_wait()) until EAGAIN { read; write }
//
// As epoll_level.cc, but epoll_wait() tells what happens, not what is the case: bytes came, room
// came, the end came. It is told once. So the first phase costs least: a client is registered for
// everything when he comes, and epoll_ctl() is never called for him again, nobody is asked twice,
// and a client that does not take his echo costs nothing until he does.
//
// The price is a duty in the second phase: what an edge has told must be taken until nothing is
// left, or whoever is left behind is never told of again, and waits for ever. Nothing is left
//   - when recv() says EAGAIN;
//   - when recv() brought less than there was room for: TCP gives all that it has, and what comes
//     later is another edge. That spares half of all calls of recv(). It does not hold when the
//     client's end was announced: FIN comes as one edge together with the last bytes, after which
//     only a further recv() tells it; nor at an urgent byte, before which a receive stops short.
//     So a client of whom RDHUP, HUP, ERR or PRI was seen is read until EAGAIN from then on;
//   - when send() said EAGAIN: nothing more is read, and the edge that tells that there is room
//     comes back to the reading, too.
// A client that sends without a pause would be served alone for that long. A server for strangers
// stops after a budget and remembers whom it owes a visit (as weir does): nobody else will.

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <span>
#include <unordered_map>

#include "models/servers/echo.h"
#include "models/servers/server.h"

namespace models {
namespace {

constexpr auto kEdges = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET;
constexpr auto kShortReadIsNotTheLast = EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI;

struct Watched {
  explicit Watched(int fd) noexcept : client(fd) {}

  Client client;
  bool read_until_eagain = false;  // stays: the end is announced once
};

using Clients = std::unordered_map<int, Watched>;  // each stays where it is: epoll knows the place

void Watch(int epoll, int fd, Watched* watched) {
  epoll_event event{.events = kEdges, .data = {.ptr = watched}};
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) Die("epoll_ctl");
}

// All that wait: for the listener, too, one edge may tell of many. False once it has ended.
bool AcceptAll(int epoll, int listener, Clients& clients) {
  int fd = kNobody;
  while ((fd = AcceptClient(listener, SOCK_NONBLOCK)) >= 0) {
    Watch(epoll, fd, &clients.try_emplace(fd, fd).first->second);  // what has come is an edge now
  }
  return fd != kEnded;
}

// Copies until nothing is left. False at the client's end.
bool Drain(Watched& watched, std::span<char, kReadSize> buffer) {
  for (;;) {
    const Copied copied = watched.client.CopyOnce(buffer);
    if (copied == Copied::kEnd) return false;
    if (copied == Copied::kNothing || watched.client.WaitsToSend()) return true;
    if (copied == Copied::kSome && !watched.read_until_eagain) return true;
  }
}

}  // namespace

void ServeEpollEdge(int listener) {
  SetNonBlocking(listener);
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) Die("epoll_create1");
  Watch(epoll, listener, nullptr);
  Clients clients;
  std::array<char, kReadSize> buffer;  // one for all: nothing stays in it
  std::array<epoll_event, 256> events;
  for (;;) {
    const int count = ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) Die("epoll_wait");
    if (count < 0) continue;
    for (const epoll_event& event : std::span(events).first(static_cast<std::size_t>(count))) {
      auto* const watched = static_cast<Watched*>(event.data.ptr);
      if (watched == nullptr) {
        if (AcceptAll(epoll, listener, clients)) continue;
        ::close(epoll);
        return;
      }
      if ((event.events & kShortReadIsNotTheLast) != 0) watched->read_until_eagain = true;
      if (!Drain(*watched, buffer)) clients.erase(watched->client.Descriptor());
    }
  }
}

}  // namespace models
