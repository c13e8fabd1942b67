#include <cstdlib>
#include <string_view>
#include "models/edges.h"
#include "models/serve.h"

int main(int argc, char** argv) {
  if (argc >= 2 && std::string_view(argv[1]) == "edges") {
    models::RunEdges(argc == 3 && std::string_view(argv[2]) == "--json");
    return 0;
  }
  if (argc < 3 || std::string_view(argv[1]) != "serve") return 2;
  const models::Model* const model = models::FindModel(argv[2]);
  if (model == nullptr) return 2;
  models::Serve(*model, argc > 3 ? static_cast<std::uint16_t>(std::atoi(argv[3])) : 0);
  return 0;
}
