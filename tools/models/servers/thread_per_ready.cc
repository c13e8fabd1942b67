// Multiplexing, and a thread for each descriptor that is ready.
//
//     for (;;) for (fd in epoll_wait(fds)) new thread { data = read(fd); handle(data) }
//
// This is how multiplexing is often told, and as it stands it does not work. Level-triggered, the
// loop asks again before the new thread has read: the bytes are still there, the same descriptor is
// reported again, and a second thread starts for it, and a third. Then
//   - two threads read one stream, and send in the order in which they are scheduled: the client
//     gets his bytes back in another order;
//   - both see the end and close the descriptor: the second close hits whoever was accepted in the
//     meantime, since a new connection takes the lowest free number: a stranger is cut off.
// Edge-triggered, two edges soon after each other do the same.
//
// The guard is EPOLLONESHOT: after one report the descriptor is silent, so that one thread has it
// to himself, until that thread asks for the next report with EPOLL_CTL_MOD. If something came
// meanwhile, that is reported at once. It has to be the thread's last act: from then on the client
// may be another thread's, or gone. The language knows nothing of a handing over by the kernel: a
// mutex, held while the report is asked for, says that the next visit comes after this one.
//
// A thread does not wait for a client that does not take his echo, or a few of those would hold a
// thread each. The sockets do not block; what is unsent stays with the client, and the next report
// that is asked for is that there is room.
//
// What it costs: for each read a thread is made and ended, which takes longer than the echo, and
// one epoll_ctl() more. It pays only if what the thread does with the data takes far longer; and
// then threads that are kept, a pool, are the better answer.

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <span>
#include <unordered_map>

#include "models/servers/echo.h"
#include "models/servers/server.h"
#include "models/servers/thread.h"

namespace models {
namespace {

void Watch(int epoll, int operation, Client& client) {
  const std::uint32_t what = client.WaitsToSend() ? EPOLLOUT : EPOLLIN;
  epoll_event event{.events = what | EPOLLONESHOT, .data = {.ptr = &client}};
  if (::epoll_ctl(epoll, operation, client.Descriptor(), &event) != 0) Die("epoll_ctl");
}

// The loop adds, a thread takes out. Each stays where it is.
class Clients {
 public:
  void Add(int epoll, int fd) {
    const std::lock_guard lock(mutex_);
    Watch(epoll, EPOLL_CTL_ADD, clients_.try_emplace(fd, fd).first->second);
  }
  void TakeOver() { const std::lock_guard lock(mutex_); }  // from whoever asked for the report
  void HandOver(int epoll, Client& client) {
    const std::lock_guard lock(mutex_);
    Watch(epoll, EPOLL_CTL_MOD, client);
  }
  // Closes the descriptor, too, and within the lock: not before, or the number might be given out
  // and added while it still stands here.
  void Remove(const Client& client) {
    const std::lock_guard lock(mutex_);
    clients_.erase(client.Descriptor());
  }

 private:
  std::mutex mutex_;
  std::unordered_map<int, Client> clients_;
};

// What a thread does.
void Visit(int epoll, Client& client, Clients& clients) {
  clients.TakeOver();
  std::array<char, kReadSize> buffer;  // the thread's own
  if (client.CopyOnce(buffer) == Copied::kEnd) {
    clients.Remove(client);
  } else {
    clients.HandOver(epoll, client);
  }
}

void StartVisit(int epoll, Client& client, Clients& clients) {
  if (StartThread([epoll, &client, &clients] { Visit(epoll, client, clients); })) return;
  // It waits for nothing, so the loop can make the visit itself: slower, and nobody is cut off.
  static bool told = false;
  if (!told) fmt::print(stderr, "weir-models: the system gives no more threads: the loop helps\n");
  told = true;
  Visit(epoll, client, clients);
}

}  // namespace

void ServeThreadPerReady(int listener) {
  SetNonBlocking(listener);
  // Both are for ever: threads may still be at work when this function has returned.
  static auto& clients = *new Clients;
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) Die("epoll_create1");
  epoll_event of_listener{.events = EPOLLIN, .data = {.ptr = nullptr}};
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &of_listener) != 0) Die("epoll_ctl");
  std::array<epoll_event, 256> events;
  for (;;) {
    const int count = ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) Die("epoll_wait");
    if (count < 0) continue;
    for (const epoll_event& event : std::span(events).first(static_cast<std::size_t>(count))) {
      if (event.data.ptr != nullptr) {
        StartVisit(epoll, *static_cast<Client*>(event.data.ptr), clients);
        continue;
      }
      int fd = kNobody;
      while ((fd = AcceptClient(listener, SOCK_NONBLOCK)) >= 0) clients.Add(epoll, fd);
      if (fd == kEnded) return;
    }
  }
}

}  // namespace models
