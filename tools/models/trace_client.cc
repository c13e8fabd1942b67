#include "models/trace_client.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <exception>

#include "echo_load/fd.h"
#include "echo_load/target.h"
#include "models/guest.h"

namespace models {
namespace {

constexpr int kLimitSeconds = 10;

enum ExitCode : int { kRight, kNoUrl, kNoConnection, kNoEcho };

std::string AwaitUrl(const std::function<std::optional<std::string>()>& url) {
  constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 1'000'000};
  constexpr int kTries = 1000 * kLimitSeconds;
  for (int i = 0; i < kTries; ++i) {
    if (const auto there = url()) return *there;
    ::nanosleep(&kPause, nullptr);
  }
  ::_exit(kNoUrl);
}

// A socket that blocks, for a time.
echo_load::Fd Connect(const std::string& url) {
  try {
    echo_load::Fd fd = echo_load::Connect(echo_load::ParseUrl(url));
    const timeval limit{.tv_sec = kLimitSeconds, .tv_usec = 0};
    ::setsockopt(fd.Get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    ::fcntl(fd.Get(), F_SETFL, 0);
    return fd;
  } catch (const std::exception&) {
    ::_exit(kNoConnection);
  }
}

// False if the echo did not come, or was wrong.
bool Ask(int fd) {
  std::array<char, 64> request;
  request.fill('x');
  if (::send(fd, request.data(), request.size(), MSG_NOSIGNAL) != ssize_t{request.size()}) {
    return false;
  }
  std::array<char, request.size()> echo{};
  return ::recv(fd, echo.data(), echo.size(), MSG_WAITALL) == ssize_t{echo.size()} &&
         echo == request;
}

}  // namespace

void BeTraceClient(const std::function<std::optional<std::string>()>& url, std::size_t requests) {
  const echo_load::Fd fd = Connect(AwaitUrl(url));
  for (std::size_t i = 0; i < requests; ++i) {
    ::raise(SIGSTOP);
    if (!Ask(fd.Get())) ::_exit(kNoEcho);
  }
  ::raise(SIGSTOP);
  ::_exit(kRight);
}

const char* WhyTraceClientEnded(int exit_code) {
  switch (exit_code) {
    case kNoUrl:
      return kNoGuestUrl;
    case kNoConnection:
      return "the server cannot be connected to";
    default:
      return "the echo did not come, or was wrong";
  }
}

}  // namespace models
