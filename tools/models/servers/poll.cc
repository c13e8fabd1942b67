// Multiplexing: poll(2).
//
//     for (;;) { poll(fds); for (fd in fds) if (ready) { read(fd); write(fd) } }
//
// As select.cc, with a list of descriptors in the place of the bit maps: there is no highest one,
// and question and answer stand in two fields, so that the list need not be written anew for each
// call. It is level-triggered, too: what was left unread is told again.
//
// What it costs still grows with the connections, not with the requests: each call copies the whole
// list into the kernel and back, asks every descriptor there, and has it scanned here for the few
// that answered.

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "models/servers/echo.h"
#include "models/servers/server.h"

namespace models {
namespace {

// The same place in both lists is the same client's. The listener is the first, without a client.
struct Watched {
  std::vector<pollfd> asked;
  std::vector<std::unique_ptr<Client>> clients;

  void Add(int fd, std::unique_ptr<Client> client) {
    asked.push_back({.fd = fd, .events = POLLIN, .revents = 0});
    clients.push_back(std::move(client));
  }

  // The last one takes its place: the list stays dense, and nobody else moves.
  void Remove(std::size_t index) {
    asked[index] = asked.back();
    asked.pop_back();
    std::swap(clients[index], clients.back());
    clients.pop_back();
  }
};

// Serves those that poll() found ready: POLLERR and POLLHUP come unasked, and recv or send will
// tell what they mean.
void ServeReady(Watched& watched, std::span<char, kReadSize> buffer) {
  // From the end, so that the one that takes a removed one's place has been served.
  for (std::size_t index = watched.asked.size() - 1; index > 0; --index) {
    pollfd& asked = watched.asked[index];
    if (asked.revents == 0) continue;
    Client& client = *watched.clients[index];
    if (client.CopyOnce(buffer) == Copied::kEnd) {
      watched.Remove(index);
    } else {
      asked.events = client.WaitsToSend() ? POLLOUT : POLLIN;
    }
  }
}

}  // namespace

void ServePoll(int listener) {
  SetNonBlocking(listener);
  Watched watched;
  watched.Add(listener, nullptr);
  std::array<char, kReadSize> buffer;  // one for all: nothing stays in it
  for (;;) {
    if (::poll(watched.asked.data(), watched.asked.size(), -1) < 0) {
      if (errno == EINTR) continue;
      Die("poll");
    }
    const bool somebody_waits = watched.asked.front().revents != 0;
    ServeReady(watched, buffer);
    if (!somebody_waits) continue;
    int fd = kNobody;
    while ((fd = AcceptClient(listener, SOCK_NONBLOCK)) >= 0) {
      watched.Add(fd, std::make_unique<Client>(fd));
    }
    if (fd == kEnded) return;
  }
}

}  // namespace models
