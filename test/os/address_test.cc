// An address as text, as the kernel's bytes, and back.

#include "weir/address.h"

#include <netinet/in.h>
#include <sys/un.h>

#include <cstring>
#include <string>

#include "os/fixtures.h"

using weir::Address;
using weir::test::ErrorOf;

namespace {

std::string ParseError(const std::string& text) {
  return ErrorOf([&] { Address::Parse(text); });
}

Address FromPath(const std::string& bytes) {
  sockaddr_un raw{};
  raw.sun_family = AF_UNIX;
  std::memcpy(raw.sun_path, bytes.data(), bytes.size());
  return Address::FromRaw(&raw, offsetof(sockaddr_un, sun_path) + bytes.size());
}

}  // namespace

TEST_CASE("an address is written as it was read", "[address]") {
  for (const std::string text :
       {"127.0.0.1:80", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:80", "[::]:0",
        "[2001:db8::1]:443", "[fe80::1%lo]:80", "/run/x.sock", "/run/with space", "@abstract"}) {
    INFO(text);
    const Address address = Address::Parse(text);
    CHECK(address.ToString() == text);
    CHECK(address == Address::Parse(text));
    CHECK(address == Address::FromRaw(address.Raw(), address.RawSize()));
  }
}

TEST_CASE("an address knows its parts", "[address]") {
  const Address ip4 = Address::Parse("127.0.0.1:80");
  CHECK(ip4.Ip() == "127.0.0.1");
  CHECK(ip4.Port() == 80);
  CHECK_FALSE(ip4.IsUnix());
  CHECK(ip4.RawSize() == sizeof(sockaddr_in));

  const Address ip6 = Address::Parse("[2001:DB8:0::1]:65535");
  CHECK(ip6.Ip() == "2001:db8::1");
  CHECK(ip6.Port() == 65535);
  CHECK(ip6.RawSize() == sizeof(sockaddr_in6));

  const Address path = Address::Parse("/run/x.sock");
  CHECK(path.Ip().empty());
  CHECK(path.Port() == 0);
  CHECK(path.IsUnix());
}

TEST_CASE("a text that is no address is refused, quoted, and told why", "[address][error]") {
  CHECK(ParseError("") == "address '': the port is missing (HOST:PORT)");
  CHECK(ParseError("127.0.0.1") == "address '127.0.0.1': the port is missing (HOST:PORT)");
  CHECK(ParseError("127.0.0.1:") == "address '127.0.0.1:': the port is missing (HOST:PORT)");
  CHECK(ParseError("127.0.0.1:70000") ==
        "address '127.0.0.1:70000': port '70000' is not in 0..65535");
  CHECK(ParseError("127.0.0.1:99999999999999999999") ==
        "address '127.0.0.1:99999999999999999999': "
        "port '99999999999999999999' is not in 0..65535");
  CHECK(ParseError("127.0.0.1:-1") == "address '127.0.0.1:-1': port '-1' is not a number");
  CHECK(ParseError("127.0.0.1:+1") == "address '127.0.0.1:+1': port '+1' is not a number");
  CHECK(ParseError("127.0.0.1:80x") == "address '127.0.0.1:80x': port '80x' is not a number");
  CHECK(ParseError("127.0.0.1: 80") == "address '127.0.0.1: 80': port ' 80' is not a number");
  CHECK(ParseError("localhost:80") ==
        "address 'localhost:80': host 'localhost' is not a numeric address (127.0.0.1 or [::1])");
  CHECK(ParseError("127.1:80") ==
        "address '127.1:80': host '127.1' is not a numeric address (127.0.0.1 or [::1])");
  CHECK(ParseError(":80") ==
        "address ':80': host '' is not a numeric address (127.0.0.1 or [::1])");
  CHECK(ParseError("[127.0.0.1]:80") ==
        "address '[127.0.0.1]:80': host '[127.0.0.1]' is not a numeric address "
        "(127.0.0.1 or [::1])");
  CHECK(ParseError("::1:80") ==
        "address '::1:80': '::1:80' is not HOST:PORT ([HOST]:PORT for IPv6)");
  CHECK(ParseError("[::1:80") ==
        "address '[::1:80': '[::1:80' is not HOST:PORT ([HOST]:PORT for IPv6)");
  CHECK(ParseError("[::1]80") ==
        "address '[::1]80': '[::1]80' is not HOST:PORT ([HOST]:PORT for IPv6)");
  CHECK(ParseError("[fe80::1%nosuchlink]:80") ==
        "address '[fe80::1%nosuchlink]:80': there is no network interface 'nosuchlink'");
  CHECK(ParseError("[fe80::1%]:80") == "address '[fe80::1%]:80': there is no network interface ''");
  CHECK(ParseError("@") == "address '@': the name after '@' is missing");
}

TEST_CASE("a NUL ends no text early", "[address][error]") {
  CHECK(ParseError(std::string("127.0.0.1\0:80", 13)) ==
        "address '127.0.0.1\\x00:80': host '127.0.0.1\\x00' is not a numeric address "
        "(127.0.0.1 or [::1])");
  CHECK(ParseError(std::string("/run/x\0y", 8)) ==
        "address '/run/x\\x00y': the path holds a NUL byte");
}

