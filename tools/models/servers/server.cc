#include "models/servers/server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>

namespace models {

void Die(std::string_view call) {
  const std::error_code error(errno, std::system_category());
  fmt::print(stderr, "weir-models: {}: {}\n", call, error.message());
  std::exit(1);
}

int AcceptClient(int listener, int flags) {
  for (;;) {
    const int client = ::accept4(listener, nullptr, nullptr, flags | SOCK_CLOEXEC);
    if (client >= 0) return client;
    if (errno == EAGAIN) return kNobody;
    if (errno == EINVAL) return kEnded;
    if (errno != EINTR && errno != ECONNABORTED) Die("accept4");
  }
}

void SetNonBlocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) Die("fcntl");
}

void Refuse(int client, std::string_view why) {
  fmt::print(stderr, "weir-models: a client is refused: {}\n", why);
  const linger reset{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  ::close(client);
}

}  // namespace models
