#include "echo_load/target.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>

#include "echo_load/failure.h"
#include "echo_load/parse_number.h"

namespace echo_load {
namespace {

constexpr std::chrono::seconds kConnectLimit{5};

Target UnixTarget(const std::string& url, std::string path) {
  if (path.starts_with("///")) path.erase(0, 2);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.starts_with("//") || path.size() >= sizeof(address.sun_path)) {
    throw UsageError(fmt::format("--connect '{}': not unix:/PATH of at most {} bytes", url,
                                 sizeof(address.sun_path) - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  Target target;
  target.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  if (path.front() == '@') {  // an abstract name: it begins with a zero and ends with its length
    address.sun_path[0] = '\0';
    --target.size;
  }
  std::memcpy(&target.address, &address, sizeof(address));
  return target;
}

Target TcpTarget(const std::string& url, std::string_view host_and_port) {
  const std::size_t colon = host_and_port.rfind(':');
  if (colon == 0 || colon == std::string_view::npos) {
    throw UsageError(fmt::format("--connect '{}': not tcp://HOST:PORT", url));
  }
  std::string host(host_and_port.substr(0, colon));
  const std::string_view port = host_and_port.substr(colon + 1);
  ParseNumber<unsigned>(fmt::format("--connect '{}': port", url), port, 1, 65535);
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);

  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), std::string(port).c_str(), &hints, &found)) {
    throw Failure(fmt::format("getaddrinfo {}: {}", host, ::gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  Target target;
  target.size = found->ai_addrlen;
  std::memcpy(&target.address, found->ai_addr, found->ai_addrlen);
  return target;
}

}  // namespace

Target ParseUrl(const std::string& url) {
  const std::string_view view = url;
  if (view.starts_with("tcp://")) return TcpTarget(url, view.substr(6));
  if (view.starts_with("unix:")) return UnixTarget(url, url.substr(5));
  throw UsageError(fmt::format("--connect '{}': neither tcp://HOST:PORT nor unix:/PATH", url));
}

Fd Connect(const Target& target) {
  Fd fd(::socket(target.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (fd.Get() < 0) throw Failure("socket: " + ErrorText(errno));
  const timeval limit{.tv_sec = kConnectLimit.count(), .tv_usec = 0};
  // connect(2) obeys it too.
  ::setsockopt(fd.Get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  if (::connect(fd.Get(), reinterpret_cast<const sockaddr*>(&target.address), target.size) != 0) {
    const bool timed_out = errno == EINPROGRESS || errno == EAGAIN;
    throw Failure("connect: " + ErrorText(timed_out ? ETIMEDOUT : errno));
  }
  if (::fcntl(fd.Get(), F_SETFL, O_NONBLOCK) != 0) throw Failure("fcntl: " + ErrorText(errno));
  if (target.address.ss_family != AF_UNIX) {
    const int on = 1;
    ::setsockopt(fd.Get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  return fd;
}

}  // namespace echo_load
