// The URLs that Listen() takes, and what it says of those that it does not.

#include "os/endpoint.h"

#include <string>

#include "os/fixtures.h"

using weir::Address;
using weir::Endpoint;
using weir::test::ErrorOf;

namespace {

// What follows "listen 'URL': ".
std::string Reason(const std::string& url) {
  const std::string text = ErrorOf([&] { Endpoint::Parse(url); });
  const std::string start = "listen '" + url + "': ";
  return text.starts_with(start) ? text.substr(start.size()) : "other start: " + text;
}

Address AddressOf(const std::string& url) { return Endpoint::Parse(url).address; }

}  // namespace

TEST_CASE("a TCP URL names a host and a port", "[endpoint]") {
  const Endpoint ip4 = Endpoint::Parse("tcp://127.0.0.1:7000");
  CHECK(ip4.kind == Endpoint::Kind::kTcp);
  CHECK(ip4.address == Address::Parse("127.0.0.1:7000"));
  CHECK(ip4.url == "tcp://127.0.0.1:7000");
  CHECK(ip4.backlog == 4096);
  CHECK_FALSE(ip4.v6only);
  CHECK_FALSE(ip4.mode.has_value());

  CHECK(AddressOf("tcp4://127.0.0.1:0") == Address::Parse("127.0.0.1:0"));
  CHECK(AddressOf("tcp://[::1]:7000") == Address::Parse("[::1]:7000"));
  CHECK(AddressOf("tcp6://[::1]:65535") == Address::Parse("[::1]:65535"));
  CHECK(AddressOf("tcp://[fe80::1%lo]:7000") == Address::Parse("[fe80::1%lo]:7000"));
}

TEST_CASE("no host, or a star, is every address of the scheme", "[endpoint]") {
  for (const std::string host : {"", "*"}) {
    INFO(host);
    CHECK(AddressOf("tcp://" + host + ":80") == Address::Parse("[::]:80"));
    CHECK_FALSE(Endpoint::Parse("tcp://" + host + ":80").v6only);
    CHECK(AddressOf("tcp4://" + host + ":80") == Address::Parse("0.0.0.0:80"));
    CHECK(AddressOf("tcp6://" + host + ":80") == Address::Parse("[::]:80"));
    CHECK(Endpoint::Parse("tcp6://" + host + ":80").v6only);
  }
}

TEST_CASE("a Unix URL names a path or an abstract name", "[endpoint]") {
  const Endpoint path = Endpoint::Parse("unix:/run/x.sock");
  CHECK(path.kind == Endpoint::Kind::kUnix);
  CHECK(path.address == Address::Parse("/run/x.sock"));
  CHECK(AddressOf("unix:///run/x.sock") == Address::Parse("/run/x.sock"));
  CHECK(AddressOf("unix:@name") == Address::Parse("@name"));
  CHECK(AddressOf("unix:/run/caf\xc3\xa9") == Address::Parse("/run/caf\xc3\xa9"));
}

TEST_CASE("options set what they say", "[endpoint]") {
  CHECK(Endpoint::Parse("tcp://:80?backlog=1").backlog == 1);
  CHECK(Endpoint::Parse("tcp://:80?backlog=65535").backlog == 65535);
  CHECK(Endpoint::Parse("tcp://:80?v6only=1").v6only);
  CHECK_FALSE(Endpoint::Parse("tcp6://:80?v6only=0").v6only);
  CHECK(Endpoint::Parse("tcp://:80?reuseport=1").reuse_port);
  CHECK_FALSE(Endpoint::Parse("tcp://:80?reuseport=0").reuse_port);
  CHECK_FALSE(Endpoint::Parse("tcp://:80").reuse_port);
  CHECK(Endpoint::Parse("unix:/x?mode=0660").mode == 0660U);
  CHECK(Endpoint::Parse("unix:/x?mode=7").mode == 7U);

  const Endpoint both = Endpoint::Parse("tcp://[::1]:80?backlog=7&v6only=1");
  CHECK(both.backlog == 7);
  CHECK(both.v6only);
  CHECK(both.address == Address::Parse("[::1]:80"));
}

