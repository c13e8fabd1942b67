#include "simulation/kernel/process.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "simulation/kernel/epoll.h"
#include "simulation/kernel/event_fd.h"

namespace weir::sim {
namespace {

// Addresses: of TCP the port alone counts, all hosts are this one.

std::uint16_t PortOf(const void* address) {
  sockaddr_in ip{};  // the port stands at the same place in both families
  std::memcpy(&ip, address, sizeof ip);
  return ntohs(ip.sin_port);
}

std::string PathOf(const void* address, socklen_t size) {
  sockaddr_un local{};
  std::memcpy(&local, address, std::min<std::size_t>(size, sizeof local));
  const std::size_t length = size - offsetof(sockaddr_un, sun_path);
  std::string path(local.sun_path, length);
  if (!path.empty() && path[0] != '\0') path.resize(std::strlen(path.c_str()));
  return path;
}

int Give(const void* from, std::size_t whole, void* address, socklen_t* size) {
  if (address == nullptr || size == nullptr) return 0;
  std::memcpy(address, from, std::min<std::size_t>(*size, whole));
  *size = static_cast<socklen_t>(whole);
  return 0;
}

int GiveAddress(int family, std::uint16_t port, const std::string& path, void* address,
                socklen_t* size) {
  if (family == AF_INET6) {
    sockaddr_in6 ip{};
    ip.sin6_family = AF_INET6;
    ip.sin6_port = htons(port);
    ip.sin6_addr = in6addr_loopback;
    return Give(&ip, sizeof ip, address, size);
  }
  if (family == AF_INET) {
    sockaddr_in ip{};
    ip.sin_family = AF_INET;
    ip.sin_port = htons(port);
    ip.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return Give(&ip, sizeof ip, address, size);
  }
  sockaddr_un local{};
  local.sun_family = AF_UNIX;
  std::memcpy(local.sun_path, path.data(), std::min(path.size(), sizeof local.sun_path));
  const std::size_t end = path.starts_with('/') ? 1 : 0;
  return Give(&local, offsetof(sockaddr_un, sun_path) + path.size() + end, address, size);
}

template <class T>
int GiveValue(T given, void* value, socklen_t* size) {
  if (*size < sizeof given) return -EINVAL;
  std::memcpy(value, &given, sizeof given);
  *size = sizeof given;
  return 0;
}

}  // namespace

// ---- Descriptors

std::size_t Process::OpenDescriptors() const noexcept {
  return table_.size() -
         static_cast<std::size_t>(std::count(table_.begin(), table_.end(), nullptr));
}

File* Process::Find(int fd) const noexcept {
  const auto index = static_cast<std::size_t>(fd);
  return fd >= 0 && index < table_.size() ? table_[index] : nullptr;
}

sim::Socket* Process::FindSocket(int fd) const noexcept {
  return dynamic_cast<sim::Socket*>(Find(fd));
}

Epoll* Process::FindEpoll(int fd) const noexcept { return dynamic_cast<Epoll*>(Find(fd)); }

int Process::NoSocket(int fd) const noexcept { return Find(fd) == nullptr ? -EBADF : -ENOTSOCK; }

bool Process::HasFreeDescriptor() const noexcept {
  const auto lowest = std::find(table_.begin(), table_.end(), nullptr);
  return static_cast<std::size_t>(lowest - table_.begin()) < limit_;
}

// The lowest that is free.
int Process::Install(File& file) {
  auto place = std::find(table_.begin(), table_.end(), nullptr);
  if (static_cast<std::size_t>(place - table_.begin()) >= limit_) return -EMFILE;
  if (place == table_.end()) place = table_.insert(table_.end(), nullptr);
  *place = &file;
  ++file.descriptors;
  return static_cast<int>(place - table_.begin());
}

int Process::Close(int fd) {
  File* const file = Find(fd);
  if (file == nullptr) return -EBADF;
  table_[static_cast<std::size_t>(fd)] = nullptr;
  if (--file->descriptors == 0) Release(*file);
  return 0;
}

void Process::Release(File& file) {
  while (!file.watches.empty()) file.watches.back()->epoll->Forget(file);
  if (auto* const socket = dynamic_cast<sim::Socket*>(&file)) network_.Forget(*socket);
  file.OnReleased();
}

int Process::Dup(int fd) {
  File* const file = Find(fd);
  return file == nullptr ? -EBADF : Install(*file);
}

// ---- Sockets

int Process::Socket(int domain, int type, int protocol) {
  if ((type & SOCK_STREAM) == 0 || protocol != 0) return -EPROTONOSUPPORT;
  if (!HasFreeDescriptor()) return -EMFILE;
  switch (domain) {
    case AF_INET:
    case AF_INET6:
      return Install(network_.MakeTcp(domain));
    case AF_UNIX:
      return Install(network_.Make<UnixSocket>(domain, network_.sizes));
    default:
      return -EAFNOSUPPORT;
  }
}

int Process::Bind(int fd, const void* address, socklen_t size) {
  sim::Socket* const socket = FindSocket(fd);
  if (socket == nullptr) return NoSocket(fd);
  if (socket->family() == AF_UNIX) return network_.BindPath(*socket, PathOf(address, size));
  return network_.BindPort(*socket, PortOf(address));
}

int Process::Listen(int fd, int backlog) {
  sim::Socket* const socket = FindSocket(fd);
  if (socket == nullptr) return NoSocket(fd);
  if (socket->family() == AF_UNIX && socket->path.empty()) return -EINVAL;
  if (socket->family() != AF_UNIX && socket->port == 0) network_.BindPort(*socket, 0);
  return socket->Listen(backlog);
}

int Process::Accept(int fd, void* address, socklen_t* size) {
  sim::Socket* const listener = FindSocket(fd);
  if (Find(fd) == nullptr) return -EBADF;
  if (!HasFreeDescriptor()) return -EMFILE;  // before it looks at anything
  if (listener == nullptr) return -ENOTSOCK;
  if (!listener->IsListening()) return -EINVAL;
  sim::Socket* const client = listener->TakeClient();
  if (client == nullptr) return -EAGAIN;
  const sim::Socket& peer = *client->peer();
  GiveAddress(client->family(), peer.port, peer.path, address, size);
  return Install(*client);
}

int Process::Connect(int fd, const void* address, socklen_t size) {
  sim::Socket* const socket = FindSocket(fd);
  if (socket == nullptr) return NoSocket(fd);
  if (socket->family() == AF_UNIX) {
    const std::string path = PathOf(address, size);
    UnixSocket* const listener = network_.FindListener(path);
    if (listener == nullptr) {
      return path.starts_with('/') && !network_.HasPath(path) ? -ENOENT : -ECONNREFUSED;
    }
    UnixSocket& end = network_.Make<UnixSocket>(AF_UNIX, listener->sizes());
    return static_cast<UnixSocket*>(socket)->ConnectTo(*listener, end);
  }
  if (socket->IsConnected() || socket->IsListening()) return -EISCONN;
  auto& client = static_cast<TcpSocket&>(*socket);
  if (client.port == 0) client.port = network_.FreePort();
  TcpSocket* const listener = network_.FindListener(PortOf(address));
  if (listener == nullptr) {
    client.Refuse();
  } else {
    static_cast<void>(client.ConnectTo(*listener, network_.MakeTcp(client.family())));
  }
  return -EINPROGRESS;
}

ssize_t Process::Recv(int fd, void* room, std::size_t size) {
  sim::Socket* const socket = FindSocket(fd);
  return socket == nullptr ? NoSocket(fd) : socket->Receive(static_cast<char*>(room), size);
}

ssize_t Process::Send(int fd, const void* bytes, std::size_t size) {
  sim::Socket* const socket = FindSocket(fd);
  if (socket == nullptr) return NoSocket(fd);
  return socket->Send({static_cast<const char*>(bytes), size});
}

ssize_t Process::SendMessage(int fd, const iovec* pieces, std::size_t count) {
  sim::Socket* const socket = FindSocket(fd);
  if (socket == nullptr) return NoSocket(fd);
  std::string all;
  for (std::size_t i = 0; i < count; ++i) {
    all.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
  }
  return socket->Send(all);
}

ssize_t Process::SendUrgent(int fd, const void* bytes, std::size_t size) {
  sim::Socket* const socket = FindSocket(fd);
  if (socket == nullptr) return NoSocket(fd);
  return socket->SendUrgent({static_cast<const char*>(bytes), size});
}

int Process::Shutdown(int fd, int how) {
  sim::Socket* const socket = FindSocket(fd);
  return socket == nullptr ? NoSocket(fd) : socket->Shutdown(how);
}

// What changes nothing here is accepted.
int Process::SetOption(int fd, int level, int name, const void* value, socklen_t size) {
  sim::Socket* const socket = FindSocket(fd);
  if (socket == nullptr) return NoSocket(fd);
  if (level != SOL_SOCKET) return 0;
  int number = 0;
  std::memcpy(&number, value, std::min<std::size_t>(size, sizeof number));
  if (name == SO_REUSEPORT) {
    socket->shares_port = number != 0;
  } else if (name == SO_LINGER) {
    linger how{};
    std::memcpy(&how, value, std::min<std::size_t>(size, sizeof how));
    socket->LingerNot(how.l_onoff != 0 && how.l_linger == 0);
  } else if (name == SO_ATTACH_FILTER) {
    // The one that weir attaches: no new handshake begins.
    if (auto* const tcp = dynamic_cast<TcpSocket*>(socket)) tcp->DropSyns();
  }
  return 0;
}

int Process::GetOption(int fd, int level, int name, void* value, socklen_t* size) {
  sim::Socket* const socket = FindSocket(fd);
  if (socket == nullptr) return NoSocket(fd);
  if (const auto* const tcp = dynamic_cast<const TcpSocket*>(socket);
      tcp != nullptr && level == IPPROTO_TCP && name == TCP_INFO) {
    tcp_info info{};
    info.tcpi_state = static_cast<std::uint8_t>(tcp->StateNumber());
    info.tcpi_unacked = static_cast<std::uint32_t>(tcp->Queued());  // of a listener it is that
    return GiveValue(info, value, size);
  }
  if (level != SOL_SOCKET) return -ENOPROTOOPT;
  switch (name) {
    case SO_ERROR:
      return GiveValue(socket->TakeError(), value, size);
    case SO_TYPE:
      return GiveValue(int{SOCK_STREAM}, value, size);
    case SO_ACCEPTCONN:
      return GiveValue(socket->IsListening() ? 1 : 0, value, size);
    default:
      return -ENOPROTOOPT;
  }
}

int Process::GetSocketName(int fd, void* address, socklen_t* size) {
  const sim::Socket* const socket = FindSocket(fd);
  if (socket == nullptr) return NoSocket(fd);
  return GiveAddress(socket->family(), socket->port, socket->path, address, size);
}

int Process::GetPeerName(int fd, void* address, socklen_t* size) {
  const sim::Socket* const socket = FindSocket(fd);
  if (socket == nullptr) return NoSocket(fd);
  if (socket->peer() == nullptr) return -ENOTCONN;
  return GiveAddress(socket->family(), socket->peer()->port, socket->peer()->path, address, size);
}

int Process::UnreadBytes(int fd, int* count) {
  const sim::Socket* const socket = FindSocket(fd);
  if (socket == nullptr) return Find(fd) == nullptr ? -EBADF : -ENOTTY;
  if (socket->IsListening()) return -EINVAL;
  *count = socket->Unread();
  return 0;
}

int Process::AtUrgentMark(int fd) {
  const sim::Socket* const socket = FindSocket(fd);
  if (socket == nullptr) return Find(fd) == nullptr ? -EBADF : -ENOTTY;
  return socket->IsAtMark() ? 1 : 0;
}

// ---- Any descriptor

ssize_t Process::Read(int fd, void* room, std::size_t size) {
  File* const file = Find(fd);
  if (file == nullptr) return -EBADF;
  if (auto* const event = dynamic_cast<sim::EventFd*>(file)) {
    std::uint64_t count = 0;
    if (size < sizeof count) return -EINVAL;
    if (const int result = event->Take(&count); result < 0) return result;
    std::memcpy(room, &count, sizeof count);
    return sizeof count;
  }
  return dynamic_cast<Epoll*>(file) != nullptr ? -EINVAL : Recv(fd, room, size);
}

// ---- Waiting and waking

int Process::EpollCreate() {
  if (!HasFreeDescriptor()) return -EMFILE;
  return Install(network_.Make<Epoll>());
}

int Process::EpollControl(int epoll, int operation, int fd, std::uint32_t events,
                          std::uint64_t data) {
  Epoll* const self = FindEpoll(epoll);
  File* const file = Find(fd);
  if (Find(epoll) == nullptr || file == nullptr) return -EBADF;
  if (self == nullptr) return -EINVAL;
  switch (operation) {
    case EPOLL_CTL_ADD:
      return self->Add(fd, *file, events, data);
    case EPOLL_CTL_MOD:
      return self->Modify(fd, *file, events, data);
    case EPOLL_CTL_DEL:
      return self->Remove(fd, *file);
    default:
      return -EINVAL;
  }
}

int Process::EpollWait(int epoll, epoll_event* events, int capacity) {
  Epoll* const self = FindEpoll(epoll);
  if (Find(epoll) == nullptr) return -EBADF;
  if (self == nullptr || capacity <= 0) return -EINVAL;
  const std::vector<epoll_event> found = self->Collect(static_cast<std::size_t>(capacity));
  std::copy(found.begin(), found.end(), events);
  return static_cast<int>(found.size());
}

int Process::EventFd() {
  if (!HasFreeDescriptor()) return -EMFILE;
  return Install(network_.Make<sim::EventFd>());
}

int Process::WriteEventFd(int fd) {
  auto* const event = dynamic_cast<sim::EventFd*>(Find(fd));
  if (event == nullptr) return Find(fd) == nullptr ? -EBADF : -EINVAL;
  return event->Add(1);
}

std::uint32_t Process::Poll(int fd) {
  File* const file = Find(fd);
  return file == nullptr ? std::uint32_t{POLLNVAL} : file->Poll();
}

// ---- Files

int Process::Unlink(const char* path) { return network_.UnlinkPath(path); }

int Process::LStat(const char* path, struct stat* status) {
  return network_.StatPath(path, status);
}

}  // namespace weir::sim
