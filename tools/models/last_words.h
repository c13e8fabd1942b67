// What a server says on stderr, kept for the case that it fails.

#pragma once

#include <string>

#include "echo_load/fd.h"

namespace models {

class LastWords final {
 public:
  LastWords();  // throws echo_load::Failure

  // For the server's process: what it says goes here from now on.
  void TakeStderr() const noexcept;

  // The last line, without the program's name; or nothing.
  [[nodiscard]] std::string Line() const;

 private:
  echo_load::Fd file_;
};

}  // namespace models
