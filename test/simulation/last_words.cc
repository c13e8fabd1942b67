#include "simulation/last_words.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>

namespace weir::sim {
namespace {

constexpr std::size_t kTailBytes = 32768;  // a sanitizer's report has room in it

std::string_view FirstLine(std::string_view text) { return text.substr(0, text.find('\n')); }

std::string_view LastLine(std::string_view text) {
  const std::size_t end = text.find_last_not_of(" \n");
  if (end == std::string_view::npos) return {};
  text = text.substr(0, end + 1);
  text.remove_prefix(text.rfind('\n') + 1);  // npos + 1 is 0
  return text.substr(text.find_first_not_of(' '));
}

}  // namespace

LastWords::LastWords() : file_(::memfd_create("stderr", MFD_CLOEXEC)) {
  // Appending, so that what is said after Forget() does not leave a hole.
  if (file_ < 0 || ::fcntl(file_, F_SETFL, O_APPEND) != 0) {
    throw std::system_error(errno, std::system_category(), "memfd_create");
  }
}

LastWords::~LastWords() { ::close(file_); }

void LastWords::RedirectStderr() const noexcept {
  // Without it a child says nothing that is worth ending it for.
  static_cast<void>(::dup2(file_, STDERR_FILENO));
}

void LastWords::Forget() const noexcept { static_cast<void>(::ftruncate(file_, 0)); }

std::string LastWords::TellingLine() const {
  const off_t end = ::lseek(file_, 0, SEEK_END);
  std::string tail(kTailBytes, '\0');
  const ssize_t size = ::pread(file_, tail.data(), tail.size(),
                               std::max(end - static_cast<off_t>(kTailBytes), off_t{0}));
  tail.resize(static_cast<std::size_t>(std::max(size, ssize_t{0})));
  for (const std::string_view telling : {"check failed: ", "SUMMARY: "}) {
    const std::size_t at = tail.rfind(telling);
    if (at != std::string::npos) return std::string(FirstLine(std::string_view(tail).substr(at)));
  }
  return std::string(LastLine(tail));
}

std::string TooLongText(std::chrono::milliseconds limit) {
  return fmt::format("too long: no end within {} s", std::chrono::duration<double>(limit).count());
}

std::string DeathText(int wait_status, const LastWords& words) {
  std::string text = fmt::format("exit code {}", WEXITSTATUS(wait_status));
  if (WIFSIGNALED(wait_status)) {
    const char* const name = ::sigabbrev_np(WTERMSIG(wait_status));
    text = name != nullptr ? fmt::format("SIG{}", name)
                           : fmt::format("signal {}", WTERMSIG(wait_status));
  }
  const std::string line = words.TellingLine();
  return line.empty() ? text : text + ", " + line;
}

}  // namespace weir::sim
