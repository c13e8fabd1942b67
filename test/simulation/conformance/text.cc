#include "simulation/conformance/text.h"

#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace weir::sim::conformance {
namespace {

constexpr std::array<std::pair<int, std::string_view>, 26> kErrors{{
    {EPERM, "EPERM"},
    {ENOENT, "ENOENT"},
    {EBADF, "EBADF"},
    {EAGAIN, "EAGAIN"},
    {EEXIST, "EEXIST"},
    {EINVAL, "EINVAL"},
    {EMFILE, "EMFILE"},
    {ENOTTY, "ENOTTY"},
    {EPIPE, "EPIPE"},
    {ELOOP, "ELOOP"},
    {ENOTSOCK, "ENOTSOCK"},
    {EPROTOTYPE, "EPROTOTYPE"},
    {ENOPROTOOPT, "ENOPROTOOPT"},
    {EPROTONOSUPPORT, "EPROTONOSUPPORT"},
    {EOPNOTSUPP, "EOPNOTSUPP"},
    {EAFNOSUPPORT, "EAFNOSUPPORT"},
    {EADDRINUSE, "EADDRINUSE"},
    {ECONNABORTED, "ECONNABORTED"},
    {ECONNRESET, "ECONNRESET"},
    {EISCONN, "EISCONN"},
    {ENOTCONN, "ENOTCONN"},
    {ETIMEDOUT, "ETIMEDOUT"},
    {ECONNREFUSED, "ECONNREFUSED"},
    {EALREADY, "EALREADY"},
    {EINPROGRESS, "EINPROGRESS"},
    {EDESTADDRREQ, "EDESTADDRREQ"},
}};

constexpr std::array<std::pair<std::uint32_t, std::string_view>, 15> kEvents{{
    {EPOLLIN, "IN"},
    {EPOLLPRI, "PRI"},
    {EPOLLOUT, "OUT"},
    {EPOLLERR, "ERR"},
    {EPOLLHUP, "HUP"},
    {POLLNVAL, "NVAL"},
    {EPOLLRDNORM, "RDNORM"},
    {EPOLLRDBAND, "RDBAND"},
    {EPOLLWRNORM, "WRNORM"},
    {EPOLLWRBAND, "WRBAND"},
    {EPOLLRDHUP, "RDHUP"},
    {EPOLLEXCLUSIVE, "EXCLUSIVE"},
    {EPOLLWAKEUP, "WAKEUP"},
    {EPOLLONESHOT, "ONESHOT"},
    {EPOLLET, "ET"},
}};

}  // namespace

std::string ErrnoName(int error) {
  const auto* const found = std::find_if(kErrors.begin(), kErrors.end(),
                                         [&](const auto& one) { return one.first == error; });
  return found != kErrors.end() ? std::string(found->second) : "errno " + std::to_string(error);
}

std::string ResultText(long result) {
  return result < 0 ? ErrnoName(static_cast<int>(-result)) : std::to_string(result);
}

std::string EventNames(std::uint32_t events) {
  std::string names;
  for (const auto& [bit, name] : kEvents) {
    if ((events & bit) == 0) continue;
    if (!names.empty()) names += '|';
    names += name;
  }
  return names.empty() ? "0" : names;
}

std::string Quoted(std::string_view bytes) {
  constexpr std::size_t kMost = 40;
  std::string text = "'" + std::string(bytes.substr(0, kMost));
  if (bytes.size() > kMost) return text + "...' (" + std::to_string(bytes.size()) + ")";
  return text + "'";
}

}  // namespace weir::sim::conformance
