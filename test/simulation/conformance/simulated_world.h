// The calls of a process of the simulated kernel.

#pragma once

#include <string>
#include <string_view>

#include "simulation/conformance/world.h"
#include "simulation/kernel/network.h"
#include "simulation/kernel/process.h"

namespace weir::sim::conformance {

class SimulatedWorld final : public World {
 public:
  [[nodiscard]] std::string_view Name() const override { return "simulated"; }

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

  void LetArrive() override {}  // all has arrived

 private:
  Network network_;
  Process process_{network_};
};

}  // namespace weir::sim::conformance
