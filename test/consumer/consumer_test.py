"""Uses weir from outside: as a subproject of a strict project, and installed, by pkg-config.

    consumer_test.py TOP_OF_THE_TREE MESON PKG_CONFIG COMPILER...

Works on a copy of the tree (whose path has a space) in a folder of its own, which it removes; asks
neither git nor the network. Prints what it has shown, line by line; exits 1 at the first surprise.
"""

import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

HANGS = 300  # seconds, for one command
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Wshadow",
          "-Wold-style-cast", "-Wnon-virtual-dtor", "-Woverloaded-virtual", "-Werror"]
TREE = ["meson.build", "meson_options.txt", "LICENSE", "include", "src", "test", "examples",
        "tools"]
HERE = pathlib.Path(__file__).resolve().parent

BEGAN = time.monotonic()


def show(what):
    print(f"{time.monotonic() - BEGAN:6.1f} s  {what}", flush=True)


def surprise(what):
    print(f"FAILED: {what}")
    sys.exit(1)


def run(*command, **environment):
    """What it prints. It must succeed."""
    command = [str(word) for word in command]
    inherited = {name: value for name, value in os.environ.items() if name != "DESTDIR"}
    done = subprocess.run(command, env=inherited | environment, timeout=HANGS, check=False,
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        surprise(f"{shlex.join(command)}\nexited with {done.returncode}, and said:\n{done.stdout}")
    return done.stdout


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")
                  if not path.is_dir())


