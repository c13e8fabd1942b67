// Blocking I/O: a thread for each connection.
//
//     for (;;) { fd = accept(); new thread { for (;;) { read(fd); write(fd) } } }
//
// Both phases of a read happen inside one call: recv() sleeps until there are bytes, then copies
// them. So a thread can serve one connection and no other, but the code reads from top to bottom:
// no state is kept between two calls, and a peer that reads slowly is waited for in send().
//
// What it costs is a stack for each connection (of 8 MiB that are reserved a few pages are touched,
// and the kernel has one, too), and that each request wakes another thread: a context switch, where
// an event loop that is busy finds the next request without one.

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <span>

#include "models/servers/server.h"
#include "models/servers/thread.h"

namespace models {
namespace {

// False if the peer is gone.
bool SendAll(int client, std::span<const char> bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(client, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
  return true;
}

void ServeClient(int client) {
  std::array<char, kReadSize> buffer;  // not cleared: only what is used becomes memory
  for (;;) {
    const ssize_t got = ::recv(client, buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;  // its end, or an error
    if (!SendAll(client, std::span(buffer).first(static_cast<std::size_t>(got)))) break;
  }
  ::close(client);
}

}  // namespace

void ServeBlocking(int listener) {
  for (;;) {
    const int client = AcceptClient(listener, 0);
    if (client == kEnded) return;
    if (!StartThread([client] { ServeClient(client); })) {
      Refuse(client, "the system gives no more threads");
    }
  }
}

}  // namespace models
