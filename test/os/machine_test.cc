// How much memory this process may use, as trees of the kernel's files say it: made in a temporary
// folder, each as some machine has it.

#include "os/machine.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "os/fixtures.h"
#include "os/sys.h"
#include "support/catch.h"

using weir::Machine;

namespace {

namespace fs = std::filesystem;

// A machine's root, gone with this object.
class Tree {
 public:
  Tree& Write(std::string_view path, std::string_view text) {
    const fs::path file = fs::path(folder_.path()) / path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
    return *this;
  }
  Tree& Groups(std::string_view text) { return Write("proc/self/cgroup", text); }
  // A folder where a file should be.
  Tree& MakeFolder(std::string_view path) {
    fs::create_directories(fs::path(folder_.path()) / path);
    return *this;
  }
  [[nodiscard]] std::size_t Memory() const { return Machine{folder_.path()}.Memory(); }

 private:
  weir::test::Folder folder_;
};

std::size_t Physical() { return weir::sys::PhysicalMemory(); }

}  // namespace

TEST_CASE("the machine has memory", "[os][machine]") {
  CHECK(Physical() > 0);
  CHECK(Machine{}.Memory() > 0);
  CHECK(Machine{}.Memory() <= Physical());
}

TEST_CASE("without control groups, or without a word of them, it is all the machine has",
          "[os][machine]") {
  Tree tree;
  SECTION("no files") {}
  SECTION("an empty list") { tree.Groups(""); }
  SECTION("a group without files") { tree.Groups("0::/some/where\n"); }
  SECTION("no limit") { tree.Groups("0::/a\n").Write("sys/fs/cgroup/a/memory.max", "max\n"); }
  SECTION("an empty file") { tree.Groups("0::/a\n").Write("sys/fs/cgroup/a/memory.max", ""); }
  SECTION("a folder instead of a file") {
    tree.Groups("0::/a\n").MakeFolder("sys/fs/cgroup/a/memory.max");
  }
  SECTION("version 1's word for none") {
    tree.Groups("4:memory:/a\n");
    tree.Write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
  }
  SECTION("another controller's group") {
    tree.Groups("4:cpu,memoryless:/a\n5:name=systemd:/a\n");
    tree.Write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000\n");
    tree.Write("sys/fs/cgroup/a/memory.max", "1000\n");
  }
  CHECK(tree.Memory() == Physical());
}

TEST_CASE("of nested control groups the least limit holds", "[os][machine]") {
  Tree tree;
  tree.Groups("0::/a/b/c\n");
  tree.Write("sys/fs/cgroup/a/memory.max", "4000000\n");
  tree.Write("sys/fs/cgroup/a/b/memory.max", "max\n");
  tree.Write("sys/fs/cgroup/a/b/c/memory.max", "5000000\n");
  CHECK(tree.Memory() == 4'000'000);
  tree.Write("sys/fs/cgroup/a/b/memory.max", "3000000\n");
  CHECK(tree.Memory() == 3'000'000);
  tree.Write("sys/fs/cgroup/a/b/c/memory.max", "2000000");
  CHECK(tree.Memory() == 2'000'000);
  tree.Write("sys/fs/cgroup/memory.max", "1000000\n");  // a container's own root
  CHECK(tree.Memory() == 1'000'000);
}

TEST_CASE("in a name space of its own a process stands at the root", "[os][machine]") {
  Tree tree;
  tree.Groups("0::/\n").Write("sys/fs/cgroup/memory.max", "1000000\n");
  CHECK(tree.Memory() == 1'000'000);
}

TEST_CASE("a group beside the one of this process does not count", "[os][machine]") {
  Tree tree;
  tree.Groups("0::/a/b\n");
  tree.Write("sys/fs/cgroup/a/bb/memory.max", "1000\n");
  tree.Write("sys/fs/cgroup/b/memory.max", "1000\n");
  tree.Write("sys/fs/cgroup/a/b/c/memory.max", "1000\n");
  CHECK(tree.Memory() == Physical());
}

TEST_CASE("version 1 says it in the folder of its memory controller", "[os][machine]") {
  const char* const controllers = GENERATE("memory", "cpu,memory", "memory,cpu", "a,memory,b");
  Tree tree;
  tree.Groups("9:cpuset:/x\n4:" + std::string(controllers) + ":/a/b\n1:name=systemd:/y\n");
  tree.Write("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "5000000\n");
  CHECK(tree.Memory() == 5'000'000);
  tree.Write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "4000000\n");
  CHECK(tree.Memory() == 4'000'000);
  tree.Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "3000000\n");
  CHECK(tree.Memory() == 3'000'000);
}

TEST_CASE("on a machine with both versions both count", "[os][machine]") {
  const bool version1_is_less = GENERATE(true, false);
  Tree tree;
  tree.Groups("4:memory:/a\n0::/b\n");
  tree.Write("sys/fs/cgroup/memory/a/memory.limit_in_bytes",
             version1_is_less ? "1000000\n" : "2000000\n");
  tree.Write("sys/fs/cgroup/b/memory.max", version1_is_less ? "2000000\n" : "1000000\n");
  CHECK(tree.Memory() == 1'000'000);
}

TEST_CASE("a limit above what the machine has does not add to it", "[os][machine]") {
  Tree tree;
  tree.Groups("0::/a\n");
  tree.Write("sys/fs/cgroup/a/memory.max", std::to_string(Physical() + 1));
  CHECK(tree.Memory() == Physical());
  tree.Write("sys/fs/cgroup/a/memory.max", std::to_string(Physical() - 1));
  CHECK(tree.Memory() == Physical() - 1);
}

TEST_CASE("what is not understood sets no limit", "[os][machine]") {
  Tree tree;
  SECTION("a limit") {
    tree.Groups("0::/a\n");
    const char* const limit =
        GENERATE("garbage\n", "-1\n", "\n", " 1000\n", "\xff\xfe", "99999999999999999999999999\n");
    tree.Write("sys/fs/cgroup/a/memory.max", limit);
    CHECK(tree.Memory() == Physical());
  }
  SECTION("a list of groups") {
    const char* const groups =
        GENERATE("0", "0:", "0::", ":", "::", ":::", "\n\n\n", "0::a", "0::a/b", "garbage",
                 "4:memory", "4:memory:", "4:memory:a", "0::/../../x\n", "0::///\n", "0:memory",
                 "9999999999999999999999:,,,,:/\n");
    tree.Groups(groups);
    CHECK(tree.Memory() == Physical());
  }
}

TEST_CASE("a long list of groups is read to its end", "[os][machine]") {
  Tree tree;
  std::string groups;
  for (int i = 0; i < 1000; ++i) groups += std::to_string(i + 20) + ":name=" + "x:/deep/group\n";
  tree.Groups(groups + "0::/a\n").Write("sys/fs/cgroup/a/memory.max", "1000000\n");
  CHECK(groups.size() > 3 * 4096);
  CHECK(tree.Memory() == 1'000'000);
}

TEST_CASE("asking leaves no descriptor open", "[os][machine]") {
  Tree tree;
  tree.Groups("0::/a/b\n").Write("sys/fs/cgroup/a/memory.max", "1000000\n");
  const int before = ::dup(0);
  REQUIRE(::close(before) == 0);
  CHECK(tree.Memory() == 1'000'000);
  const int after = ::dup(0);
  REQUIRE(::close(after) == 0);
  CHECK(after == before);
}
