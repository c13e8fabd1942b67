// The wire over a real socket, and what a signal in the middle does to it.

#include "net/socket_wire.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string>
#include <string_view>

#include "os/sys.h"
#include "os/unique_fd.h"
#include "support/catch.h"
#include "support/real_loop.h"

using weir::Connection;
using weir::SocketWire;
using weir::UniqueFd;
using weir::sys::Calls;
using weir::test::Client;
using weir::test::RealLoop;
namespace sys = weir::sys;
namespace fake = weir::sys::fake;

namespace {

struct Pair {
  Pair() {
    std::array<int, 2> fds{-1, -1};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) == 0);
    here.reset(fds[0]);
    there.reset(fds[1]);
  }

  SocketWire wire{SocketWire::Kind::kUnix};
  UniqueFd here;
  UniqueFd there;
};

}  // namespace

TEST_CASE("an interrupted receive or send goes on", "[net][wire]") {
  Pair it;
  std::array<char, 16> room{};

  fake::FailNext(&Calls::send, EINTR, 2);
  CHECK(it.wire.Send(it.there.get(), "abc").Bytes() == 3);
  fake::FailNext(&Calls::send, EINTR, 2);
  CHECK(it.wire.SendPieces(it.there.get(), std::array<std::string_view, 2>{"de", "f"}).Bytes() ==
        3);
  fake::FailNext(&Calls::recv, EINTR, 2);
  CHECK(it.wire.Receive(it.here.get(), room).Bytes() == 6);
  CHECK(std::string_view(room.data(), 6) == "abcdef");
  CHECK(it.wire.Receive(it.here.get(), room).WouldBlock());
}

TEST_CASE("an interrupted request is answered like any other", "[net][real][wire]") {
  RealLoop<weir::test::EchoRecorder> it;
  Client client = it.ConnectAndOpen();
  it.RunUntilQuiet();  // from here on a request goes the straight way
  std::string expected;
  for (int i = 0; i < 3; ++i) {
    SECTION("on its way in") { fake::FailNext(&Calls::recv, EINTR, i + 1); }
    SECTION("on its way out") { fake::FailNext(&Calls::send, EINTR, i + 1); }
    client.Send("ping");
    expected += "ping";
    it.RunUntil([&] { return client.Receive(), client.received == expected; }, 100);
  }
  CHECK(it.handler.closes == 0);
}
