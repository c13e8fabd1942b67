// What can be wrong, and on whose side.

#pragma once

#include <stdexcept>
#include <string>
#include <system_error>

namespace echo_load {

// What the user got wrong: exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What the server, or the system, did wrong: exit code 1.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline std::string ErrorText(int error_number) {
  return std::error_code(error_number, std::system_category()).message();
}

}  // namespace echo_load
