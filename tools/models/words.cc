#include "models/words.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "echo_load/failure.h"

namespace models {

Words::Words(const char* whose) : file_(::memfd_create(whose, MFD_CLOEXEC)) {
  if (file_.Get() < 0) echo_load::FailCall("memfd_create");
}

void Words::TakePlaceOf(int fd) const noexcept { ::dup2(file_.Get(), fd); }

std::string Words::LastLine() const {
  constexpr off_t kMost = 4096;
  const off_t end = Size();
  const std::string text = Text(std::max(end - kMost, off_t{0}), end);
  std::string_view said = text;
  while (said.ends_with('\n')) said.remove_suffix(1);
  const std::size_t line = said.rfind('\n');
  if (line != std::string_view::npos) said.remove_prefix(line + 1);
  constexpr std::string_view kPrefix = "weir-models: ";
  if (said.starts_with(kPrefix)) said.remove_prefix(kPrefix.size());
  return std::string(said);
}

std::optional<std::string> Words::Behind(std::string_view beginning) const {
  constexpr off_t kMost = 64 << 10;  // a server that says it later than that is not heard
  const std::string text = Text(0, std::min(Size(), kMost));
  std::string_view rest = text;
  for (;;) {
    const std::size_t end = rest.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view line = rest.substr(0, end);
    if (line.starts_with(beginning)) return std::string(line.substr(beginning.size()));
    rest.remove_prefix(end + 1);
  }
}

std::string Words::Text(off_t begin, off_t end) const {
  std::string text(static_cast<std::size_t>(end - begin), '\0');
  const ssize_t got = ::pread(file_.Get(), text.data(), text.size(), begin);
  text.resize(static_cast<std::size_t>(std::max(got, ssize_t{0})));
  return text;
}

// Not by lseek(2): the place is shared with whoever writes.
off_t Words::Size() const {
  struct stat status {};
  ::fstat(file_.Get(), &status);  // it cannot fail so
  return status.st_size;
}

}  // namespace models