TEST_CASE("a URL without a scheme that weir knows is told the schemes", "[endpoint][error]") {
  CHECK(Reason("") == "the URL is empty (tcp://HOST:PORT or unix:/PATH)");
  CHECK(Reason("8080") == "no scheme (tcp, tcp4, tcp6, unix or fd)");
  CHECK(Reason("/run/x.sock") == "no scheme (tcp, tcp4, tcp6, unix or fd)");
  CHECK(Reason("tpc://:80") == "unknown scheme 'tpc' (tcp, tcp4, tcp6, unix or fd)");
  CHECK(Reason("TCP://:80") == "unknown scheme 'TCP' (tcp, tcp4, tcp6, unix or fd)");
  CHECK(Reason("127.0.0.1:80") == "unknown scheme '127.0.0.1' (tcp, tcp4, tcp6, unix or fd)");
  CHECK(Reason(":80") == "unknown scheme '' (tcp, tcp4, tcp6, unix or fd)");
}

TEST_CASE("a bad host is told what a host is", "[endpoint][error]") {
  CHECK(Reason("tcp:127.0.0.1:80") == "'//' is missing (tcp://HOST:PORT)");
  CHECK(Reason("tcp:/127.0.0.1:80") == "'//' is missing (tcp://HOST:PORT)");
  CHECK(Reason("tcp://localhost:80") ==
        "host 'localhost' is not a numeric address (127.0.0.1 or [::1])");
  CHECK(Reason("tcp://a%62c:80") == "host 'a%62c' is not a numeric address (127.0.0.1 or [::1])");
  CHECK(Reason("tcp://[]:80") == "host '[]' is not a numeric address (127.0.0.1 or [::1])");
  CHECK(Reason("tcp://::1:80") == "'::1:80' is not HOST:PORT ([HOST]:PORT for IPv6)");
  CHECK(Reason("tcp://[::1%nosuchlink]:80") == "there is no network interface 'nosuchlink'");
  CHECK(Reason("tcp4://[::1]:80") == "tcp4 takes no IPv6 host, '[::1]'");
  CHECK(Reason("tcp6://127.0.0.1:80") == "tcp6 takes no IPv4 host, '127.0.0.1'");
}

TEST_CASE("a bad port is told what a port is", "[endpoint][error]") {
  CHECK(Reason("tcp://") == "the port is missing (HOST:PORT)");
  CHECK(Reason("tcp://127.0.0.1") == "the port is missing (HOST:PORT)");
  CHECK(Reason("tcp://127.0.0.1:") == "the port is missing (HOST:PORT)");
  CHECK(Reason("tcp://127.0.0.1:?backlog=1") == "the port is missing (HOST:PORT)");
  CHECK(Reason("tcp://:70000") == "port '70000' is not in 0..65535");
  CHECK(Reason("tcp://:65536") == "port '65536' is not in 0..65535");
  CHECK(Reason("tcp://:http") == "port 'http' is not a number");
  CHECK(Reason("tcp://:-1") == "port '-1' is not a number");
  CHECK(Reason("tcp://:80/") == "port '80/' is not a number");
  CHECK(Reason("tcp://:8%30") == "port '8%30' is not a number");
  CHECK(Reason("tcp://:80:90") == "':80:90' is not HOST:PORT ([HOST]:PORT for IPv6)");
}

TEST_CASE("a bad Unix path is told what a path is", "[endpoint][error]") {
  CHECK(Reason("unix:") ==
        "'' is not an absolute path or an abstract name (unix:/PATH or unix:@NAME)");
  CHECK(Reason("unix:x.sock") ==
        "'x.sock' is not an absolute path or an abstract name (unix:/PATH or unix:@NAME)");
  CHECK(Reason("unix://x.sock") ==
        "'//x.sock' is not an absolute path or an abstract name (unix:/PATH or unix:@NAME)");
  CHECK(Reason("unix:@") == "the name after '@' is missing");
  CHECK(Reason("unix:/run/a%20b") == "%-escapes are not understood");
  CHECK(Reason("unix:/" + std::string(107, 'x')) == "the path is 108 bytes long, 107 are the most");
}

TEST_CASE("a bad option is told the options that fit", "[endpoint][error]") {
  CHECK(Reason("tcp://:80?baklog=7") == "unknown option 'baklog' (backlog, v6only, reuseport)");
  CHECK(Reason("tcp://127.0.0.1:80?baklog=7") == "unknown option 'baklog' (backlog, reuseport)");
  CHECK(Reason("unix:/x?baklog=7") == "unknown option 'baklog' (backlog, mode)");
  CHECK(Reason("unix:@x?baklog=7") == "unknown option 'baklog' (backlog)");
  CHECK(Reason("tcp4://:80?v6only=1") ==
        "option 'v6only' does not fit this address (backlog, reuseport)");
  CHECK(Reason("tcp://:80?mode=0660") ==
        "option 'mode' does not fit this address (backlog, v6only, reuseport)");
  CHECK(Reason("unix:@x?mode=0660") == "option 'mode' does not fit this address (backlog)");
  CHECK(Reason("unix:/x?reuseport=1") ==
        "option 'reuseport' does not fit this address (backlog, mode)");
  CHECK(Reason("tcp://:80?") == "unknown option '' (backlog, v6only, reuseport)");
  CHECK(Reason("tcp://:80?backlog=1&") == "unknown option '' (backlog, v6only, reuseport)");
  CHECK(Reason("tcp://:80?backlog=1?v6only=1") == "backlog '1?v6only=1' is not a number");
}

