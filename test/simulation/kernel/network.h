// The simulated machine: its files, its ports, its socket paths.
//
// OWNER     One life, or one test. Owns every file of every process, until it is destroyed.
// THREADS   One.

#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "simulation/kernel/file.h"
#include "simulation/kernel/socket.h"
#include "simulation/kernel/tcp_socket.h"
#include "simulation/kernel/unix_socket.h"

namespace weir::sim {

class Network {
 public:
  template <class T, class... Arguments>
  T& Make(Arguments&&... arguments) {
    auto file = std::make_unique<T>(std::forward<Arguments>(arguments)...);
    T& made = *file;
    files_.push_back(std::move(file));
    return made;
  }

  // What sockets that are made from now on hold.
  Socket::Sizes sizes;

  // Which of several listeners of a port takes a client: the hash of a kernel, and a choice here.
  std::function<std::size_t(std::size_t count)> choose_listener = [](std::size_t) { return 0; };

  // 0, or -errno. Port 0 takes a free one.
  int BindPort(Socket& socket, std::uint16_t port);
  // A name that begins with '/' is a file; any other is of the abstract kind.
  int BindPath(Socket& socket, const std::string& path);
  [[nodiscard]] bool HasPath(const std::string& path) const { return inodes_.contains(path); }
  int StatPath(const std::string& path, struct stat* status) const;
  int UnlinkPath(const std::string& path);

  // Those that listen now.
  [[nodiscard]] TcpSocket* FindListener(std::uint16_t port);
  [[nodiscard]] UnixSocket* FindListener(const std::string& path);

  // Every TCP socket: whoever moves what is in flight looks at them.
  [[nodiscard]] const std::vector<TcpSocket*>& tcp_sockets() const noexcept { return tcp_; }
  TcpSocket& MakeTcp(int family);
  std::uint16_t FreePort();

  // The socket no longer exists for anybody who looks for it.
  void Forget(Socket& socket);

 private:
  std::vector<std::unique_ptr<File>> files_;
  std::vector<TcpSocket*> tcp_;
  std::multimap<std::uint16_t, Socket*> ports_;
  std::map<std::string, Socket*> paths_;
  std::map<std::string, ino_t> inodes_;
  ino_t next_inode_ = 1;
  std::uint16_t next_port_ = 32768;
};

}  // namespace weir::sim
