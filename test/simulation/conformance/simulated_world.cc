#include "simulation/conformance/simulated_world.h"

#include <sys/uio.h>

#include <vector>

#include "simulation/conformance/unix_address.h"

namespace weir::sim::conformance {

// ---- Sockets

long SimulatedWorld::Socket(int domain) { return process_.Socket(domain, SOCK_STREAM, 0); }

long SimulatedWorld::Bind(int fd, const Address& address) {
  return process_.Bind(fd, &address.raw, address.size);
}

long SimulatedWorld::Listen(int fd, int backlog) { return process_.Listen(fd, backlog); }

long SimulatedWorld::Accept(int fd, Address* peer) {
  return process_.Accept(fd, &peer->raw, &peer->size);
}

long SimulatedWorld::Connect(int fd, const Address& address) {
  return process_.Connect(fd, &address.raw, address.size);
}

long SimulatedWorld::Recv(int fd, std::span<char> room) {
  return process_.Recv(fd, room.data(), room.size());
}

long SimulatedWorld::Send(int fd, std::string_view bytes) {
  return process_.Send(fd, bytes.data(), bytes.size());
}

long SimulatedWorld::SendMessage(int fd, std::span<const std::string_view> pieces) {
  std::vector<iovec> vector;
  for (const std::string_view piece : pieces) {
    vector.push_back({.iov_base = const_cast<char*>(piece.data()), .iov_len = piece.size()});
  }
  return process_.SendMessage(fd, vector.data(), vector.size());
}

long SimulatedWorld::SendUrgent(int fd, std::string_view bytes) {
  return process_.SendUrgent(fd, bytes.data(), bytes.size());
}

long SimulatedWorld::Shutdown(int fd, int how) { return process_.Shutdown(fd, how); }

long SimulatedWorld::SetOption(int fd, int name, const void* value, socklen_t size) {
  return process_.SetOption(fd, SOL_SOCKET, name, value, size);
}

long SimulatedWorld::GetOption(int fd, int level, int name, void* value, socklen_t size) {
  return process_.GetOption(fd, level, name, value, &size);
}

long SimulatedWorld::GetSocketName(int fd, Address* address) {
  return process_.GetSocketName(fd, &address->raw, &address->size);
}

long SimulatedWorld::GetPeerName(int fd, Address* address) {
  return process_.GetPeerName(fd, &address->raw, &address->size);
}

long SimulatedWorld::UnreadBytes(int fd, int* count) { return process_.UnreadBytes(fd, count); }

long SimulatedWorld::AtUrgentMark(int fd) { return process_.AtUrgentMark(fd); }

// ---- Any descriptor

long SimulatedWorld::Read(int fd, std::span<char> room) {
  return process_.Read(fd, room.data(), room.size());
}

long SimulatedWorld::Close(int fd) { return process_.Close(fd); }

long SimulatedWorld::Dup(int fd) { return process_.Dup(fd); }

void SimulatedWorld::SetLimit(int end) { process_.SetLimit(static_cast<std::size_t>(end)); }

// ---- Waiting and waking

long SimulatedWorld::EpollCreate() { return process_.EpollCreate(); }

long SimulatedWorld::EpollControl(int epoll, int operation, int fd, std::uint32_t events,
                                  std::uint64_t data) {
  return process_.EpollControl(epoll, operation, fd, events, data);
}

long SimulatedWorld::EpollWait(int epoll, std::span<epoll_event> events) {
  return process_.EpollWait(epoll, events.data(), static_cast<int>(events.size()));
}

long SimulatedWorld::EventFd() { return process_.EventFd(); }

long SimulatedWorld::WriteEventFd(int fd) { return process_.WriteEventFd(fd); }

std::uint32_t SimulatedWorld::Poll(int fd) { return process_.Poll(fd); }

// ---- Names

Address SimulatedWorld::UnixAddress(std::string_view name) { return MakeUnixAddress(name); }

long SimulatedWorld::Unlink(std::string_view name) {
  return process_.Unlink(std::string(name).c_str());
}

}  // namespace weir::sim::conformance
