// Multiplexing: select(2).
//
//     for (;;) { ready = select(all of fds); for (fd in ready) { read(fd); write(fd) } }
//
// The first phase is one call for all connections: it sleeps until one of them has something, and
// tells which. The second is a recv() that finds what it was promised. select() is level-triggered:
// it reports what is the case when it is called, so what was left unread is simply told again.
//
// What it costs grows with the connections, not with the requests. The sets are bit maps that the
// call overwrites: so they are written anew, copied into the kernel, each descriptor in them is
// asked there, and the answer is copied back and scanned here, all that for one byte on one of
// them. And the bit maps end: FD_SET of a descriptor from FD_SETSIZE (1,024) on would write beside
// the set, into whatever stands behind it.

#include <fmt/format.h>
#include <sys/select.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <list>

#include "models/servers/echo.h"
#include "models/servers/server.h"

namespace models {
namespace {

struct Sets {
  fd_set in;
  fd_set out;
};

// Fills the sets and sleeps until something in them is ready; what is not is taken out of them.
void Wait(int listener, const std::list<Client>& clients, Sets& sets) {
  for (;;) {
    FD_ZERO(&sets.in);
    FD_ZERO(&sets.out);
    FD_SET(listener, &sets.in);
    int highest = listener;
    for (const Client& client : clients) {
      // For output only while there is some: there is nearly always room, and it would never sleep.
      FD_SET(client.Descriptor(), client.WaitsToSend() ? &sets.out : &sets.in);
      highest = std::max(highest, client.Descriptor());
    }
    if (::select(highest + 1, &sets.in, &sets.out, nullptr, nullptr) >= 0) return;
    if (errno != EINTR) Die("select");  // and after an error the sets say nothing
  }
}

// Takes all clients that wait. False once the listener has ended.
bool AcceptAll(int listener, std::list<Client>& clients) {
  int fd = kNobody;
  while ((fd = AcceptClient(listener, SOCK_NONBLOCK)) >= 0) {
    if (fd < FD_SETSIZE) {
      clients.emplace_back(fd);
    } else {
      Refuse(fd,
             fmt::format("descriptor {} is beyond what select can watch: FD_SETSIZE is 1,024", fd));
    }
  }
  return fd != kEnded;
}

}  // namespace

static_assert(FD_SETSIZE == 1024, "or the message is wrong");

void ServeSelect(int listener) {
  SetNonBlocking(listener);
  std::list<Client> clients;
  std::array<char, kReadSize> buffer;  // one for all: nothing stays in it
  Sets sets;
  for (;;) {
    Wait(listener, clients, sets);
    for (auto client = clients.begin(); client != clients.end();) {
      const int fd = client->Descriptor();
      const bool ready = FD_ISSET(fd, &sets.in) || FD_ISSET(fd, &sets.out);
      const bool end = ready && client->CopyOnce(buffer) == Copied::kEnd;
      client = end ? clients.erase(client) : std::next(client);
    }
    // After the clients: a new one may get the number of one that ended, and its bit.
    if (FD_ISSET(listener, &sets.in) && !AcceptAll(listener, clients)) return;
  }
}

}  // namespace models
