#include "simulation/kernel/network.h"

#include <algorithm>
#include <cerrno>

namespace weir::sim {

TcpSocket& Network::MakeTcp(int family) {
  TcpSocket& socket = Make<TcpSocket>(family, sizes);
  tcp_.push_back(&socket);
  return socket;
}

std::uint16_t Network::FreePort() {
  while (ports_.contains(next_port_)) ++next_port_;
  return next_port_++;
}

int Network::BindPort(Socket& socket, std::uint16_t port) {
  if (socket.port != 0) return -EINVAL;
  if (port == 0) port = FreePort();
  const auto [first, last] = ports_.equal_range(port);
  const bool is_free = std::all_of(first, last, [&](const auto& entry) {
    return entry.second->shares_port && socket.shares_port;
  });
  if (!is_free) return -EADDRINUSE;
  socket.port = port;
  ports_.emplace(port, &socket);
  return 0;
}

int Network::BindPath(Socket& socket, const std::string& path) {
  if (!socket.path.empty()) return -EINVAL;
  if (paths_.contains(path) || inodes_.contains(path)) return -EADDRINUSE;
  socket.path = path;
  paths_[path] = &socket;
  if (path.starts_with('/')) inodes_[path] = next_inode_++;
  return 0;
}

int Network::StatPath(const std::string& path, struct stat* status) const {
  const auto found = inodes_.find(path);
  if (found == inodes_.end()) return -ENOENT;
  *status = {};
  status->st_mode = S_IFSOCK | 0755;
  status->st_ino = found->second;
  return 0;
}

// The socket lives on, and nobody finds it any more.
int Network::UnlinkPath(const std::string& path) {
  if (inodes_.erase(path) == 0) return -ENOENT;
  paths_.erase(path);
  return 0;
}

TcpSocket* Network::FindListener(std::uint16_t port) {
  std::vector<TcpSocket*> listeners;
  const auto [first, last] = ports_.equal_range(port);
  for (auto entry = first; entry != last; ++entry) {
    if (entry->second->IsListening()) listeners.push_back(static_cast<TcpSocket*>(entry->second));
  }
  return listeners.empty() ? nullptr : listeners[choose_listener(listeners.size())];
}

UnixSocket* Network::FindListener(const std::string& path) {
  const auto found = paths_.find(path);
  return found == paths_.end() ? nullptr : static_cast<UnixSocket*>(found->second);
}

void Network::Forget(Socket& socket) {
  std::erase_if(ports_, [&](const auto& entry) { return entry.second == &socket; });
  std::erase_if(paths_, [&](const auto& entry) { return entry.second == &socket; });
}

}  // namespace weir::sim
