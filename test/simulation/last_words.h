// What a child said on stderr, kept for the case that it dies: a failed check says there why.
//
// OWNER     The parent. A child redirects its stderr into it.
// ERRORS    The constructor throws std::system_error.

#pragma once

#include <chrono>
#include <string>

namespace weir::sim {

class LastWords final {
 public:
  LastWords();
  LastWords(const LastWords&) = delete;
  LastWords& operator=(const LastWords&) = delete;
  ~LastWords();

  // In the child: stderr is this from now on.
  void RedirectStderr() const noexcept;
  // What was said so far concerns nobody any more.
  void Forget() const noexcept;

  // The line that says most: of a check or a sanitizer, else the last one; without the time.
  [[nodiscard]] std::string TellingLine() const;

 private:
  int file_;  // in memory: a pipe would stop a child that says much
};

// What is said of one that came to no end, and had to be made an end of.
[[nodiscard]] std::string TooLongText(std::chrono::milliseconds limit);

// "SIGABRT, check failed: ..." of a wait status that is not exit code 0.
[[nodiscard]] std::string DeathText(int wait_status, const LastWords& words);

}  // namespace weir::sim
