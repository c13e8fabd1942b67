#include "simulation/conformance/real_world.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "os/kernel.h"
#include "simulation/conformance/unix_address.h"

namespace weir::sim::conformance {
namespace {

constexpr std::uint32_t kEverything =
    POLLIN | POLLPRI | POLLOUT | POLLRDNORM | POLLRDBAND | POLLWRNORM | POLLWRBAND | POLLRDHUP;
constexpr int kLookAgainMs = 5;

int Must(int result, const char* what) {
  if (result < 0) throw std::system_error(-result, std::system_category(), what);
  return result;
}

// So that what is sent leaves at once, and its acknowledgement comes back soon: an own FIN that is
// acknowledged is an edge. (The second is known since Linux 6.15; without it scripts take longer.)
void HurryTcp(int real) {
  const int one = 1;
  static_cast<void>(kernel::SetOption(real, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one));
  constexpr int kDelackMaxUs = 46;  // TCP_DELACK_MAX_US
  const int microseconds = 10000;
  static_cast<void>(
      kernel::SetOption(real, IPPROTO_TCP, kDelackMaxUs, &microseconds, sizeof microseconds));
}

}  // namespace

RealWorld::RealWorld() {
  static std::atomic<int> worlds{0};
  tag_ = "weir-conformance-" + std::to_string(::getpid()) + "-" + std::to_string(++worlds);
  if (::getrlimit(RLIMIT_NOFILE, &limit_) < 0) Must(-errno, "getrlimit");
  bell_ = Must(kernel::EpollCreate(), "epoll_create1");
  PlugHoles();
}

RealWorld::~RealWorld() {
  ::setrlimit(RLIMIT_NOFILE, &limit_);
  const linger not_at_all{.l_onoff = 1, .l_linger = 0};  // no TIME_WAIT that keeps a port
  for (const int real : open_) {
    kernel::SetOption(real, SOL_SOCKET, SO_LINGER, &not_at_all, sizeof not_at_all);
    kernel::Close(real);
  }
  for (const int plug : plugs_) kernel::Close(plug);
  kernel::Close(bell_);
  for (const std::string& file : files_) ::unlink(file.c_str());
  if (!folder_.empty()) ::rmdir(folder_.c_str());
}

// Afterwards all numbers from base_ on are free, and none below.
void RealWorld::PlugHoles() {
  int last_open = -1;
  for (int fd = 0; fd < 1024; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) last_open = fd;
  }
  for (;;) {
    const int plug = Must(::fcntl(bell_, F_DUPFD_CLOEXEC, 0), "dup");
    if (plug > last_open) {
      base_ = plug;
      kernel::Close(plug);
      return;
    }
    plugs_.push_back(plug);
  }
}

long RealWorld::Opened(int real) {
  if (real < 0) return real;
  open_.insert(real);
  // What is no socket cannot be late; an epoll must not ring for a wait that would drop something.
  epoll_event event{};
  event.events = kEverything | EPOLLET;
  int type = 0;
  socklen_t size = sizeof type;
  if (kernel::GetOption(real, SOL_SOCKET, SO_TYPE, &type, &size) == 0) {
    ::epoll_ctl(bell_, EPOLL_CTL_ADD, real, &event);
  }
  return real - base_;
}

// ---- Sockets

long RealWorld::Socket(int domain) {
  const int real = kernel::Socket(domain, SOCK_STREAM, 0);
  if (real >= 0 && domain != AF_UNIX) HurryTcp(real);
  return Opened(real);
}

long RealWorld::Bind(int fd, const Address& address) {
  return kernel::Bind(Real(fd), &address.raw, address.size);
}

long RealWorld::Listen(int fd, int backlog) { return kernel::Listen(Real(fd), backlog); }

long RealWorld::Accept(int fd, Address* peer) {
  const int real = kernel::Accept(Real(fd), &peer->raw, &peer->size);
  if (real >= 0 && peer->raw.ss_family != AF_UNIX) HurryTcp(real);
  return Opened(real);
}

long RealWorld::Connect(int fd, const Address& address) {
  return kernel::Connect(Real(fd), &address.raw, address.size);
}

long RealWorld::Recv(int fd, std::span<char> room) {
  return kernel::Recv(Real(fd), room.data(), room.size());
}

long RealWorld::Send(int fd, std::string_view bytes) {
  return kernel::Send(Real(fd), bytes.data(), bytes.size());
}

