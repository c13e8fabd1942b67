// The control groups of a process stand in /proc/self/cgroup, a line for each hierarchy:
//
//     0::/system.slice/x.service           version 2: one hierarchy, mounted at /sys/fs/cgroup
//     4:memory:/docker/1a2b                version 1: one for each set of controllers, mounted at
//                                          /sys/fs/cgroup/memory
//
// A limit holds for all below it, so each folder from the group's own up to the mount is asked. (In
// a container the group's own path may not exist below the mount, which then is the group itself:
// the walk ends there in any case.)

#include "os/machine.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <string_view>

#include "os/sys.h"
#include "os/unique_fd.h"

namespace weir {
namespace {

constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();

// "" if it cannot be read.
std::string ReadAll(const std::string& path) {
  const UniqueFd file(sys::OpenToRead(path.c_str()));
  std::string text;
  if (!file) return text;
  std::array<char, 4096> part;
  for (;;) {
    const ssize_t got = sys::Read(file.get(), part.data(), part.size());
    if (got <= 0) return text;
    text.append(part.data(), static_cast<std::size_t>(got));
  }
}

// The number at the front; kNoLimit for "max", for nothing, and for what is no number.
std::size_t LimitIn(std::string_view text) noexcept {
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() ? number : kNoLimit;
}

// Cuts the text before `separator` off the front of `text`.
std::string_view Cut(std::string_view& text, char separator) noexcept {
  const std::size_t end = std::min(text.find(separator), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

bool HasWord(std::string_view list, std::string_view word) noexcept {
  while (!list.empty()) {
    if (Cut(list, ',') == word) return true;
  }
  return false;
}

// Calls visit(folder) for each folder from `group` up to the mount.
template <class Visit>
void ForEachFolder(const std::string& mount, std::string_view group, Visit&& visit) {
  while (group.size() > 1 && group.front() == '/') {
    visit(mount + std::string(group));
    group = group.substr(0, group.rfind('/'));
  }
  visit(mount);
}

// Calls visit(folder, version) for each folder of the control groups that `controller` limits.
template <class Visit>
void ForEachGroup(const std::string& root, std::string_view controller, Visit&& visit) {
  const std::string mount = root + "/sys/fs/cgroup";
  const std::string groups = ReadAll(root + "/proc/self/cgroup");
  for (std::string_view left = groups; !left.empty();) {
    std::string_view line = Cut(left, '\n');
    const bool is_version2 = Cut(line, ':') == "0";
    const std::string_view controllers = Cut(line, ':');
    if (is_version2 && controllers.empty()) {
      ForEachFolder(mount, line, [&](const std::string& at) { visit(at, 2); });
    } else if (HasWord(controllers, controller)) {
      ForEachFolder(mount + "/" + std::string(controller), line,
                    [&](const std::string& at) { visit(at, 1); });
    }
  }
}

// Processors that `quota` microseconds in each `period` are, rounded up; kNoLimit if either is no
// number ("max", -1) or says nothing.
std::size_t CpusOf(std::size_t quota, std::size_t period) noexcept {
  if (quota == kNoLimit || period == kNoLimit || period == 0 || quota == 0) return kNoLimit;
  return quota / period + (quota % period != 0 ? 1 : 0);
}

}  // namespace

std::size_t Machine::Memory() const {
  const std::size_t physical = sys::PhysicalMemory();
  std::size_t least = physical == 0 ? kNoLimit : physical;
  ForEachGroup(root, "memory", [&](const std::string& at, int version) {
    const char* const file = version == 2 ? "/memory.max" : "/memory.limit_in_bytes";
    least = std::min(least, LimitIn(ReadAll(at + file)));
  });
  return least;
}

int Machine::Cpus() const {
  std::size_t least = std::max<std::size_t>(sys::AllowedCpus().size(), 1);
  ForEachGroup(root, "cpu", [&](const std::string& at, int version) {
    if (version == 2) {
      const std::string text = ReadAll(at + "/cpu.max");  // "150000 100000", "max 100000"
      std::string_view left = text;
      const std::string_view quota = Cut(left, ' ');
      least = std::min(least, CpusOf(LimitIn(quota), LimitIn(left)));
    } else {
      least = std::min(least, CpusOf(LimitIn(ReadAll(at + "/cpu.cfs_quota_us")),
                                     LimitIn(ReadAll(at + "/cpu.cfs_period_us"))));
    }
  });
  return static_cast<int>(least);
}

}  // namespace weir