TEST_CASE("a refused address is the caller's mistake, in one line whatever it held",
          "[address][error]") {
  try {
    Address::Parse("evil\r\n\x1b[2J\xff:80");
    FAIL("it was taken");
  } catch (const weir::Error& error) {
    CHECK(error.IsUsage());
    CHECK(
        std::string(error.what()).starts_with("address 'evil\\x0d\\x0a\\x1b[2J\\xff:80': host '"));
  }
  CHECK(ParseError(std::string(100'000, 'x')).size() < 1000);
}

TEST_CASE("a Unix path has room for 107 bytes", "[address]") {
  const std::string longest = "/" + std::string(106, 'x');
  CHECK(Address::Parse(longest).ToString() == longest);
  CHECK(ParseError(longest + "y").ends_with("the path is 108 bytes long, 107 are the most"));

  const std::string longest_name = "@" + std::string(106, 'x');
  CHECK(Address::Parse(longest_name).ToString() == longest_name);
  CHECK(ParseError(longest_name + "y").ends_with("the path is 108 bytes long, 107 are the most"));
}

TEST_CASE("a path from the kernel ends where it ends, with its NUL or without", "[address]") {
  const Address wanted = Address::Parse("/run/x");
  CHECK(FromPath(std::string("/run/x")) == wanted);
  CHECK(FromPath(std::string("/run/x\0", 7)) == wanted);
  CHECK(FromPath(std::string("/run/x\0rest", 11)) == wanted);

  // 108 bytes are a path that leaves no room for a NUL; the kernel then says 111.
  sockaddr_storage raw{};
  raw.ss_family = AF_UNIX;
  std::memset(reinterpret_cast<char*>(&raw) + offsetof(sockaddr_un, sun_path), 'x', 108);
  const Address full = Address::FromRaw(&raw, 111);
  CHECK(full.ToString() == std::string(108, 'x'));
  CHECK(full.RawSize() == sizeof(sockaddr_un));
  CHECK(Address::FromRaw(&raw, sizeof raw) == full);
}

TEST_CASE("every byte of an abstract name counts", "[address]") {
  const Address name = FromPath(std::string("\0a\0b", 4));
  CHECK(name.ToString() == std::string("@a\0b", 4));
  CHECK_FALSE(name == FromPath(std::string("\0a", 2)));
  CHECK(FromPath(std::string("\0a", 2)) == Address::Parse("@a"));
}

TEST_CASE("no address and an unnamed Unix peer have no text", "[address]") {
  CHECK(Address().ToString().empty());
  CHECK(Address().Ip().empty());
  CHECK(Address().Port() == 0);
  CHECK_FALSE(Address().IsUnix());
  CHECK(Address() == Address());

  const Address unnamed = FromPath("");
  CHECK(unnamed.ToString().empty());
  CHECK(unnamed.IsUnix());
  CHECK_FALSE(unnamed == Address());
}

TEST_CASE("an IPv4 peer of a dual-stack socket is an IPv4 address", "[address]") {
  const Address mapped = Address::Parse("[::ffff:10.1.2.3]:80");
  CHECK(mapped.ToString() == "10.1.2.3:80");
  CHECK(mapped.Ip() == "10.1.2.3");
  CHECK(mapped.RawSize() == sizeof(sockaddr_in6));  // the kernel's form is kept
  CHECK(mapped == Address::Parse("10.1.2.3:80"));
  CHECK_FALSE(mapped == Address::Parse("10.1.2.3:81"));
  CHECK_FALSE(mapped == Address::Parse("10.1.2.4:80"));
}

TEST_CASE("addresses differ by port, host, scope and family", "[address]") {
  CHECK_FALSE(Address::Parse("127.0.0.1:80") == Address::Parse("127.0.0.1:81"));
  CHECK_FALSE(Address::Parse("[::1]:80") == Address::Parse("[::2]:80"));
  CHECK_FALSE(Address::Parse("[fe80::1%1]:80") == Address::Parse("[fe80::1]:80"));
  CHECK_FALSE(Address::Parse("0.0.0.0:80") == Address::Parse("[::]:80"));
  CHECK_FALSE(Address::Parse("/x") == Address::Parse("@x"));
}

TEST_CASE("a scope is a link's name, or its number where no link has it", "[address]") {
  CHECK(Address::Parse("[fe80::1%1]:80") == Address::Parse("[fe80::1%lo]:80"));
  CHECK(Address::Parse("[fe80::1%999999]:80").ToString() == "[fe80::1%999999]:80");
  CHECK(Address::Parse("[fe80::1%999999]:80").Ip() == "fe80::1%999999");
}

TEST_CASE("what the kernel leaves open makes no difference", "[address]") {
  sockaddr_in padded{};
  padded.sin_family = AF_INET;
  padded.sin_port = htons(80);
  padded.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::memset(padded.sin_zero, 0x5a, sizeof padded.sin_zero);
  CHECK(Address::FromRaw(&padded, sizeof padded) == Address::Parse("127.0.0.1:80"));
  CHECK(Address::FromRaw(&padded, sizeof padded - 1) == Address());  // cut short
  CHECK(Address::FromRaw(&padded, 0) == Address());
}
