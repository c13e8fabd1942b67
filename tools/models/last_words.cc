#include "models/last_words.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "echo_load/failure.h"

namespace models {

LastWords::LastWords() : file_(::memfd_create("stderr of a server", MFD_CLOEXEC)) {
  if (file_.Get() < 0) echo_load::FailCall("memfd_create");
}

void LastWords::TakeStderr() const noexcept { ::dup2(file_.Get(), STDERR_FILENO); }

std::string LastWords::Line() const {
  std::array<char, 4096> text{};
  const off_t end = ::lseek(file_.Get(), 0, SEEK_END);
  const off_t begin = std::max(end - static_cast<off_t>(text.size()), off_t{0});
  const ssize_t got = ::pread(file_.Get(), text.data(), text.size(), begin);
  std::string_view said(text.data(), static_cast<std::size_t>(std::max(got, ssize_t{0})));
  while (said.ends_with('\n')) said.remove_suffix(1);
  const std::size_t line = said.rfind('\n');
  if (line != std::string_view::npos) said.remove_prefix(line + 1);
  constexpr std::string_view kPrefix = "weir-models: ";
  if (said.starts_with(kPrefix)) said.remove_prefix(kPrefix.size());
  return std::string(said);
}

}  // namespace models