long RealWorld::SendMessage(int fd, std::span<const std::string_view> pieces) {
  std::vector<iovec> vector;
  for (const std::string_view piece : pieces) {
    vector.push_back({.iov_base = const_cast<char*>(piece.data()), .iov_len = piece.size()});
  }
  return kernel::SendMessage(Real(fd), vector.data(), vector.size());
}

long RealWorld::SendUrgent(int fd, std::string_view bytes) {
  const ssize_t sent = ::send(Real(fd), bytes.data(), bytes.size(), MSG_OOB | MSG_NOSIGNAL);
  return sent < 0 ? -errno : sent;
}

long RealWorld::Shutdown(int fd, int how) { return kernel::Shutdown(Real(fd), how); }

long RealWorld::SetOption(int fd, int name, const void* value, socklen_t size) {
  return kernel::SetOption(Real(fd), SOL_SOCKET, name, value, size);
}

long RealWorld::GetOption(int fd, int level, int name, void* value, socklen_t size) {
  return kernel::GetOption(Real(fd), level, name, value, &size);
}

long RealWorld::GetSocketName(int fd, Address* address) {
  return kernel::GetSocketName(Real(fd), &address->raw, &address->size);
}

long RealWorld::GetPeerName(int fd, Address* address) {
  return kernel::GetPeerName(Real(fd), &address->raw, &address->size);
}

long RealWorld::UnreadBytes(int fd, int* count) { return kernel::UnreadBytes(Real(fd), count); }

long RealWorld::AtUrgentMark(int fd) { return kernel::AtUrgentMark(Real(fd)); }

// ---- Any descriptor

long RealWorld::Read(int fd, std::span<char> room) {
  return kernel::Read(Real(fd), room.data(), room.size());
}

long RealWorld::Close(int fd) {
  open_.erase(Real(fd));
  return kernel::Close(Real(fd));
}

long RealWorld::Dup(int fd) {
  const int real = ::fcntl(Real(fd), F_DUPFD_CLOEXEC, 0);
  return Opened(real < 0 ? -errno : real);
}

void RealWorld::SetLimit(int end) {
  rlimit lowered = limit_;
  lowered.rlim_cur = static_cast<rlim_t>(Real(end));
  if (::setrlimit(RLIMIT_NOFILE, &lowered) < 0) Must(-errno, "setrlimit");
}

// ---- Waiting and waking

long RealWorld::EpollCreate() { return Opened(kernel::EpollCreate()); }

long RealWorld::EpollControl(int epoll, int operation, int fd, std::uint32_t events,
                             std::uint64_t data) {
  return kernel::EpollControl(Real(epoll), operation, Real(fd), events, data);
}

long RealWorld::EpollWait(int epoll, std::span<epoll_event> events) {
  return kernel::EpollWait(Real(epoll), events.data(), static_cast<int>(events.size()), 0);
}

long RealWorld::EventFd() { return Opened(kernel::EventFd()); }

long RealWorld::WriteEventFd(int fd) { return kernel::WriteEventFd(Real(fd)); }

std::uint32_t RealWorld::Poll(int fd) {
  pollfd one{.fd = Real(fd), .events = static_cast<short>(kEverything), .revents = 0};
  if (::poll(&one, 1, 0) < 0) Must(-errno, "poll");
  return static_cast<std::uint16_t>(one.revents);
}

// ---- Names

std::string RealWorld::FullName(std::string_view name) {
  const std::string rest(name.substr(1));
  if (name.starts_with('@')) return "@" + tag_ + rest;
  if (folder_.empty()) {
    std::string folder = (std::filesystem::temp_directory_path() / (tag_ + "-XXXXXX")).string();
    if (::mkdtemp(folder.data()) == nullptr) Must(-errno, "mkdtemp");
    folder_ = folder;
  }
  return *files_.insert(folder_ + "/" + rest).first;
}

Address RealWorld::UnixAddress(std::string_view name) { return MakeUnixAddress(FullName(name)); }

long RealWorld::Unlink(std::string_view name) { return kernel::Unlink(FullName(name).c_str()); }

void RealWorld::LetArrive() {
  std::array<epoll_event, 64> ignored{};
  kernel::EpollWait(bell_, ignored.data(), static_cast<int>(ignored.size()), kLookAgainMs);
}

}  // namespace weir::sim::conformance
