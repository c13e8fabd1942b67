// What most scripts begin with: a connection whose server stands in an epoll, and is quiet.

#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "simulation/conformance/lockstep.h"

namespace weir::sim::conformance {

inline constexpr std::uint32_t kInEdges = EPOLLIN | EPOLLRDHUP | EPOLLET;
inline constexpr std::uint32_t kAllEdges = kInEdges | EPOLLOUT | EPOLLPRI;

struct Watched {
  explicit Watched(Family family, std::uint32_t events = kInEdges) : pair(it.Connected(family)) {
    it.Watch(epoll, pair.server, events);
    it.Wait(epoll);
  }

  // What the calls of most scripts are about.
  std::string Wait() { return it.Wait(epoll); }
  std::string ClientSends(std::string_view bytes) { return it.Send(pair.client, bytes); }
  std::string Recv(std::size_t most = 4096) { return it.Recv(pair.server, most); }
  std::string Send(std::string_view bytes) { return it.Send(pair.server, bytes); }

  Lockstep it;
  Pair pair;
  int epoll = it.Epoll();
};

}  // namespace weir::sim::conformance
