// A socket that listens: bound, with all that accepted sockets inherit already set on it.
//
// OWNER     Whoever accepts from it.
// ERRORS    The constructor throws weir::Error: "listen URL: CALL: REASON". Nothing is left behind
//           then.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "os/endpoint.h"
#include "os/unique_fd.h"
#include "weir/address.h"
#include "weir/options.h"

namespace weir {

// The path of a Unix socket, which the kernel leaves in the file system when the socket is closed.
class SocketFile {
 public:
  SocketFile() = default;
  SocketFile(const SocketFile&) = delete;
  SocketFile& operator=(const SocketFile&) = delete;
  ~SocketFile() { Remove(); }

  // From here on this object removes `path`: the file that is there now, never another.
  int Take(const std::string& path);  // 0 or -errno
  void Remove() noexcept;
  void Leave() noexcept { path_.clear(); }

 private:
  std::string path_;  // "": nothing to remove
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

class ListenSocket {
 public:
  // A Unix path where a dead server left its socket is taken over; one with a live server, or with
  // a file that is no socket, is EADDRINUSE. Without IPv6 in the kernel, tcp://:80 means every IPv4
  // address. An inherited socket is taken over: it is closed with this object, and its path stays;
  // what is no listening socket is left alone.
  ListenSocket(const Endpoint& endpoint, const Options& options);

  // `count` sockets on one TCP port (SO_REUSEPORT), among which the kernel spreads clients by a
  // hash. A port that somebody listens on already is EADDRINUSE all the same, unless the endpoint
  // says reuse_port.
  static std::vector<std::unique_ptr<ListenSocket>> OpenShards(const Endpoint& endpoint,
                                                               const Options& options, int count);

  // Of shards, in the order in which they were opened: a client whose SYN is handled by the
  // processor cpus[i] goes to the i-th, any other by the hash. Returns 0 or -errno.
  [[nodiscard]] int SteerByCpu(std::span<const int> cpus) noexcept;
  ListenSocket(const ListenSocket&) = delete;
  ListenSocket& operator=(const ListenSocket&) = delete;
  ~ListenSocket() { Close(true); }

  // From here on nobody else gets in; who is in the queue can still be accepted, and handshakes
  // that have begun can end. So nobody is reset by Close(), if it comes when both have had their
  // time. TCP: a new client's SYN is dropped, and it tries again when this socket is gone (in a
  // second: it finds another listener, or is refused). Unix: it is refused at once. An inherited
  // socket is left as it is, for another process may go on with it. Returns 0 or -errno.
  [[nodiscard]] int RefuseNew() noexcept;

  // Once; later calls do nothing. unlink_path: removes the path of a Unix socket too, if it is
  // still ours. A forked child must say false: the path is its parent's.
  void Close(bool unlink_path) noexcept;

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }  // -1 once closed
  // What the kernel gave: with the real port for port 0.
  [[nodiscard]] const Address& address() const noexcept { return address_; }
  [[nodiscard]] const std::string& url() const noexcept { return url_; }
  [[nodiscard]] bool is_unix() const noexcept { return address_.IsUnix(); }
  [[nodiscard]] bool is_inherited() const noexcept { return is_inherited_; }
  // Other processes may listen on the same port.
  [[nodiscard]] bool shares_port() const noexcept { return shares_port_; }

 private:
  enum class Shard : std::uint8_t { kNo, kFirst, kLater };

  struct SocketOption {
    int level;
    int name;
    const char* text;
  };

  ListenSocket(const Endpoint& endpoint, const Options& options, Shard shard);

  void TakeOver(int fd, const Options& options);
  void Open(const Endpoint& endpoint);
  void ProbePort(const Endpoint& endpoint) const;
  void SetOptions(const Endpoint& endpoint);
  void SetInheritedOptions(const Options& options);
  void BindUnix(const Endpoint& endpoint);
  void LearnAddressOf(int fd);
  void Set(SocketOption option, int value) const;
  int Must(int result, const char* call) const;  // throws what the kernel refused

  std::string url_;
  Address address_;
  UniqueFd fd_;
  SocketFile file_;
  bool is_inherited_ = false;
  bool shares_port_ = false;
};

}  // namespace weir
