// The calls of this process, on the real kernel: what src/os/kernel.h has, and what a client makes
// beside that.
//
// Its descriptors are told as if the process had none of its own: number 0 is the lowest that was
// free when the world began.

#pragma once

#include <sys/resource.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "simulation/conformance/world.h"

namespace weir::sim::conformance {

class RealWorld final : public World {
 public:
  RealWorld();  // throws std::system_error
  ~RealWorld() override;

  [[nodiscard]] std::string_view Name() const override { return "real"; }

  long Socket(int domain) override;
  long Bind(int fd, const Address& address) override;
  long Listen(int fd, int backlog) override;
  long Accept(int fd, Address* peer) override;
  long Connect(int fd, const Address& address) override;
  long Recv(int fd, std::span<char> room) override;
  long Send(int fd, std::string_view bytes) override;
  long SendMessage(int fd, std::span<const std::string_view> pieces) override;
  long SendUrgent(int fd, std::string_view bytes) override;
  long Shutdown(int fd, int how) override;
  long SetOption(int fd, int name, const void* value, socklen_t size) override;
  long GetOption(int fd, int level, int name, void* value, socklen_t size) override;
  long GetSocketName(int fd, Address* address) override;
  long GetPeerName(int fd, Address* address) override;
  long UnreadBytes(int fd, int* count) override;
  long AtUrgentMark(int fd) override;

  long Read(int fd, std::span<char> room) override;
  long Close(int fd) override;
  long Dup(int fd) override;
  void SetLimit(int end) override;

  long EpollCreate() override;
  long EpollControl(int epoll, int operation, int fd, std::uint32_t events,
                    std::uint64_t data) override;
  long EpollWait(int epoll, std::span<epoll_event> events) override;
  long EventFd() override;
  long WriteEventFd(int fd) override;
  [[nodiscard]] std::uint32_t Poll(int fd) override;

  [[nodiscard]] Address UnixAddress(std::string_view name) override;
  long Unlink(std::string_view name) override;

  void LetArrive() override;

 private:
  [[nodiscard]] int Real(int fd) const noexcept { return fd < 0 ? fd : base_ + fd; }
  long Opened(int real);
  void PlugHoles();
  [[nodiscard]] std::string FullName(std::string_view name);

  int bell_ = -1;           // a private epoll of every socket: rings when one of them moves
  std::vector<int> plugs_;  // stand where numbers were free below the highest
  int base_ = 0;
  std::set<int> open_;
  rlimit limit_{};
  std::string tag_;     // in the name of each abstract socket
  std::string folder_;  // of socket files; made when there is one
  std::set<std::string> files_;
};

}  // namespace weir::sim::conformance
