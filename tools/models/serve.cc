#include "models/serve.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <system_error>

namespace models {
namespace {

std::atomic<int> listener_to_end = -1;

// Wakes whoever waits for clients, however he waits: accept4(2) fails from now on.
extern "C" void EndListener(int) { ::shutdown(listener_to_end.load(), SHUT_RDWR); }

int Checked(int result, const char* call) {
  if (result < 0) throw std::system_error(errno, std::system_category(), call);
  return result;
}

}  // namespace

Listener Listen(std::uint16_t port) {
  Listener listener;
  listener.fd = Checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  const int on = 1;
  Checked(::setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), "setsockopt");
  // Clients inherit it: an echo never waits for the acknowledgement of the one before.
  Checked(::setsockopt(listener.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), "setsockopt");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  socklen_t size = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  Checked(::bind(listener.fd, generic, size), fmt::format("bind 127.0.0.1:{}", port).c_str());
  Checked(::listen(listener.fd, SOMAXCONN), "listen");
  Checked(::getsockname(listener.fd, generic, &size), "getsockname");
  listener.port = ntohs(address.sin_port);
  return listener;
}

void RunServer(const Model& model, int listener) {
  listener_to_end = listener;
  struct sigaction action {};
  action.sa_handler = &EndListener;
  Checked(::sigaction(SIGINT, &action, nullptr), "sigaction");
  Checked(::sigaction(SIGTERM, &action, nullptr), "sigaction");
  action.sa_handler = SIG_IGN;
  Checked(::sigaction(SIGPIPE, &action, nullptr), "sigaction");
  model.serve(listener);
}

void FlushStdout() { Checked(std::fflush(stdout), "stdout"); }

void Serve(const Model& model, std::uint16_t port) {
  const Listener listener = Listen(port);
  fmt::print("listening on tcp://127.0.0.1:{}\n", listener.port);
  FlushStdout();
  RunServer(model, listener.fd);
}

}  // namespace models
