// How many processors this process may use, as fixture folders and a planned affinity say.

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include "os/fixtures.h"
#include "os/machine.h"

using weir::Machine;
using weir::test::Folder;
namespace fake = weir::sys::fake;

namespace {

// A machine whose files stand in a folder of the test's, and whose kernel allows `cpus` processors.
class Fixture {
 public:
  explicit Fixture(int cpus) {
    fake::Cpus().resize(static_cast<std::size_t>(cpus));
    std::iota(fake::Cpus().begin(), fake::Cpus().end(), 0);
  }
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;
  ~Fixture() { fake::Cpus().clear(); }

  void Write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = folder_.path() + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  [[nodiscard]] int Cpus() const { return Machine{folder_.path()}.Cpus(); }

 private:
  Folder folder_;
};

}  // namespace

TEST_CASE("without control groups the affinity counts, and is at least 1", "[machine][cpus]") {
  CHECK(Fixture(1).Cpus() == 1);
  CHECK(Fixture(7).Cpus() == 7);
  CHECK(Fixture(0).Cpus() >= 1);  // nothing planned: the truth
  CHECK(Machine{}.Cpus() >= 1);
}

TEST_CASE("a quota of version 2 is rounded up to whole processors", "[machine][cpus]") {
  struct Case {
    std::string text;
    int cpus;
  };
  const auto [text, cpus] =
      GENERATE(Case{"max 100000\n", 8}, Case{"100000 100000\n", 1}, Case{"150000 100000\n", 2},
               Case{"200000 100000\n", 2}, Case{"50000 100000\n", 1}, Case{"1000 100000\n", 1},
               Case{"300000 50000\n", 6}, Case{"900000 100000\n", 8}, Case{"250000 100000", 3});
  Fixture machine(8);
  machine.Write("/proc/self/cgroup", "0::/app.slice/x.service\n");
  machine.Write("/sys/fs/cgroup/app.slice/x.service/cpu.max", text);
  CHECK(machine.Cpus() == cpus);
}

TEST_CASE("the least quota from the group up to the mount holds", "[machine][cpus]") {
  Fixture machine(8);
  machine.Write("/proc/self/cgroup", "0::/outer/inner\n");
  machine.Write("/sys/fs/cgroup/outer/inner/cpu.max", "500000 100000\n");
  CHECK(machine.Cpus() == 5);
  machine.Write("/sys/fs/cgroup/outer/cpu.max", "300000 100000\n");
  CHECK(machine.Cpus() == 3);
  machine.Write("/sys/fs/cgroup/cpu.max", "100000 100000\n");  // a container's own, at its mount
  CHECK(machine.Cpus() == 1);
}

TEST_CASE("quotas of version 1 stand in two files of the cpu hierarchy", "[machine][cpus]") {
  Fixture machine(8);
  machine.Write("/proc/self/cgroup",
                "11:memory:/docker/1a\n4:cpu,cpuacct:/docker/1a\n1:name=systemd:/x\n0::/\n");
  machine.Write("/sys/fs/cgroup/cpu/docker/1a/cpu.cfs_period_us", "100000\n");
  machine.Write("/sys/fs/cgroup/cpu/docker/1a/cpu.cfs_quota_us", "-1\n");
  CHECK(machine.Cpus() == 8);
  machine.Write("/sys/fs/cgroup/cpu/docker/1a/cpu.cfs_quota_us", "210000\n");
  CHECK(machine.Cpus() == 3);
  machine.Write("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "50000\n");
  machine.Write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n");
  CHECK(machine.Cpus() == 2);
}

TEST_CASE("only the cpu controller's hierarchy of version 1 is asked", "[machine][cpus]") {
  Fixture machine(8);
  machine.Write("/proc/self/cgroup", "4:cpuset:/a\n5:cpuacct:/a\n");
  for (const char* const folder : {"cpu", "cpuset", "cpuacct"}) {
    const std::string at = std::string("/sys/fs/cgroup/") + folder + "/a";
    machine.Write(at + "/cpu.cfs_period_us", "100000\n");
    machine.Write(at + "/cpu.cfs_quota_us", "100000\n");
  }
  CHECK(machine.Cpus() == 8);
}

TEST_CASE("what is no quota sets none", "[machine][cpus]") {
  const std::string text =
      GENERATE("", "\n", "max", "x y\n", "100000\n", "100000 0\n", "0 100000\n", "-5 100000\n");
  Fixture machine(8);
  machine.Write("/proc/self/cgroup", "0::/a\n");
  machine.Write("/sys/fs/cgroup/a/cpu.max", text);
  CHECK(machine.Cpus() == 8);
}

TEST_CASE("threads may run on the processors that they are given, and no others",
          "[machine][cpus]") {
  const std::vector<int> all = weir::sys::AllowedCpus();
  REQUIRE_FALSE(all.empty());
  CHECK(std::is_sorted(all.begin(), all.end()));
  for (const int cpu : all) {
    REQUIRE(weir::sys::SetAllowedCpus({cpu}) == 0);
    CHECK(weir::sys::AllowedCpus() == std::vector<int>{cpu});
    CHECK(Machine{}.Cpus() == 1);
  }
  CHECK(weir::sys::SetAllowedCpus({}) == -EINVAL);
  REQUIRE(weir::sys::SetAllowedCpus(all) == 0);
  CHECK(weir::sys::AllowedCpus() == all);
}