class Test:
    def __init__(self, tree, meson, pkg_config, compiler, folder):
        self.meson, self.pkg_config, self.compiler = meson, pkg_config, compiler
        self.folder = folder
        self.parent = folder / "with a space" / "parent"
        self.weir = self.parent / "subprojects" / "weir"
        shutil.copytree(HERE / "parent", self.parent)
        self.weir.mkdir(parents=True)
        for name in TREE:
            if (tree / name).is_dir():
                shutil.copytree(tree / name, self.weir / name,
                                ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(tree / name, self.weir / name)

    def setup(self, build, source, *arguments):
        return run(self.meson, "setup", build, source, "-Dlibdir=lib", *arguments,
                   CXX=shlex.join(self.compiler))

    def ninja(self, build):
        return run(self.meson, "compile", "-C", build, "-j", "2")

    def introspect(self, build, what):
        return json.loads(run(self.meson, "introspect", build, what))

    # ---- Installed, and found by pkg-config

    def installed(self, kind):
        build, prefix = self.folder / f"build-{kind}", self.folder / f"prefix-{kind}"
        self.setup(build, self.weir, "--buildtype=plain", f"-Ddefault_library={kind}",
                   f"--prefix={prefix}", "-Dtests=disabled", "-Dexamples=disabled",
                   "-Dtools=disabled")
        version = self.introspect(build, "--projectinfo")["version"]
        self.ninja(build)
        run(self.meson, "install", "-C", build, "--no-rebuild")
        self.check_installed(kind, prefix, version)
        self.check_flags(kind, prefix, version)
        for name, package in (("consumer", "weir"), ("consumer_log", "weir-log")):
            program = self.folder / f"{name}-{kind}"
            flags = shlex.split(self.ask(prefix, "--cflags", "--libs", package))
            run(*self.compiler, "-std=c++20", *STRICT, self.parent / f"{name}.cc", "-o", program,
                *flags)
            self.check_runs(program, version, LD_LIBRARY_PATH=str(prefix / "lib"))
            show(f"c++ {name}.cc $(pkg-config --cflags --libs {package}), {kind}: runs")

    def ask(self, prefix, *arguments, **environment):
        """What pkg-config says: as a rule, with the system's own packages behind ours."""
        paths = [str(prefix / "lib/pkgconfig"), os.environ.get("PKG_CONFIG_PATH", "")]
        return run(self.pkg_config, *arguments,
                   **({"PKG_CONFIG_PATH": ":".join(filter(None, paths))} | environment))

    def check_installed(self, kind, prefix, version):
        wanted = [f"include/weir/{path.name}" for path in (self.weir / "include/weir").glob("*.h")]
        wanted += ["lib/pkgconfig/weir.pc", "lib/pkgconfig/weir-log.pc"]
        if kind == "static":
            wanted += ["lib/libweir.a"]
        else:
            major, minor, _ = version.split(".")
            abi = f"0.{minor}" if major == "0" else major
            wanted += ["lib/libweir.so", f"lib/libweir.so.{abi}", f"lib/libweir.so.{version}"]
        if files_in(prefix) != sorted(wanted):
            surprise(f"installed: {files_in(prefix)}\nwanted: {sorted(wanted)}")
        show(f"installed, {kind}: {len(wanted)} files, as they should be")

    def check_flags(self, kind, prefix, version):
        if self.ask(prefix, "--modversion", "weir").strip() != version:
            surprise("weir.pc has another version than the project")
        if kind == "static":
            libraries = shlex.split(self.ask(prefix, "--libs", "weir"))
            if not {"-lweir", "-lfmt", "-lspdlog"} <= set(libraries):
                surprise(f"a static weir needs fmt and spdlog at the link; weir.pc: {libraries}")
            return
        # Nothing of fmt or spdlog, not even that they are there: no other package is found here.
        alone = {"PKG_CONFIG_PATH": "", "PKG_CONFIG_LIBDIR": str(prefix / "lib/pkgconfig")}
        flags = shlex.split(self.ask(prefix, "--cflags", "--libs", "weir", **alone))
        wanted = [f"-I{prefix}/include", f"-L{prefix}/lib", "-lweir"]
        if flags != wanted:
            surprise(f"a shared weir asks for {flags}, wanted {wanted}")
        show("a shared weir.pc asks for nothing but weir")

    def check_runs(self, program, version, **environment):
        said = run(program, **environment)  # log lines first
        if said.splitlines()[-1] not in (f"weir {version} says pong", "weir's lines are ours"):
            surprise(f"{program.name} said {said!r}")

    # ---- As a subproject

    def embedded(self):
        # A warning of ours that is sure to be: the parent's werror=true must not make it an error.
        with open(self.weir / "src/base/error.cc", "a", encoding="utf-8") as source:
            source.write("\nstatic int NobodyCallsThis() { return 0; }\n")
        build, destination = self.folder / "build-embedded", self.folder / "destination"
        said = self.setup(build, self.parent, "-Doptimization=0", "-Ddebug=false",
                          "--prefix=/usr")
        if "weir is built without optimisation" not in said:
            surprise(f"meson setup did not warn of the missing optimisation:\n{said}")
        show("a parent without optimisation is warned")

        targets = [target["name"] for target in self.introspect(build, "--targets")
                   if target["subproject"] == "weir"]
        tests = self.introspect(build, "--tests")
        if targets != ["weir"] or tests:
            surprise(f"built of ours: {targets}; our tests in the parent's: {tests}")
        show("of ours only the library is built: no tests, examples or tools")

        if "NobodyCallsThis" not in self.ninja(build):
            surprise("the planted warning was not to be seen: the next line would prove nothing")
        show("a warning of ours is no error for a parent with werror=true; its files compile")

        run(self.meson, "install", "-C", build, "--no-rebuild", f"--destdir={destination}")
        if files_in(destination) != ["usr/bin/consumer", "usr/bin/consumer_log"]:
            surprise(f"meson install of the parent installed {files_in(destination)}")
        show("meson install of the parent installs nothing of ours")

        version = self.introspect(build, "--projectinfo")["subprojects"][0]["version"]
        for name in ("consumer", "consumer_log"):
            self.check_runs(destination / "usr/bin" / name, version)
            show(f"{name}, subproject: runs")


def main(tree, meson, pkg_config, *compiler):
    with tempfile.TemporaryDirectory(prefix="weir-consumer-") as folder:
        test = Test(pathlib.Path(tree), meson, pkg_config, compiler, pathlib.Path(folder))
        test.installed("static")
        test.installed("shared")
        test.embedded()
    show("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
