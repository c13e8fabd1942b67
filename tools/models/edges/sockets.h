// Two ends of a TCP connection in one process, and what is known about the bytes between them.
//
// All waits here are for a condition that the kernel tells under the socket's lock. So they end
// after the wake-ups, too, that the arrival has caused: no edge comes later than it is asked for.
//
// ERRORS    std::system_error, with the call; std::runtime_error if a condition does not come, or
//           if bytes are not those that were sent.

#pragma once

#include <sys/epoll.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "echo_load/fd.h"

namespace models::edges {

using echo_load::Fd;

// Throws, with errno's reason, if `result` is negative.
ssize_t Checked(ssize_t result, const char* call);

// Asks again and again, for seconds; throws if it never comes. `what` says it: "the end arrives".
void Await(std::string_view what, const std::function<bool()>& condition);

// So many bytes have arrived at `fd`, urgent ones included.
void AwaitBytes(int fd, std::uint64_t bytes);
void AwaitEnd(int fd);
// The peer has acknowledged all that was sent from `fd`.
void AwaitAcknowledged(int fd);

// What ioctl(FIONREAD) says.
[[nodiscard]] std::int64_t Fionread(int fd);

// Byte i of what every client sends.
[[nodiscard]] inline char PatternAt(std::size_t i) { return static_cast<char>('0' + i % 64); }
[[nodiscard]] bool IsPattern(std::string_view bytes, std::size_t first);

// The client's side: it blocks, for seconds at most.
class Client final {
 public:
  explicit Client(std::uint16_t port);

  void Send(std::size_t count);  // the next bytes of the pattern, in one call
  void SendUrgent();             // one byte that is not of the pattern
  void SendEnd();                // FIN
  // All that was sent has been acknowledged. So its server's socket is complete, and the listener
  // has told of it: the kernel does both under one lock, before it looks at the first byte.
  void AwaitTaken() const { AwaitAcknowledged(fd_.Get()); }
  // So many bytes of what was sent to it; fewer at the end of the stream, or if no more come.
  [[nodiscard]] std::string Receive(std::size_t count) const;

  [[nodiscard]] std::uint64_t sent() const noexcept { return pattern_ + urgent_; }
  [[nodiscard]] std::uint64_t pattern() const noexcept { return pattern_; }  // without the urgent

 private:
  Fd fd_;
  std::size_t pattern_ = 0;
  std::size_t urgent_ = 0;
};

// A listener of a free port that does not block, and knows its port.
struct Door {
  Door();

  Fd fd;
  std::uint16_t port = 0;
};

// The next client's socket, which does not block; -1 if none waits.
[[nodiscard]] Fd Accept(const Door& door);

// A client and its server's side.
struct Pair {
  Pair() : Pair(Door()) {}

  void AwaitSent() const { AwaitBytes(server.Get(), client.sent()); }

  Client client;
  Fd server;

 private:
  explicit Pair(const Door& door);
};

// An epoll instance with one descriptor in it. It never waits.
class Epoll final {
 public:
  Epoll(int fd, std::uint32_t events);

  // One epoll_wait(2) that does not wait: the events of the descriptor, 0 if it is not reported.
  // Throws after very many reports: nothing here is meant to go on for ever.
  std::uint32_t Ask();
  // EPOLL_CTL_MOD: also takes a descriptor of EPOLLONESHOT in again.
  void Modify(std::uint32_t events);

  [[nodiscard]] std::int64_t asked() const noexcept { return asked_; }
  [[nodiscard]] std::int64_t returns() const noexcept { return returns_; }  // that reported it

 private:
  Fd epoll_;
  int fd_;
  std::int64_t asked_ = 0;
  std::int64_t returns_ = 0;
};

}  // namespace models::edges
