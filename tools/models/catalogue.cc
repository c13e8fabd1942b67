#include "models/catalogue.h"

#include <algorithm>
#include <array>

#include "models/servers/server.h"

namespace models {
namespace {

constexpr auto kModels = std::to_array<Model>({
    {"blocking", "blocking, a thread each", &ServeBlocking, true},
    {"polling", "non-blocking, sleep 10 ms", &ServePolling},
    {"select", "select", &ServeSelect},
    {"poll", "poll", &ServePoll},
    {"epoll-level", "epoll, level-triggered", &ServeEpollLevel},
    {"thread-per-ready", "epoll, a thread per event", &ServeThreadPerReady},
    {"epoll-edge", "epoll, edge-triggered", &ServeEpollEdge},
#ifdef WEIR_HAS_LIBURING
    {"io_uring", "io_uring", &ServeUring},
#endif
    {"weir", "weir", &ServeWeir},
});

}  // namespace

std::span<const Model> AllModels() noexcept { return kModels; }

const Model* FindModel(std::string_view name) noexcept {
  const auto* const found = std::ranges::find(kModels, name, &Model::name);
  return found == kModels.end() ? nullptr : found;
}

std::string ModelNames() {
  std::string names;
  for (const Model& model : kModels) {
    if (!names.empty()) names += ", ";
    names += model.name;
  }
  return names;
}

}  // namespace models
