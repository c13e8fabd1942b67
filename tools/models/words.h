// What a server says, on stderr or on stdout, kept in memory: nobody has to read it meanwhile.

#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "echo_load/fd.h"

namespace models {

class Words final {
 public:
  explicit Words(const char* whose);  // as /proc shows the file; throws echo_load::Failure

  // For the server's process: what it writes to `fd` goes here from now on.
  void TakePlaceOf(int fd) const noexcept;

  // The last line, without the program's name; or nothing.
  [[nodiscard]] std::string LastLine() const;

  // What follows `beginning` in the first line that begins so, as soon as there is one.
  [[nodiscard]] std::optional<std::string> Behind(std::string_view beginning) const;

 private:
  [[nodiscard]] std::string Text(off_t begin, off_t end) const;
  [[nodiscard]] off_t Size() const;

  echo_load::Fd file_;
};

}  // namespace models
