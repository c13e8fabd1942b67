// All models, in the order in which the story tells them.

#pragma once

#include <span>
#include <string>
#include <string_view>

namespace models {

struct Model {
  std::string_view name;   // as --model says it
  std::string_view title;  // as the table says it
  void (*serve)(int listener) = nullptr;
  bool waits_in_calls_that_copy = false;  // recv itself blocks: both phases in one call
  std::string_view command = {};          // of a guest (--also), who has no `serve`

  [[nodiscard]] bool IsGuest() const noexcept { return serve == nullptr; }
};

[[nodiscard]] std::span<const Model> AllModels() noexcept;

// Null if there is none of that name.
[[nodiscard]] const Model* FindModel(std::string_view name) noexcept;

// The names, with commas between them: for messages.
[[nodiscard]] std::string ModelNames();

}  // namespace models
