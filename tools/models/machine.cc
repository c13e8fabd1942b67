#include "models/machine.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>

namespace models {
namespace {

std::string CpuModel(const utsname& system) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return system.machine;
}

}  // namespace

std::string DescribeMachine(const std::optional<Cpus>& cpus) {
  utsname system{};
  ::uname(&system);
#ifdef __clang__
  const char* const compiler = "clang " __clang_version__;
#else
  const char* const compiler = "gcc " __VERSION__;
#endif
  std::string text = fmt::format("{}, {} CPUs; Linux {}; {}", CpuModel(system),
                                 ::sysconf(_SC_NPROCESSORS_ONLN), system.release, compiler);
#ifdef __OPTIMIZE__
  text += ", optimised";
#else
  text += ", not optimised";
#endif
#ifdef WEIR_HAS_LIBURING
  text += "; liburing " WEIR_HAS_LIBURING;
#endif
  text += cpus ? fmt::format("; server on CPU {}, load on CPU {}", cpus->server, cpus->load)
               : std::string("; not pinned: one CPU");
  return text;
}

}  // namespace models
