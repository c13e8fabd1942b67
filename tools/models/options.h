// What the command line of weir-models says.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "models/catalogue.h"

namespace models {

using Guests = std::vector<std::unique_ptr<const Model>>;

struct MeasureOptions {
  std::vector<const Model*> models;  // all, unless some were named, and then the guests
  Guests guests;
  std::vector<std::size_t> idle = {0, 10, 1000, 10'000};  // connections beside the active ones
  std::size_t active = 10;
  std::size_t rounds = 6;
  double seconds = 0.3;  // of each load
  bool json = false;
  std::string plot;  // a file for the chart, or empty
};

struct ServeOptions {
  const Model* model = nullptr;
  std::uint16_t port = 0;
};

struct EdgesOptions {
  bool json = false;
};

struct CallsOptions {
  std::vector<const Model*> models;  // as above
  Guests guests;
  bool json = false;
};

struct HelpOptions {};

using Options = std::variant<MeasureOptions, ServeOptions, EdgesOptions, CallsOptions, HelpOptions>;

[[nodiscard]] std::string HelpText();

// Points into argv. Throws echo_load::UsageError.
[[nodiscard]] Options ParseOptions(int argc, char** argv);

}  // namespace models
