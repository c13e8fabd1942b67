#include "models/edges/sockets.h"

#include <fmt/format.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "models/serve.h"
#include "models/servers/server.h"

namespace models::edges {
namespace {

constexpr std::chrono::seconds kPatience{10};
constexpr int kMostReturns = 10'000;

// The kernel's own structure (libc's is older, and does not know tcpi_bytes_received).
tcp_info TcpInfo(int fd) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  Checked(::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size), "getsockopt TCP_INFO");
  return info;
}

}  // namespace

ssize_t Checked(ssize_t result, const char* call) {
  if (result < 0) throw std::system_error(errno, std::system_category(), call);
  return result;
}

void Await(std::string_view what, const std::function<bool()>& condition) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) {
      throw std::runtime_error(fmt::format("waited in vain, until {}", what));
    }
    std::this_thread::yield();
  }
}

void AwaitBytes(int fd, std::uint64_t bytes) {
  Await("all bytes arrive", [=] { return TcpInfo(fd).tcpi_bytes_received >= bytes; });
}

void AwaitEnd(int fd) {
  constexpr int kCloseWait = 8;  // include/net/tcp_states.h of the kernel
  Await("the end arrives", [=] { return TcpInfo(fd).tcpi_state == kCloseWait; });
}

void AwaitAcknowledged(int fd) {
  Await("all is acknowledged", [=] {
    int left = 0;
    Checked(::ioctl(fd, SIOCOUTQ, &left), "ioctl SIOCOUTQ");
    // Another look under the socket's lock: the wake-ups that the acknowledgement caused are over.
    return left == 0 && TcpInfo(fd).tcpi_unacked == 0;
  });
}

std::int64_t Fionread(int fd) {
  int bytes = 0;
  Checked(::ioctl(fd, FIONREAD, &bytes), "ioctl FIONREAD");
  return bytes;
}

bool IsPattern(std::string_view bytes, std::size_t first) {
  return std::all_of(bytes.begin(), bytes.end(), [&](char c) { return c == PatternAt(first++); });
}

// ---- Client

Client::Client(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  Checked(fd_.Get(), "socket");
  // What is sent leaves at once, as a segment of its own.
  const int on = 1;
  Checked(::setsockopt(fd_.Get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), "setsockopt");
  const timeval patience{.tv_sec = kPatience.count(), .tv_usec = 0};
  Checked(::setsockopt(fd_.Get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)),
          "setsockopt");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  Checked(::connect(fd_.Get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
          "connect");
}

void Client::Send(std::size_t count) {
  std::string bytes;
  while (bytes.size() < count) bytes += PatternAt(pattern_++);
  // It is little, and the socket is empty: it is taken whole.
  const ssize_t sent = Checked(::send(fd_.Get(), bytes.data(), count, MSG_NOSIGNAL), "send");
  if (static_cast<std::size_t>(sent) != count) throw std::runtime_error("a small send was cut");
}

void Client::SendUrgent() {
  const char byte = '!';
  Checked(::send(fd_.Get(), &byte, 1, MSG_OOB | MSG_NOSIGNAL), "send MSG_OOB");
  ++urgent_;
}

void Client::SendEnd() { Checked(::shutdown(fd_.Get(), SHUT_WR), "shutdown"); }

std::string Client::Receive(std::size_t count) const {
  std::string bytes(count, '\0');
  bytes.resize(static_cast<std::size_t>(
      Checked(::recv(fd_.Get(), bytes.data(), count, MSG_WAITALL), "recv")));
  return bytes;
}

// ---- Server's side

Door::Door() {
  const Listener listener = Listen(0);
  fd = Fd(listener.fd);
  port = listener.port;
  SetNonBlocking(listener.fd);
}

Fd Accept(const Door& door) {
  const int fd = ::accept4(door.fd.Get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0 && errno != EAGAIN) Checked(fd, "accept4");
  return Fd(fd);
}

Pair::Pair(const Door& door) : client(door.port) {
  Await("a client waits", [&] {
    server = Accept(door);
    return server.Get() >= 0;
  });
}

// ---- Epoll

Epoll::Epoll(int fd, std::uint32_t events) : epoll_(::epoll_create1(EPOLL_CLOEXEC)), fd_(fd) {
  Checked(epoll_.Get(), "epoll_create1");
  epoll_event event{};
  event.events = events;
  Checked(::epoll_ctl(epoll_.Get(), EPOLL_CTL_ADD, fd_, &event), "epoll_ctl ADD");
}

std::uint32_t Epoll::Ask() {
  epoll_event event{};
  int count = -1;
  do {
    count = ::epoll_wait(epoll_.Get(), &event, 1, 0);
  } while (count < 0 && errno == EINTR);
  Checked(count, "epoll_wait");
  ++asked_;
  returns_ += count;
  if (returns_ > kMostReturns) throw std::runtime_error("epoll reports without end");
  return count == 0 ? 0 : event.events;
}

void Epoll::Modify(std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  Checked(::epoll_ctl(epoll_.Get(), EPOLL_CTL_MOD, fd_, &event), "epoll_ctl MOD");
}

}  // namespace models::edges
