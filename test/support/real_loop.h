// A loop on the real kernel, stepped by the test's own thread, and plain sockets as its clients.
// (A loop that outlives its handler is a bug: so the handler stands first.)
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "net/loop_access.h"
#include "os/unique_fd.h"
#include "support/catch.h"
#include "support/recorder.h"

namespace weir::test {

// A non-blocking client. Its calls are libc's: the seam's counters see the library's calls alone.
class Client {
 public:
  Client() = default;
  explicit Client(UniqueFd connected) : fd_(std::move(connected)) {}
  explicit Client(const Address& to, int receive_buffer = 0) {
    const auto* address = static_cast<const sockaddr*>(to.Raw());
    fd_ = UniqueFd(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(fd_.get() >= 0);
    if (receive_buffer > 0) {
      REQUIRE(::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer,
                           sizeof receive_buffer) == 0);
    }
    REQUIRE(::connect(fd_.get(), address, static_cast<socklen_t>(to.RawSize())) == 0);
    if (!to.IsUnix()) {
      const int one = 1;
      REQUIRE(::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
    }
  }

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] explicit operator bool() const { return static_cast<bool>(fd_); }

  // Returns what was taken; 0 when the socket is full or broken (`error` says).
  std::size_t TrySend(std::string_view bytes, int flags = 0) {
    const ssize_t n =
        ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT | flags);
    error = n < 0 ? errno : 0;
    return n < 0 ? 0 : static_cast<std::size_t>(n);
  }
  void Send(std::string_view bytes) { REQUIRE(TrySend(bytes) == bytes.size()); }
  void SendUrgent(char byte) { REQUIRE(TrySend({&byte, 1}, MSG_OOB) == 1); }

  // Appends what is there to `received`. Sets `ended` at FIN, `error` at a failure.
  std::size_t Receive(std::size_t most = 1 << 16) {
    std::string room(most, '\0');
    const ssize_t n = ::recv(fd_.get(), room.data(), room.size(), MSG_DONTWAIT);
    error = n < 0 && errno != EAGAIN ? errno : 0;
    ended = n == 0;
    if (n > 0) received.append(room, 0, static_cast<std::size_t>(n));
    return n < 0 ? 0 : static_cast<std::size_t>(n);
  }

  // Waits until there is something to read, an end or an error; the time is but a guard.
  [[nodiscard]] bool WaitReadable(int milliseconds = 20'000) const {
    pollfd wanted{fd_.get(), POLLIN, 0};
    return ::poll(&wanted, 1, milliseconds) == 1;
  }
  // Waits for so many more bytes.
  void Await(std::size_t count) {
    const std::size_t wanted = received.size() + count;
    while (received.size() < wanted) {
      REQUIRE(WaitReadable());
      REQUIRE(Receive(wanted - received.size()) > 0);
    }
  }

  void HalfClose() { REQUIRE(::shutdown(fd_.get(), SHUT_WR) == 0); }
  void Close() { static_cast<void>(::close(fd_.release())); }
  void Reset() {
    const linger now{.l_onoff = 1, .l_linger = 0};
    REQUIRE(::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
    Close();
  }

  std::string received;
  bool ended = false;
  int error = 0;

 private:
  UniqueFd fd_;
};

template <class AnyHandler = Recorder>
class RealLoop {
 public:
  explicit RealLoop(const Options& options = {}, std::string_view url = "tcp://127.0.0.1:0")
      : loop(options) {
    listener = loop.Listen(url, handler);
  }

  [[nodiscard]] Client Connect(int receive_buffer = 0) {
    return Client(loop.ListenAddress(listener), receive_buffer);
  }
  // Connected, accepted and open.
  [[nodiscard]] Client ConnectAndOpen(int receive_buffer = 0) {
    const int before = handler.opens;
    Client client = Connect(receive_buffer);
    RunUntil([&] { return handler.opens > before; });
    return client;
  }

  int Turn() { return loop.RunOnce(Duration::zero()); }

  // A turn that sleeps until something comes. REQUIRES: something will; no timer is armed.
  int TurnWhenReady() { return loop.RunOnce(Duration::max()); }

  // Turns until `done`, a bounded number of times: loopback delivers in the sender's own call, or
  // nearly so.
  template <class Done>
  void RunUntil(Done done, int most = 200'000) {
    bool is_done = done();  // asked once a turn: it may read from a client
    for (int i = 0; i < most && !is_done; ++i) {
      Turn();
      is_done = done();
    }
    REQUIRE(is_done);
  }
  // Turns, while the client reads, until it has seen the end of its stream, or an error.
  void RunToEndOf(Client& client, int most = 200'000) {
    const auto is_over = [&] {
      client.Receive();
      return client.ended || client.error != 0;
    };
    RunUntil(is_over, most);
  }
  // Until so many turns in a row have served nothing.
  void RunUntilQuiet(int quiet_turns = 20) {
    for (int quiet = 0; quiet < quiet_turns; quiet = Turn() == 0 ? quiet + 1 : 0) {
    }
  }

  LoopCore& core() { return LoopAccess::Impl(loop).core(); }

  AnyHandler handler;
  EventLoop loop;
  int listener = 0;
};

}  // namespace weir::test
