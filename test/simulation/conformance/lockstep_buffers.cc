// Full buffers: each world fills its own, of whatever size it is.

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>

#include "simulation/conformance/lockstep.h"

namespace weir::sim::conformance {
namespace {

using Time = std::chrono::steady_clock;

// It takes nothing, and no acknowledgement is on its way that would make room.
bool IsFullForGood(World& world, int fd) {
  tcp_info info{};
  const bool is_tcp = world.GetOption(fd, IPPROTO_TCP, TCP_INFO, &info, sizeof info) == 0;
  return (world.Poll(fd) & EPOLLOUT) == 0 && (!is_tcp || info.tcpi_unacked == 0);
}

// Returns how much it took.
std::size_t FillIn(World& world, int fd, Time::time_point deadline) {
  const std::string piece(4096, 'x');
  std::size_t sent = 0;
  while (Time::now() < deadline) {
    const long count = world.Send(fd, piece);
    if (count > 0) {
      sent += static_cast<std::size_t>(count);
    } else if (IsFullForGood(world, fd)) {
      break;
    } else {
      world.LetArrive();
    }
  }
  return sent;
}

// Returns how much did not come.
std::size_t DrainIn(World& world, int fd, std::size_t left, Time::time_point deadline) {
  std::string room(4096, '\0');
  while (left > 0 && Time::now() < deadline) {
    const long count = world.Recv(fd, room);
    if (count > 0) {
      left -= std::min(left, static_cast<std::size_t>(count));
    } else {
      world.LetArrive();
    }
  }
  return left;
}

}  // namespace

void Lockstep::Fill(int fd) {
  const auto deadline = Time::now() + bound_;
  const std::size_t simulated = FillIn(simulated_, fd, deadline);
  filled_[fd] = {simulated, FillIn(real_, fd, deadline)};
  transcript_.push_back("Fill(" + NameOf(fd) + ")");
  Settle("Fill");
}

void Lockstep::Drain(int fd, int sender) {
  const auto deadline = Time::now() + bound_;
  const auto [in_simulated, in_real] = filled_.at(sender);
  const std::size_t simulated = DrainIn(simulated_, fd, in_simulated, deadline);
  const std::size_t real = DrainIn(real_, fd, in_real, deadline);
  const std::string what = "Drain(" + NameOf(fd) + ")";
  const auto text = [](std::size_t left) { return std::to_string(left) + " bytes are missing"; };
  if (simulated != 0 || real != 0) Fail(what, text(simulated), text(real));
  filled_.erase(sender);
  transcript_.push_back(what);
  Settle(what);
}

}  // namespace weir::sim::conformance
