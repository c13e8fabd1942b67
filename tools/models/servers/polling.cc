// Non-blocking I/O: asking one descriptor after the other, and a sleep.
//
//     for (;;) { fd = fds[i]; data = tryRead(fd); if (data) handle(data); sleep(10ms); i = next }
//
// The first phase is over at once, whatever it finds: recv() copies what is there, or says EAGAIN.
// So one thread serves all connections, but nobody tells it when there is something: it has to ask
// again and again, and to sleep in between, or it would take a whole processor to hear "no".
//
// The code above, which is how the model is usually told, sleeps after every descriptor: with n
// connections a round takes n times 10 ms, and the thousandth client is served every ten seconds
// however little there is to do. Here the sleep comes once a round, and only when the whole round
// has found nothing: that is as good as the model gets.
//
// What it costs: each round makes a system call for each connection, idle or not, a hundred times
// a second; and a request that comes during the sleep waits for its end, 5 ms on average.

#include <sys/socket.h>
#include <time.h>

#include <array>
#include <iterator>
#include <list>

#include "models/servers/echo.h"
#include "models/servers/server.h"

namespace models {
namespace {

constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 10'000'000};

}  // namespace

void ServePolling(int listener) {
  SetNonBlocking(listener);
  std::list<Client> clients;
  std::array<char, kReadSize> buffer;  // one for all: nothing stays in it
  for (;;) {
    bool found = false;
    int fd = kNobody;
    while ((fd = AcceptClient(listener, SOCK_NONBLOCK)) >= 0) {
      clients.emplace_back(fd);
      found = true;
    }
    if (fd == kEnded) return;
    for (auto client = clients.begin(); client != clients.end();) {
      const Copied copied = client->CopyOnce(buffer);
      found = found || copied != Copied::kNothing;
      client = copied == Copied::kEnd ? clients.erase(client) : std::next(client);
    }
    // A signal ends the sleep early, and the round asks whether the listener is still there.
    if (!found) ::nanosleep(&kPause, nullptr);
  }
}

}  // namespace models
