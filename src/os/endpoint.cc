#include "os/endpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <system_error>

#include "os/address_family.h"
#include "os/address_text.h"
#include "weir/error.h"

namespace weir {
namespace {

using text::Printable;
using text::Wrong;

constexpr std::string_view kSchemes = "tcp, tcp4, tcp6, unix or fd";
constexpr unsigned kHighestMode = 0777;

enum class Ip : std::uint8_t { kEither, kOnly4, kOnly6 };

void RefuseStrangeBytes(std::string_view url) {
  const auto is_strange = [](char c) { return (c >= '\0' && c <= ' ') || c == '\x7f'; };
  if (std::any_of(url.begin(), url.end(), is_strange)) {
    throw Wrong{"it holds a space or a control character"};
  }
}

// The address.

Ip IpOf(std::string_view scheme) {
  if (scheme == "tcp") return Ip::kEither;
  if (scheme == "tcp4") return Ip::kOnly4;
  if (scheme == "tcp6") return Ip::kOnly6;
  throw Wrong{fmt::format("unknown scheme '{}' ({})", Printable(scheme), kSchemes)};
}

std::string_view HostOrAny(std::string_view host, Ip ip) {
  if (!host.empty() && host != "*") return host;
  return ip == Ip::kOnly4 ? "0.0.0.0" : "[::]";
}

Address ParseTcp(std::string_view rest, Ip ip) {
  if (!rest.starts_with("//")) throw Wrong{"'//' is missing (tcp://HOST:PORT)"};
  const text::HostAndPort parts = text::SplitHostAndPort(rest.substr(2));
  const std::string_view host = HostOrAny(parts.host, ip);
  const Address address = text::ParseIp(host, parts.port);
  const bool is_ip6 = host.starts_with('[');
  if (ip == Ip::kOnly4 && is_ip6) throw Wrong{fmt::format("tcp4 takes no IPv6 host, '{}'", host)};
  if (ip == Ip::kOnly6 && !is_ip6) throw Wrong{fmt::format("tcp6 takes no IPv4 host, '{}'", host)};
  return address;
}

Address ParseUnix(std::string_view rest) {
  if (rest.starts_with("///")) rest.remove_prefix(2);
  if (rest.starts_with("//") || !(rest.starts_with('/') || rest.starts_with('@'))) {
    throw Wrong{
        fmt::format("'{}' is not an absolute path or an abstract name (unix:/PATH or unix:@NAME)",
                    Printable(rest))};
  }
  if (rest.find('%') != std::string_view::npos) throw Wrong{"%-escapes are not understood"};
  return text::ParseUnix(rest);
}

int ParseInherited(std::string_view rest) {
  if (!rest.starts_with("//")) throw Wrong{"'//' is missing (fd://NUMBER)"};
  rest.remove_prefix(2);
  if (rest.empty()) throw Wrong{"the number is missing (fd://NUMBER)"};
  constexpr std::uint32_t kMost = std::numeric_limits<int>::max();
  return static_cast<int>(text::ParseNumber("descriptor", rest, {0, kMost}));
}

// The options.

struct Option {
  std::string_view name;
  bool (*fits)(const Address& address);
  void (*apply)(Endpoint& endpoint, std::string_view value);
};

void SetBacklog(Endpoint& endpoint, std::string_view value) {
  endpoint.backlog = static_cast<int>(text::ParseNumber("backlog", value, {1, 65535}));
}

void SetV6Only(Endpoint& endpoint, std::string_view value) {
  endpoint.v6only = text::ParseNumber("v6only", value, {0, 1}) == 1;
}

void SetReusePort(Endpoint& endpoint, std::string_view value) {
  endpoint.reuse_port = text::ParseNumber("reuseport", value, {0, 1}) == 1;
}

void SetMode(Endpoint& endpoint, std::string_view value) {
  unsigned mode = 0;
  const char* const end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, mode, 8);
  if (error != std::errc{} || stop != end || mode > kHighestMode) {
    throw Wrong{fmt::format("mode '{}' is not an octal number in 0..0777", Printable(value))};
  }
  endpoint.mode = mode;
}

bool FitsAll(const Address&) { return true; }
bool FitsIp(const Address& address) { return !address.IsUnix(); }
bool FitsIp6(const Address& address) { return FamilyOf(address) == AF_INET6; }
bool FitsPath(const Address& address) { return address.ToString().starts_with('/'); }

constexpr std::array kOptions = {
    Option{"backlog", FitsAll, SetBacklog},
    Option{"v6only", FitsIp6, SetV6Only},
    Option{"reuseport", FitsIp, SetReusePort},
    Option{"mode", FitsPath, SetMode},
};

std::string OptionsThatFit(const Address& address) {
  std::string names;
  for (const Option& option : kOptions) {
    if (!option.fits(address)) continue;
    if (!names.empty()) names += ", ";
    names += option.name;
  }
  return names;
}

const Option& FindOption(std::string_view name, const Address& address) {
  const auto* const found = std::find_if(kOptions.begin(), kOptions.end(),
                                         [&](const Option& option) { return option.name == name; });
  if (found == kOptions.end()) {
    throw Wrong{fmt::format("unknown option '{}' ({})", Printable(name), OptionsThatFit(address))};
  }
  if (!found->fits(address)) {
    throw Wrong{
        fmt::format("option '{}' does not fit this address ({})", name, OptionsThatFit(address))};
  }
  return *found;
}

void ParseOptions(Endpoint& endpoint, std::string_view query) {
  std::array<bool, kOptions.size()> seen{};
  for (bool more = true; more;) {
    const std::size_t end = query.find('&');
    const std::string_view piece = query.substr(0, end);
    more = end != std::string_view::npos;
    if (more) query.remove_prefix(end + 1);

    const std::size_t equals = piece.find('=');
    const std::string_view name = piece.substr(0, equals);
    const Option& option = FindOption(name, endpoint.address);
    if (equals == std::string_view::npos || equals + 1 == piece.size()) {
      throw Wrong{fmt::format("option '{}' has no value", name)};
    }
    bool& known = seen[static_cast<std::size_t>(&option - kOptions.data())];
    if (known) throw Wrong{fmt::format("option '{}' is given twice", name)};
    known = true;
    option.apply(endpoint, piece.substr(equals + 1));
  }
}

Endpoint ParseUrl(std::string_view url) {
  if (url.empty()) throw Wrong{"the URL is empty (tcp://HOST:PORT or unix:/PATH)"};
  RefuseStrangeBytes(url);
  const std::size_t colon = url.find(':');
  if (colon == std::string_view::npos) throw Wrong{fmt::format("no scheme ({})", kSchemes)};
  const std::string_view scheme = url.substr(0, colon);
  const std::size_t question = url.find('?', colon);
  const std::string_view rest = url.substr(0, question).substr(colon + 1);

  Endpoint endpoint;
  endpoint.url = url;
  if (scheme == "unix") {
    endpoint.kind = Endpoint::Kind::kUnix;
    endpoint.address = ParseUnix(rest);
  } else if (scheme == "fd") {
    endpoint.kind = Endpoint::Kind::kInherited;
    endpoint.inherited = ParseInherited(rest);
    if (question != std::string_view::npos) throw Wrong{"an inherited socket takes no options"};
  } else {
    endpoint.v6only = scheme == "tcp6";
    endpoint.address = ParseTcp(rest, IpOf(scheme));
  }
  if (question != std::string_view::npos) ParseOptions(endpoint, url.substr(question + 1));
  return endpoint;
}

}  // namespace

Endpoint Endpoint::Parse(std::string_view url) {
  try {
    return ParseUrl(url);
  } catch (const Wrong& wrong) {
    throw Error::Usage(fmt::format("listen '{}'", Printable(url)), wrong.reason);
  }
}

std::string UrlOf(const Address& address) {
  const std::string text = address.ToString();
  if (text.empty()) return "";
  if (!address.IsUnix()) return "tcp://" + text;
  return (text.starts_with('/') ? "unix://" : "unix:") + text;
}

}  // namespace weir
