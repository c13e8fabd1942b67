// What set-up throws. Once a loop runs nothing of weir throws any more: a connection's failure
// comes once, as the std::error_code of OnClose.
//
// ERRORS    what() is one line: the call, the value that it was given, and the reason. code() is of
//           std::generic_category() when the value cannot be understood (a bad URL, a bad option:
//           mend the argument) and of std::system_category() when the kernel refused (errno).

#pragma once

#include <string>
#include <system_error>
#include <utility>

namespace weir {

class Error : public std::system_error {
 public:
  // True if the caller's argument is wrong, false if the system refused: programs exit with 2 or 1.
  [[nodiscard]] bool IsUsage() const noexcept {
    return code().category() == std::generic_category();
  }

  [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }

  // "CALL VALUE: REASON". Used by weir itself.
  static Error Usage(const std::string& call_and_value, const std::string& reason);
  static Error System(const std::string& call_and_value, int error_number);

 private:
  Error(std::error_code code, std::string text) : std::system_error(code), text_(std::move(text)) {}

  std::string text_;
};

}  // namespace weir
