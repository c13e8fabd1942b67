#include "models/asleep.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace models {
namespace {

// proc(5): "PID (NAME) STATE ...", and a name may have anything in it.
bool Sleeps(const std::filesystem::path& stat) {
  std::ifstream file(stat);
  std::string line;
  std::getline(file, line);
  const std::size_t name_end = line.rfind(')');
  return name_end != std::string::npos && line.compare(name_end, 3, ") S") == 0;
}

}  // namespace

bool FirstThreadSleeps(pid_t process) { return Sleeps(fmt::format("/proc/{}/stat", process)); }

bool AllThreadsSleep(pid_t process) {
  for (const auto& thread :
       std::filesystem::directory_iterator(fmt::format("/proc/{}/task", process))) {
    if (!Sleeps(thread.path() / "stat")) return false;
  }
  return true;
}

}  // namespace models
