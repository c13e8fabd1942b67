#include "os/listen_socket.h"

#include <fmt/format.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "os/address_family.h"
#include "os/sys.h"
#include "weir/error.h"

namespace weir {
namespace {

int BindTo(int fd, const Address& address) noexcept {
  return sys::Bind(fd, address.Raw(), static_cast<socklen_t>(address.RawSize()));
}

// True if `path` is a socket on which nobody listens: what a killed server leaves behind. (A server
// that is between its bind and its listen at this very moment looks the same; telling them apart
// would take a lock file.)
bool IsStale(const std::string& path, const Address& address) noexcept {
  struct stat status {};
  if (sys::LStat(path.c_str(), &status) < 0 || !S_ISSOCK(status.st_mode)) return false;
  const UniqueFd probe(sys::Socket(AF_UNIX, SOCK_STREAM, 0));
  if (!probe) return false;
  const auto size = static_cast<socklen_t>(address.RawSize());
  return sys::Connect(probe.get(), address.Raw(), size) == -ECONNREFUSED;
}

bool IsDualStackAny(const Endpoint& endpoint) noexcept {
  if (endpoint.v6only || FamilyOf(endpoint.address) != AF_INET6) return false;
  sockaddr_in6 ip6{};
  std::memcpy(&ip6, endpoint.address.Raw(), sizeof ip6);
  return IN6_IS_ADDR_UNSPECIFIED(&ip6.sin6_addr);
}

}  // namespace

// The path of a Unix socket.

int SocketFile::Take(const std::string& path) {
  struct stat status {};
  const int result = sys::LStat(path.c_str(), &status);
  if (result < 0) return result;
  path_ = path;
  device_ = status.st_dev;
  inode_ = status.st_ino;
  return 0;
}

void SocketFile::Remove() noexcept {
  if (path_.empty()) return;
  struct stat status {};
  const bool is_ours = sys::LStat(path_.c_str(), &status) == 0 && status.st_dev == device_ &&
                       status.st_ino == inode_;
  if (is_ours) static_cast<void>(sys::Unlink(path_.c_str()));
  path_.clear();
}

// The socket.

ListenSocket::ListenSocket(const Endpoint& endpoint, const Options& options)
    : ListenSocket(endpoint, options, Shard::kNo) {}

ListenSocket::ListenSocket(const Endpoint& endpoint, const Options& options, Shard shard)
    : url_(endpoint.url), address_(endpoint.address), shares_port_(endpoint.reuse_port) {
  if (endpoint.kind == Endpoint::Kind::kInherited) {
    TakeOver(endpoint.inherited, options);
    return;
  }
  Open(endpoint);
  if (shard == Shard::kFirst && !shares_port_) ProbePort(endpoint);
  SetInheritedOptions(options);
  SetOptions(endpoint);
  if (shares_port_ || shard != Shard::kNo) Set({SOL_SOCKET, SO_REUSEPORT, "SO_REUSEPORT"}, 1);
  if (is_unix()) {
    BindUnix(endpoint);
  } else {
    Must(BindTo(fd(), address_), "bind");
  }
  Must(sys::Listen(fd(), endpoint.backlog), "listen");
  LearnAddressOf(fd());
}

std::vector<std::unique_ptr<ListenSocket>> ListenSocket::OpenShards(const Endpoint& endpoint,
                                                                    const Options& options,
                                                                    int count) {
  std::vector<std::unique_ptr<ListenSocket>> shards;
  Endpoint same = endpoint;
  for (int i = 0; i < count; ++i) {
    const Shard shard = i == 0 ? Shard::kFirst : Shard::kLater;
    shards.push_back(std::unique_ptr<ListenSocket>(new ListenSocket(same, options, shard)));
    same.address = shards.front()->address();  // with the port that the kernel chose
  }
  return shards;
}

// Which socket of a port takes a client is asked of this program (classic BPF), once for its SYN.
// A number that is no index means: by the hash.
int ListenSocket::SteerByCpu(std::span<const int> cpus) noexcept {
  constexpr std::uint32_t kThisCpu = static_cast<std::uint32_t>(SKF_AD_OFF) + SKF_AD_CPU;
  std::vector<sock_filter> code{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kThisCpu)};
  for (std::size_t i = 0; i < cpus.size(); ++i) {
    // Of several loops on one processor none is its own: the hash spreads among them better.
    if (std::count(cpus.begin(), cpus.end(), cpus[i]) != 1) continue;
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(cpus[i]), 0, 1));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, static_cast<std::uint32_t>(i)));
  }
  code.push_back(BPF_STMT(BPF_RET | BPF_K, UINT32_MAX));
  const sock_fprog program{.len = static_cast<unsigned short>(code.size()), .filter = code.data()};
  return sys::SetOption(fd(), SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program);
}

