#include "os/address_text.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <system_error>

#include "os/sys.h"

namespace weir::text {
namespace {

constexpr std::size_t kLongestPath = sizeof(sockaddr_un::sun_path) - 1;  // 107, and its NUL
constexpr std::size_t kLongestShown = 256;

[[noreturn]] void NotHostAndPort(std::string_view text) {
  throw Wrong{fmt::format("'{}' is not HOST:PORT ([HOST]:PORT for IPv6)", Printable(text))};
}

[[noreturn]] void NotNumeric(std::string_view host) {
  throw Wrong{
      fmt::format("host '{}' is not a numeric address (127.0.0.1 or [::1])", Printable(host))};
}

std::uint32_t ParseScope(std::string_view scope) {
  const std::string name(scope);
  const int index = sys::InterfaceIndex(name.c_str());
  if (index > 0) return static_cast<std::uint32_t>(index);
  std::uint32_t number = 0;
  const char* const end = scope.data() + scope.size();
  const auto [stop, error] = std::from_chars(scope.data(), end, number);
  if (error == std::errc{} && stop == end) return number;
  throw Wrong{fmt::format("there is no network interface '{}'", Printable(scope))};
}

Address ParseIp6(std::string_view host, std::uint16_t port) {
  const std::string_view inside = host.substr(1, host.size() - 2);
  const std::size_t percent = inside.find('%');
  const std::string digits(inside.substr(0, percent));  // a C string for inet_pton
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  if (inet_pton(AF_INET6, digits.c_str(), &address.sin6_addr) != 1) NotNumeric(host);
  if (percent != std::string_view::npos) {
    address.sin6_scope_id = ParseScope(inside.substr(percent + 1));
  }
  return Address::FromRaw(&address, sizeof address);
}

Address ParseIp4(std::string_view host, std::uint16_t port) {
  const std::string digits(host);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (inet_pton(AF_INET, digits.c_str(), &address.sin_addr) != 1) NotNumeric(host);
  return Address::FromRaw(&address, sizeof address);
}

}  // namespace

HostAndPort SplitHostAndPort(std::string_view text) {
  const bool bracketed = text.starts_with('[');
  const std::size_t host_end = bracketed ? text.find(']') : text.find(':');
  if (bracketed && host_end == std::string_view::npos) NotHostAndPort(text);
  const std::string_view host = text.substr(0, bracketed ? host_end + 1 : host_end);
  std::string_view rest = text.substr(host.size());  // ":80"
  if (rest.empty() || rest == ":") throw Wrong{"the port is missing (HOST:PORT)"};
  // "::1:80" is an IPv6 host without its brackets.
  if (!rest.starts_with(':') || rest.find(':', 1) != std::string_view::npos) NotHostAndPort(text);
  rest.remove_prefix(1);
  return {host, static_cast<std::uint16_t>(ParseNumber("port", rest, {0, 65535}))};
}

Address ParseIp(std::string_view host, std::uint16_t port) {
  // inet_pton reads up to a NUL, and would not see what stands behind it.
  if (host.find('\0') != std::string_view::npos) NotNumeric(host);
  return host.starts_with('[') ? ParseIp6(host, port) : ParseIp4(host, port);
}

Address ParseUnix(std::string_view path) {
  const bool abstract = path.starts_with('@');
  if (abstract && path.size() == 1) throw Wrong{"the name after '@' is missing"};
  if (path.find('\0') != std::string_view::npos) throw Wrong{"the path holds a NUL byte"};
  if (path.size() > kLongestPath) {
    throw Wrong{
        fmt::format("the path is {} bytes long, {} are the most", path.size(), kLongestPath)};
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), address.sun_path);
  if (abstract) address.sun_path[0] = '\0';
  // A path takes its NUL along; every byte of an abstract name counts, a NUL too.
  const std::size_t length = path.size() + (abstract ? 0 : 1);
  return Address::FromRaw(&address, offsetof(sockaddr_un, sun_path) + length);
}

std::uint32_t ParseNumber(std::string_view name, std::string_view digits, Range range) {
  std::uint32_t number = 0;
  const char* const end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, number);
  if (stop != end || error == std::errc::invalid_argument) {
    throw Wrong{fmt::format("{} '{}' is not a number", name, Printable(digits))};
  }
  if (error != std::errc{} || number < range.min || number > range.max) {
    throw Wrong{
        fmt::format("{} '{}' is not in {}..{}", name, Printable(digits), range.min, range.max)};
  }
  return number;
}

std::string Printable(std::string_view text) {
  std::string shown;
  for (const char c : text.substr(0, kLongestShown)) {
    if (c >= ' ' && c <= '~') {
      shown += c;
    } else {
      shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  if (text.size() > kLongestShown) shown += "...";
  return shown;
}

}  // namespace weir::text
