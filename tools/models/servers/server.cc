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
namespace {

constexpr int kFull = -4;  // of descriptors, of the process or of the system

int OpenSpare() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }

// A descriptor to give up when there are no more. A client cannot be refused without one, and would
// go on waiting: the listener would be reported ready, and accept4 fail, in a circle.
int spare = OpenSpare();

int Accept(int listener, int flags) {
  for (;;) {
    const int client = ::accept4(listener, nullptr, nullptr, flags | SOCK_CLOEXEC);
    if (client >= 0) return client;
    if (errno == EAGAIN) return kNobody;
    if (errno == EINVAL) return kEnded;
    if (errno == EMFILE || errno == ENFILE) return kFull;
    if (errno != EINTR && errno != ECONNABORTED) Die("accept4");
  }
}

}  // namespace

void Die(std::string_view call, int exit_code) {
  const std::error_code error(errno, std::system_category());
  fmt::print(stderr, "weir-models: {}: {}\n", call, error.message());
  std::exit(exit_code);
}

int AcceptClient(int listener, int flags) {
  for (;;) {
    const int client = Accept(listener, flags);
    if (client != kFull) return client;
    const int in_his_place = AcceptBySpare(listener, flags);
    if (in_his_place != kRefused) return in_his_place;
  }
}

int AcceptBySpare(int listener, int flags) {
  ::close(spare);
  const int client = Accept(listener, flags);
  if (client == kFull) Die("accept4");
  spare = OpenSpare();
  if (spare >= 0 || client < 0) return client;  // others have closed theirs meanwhile
  Refuse(client, "the process has no more descriptors");
  spare = OpenSpare();
  return kRefused;
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