TEST_CASE("a bad value of an option is told the values", "[endpoint][error]") {
  CHECK(Reason("tcp://:80?backlog") == "option 'backlog' has no value");
  CHECK(Reason("tcp://:80?backlog=") == "option 'backlog' has no value");
  CHECK(Reason("tcp://:80?backlog=&v6only=1") == "option 'backlog' has no value");
  CHECK(Reason("tcp://:80?backlog=7&backlog=7") == "option 'backlog' is given twice");
  CHECK(Reason("tcp://:80?backlog=0") == "backlog '0' is not in 1..65535");
  CHECK(Reason("tcp://:80?backlog=65536") == "backlog '65536' is not in 1..65535");
  CHECK(Reason("tcp://:80?backlog=many") == "backlog 'many' is not a number");
  CHECK(Reason("tcp://:80?v6only=2") == "v6only '2' is not in 0..1");
  CHECK(Reason("tcp://:80?v6only=yes") == "v6only 'yes' is not a number");
  CHECK(Reason("tcp://:80?reuseport=2") == "reuseport '2' is not in 0..1");
  CHECK(Reason("unix:/x?mode=0999") == "mode '0999' is not an octal number in 0..0777");
  CHECK(Reason("unix:/x?mode=1000") == "mode '1000' is not an octal number in 0..0777");
  CHECK(Reason("unix:/x?mode=-1") == "mode '-1' is not an octal number in 0..0777");
}

TEST_CASE("an inherited socket is named by its number", "[endpoint]") {
  const Endpoint endpoint = Endpoint::Parse("fd://3");
  CHECK(endpoint.kind == Endpoint::Kind::kInherited);
  CHECK(endpoint.inherited == 3);
  CHECK(endpoint.address == Address());
  CHECK(Endpoint::Parse("tcp://:80").inherited == -1);

  CHECK(Reason("fd:3") == "'//' is missing (fd://NUMBER)");
  CHECK(Reason("fd://") == "the number is missing (fd://NUMBER)");
  CHECK(Reason("fd://-1") == "descriptor '-1' is not a number");
  CHECK(Reason("fd://x") == "descriptor 'x' is not a number");
  CHECK(Reason("fd://2147483648") == "descriptor '2147483648' is not in 0..2147483647");
  CHECK(Reason("fd://3?backlog=7") == "an inherited socket takes no options");
}

TEST_CASE("strange bytes are refused, and shown so that they can do no harm", "[endpoint][error]") {
  CHECK(Reason("tcp://127.0.0.1: 80") == "it holds a space or a control character");
  CHECK(Reason(" tcp://:80") == "it holds a space or a control character");
  for (const char c : {'\0', '\n', '\t', '\x1b', '\x7f'}) {
    const std::string text = ErrorOf([&] { Endpoint::Parse(std::string("tcp://:80") + c); });
    CHECK(text.starts_with("listen 'tcp://:80\\x"));
    CHECK(text.ends_with("': it holds a space or a control character"));
  }
  CHECK(ErrorOf([] { Endpoint::Parse("t\xff://:80"); }) ==
        "listen 't\\xff://:80': unknown scheme 't\\xff' (tcp, tcp4, tcp6, unix or fd)");
  CHECK(ErrorOf([] { Endpoint::Parse(std::string(100'000, 'x')); }).size() < 1000);
}

TEST_CASE("a refused URL is the caller's mistake", "[endpoint][error]") {
  try {
    Endpoint::Parse("tpc://:80");
    FAIL("it was taken");
  } catch (const weir::Error& error) {
    CHECK(error.IsUsage());
  }
}

TEST_CASE("an address is written as the URL that means it", "[endpoint]") {
  for (const std::string url : {"tcp://127.0.0.1:7000", "tcp://[::1]:7000", "tcp://[::]:0",
                                "unix:///run/x.sock", "unix:@name"}) {
    CHECK(weir::UrlOf(AddressOf(url)) == url);
  }
  CHECK(weir::UrlOf(AddressOf("unix:/run/x.sock")) == "unix:///run/x.sock");
  CHECK(weir::UrlOf(Address()).empty());
}