// A listener that closes resets all that its queue holds (but with net.ipv4.tcp_migrate_req=1), and
// shutdown(2) does so at once. A socket filter (classic BPF, linux/filter.h) sees each segment from
// its TCP header on: byte 13 has the flags. SYN without ACK is dropped; handshakes that have begun
// can end.
int ListenSocket::RefuseNew() noexcept {
  if (is_inherited_) return 0;
  if (is_unix()) return sys::Shutdown(fd(), SHUT_RD);
  constexpr std::uint32_t kFlags = 13;
  constexpr std::uint32_t kSyn = 0x02;
  constexpr std::uint32_t kAck = 0x10;
  std::array<sock_filter, 5> code{{
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kFlags),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, kSyn | kAck),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kSyn, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
  }};
  const sock_fprog program{.len = code.size(), .filter = code.data()};
  return sys::SetOption(fd(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

void ListenSocket::Close(bool unlink_path) noexcept {
  // The path first: while the socket is open no other file can have its inode number, so that ours
  // is never taken for another's.
  if (unlink_path) {
    file_.Remove();
  } else {
    file_.Leave();
  }
  fd_.reset();
}

void ListenSocket::TakeOver(int fd, const Options& options) {
  int listens = 0;
  socklen_t size = sizeof listens;
  Must(sys::GetOption(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size), "SO_ACCEPTCONN");
  int type = 0;
  Must(sys::GetOption(fd, SOL_SOCKET, SO_TYPE, &type, &size), "SO_TYPE");
  if (listens == 0 || type != SOCK_STREAM) {
    throw Error::Usage(fmt::format("listen {}", url_), "it is no listening stream socket");
  }
  LearnAddressOf(fd);
  Must(sys::SetNonBlockingAndCloseOnExec(fd), "fcntl");
  is_inherited_ = true;
  fd_.reset(fd);  // from here on ours: what was refused is the caller's still
  SetInheritedOptions(options);
}

void ListenSocket::Open(const Endpoint& endpoint) {
  int fd = sys::Socket(FamilyOf(address_), SOCK_STREAM, 0);
  if (fd == -EAFNOSUPPORT && IsDualStackAny(endpoint)) {
    address_ = Address::Parse(fmt::format("0.0.0.0:{}", address_.Port()));
    fd = sys::Socket(AF_INET, SOCK_STREAM, 0);
  }
  fd_.reset(Must(fd, "socket"));
}

// With SO_REUSEPORT a bind joins whoever of the same user has said it too: two servers would take
// each other's clients, and neither would know. Without it the kernel tells.
void ListenSocket::ProbePort(const Endpoint& endpoint) const {
  if (address_.Port() == 0) return;
  const UniqueFd probe(Must(sys::Socket(FamilyOf(address_), SOCK_STREAM, 0), "socket"));
  const auto set = [&](int level, int name, int value) {
    Must(sys::SetOption(probe.get(), level, name, &value, sizeof value), "setsockopt");
  };
  set(SOL_SOCKET, SO_REUSEADDR, 1);
  if (FamilyOf(address_) == AF_INET6) set(IPPROTO_IPV6, IPV6_V6ONLY, endpoint.v6only ? 1 : 0);
  Must(BindTo(probe.get(), address_), "bind");
}

// Accepted sockets inherit these. The sizes come before listen: what TCP may offer in the handshake
// depends on them.
void ListenSocket::SetInheritedOptions(const Options& options) {
  if (options.recv_buffer > 0) Set({SOL_SOCKET, SO_RCVBUF, "SO_RCVBUF"}, options.recv_buffer);
  if (options.send_buffer > 0) Set({SOL_SOCKET, SO_SNDBUF, "SO_SNDBUF"}, options.send_buffer);
  if (options.no_delay && !is_unix()) Set({IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY"}, 1);
}

void ListenSocket::SetOptions(const Endpoint& endpoint) {
  if (is_unix()) return;
  // A server that was restarted need not wait for its old connections to leave TIME_WAIT.
  Set({SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR"}, 1);
  if (FamilyOf(address_) == AF_INET6) {  // said always: the default is the machine's (bindv6only)
    Set({IPPROTO_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY"}, endpoint.v6only ? 1 : 0);
  }
}

void ListenSocket::BindUnix(const Endpoint& endpoint) {
  const std::string path = address_.ToString();
  const bool is_file = path.starts_with('/');
  int result = BindTo(fd(), address_);
  if (result == -EADDRINUSE && is_file && IsStale(path, address_)) {
    Must(sys::Unlink(path.c_str()), "unlink");
    result = BindTo(fd(), address_);
  }
  Must(result, "bind");
  if (!is_file) return;
  Must(file_.Take(path), "lstat");
  // Before listen, so that nobody gets in by the permissions that bind gave.
  if (endpoint.mode) Must(sys::Chmod(path.c_str(), *endpoint.mode), "chmod");
}

void ListenSocket::LearnAddressOf(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  Must(sys::GetSocketName(fd, &address, &size), "getsockname");
  address_ = Address::FromRaw(&address, size);
  if (std::string url = UrlOf(address_); !url.empty()) url_ = std::move(url);
}

void ListenSocket::Set(SocketOption option, int value) const {
  const int result = sys::SetOption(fd(), option.level, option.name, &value, sizeof value);
  Must(result, option.text);
}

int ListenSocket::Must(int result, const char* call) const {
  if (result < 0) throw Error::System(fmt::format("listen {}: {}", url_, call), -result);
  return result;
}

}  // namespace weir
