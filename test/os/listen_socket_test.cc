// Listening on real sockets: what is bound, what accepted sockets inherit, and whose file a Unix
// path is.

#include "os/listen_socket.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "os/fixtures.h"

using namespace weir::test;
using weir::Address;
using weir::Endpoint;
using weir::ListenSocket;
using weir::Options;
using weir::UniqueFd;
using weir::sys::Calls;
namespace sys = weir::sys;
namespace fake = weir::sys::fake;

namespace {

std::unique_ptr<ListenSocket> Listen(const std::string& url, const Options& options = {}) {
  return std::make_unique<ListenSocket>(Endpoint::Parse(url), options);
}

std::string ListenError(const std::string& url) {
  return ErrorOf([&] { Listen(url); });
}

Address WithPort(const std::string& host, std::uint16_t port) {
  return Address::Parse(host + ":" + std::to_string(port));
}

ino_t InodeOf(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

bool Exists(const std::string& path) { return InodeOf(path) != 0; }

// What a server leaves that was killed.
void LeaveStale(const std::string& path) { Listen("unix:" + path)->Close(false); }

}  // namespace

TEST_CASE("port 0 is a real port, which the address and the URL tell", "[listen]") {
  const auto listener = Listen("tcp://127.0.0.1:0");

  CHECK(listener->address().Port() != 0);
  CHECK(listener->url() == "tcp://127.0.0.1:" + std::to_string(listener->address().Port()));
  CHECK_FALSE(listener->is_unix());

  const UniqueFd client = ConnectTo(listener->address());
  REQUIRE(client);
  CHECK(AcceptFrom(listener->fd()).peer.Ip() == "127.0.0.1");
}

TEST_CASE("a listener and what it accepts neither block nor outlive an exec", "[listen]") {
  const auto listener = Listen("tcp://127.0.0.1:0");
  const UniqueFd client = ConnectTo(listener->address());
  const Accepted accepted = AcceptFrom(listener->fd());
  for (const int fd : {listener->fd(), accepted.fd.get()}) {
    CHECK((::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  }
}

TEST_CASE("no host means one socket for IPv4 and IPv6", "[listen][ip6]") {
  if (!HasIp6()) {
    WARN("skipped: this machine has no IPv6");
    return;
  }
  const auto listener = Listen("tcp://:0");
  const std::uint16_t port = listener->address().Port();
  CHECK(listener->url() == "tcp://[::]:" + std::to_string(port));

  const UniqueFd by_ip4 = ConnectTo(WithPort("127.0.0.1", port));
  REQUIRE(by_ip4);
  const Address peer = AcceptFrom(listener->fd()).peer;
  CHECK(peer.Ip() == "127.0.0.1");
  CHECK(peer == WithPort("127.0.0.1", peer.Port()));

  const UniqueFd by_ip6 = ConnectTo(WithPort("[::1]", port));
  REQUIRE(by_ip6);
  CHECK(AcceptFrom(listener->fd()).peer.Ip() == "::1");
}

TEST_CASE("v6only is said either way, whatever the machine's default", "[listen][ip6]") {
  if (!HasIp6()) {
    WARN("skipped: this machine has no IPv6");
    return;
  }
  sys::calls() = {};
  const auto dual = Listen("tcp://[::]:0");
  CHECK(OptionOf(dual->fd(), IPPROTO_IPV6, IPV6_V6ONLY) == 0);
  CHECK(sys::calls().set_option == 3);  // with TCP_NODELAY and SO_REUSEADDR

  const auto only6 = Listen("tcp6://:0");
  CHECK(OptionOf(only6->fd(), IPPROTO_IPV6, IPV6_V6ONLY) == 1);
  CHECK_FALSE(ConnectTo(WithPort("127.0.0.1", only6->address().Port())));
}

TEST_CASE("without IPv6 in the kernel no host means every IPv4 address", "[listen][ip6]") {
  fake::FailNext(&Calls::socket, EAFNOSUPPORT);
  const auto listener = Listen("tcp://:0");
  CHECK(listener->url() == "tcp://0.0.0.0:" + std::to_string(listener->address().Port()));
  CHECK(ConnectTo(WithPort("127.0.0.1", listener->address().Port())));

  fake::FailNext(&Calls::socket, EAFNOSUPPORT);
  CHECK(ListenError("tcp6://:0") ==
        "listen tcp6://:0: socket: Address family not supported by protocol");
  fake::FailNext(&Calls::socket, EAFNOSUPPORT);
  CHECK(ListenError("tcp://[::1]:0") ==
        "listen tcp://[::1]:0: socket: Address family not supported by protocol");
}

TEST_CASE("accepted sockets inherit no-delay and the buffer sizes", "[listen]") {
  Options options;
  options.no_delay = GENERATE(true, false);
  options.recv_buffer = 30'000;
  options.send_buffer = 40'000;
  const auto listener = Listen("tcp://127.0.0.1:0", options);
  const UniqueFd client = ConnectTo(listener->address());
  const Accepted accepted = AcceptFrom(listener->fd());

  CHECK((OptionOf(accepted.fd.get(), IPPROTO_TCP, TCP_NODELAY) != 0) == options.no_delay);
  // The kernel doubles a size, for its own bookkeeping.
  CHECK(OptionOf(accepted.fd.get(), SOL_SOCKET, SO_RCVBUF) == 60'000);
  CHECK(OptionOf(accepted.fd.get(), SOL_SOCKET, SO_SNDBUF) == 80'000);
}

TEST_CASE("sizes that are not asked for are the kernel's own", "[listen]") {
  const UniqueFd plain(sys::Socket(AF_INET, SOCK_STREAM, 0));
  const auto listener = Listen("tcp://127.0.0.1:0");
  for (const int name : {SO_RCVBUF, SO_SNDBUF}) {
    CHECK(OptionOf(listener->fd(), SOL_SOCKET, name) == OptionOf(plain.get(), SOL_SOCKET, name));
  }
}

TEST_CASE("the backlog of the URL reaches the kernel", "[listen]") {
  const auto listener = Listen("tcp://127.0.0.1:0?backlog=7");
  tcp_info info{};
  socklen_t size = sizeof info;
  REQUIRE(sys::GetOption(listener->fd(), IPPROTO_TCP, TCP_INFO, &info, &size) == 0);
  CHECK(info.tcpi_sacked == 7);  // for a listener: its backlog
}

TEST_CASE("a busy port is told in one line, with its reason", "[listen][error]") {
  const auto first = Listen("tcp://127.0.0.1:0");
  CHECK(ListenError(first->url()) == "listen " + first->url() + ": bind: Address already in use");
  try {
    Listen(first->url());
    FAIL("it was bound twice");
  } catch (const weir::Error& error) {
    CHECK_FALSE(error.IsUsage());
    CHECK(error.code() == std::errc::address_in_use);
  }
}

TEST_CASE("every refusal names its call", "[listen][error]") {
  const std::string url = "tcp://127.0.0.1:0";
  const auto error = [&](sys::Kind kind) {
    fake::FailNext(kind, EPERM);
    return ListenError(url);
  };
  CHECK(error(&Calls::socket) == "listen " + url + ": socket: Operation not permitted");
  CHECK(error(&Calls::set_option) == "listen " + url + ": TCP_NODELAY: Operation not permitted");
  CHECK(error(&Calls::bind) == "listen " + url + ": bind: Operation not permitted");
  CHECK(error(&Calls::listen) == "listen " + url + ": listen: Operation not permitted");
  CHECK(error(&Calls::getters) == "listen " + url + ": getsockname: Operation not permitted");
}

TEST_CASE("a restarted server need not wait for its old connections", "[listen]") {
  auto first = Listen("tcp://127.0.0.1:0");
  const Address address = first->address();
  UniqueFd client = ConnectTo(address);
  AcceptFrom(first->fd()).fd.reset();  // the server ends first: TIME_WAIT is on its port
  std::array<char, 1> room{};
  REQUIRE(sys::Recv(client.get(), room.data(), room.size()) == 0);
  client.reset();
  first.reset();

  CHECK(Listen(weir::UrlOf(address))->address() == address);
}

TEST_CASE("closing twice closes once", "[listen]") {
  const auto listener = Listen("tcp://127.0.0.1:0");
  sys::calls() = {};
  listener->Close(true);
  listener->Close(true);
  CHECK(listener->fd() == -1);
  CHECK(sys::calls().close == 1);
}

TEST_CASE("a Unix listener makes its path, and removes it", "[listen][unix]") {
  const Folder folder;
  const std::string path = folder.File("x");
  {
    const auto listener = Listen("unix:" + path);
    CHECK(listener->is_unix());
    CHECK(listener->url() == "unix://" + path);
    const UniqueFd client = ConnectTo(listener->address());
    REQUIRE(client);
    CHECK(AcceptFrom(listener->fd()).peer.ToString().empty());
  }
  CHECK_FALSE(Exists(path));
}

TEST_CASE("a path that is the parent's stays", "[listen][unix]") {
  const Folder folder;
  const std::string path = folder.File("x");
  {
    const auto listener = Listen("unix:" + path);
    listener->Close(false);
    listener->Close(true);  // once said is said
  }
  CHECK(Exists(path));
}

TEST_CASE("the path of somebody else is not removed", "[listen][unix]") {
  const Folder folder;
  const std::string path = folder.File("x");
  auto first = Listen("unix:" + path);
  REQUIRE(::unlink(path.c_str()) == 0);
  const auto second = Listen("unix:" + path);
  first.reset();
  CHECK(Exists(path));
  CHECK(ConnectTo(second->address()));
}

TEST_CASE("the path of a dead server is taken over", "[listen][unix]") {
  const Folder folder;
  const std::string path = folder.File("x");
  LeaveStale(path);
  REQUIRE(Exists(path));
  REQUIRE_FALSE(ConnectTo(Address::Parse(path)));

  const auto listener = Listen("unix:" + path);
  CHECK(ConnectTo(listener->address()));
}

TEST_CASE("the path of a live server is not", "[listen][unix]") {
  const Folder folder;
  const std::string path = folder.File("x");
  const auto first = Listen("unix:" + path + "?backlog=1");
  const ino_t inode = InodeOf(path);
  const bool is_full =
      GENERATE(false, true);  // a connect to a full backlog fails, but not with ECONNREFUSED
  std::array<UniqueFd, 2> waiting;
  if (is_full) {
    for (UniqueFd& fd : waiting) fd = ConnectTo(first->address());
  }

  CHECK(ListenError("unix:" + path) == "listen unix:" + path + ": bind: Address already in use");
  CHECK(InodeOf(path) == inode);
}

TEST_CASE("a path that is no socket is left as it is", "[listen][unix]") {
  const Folder folder;
  const std::string path = folder.File("x");
  const std::string busy = "listen unix:" + path + ": bind: Address already in use";

  SECTION("a file") {
    std::ofstream(path) << "precious";
    CHECK(ListenError("unix:" + path) == busy);
    std::string text;
    std::ifstream(path) >> text;
    CHECK(text == "precious");
  }
  SECTION("a folder") {
    std::filesystem::create_directory(path);
    CHECK(ListenError("unix:" + path) == busy);
    CHECK(std::filesystem::is_directory(path));
  }
  SECTION("a link, even to the socket of a dead server") {
    LeaveStale(folder.File("target"));
    std::filesystem::create_symlink(folder.File("target"), path);
    CHECK(ListenError("unix:" + path) == busy);
    CHECK(std::filesystem::is_symlink(path));
  }
}

TEST_CASE("a path in a folder that is not there is told so", "[listen][unix][error]") {
  const Folder folder;
  const std::string url = "unix:" + folder.File("missing/x");
  CHECK(ListenError(url) == "listen " + url + ": bind: No such file or directory");
}

TEST_CASE("a path without permission is told so", "[listen][unix][error]") {
  const Folder folder;
  const std::string url = "unix:" + folder.File("x");
  std::filesystem::permissions(folder.path(), std::filesystem::perms::owner_read);

  const pid_t child = ::fork();  // root may do everything: a child gives that up
  if (child == 0) {
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(2);
    ::_exit(ListenError(url) == "listen " + url + ": bind: Permission denied" ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  std::filesystem::permissions(folder.path(), std::filesystem::perms::owner_all);
}

TEST_CASE("the mode of a Unix path is the URL's, before anybody can connect", "[listen][unix]") {
  const Folder folder;
  const std::string path = folder.File("x");
  const std::string url = "unix:" + path + "?mode=0606";  // no umask leaves that
  {
    const auto listener = Listen(url);
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0606);
  }

  sys::calls() = {};
  fake::FailNext(&Calls::files, 0);  // lstat
  fake::FailNext(&Calls::files, EPERM);
  CHECK(ListenError(url) == "listen " + url + ": chmod: Operation not permitted");
  CHECK(sys::calls().listen == 0);
}

TEST_CASE("a listener that fails late leaves no path and no descriptor", "[listen][unix][error]") {
  const Folder folder;
  const std::string path = folder.File("x");
  sys::calls() = {};
  fake::FailNext(&Calls::listen, ENOBUFS);
  CHECK(ListenError("unix:" + path) ==
        "listen unix:" + path + ": listen: No buffer space available");
  CHECK_FALSE(Exists(path));
  CHECK(sys::calls().close == sys::calls().socket);
}

TEST_CASE("an abstract name needs no file", "[listen][unix]") {
  const std::string url = "unix:@weir-test-" + std::to_string(::getpid());
  sys::calls() = {};
  {
    const auto listener = Listen(url);
    CHECK(listener->url() == url);
    CHECK(ConnectTo(listener->address()));
    CHECK(ListenError(url) == "listen " + url + ": bind: Address already in use");
  }
  CHECK(sys::calls().files == 0);
  CHECK(Listen(url)->url() == url);  // gone with its socket
}

// ---- RefuseNew

namespace {

// A connect that does not wait: its errno, or 0.
int ErrorOfConnect(const UniqueFd& fd, const Address& to) {
  return -sys::Connect(fd.get(), to.Raw(), static_cast<socklen_t>(to.RawSize()));
}

}  // namespace

TEST_CASE("RefuseNew on TCP: nobody else gets in, and who is in it is served", "[listen][refuse]") {
  const std::string url = GENERATE(as<std::string>{}, "tcp://127.0.0.1:0", "tcp://[::1]:0",
                                   "tcp://:0", "tcp4://:0", "tcp6://:0");
  if (url.find("4:") == url.npos && url.find("127") == url.npos && !HasIp6()) return;
  CAPTURE(url);
  const auto listener = Listen(url);
  const std::string host = FamilyOf(listener->address()) == AF_INET6 ? "[::1]" : "127.0.0.1";
  const Address address = WithPort(host, listener->address().Port());
  const UniqueFd queued = ConnectTo(address);
  REQUIRE(queued);
  REQUIRE(::send(queued.get(), "in time", 7, MSG_NOSIGNAL) == 7);

  REQUIRE(listener->RefuseNew() == 0);
  const UniqueFd late(sys::Socket(FamilyOf(address), SOCK_STREAM, 0));
  CHECK(ErrorOfConnect(late, address) == EINPROGRESS);  // its SYN was dropped

  const Accepted accepted = AcceptFrom(listener->fd());
  CHECK(sys::Accept(listener->fd(), nullptr, nullptr) == -EAGAIN);  // nobody else
  std::array<char, 16> room;
  REQUIRE(::recv(accepted.fd.get(), room.data(), room.size(), 0) == 7);  // data passes the filter
  REQUIRE(::send(accepted.fd.get(), "reply", 5, MSG_NOSIGNAL) == 5);
  listener->Close(true);
  REQUIRE(::recv(queued.get(), room.data(), room.size(), 0) == 5);

  // What was accepted has the filter too: it must not be cut off from its peer's end.
  REQUIRE(::send(queued.get(), "more", 4, MSG_NOSIGNAL) == 4);
  REQUIRE(::shutdown(queued.get(), SHUT_WR) == 0);
  pollfd wanted{accepted.fd.get(), POLLRDHUP, 0};
  REQUIRE(::poll(&wanted, 1, 5000) == 1);
  CHECK(::recv(accepted.fd.get(), room.data(), room.size(), 0) == 4);
  CHECK(::recv(accepted.fd.get(), room.data(), room.size(), 0) == 0);

  pollfd handshake{late.get(), POLLOUT, 0};
  CHECK(::poll(&handshake, 1, 0) == 0);
  CHECK_FALSE(ConnectTo(address));  // with the listener gone
}

TEST_CASE("RefuseNew on TCP lets a handshake end that had begun", "[listen][refuse]") {
  // With TCP_DEFER_ACCEPT a handshake does not end before the first byte of the client.
  const auto listener = Listen("tcp://127.0.0.1:0");
  const int seconds = 5;
  REQUIRE(sys::SetOption(listener->fd(), IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds) ==
          0);
  const UniqueFd client = ConnectTo(listener->address());
  REQUIRE(client);
  REQUIRE(sys::Accept(listener->fd(), nullptr, nullptr) == -EAGAIN);
  REQUIRE(listener->RefuseNew() == 0);
  REQUIRE(::send(client.get(), "hello", 5, MSG_NOSIGNAL) == 5);
  const Accepted accepted = AcceptFrom(listener->fd());
  std::array<char, 16> room;
  CHECK(::recv(accepted.fd.get(), room.data(), room.size(), 0) == 5);
}

TEST_CASE("RefuseNew on a Unix socket: refused at once, and who is in the queue is served",
          "[listen][refuse][unix]") {
  const Folder folder;
  const bool is_path = GENERATE(true, false);
  CAPTURE(is_path);
  const std::string url =
      is_path ? "unix:" + folder.File("x") : "unix:@weir-refuse-test-" + std::to_string(::getpid());
  const auto listener = Listen(url);
  const UniqueFd queued = ConnectTo(listener->address());
  REQUIRE(queued);
  REQUIRE(::send(queued.get(), "in time", 7, MSG_NOSIGNAL) == 7);

  REQUIRE(listener->RefuseNew() == 0);
  const UniqueFd late(sys::Socket(AF_UNIX, SOCK_STREAM, 0));
  CHECK(ErrorOfConnect(late, listener->address()) == ECONNREFUSED);

  const Accepted accepted = AcceptFrom(listener->fd());
  CHECK(sys::Accept(listener->fd(), nullptr, nullptr) == -EAGAIN);
  std::array<char, 16> room;
  CHECK(::recv(accepted.fd.get(), room.data(), room.size(), 0) == 7);
  REQUIRE(::send(accepted.fd.get(), "reply", 5, MSG_NOSIGNAL) == 5);
  listener->Close(true);
  CHECK(::recv(queued.get(), room.data(), room.size(), 0) == 5);
  if (is_path) CHECK_FALSE(Exists(folder.File("x")));
}

TEST_CASE("what the kernel says to RefuseNew is told", "[listen][refuse]") {
  const bool is_unix = GENERATE(false, true);
  const auto listener = Listen(is_unix ? "unix:@weir-refuse-test-" + std::to_string(::getpid())
                                       : "tcp://127.0.0.1:0");
  fake::FailNext(is_unix ? &Calls::shutdown : &Calls::set_option, ENOMEM);
  CHECK(listener->RefuseNew() == -ENOMEM);
  CHECK(ConnectTo(listener->address()));
}

// ---- Several sockets on one port

TEST_CASE("shards listen on one port, of which the kernel chooses one socket for each client",
          "[listen][shards]") {
  const auto shards = ListenSocket::OpenShards(Endpoint::Parse("tcp://127.0.0.1:0"), {}, 3);
  REQUIRE(shards.size() == 3);
  for (const auto& shard : shards) {
    CHECK(shard->address() == shards[0]->address());
    CHECK(shard->url() == shards[0]->url());
    CHECK_FALSE(shard->shares_port());
    CHECK(OptionOf(shard->fd(), SOL_SOCKET, SO_REUSEPORT) == 1);
    CHECK(OptionOf(shard->fd(), IPPROTO_TCP, TCP_NODELAY) == 1);
  }
  CHECK(shards[0]->address().Port() != 0);
}

TEST_CASE("shards of every address of IPv4 and IPv6 share one port, too", "[listen][shards]") {
  const auto shards = ListenSocket::OpenShards(Endpoint::Parse("tcp://:0"), {}, 2);
  CHECK(shards[0]->address() == shards[1]->address());
  const UniqueFd client = ConnectTo(WithPort("127.0.0.1", shards[0]->address().Port()));
  CHECK(client);
}

TEST_CASE("a port that somebody listens on is refused to shards, however it is shared",
          "[listen][shards]") {
  const std::string host = GENERATE("tcp://127.0.0.1:", "tcp://:");
  const auto parse = [&](std::uint16_t port, const char* query = "") {
    return Endpoint::Parse(host + std::to_string(port) + query);
  };
  const auto error = [&](const Endpoint& endpoint) {
    return ErrorOf([&] { ListenSocket::OpenShards(endpoint, {}, 2); });
  };
  const auto busy = [&](std::uint16_t port, const char* query = "") {
    return "listen " + parse(port, query).url + ": bind: Address already in use";
  };

  SECTION("by one socket alone") {
    const auto alone = Listen(host + "0");
    const std::uint16_t port = alone->address().Port();
    CHECK(error(parse(port)) == busy(port));
    CHECK(error(parse(port, "?reuseport=1")) == busy(port, "?reuseport=1"));
  }
  SECTION("by shards") {
    const auto shards = ListenSocket::OpenShards(parse(0), {}, 2);
    const std::uint16_t port = shards[0]->address().Port();
    CHECK(error(parse(port)) == busy(port));
    CHECK(ListenError(parse(port).url) == busy(port));
    CHECK(error(parse(port, "?reuseport=1")).empty());  // asked for: then it joins
  }
  SECTION("by one that shares it, with whoever says so too") {
    const auto sharing = Listen(host + "0?reuseport=1");
    CHECK(sharing->shares_port());
    const std::uint16_t port = sharing->address().Port();
    CHECK(error(parse(port)) == busy(port));
    CHECK(ListenError(parse(port).url) == busy(port));
    CHECK(ListenError(parse(port, "?reuseport=1").url).empty());
    CHECK(error(parse(port, "?reuseport=1")).empty());
  }
}

TEST_CASE("looking whether a port is free leaves nothing behind", "[listen][shards]") {
  const std::uint16_t port = Listen("tcp://127.0.0.1:0")->address().Port();
  const Endpoint endpoint = Endpoint::Parse("tcp://127.0.0.1:" + std::to_string(port));
  sys::calls() = {};
  ListenSocket::OpenShards(endpoint, {}, 2);
  CHECK(sys::calls().socket == 3);
  CHECK(sys::calls().close == 3);
  CHECK_FALSE(ConnectTo(endpoint.address));
}

TEST_CASE("shards may be steered by processor", "[listen][shards]") {
  const auto cpus = sys::AllowedCpus();
  REQUIRE_FALSE(cpus.empty());
  const auto shards = ListenSocket::OpenShards(Endpoint::Parse("tcp://127.0.0.1:0"), {}, 3);
  const int here = cpus.front();
  const int nobody = cpus.back() + 1000;
  REQUIRE(sys::SetAllowedCpus({here}) == 0);  // the handshake runs where its client does
  const auto connect_and_count = [&] {
    std::vector<int> counts;
    std::vector<UniqueFd> clients;
    for (int i = 0; i < 50; ++i) clients.push_back(ConnectTo(shards[0]->address()));
    for (const auto& shard : shards) {
      int count = 0;
      for (int fd; (fd = sys::Accept(shard->fd(), nullptr, nullptr)) >= 0; ++count) {
        static_cast<void>(sys::Close(fd));
      }
      counts.push_back(count);
    }
    return counts;
  };

  SECTION("all to the one whose processor it is") {
    const std::vector<int> places{nobody, here, nobody + 1};
    REQUIRE(shards[0]->SteerByCpu(places) == 0);
    CHECK(connect_and_count() == std::vector<int>{0, 50, 0});
  }
  SECTION("by the hash if it is nobody's, or several's") {
    const std::vector<int> of_nobody{nobody, nobody + 1, nobody + 2};
    const std::vector<int> of_several{here, here, nobody};
    const bool several = GENERATE(true, false);
    REQUIRE(shards[0]->SteerByCpu(several ? of_several : of_nobody) == 0);
    const std::vector<int> counts = connect_and_count();
    for (const int count : counts) CHECK(count > 0);  // (2/3)^50 that one has none
    CHECK(counts[0] + counts[1] + counts[2] == 50);
  }
  REQUIRE(sys::SetAllowedCpus(cpus) == 0);
}

// ---- Inherited sockets

namespace {

std::string FdUrl(int fd) { return "fd://" + std::to_string(fd); }

}  // namespace

TEST_CASE("a socket that was inherited listens on, and blocks nobody", "[listen][inherited]") {
  const UniqueFd raw(::socket(AF_INET, SOCK_STREAM, 0));  // as systemd passes them
  const Address any = Address::Parse("127.0.0.1:0");
  REQUIRE(sys::Bind(raw.get(), any.Raw(), static_cast<socklen_t>(any.RawSize())) == 0);
  REQUIRE(sys::Listen(raw.get(), 16) == 0);
  const int fd = ::dup(raw.get());
  {
    const auto listener = Listen(FdUrl(fd));
    CHECK(listener->fd() == fd);
    CHECK(listener->is_inherited());
    CHECK_FALSE(listener->is_unix());
    CHECK(listener->address().Port() != 0);
    CHECK(listener->url() == weir::UrlOf(listener->address()));
    CHECK((::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(OptionOf(fd, IPPROTO_TCP, TCP_NODELAY) == 1);

    // Whoever else has it goes on with it.
    CHECK(listener->RefuseNew() == 0);
    const UniqueFd client = ConnectTo(listener->address());
    REQUIRE(client);
    CHECK(AcceptFrom(raw.get()).fd);
  }
  CHECK(::fcntl(fd, F_GETFD) == -1);  // it was taken over, and closed
  CHECK(::fcntl(raw.get(), F_GETFD) >= 0);
}

TEST_CASE("the path of an inherited Unix socket stays", "[listen][inherited]") {
  const Folder folder;
  const std::string path = folder.File("x");
  const auto owner = Listen("unix:" + path);
  {
    const auto listener = Listen(FdUrl(::dup(owner->fd())));
    CHECK(listener->is_unix());
    CHECK(listener->url() == "unix://" + path);
    CHECK(listener->RefuseNew() == 0);
    CHECK(ConnectTo(listener->address()));
  }
  CHECK(Exists(path));
  CHECK(ConnectTo(owner->address()));
}

TEST_CASE("what is no listening stream socket is told, and left alone", "[listen][inherited]") {
  CHECK(ListenError("fd://1000000") == "listen fd://1000000: SO_ACCEPTCONN: Bad file descriptor");

  const UniqueFd file(::open("/dev/null", O_RDONLY));
  const std::string not_a_socket = "SO_ACCEPTCONN: Socket operation on non-socket";
  CHECK(ListenError(FdUrl(file.get())) == "listen " + FdUrl(file.get()) + ": " + not_a_socket);

  const UniqueFd silent(::socket(AF_INET, SOCK_STREAM, 0));
  const UniqueFd datagrams(::socket(AF_INET, SOCK_DGRAM, 0));
  const UniqueFd packets(::socket(AF_UNIX, SOCK_SEQPACKET, 0));
  const Address name = Address::Parse("@weir-packets-" + std::to_string(::getpid()));
  REQUIRE(sys::Bind(packets.get(), name.Raw(), static_cast<socklen_t>(name.RawSize())) == 0);
  REQUIRE(sys::Listen(packets.get(), 1) == 0);
  for (const UniqueFd* const fd : {&silent, &datagrams, &packets}) {
    const std::string url = FdUrl(fd->get());
    CHECK(ListenError(url) == "listen " + url + ": it is no listening stream socket");
    CHECK((::fcntl(fd->get(), F_GETFL) & O_NONBLOCK) == 0);
  }
  for (const UniqueFd* const fd : {&file, &silent, &datagrams, &packets}) {
    CHECK(::fcntl(fd->get(), F_GETFD) >= 0);
  }
}
