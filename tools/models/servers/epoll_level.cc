// Multiplexing: epoll(7), level-triggered.
//
//     epoll_ctl(ADD, fd) once;  for (;;) { ready = epoll_wait(); for (fd in ready) ... }
//
// The kernel keeps the list: a descriptor is registered when it comes, whatever happens to it puts
// it on a second list, of those that are ready, and epoll_wait() takes the answer from there. So
// the first phase costs by what happens, not by how many are connected: this is what select and
// poll could not do.
//
// Level-triggered means as with those two: what is still the case is told again. A visit may read
// as little as it likes, here one buffer, and everybody has his turn. What it costs: a descriptor
// that was reported stays on the list and is asked once more in the next call, and each change of
// what is waited for is an epoll_ctl(): one when a client stops taking his echo, one when he goes
// on.

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>

#include "models/servers/echo.h"
#include "models/servers/server.h"

namespace models {
namespace {

using Clients = std::unordered_map<int, Client>;  // each stays where it is: epoll knows the place

void Watch(int epoll, int operation, int fd, std::uint32_t events, Client* client) {
  epoll_event event{.events = events, .data = {.ptr = client}};
  if (::epoll_ctl(epoll, operation, fd, &event) != 0) Die("epoll_ctl");
}

// False once the listener has ended.
bool AcceptAll(int epoll, int listener, Clients& clients) {
  int fd = kNobody;
  while ((fd = AcceptClient(listener, SOCK_NONBLOCK)) >= 0) {
    Client& client = clients.try_emplace(fd, fd).first->second;
    Watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, &client);
  }
  return fd != kEnded;
}

void Visit(int epoll, Client& client, Clients& clients, std::span<char, kReadSize> buffer) {
  const bool waited_to_send = client.WaitsToSend();
  if (client.CopyOnce(buffer) == Copied::kEnd) {
    clients.erase(client.Descriptor());  // closing takes it out of epoll, too
    return;
  }
  // Output only while there is some: there is nearly always room for it, and epoll_wait would never
  // sleep. And no input meanwhile: it would be told again and again, and is not read.
  if (client.WaitsToSend() != waited_to_send) {
    Watch(epoll, EPOLL_CTL_MOD, client.Descriptor(), waited_to_send ? EPOLLIN : EPOLLOUT, &client);
  }
}

}  // namespace

void ServeEpollLevel(int listener) {
  SetNonBlocking(listener);
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) Die("epoll_create1");
  Watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, nullptr);
  Clients clients;
  std::array<char, kReadSize> buffer;  // one for all: nothing stays in it
  std::array<epoll_event, 256> events;
  for (;;) {
    const int count = ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) Die("epoll_wait");
    if (count < 0) continue;
    // No event of a batch is of somebody who is gone: a client is reported once in it, and ends in
    // no other visit than his own.
    for (const epoll_event& event : std::span(events).first(static_cast<std::size_t>(count))) {
      auto* const client = static_cast<Client*>(event.data.ptr);
      if (client != nullptr) {
        Visit(epoll, *client, clients, buffer);
      } else if (!AcceptAll(epoll, listener, clients)) {
        ::close(epoll);
        return;
      }
    }
  }
}

}  // namespace models
