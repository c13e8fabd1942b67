// What can be wrong, and on whose side.

#pragma once

#include <cerrno>
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

// An echo that is not what was sent: nothing excuses that.
struct WrongEcho : Failure {
  using Failure::Failure;
};

inline std::string ErrorText(int error_number) {
  return std::error_code(error_number, std::system_category()).message();
}

// Throws Failure: the call, and the reason that errno has.
[[noreturn]] inline void FailCall(const std::string& call) {
  const std::string reason = ErrorText(errno);
  throw Failure(call + ": " + reason);
}

}  // namespace echo_load
