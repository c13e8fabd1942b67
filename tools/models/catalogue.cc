#include "models/catalogue.h"

#include <algorithm>
#include <array>

#include "models/servers/server.h"

namespace models {
namespace {

constexpr auto kModels = std::to_array<Model>({
    {"blocking", "blocking, a thread each", &ServeBlocking, true},
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
