"""Builds a tree, and runs its tests until one fails.

The tests are meson's, run one by one: so the first failure ends a mutant, a hang is told by how
long the test took without one, and only what a test needs is built.
"""

import concurrent.futures
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time

LEFT_OUT = "style"  # that suite is about how sources look, and a mutant's need not
SKIPPED = 77
# Time for a test: so many seconds, and so many times what it takes without a mutant. One that
# builds the library itself has its own limit: without a mutant it took what it could from a cache.
LEAST_LIMIT, TIMES = 20, 5
BUILDS_ANEW = "consumer"
TO_SAY_WHERE = 5  # seconds: a Catch2 program that is told to end says in which case it was

# No debug information, and a quick optimizer: the sources are what is tested here. ccache, where it
# is there, finds what an earlier run compiled, wherever that stood.
MESON_ARGS = ["-Ddebug=false", "-Doptimization=1"]
BUILD_ENV = {"CCACHE_NOHASHDIR": "1"}
TEST_ENV = {"MALLOC_PERTURB_": "165"}  # as meson test does, but the same each time

RULE = re.compile(r"^-{79}$")
PASSED_CATCH2 = re.compile(r"^={79}\nAll tests passed \(", re.MULTILINE)


class Problem(Exception):
    """Something that is no mutant's: the run cannot go on."""


class Test:
    def __init__(self, name, suites, command, env, targets, timeout=30):
        self.name = name
        self.suites = suites
        self.command = command
        self.env = env
        self.targets = targets  # what ninja is to build for it
        self.timeout = timeout  # seconds, as meson has it
        self.seconds = None  # without a mutant, once it was measured
        self.is_catch2 = False

    def is_named(self, name):
        return name == self.name or name in self.suites

    def limit(self):
        if BUILDS_ANEW in self.suites:
            return self.timeout
        return LEAST_LIMIT + TIMES * self.seconds


def read_tests(build):
    """All tests of a build folder but those of style."""
    info = build / "meson-info"
    files = {target["id"]: [os.path.relpath(name, build) for name in target["filename"]]
             for target in json.loads((info / "intro-targets.json").read_text())}
    tests = []
    for test in json.loads((info / "intro-tests.json").read_text()):
        suites = [suite.split(":")[-1] for suite in test["suite"]]
        if LEFT_OUT not in suites:
            targets = [name for target in test["depends"] for name in files[target]]
            tests.append(Test(test["name"], suites, test["cmd"], test["env"], targets,
                              test["timeout"]))
    return tests


def case_of_catch2(output):
    """The first case of which a Catch2 program says that it failed; None if it says none."""
    lines = output.splitlines()
    failed = next((i for i, line in enumerate(lines) if line.endswith("FAILED:")), None)
    if failed is None:
        return None
    rules = [i for i in range(failed) if RULE.match(lines[i])]
    if len(rules) < 2:
        return None
    name = []
    for line in lines[rules[-2] + 1:rules[-1]]:
        if line.startswith("  ") and name:
            break  # a section of it
        name.append(line.strip())
    return " ".join(name)


def finding_of(output, code):
    """In a few words, what a test that failed says."""
    if case := case_of_catch2(output):
        return case
    if match := re.search(r"^(?:FAIL|ERROR): (.+)$", output, re.MULTILINE):
        return match[1]
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][:100] if lines else f"exit code {code}"


class Command:
    """A process and its children, in a session of their own. They end with the `with` block."""

    def __init__(self, command, folder, env):
        self.output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **env}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.signal(signal.SIGKILL)
        self.process.wait()
        self.output.close()

    def signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def wait(self, limit=None, stop=None):
        """Its exit code; None if time ran out, or `stop` was set."""
        end = None if limit is None else time.monotonic() + limit
        while True:
            try:
                return self.process.wait(0.05)
            except subprocess.TimeoutExpired:
                if stop is not None and stop.is_set():
                    return None
                if end is not None and time.monotonic() > end:
                    return None

    def text(self):
        self.output.seek(0)
        return self.output.read().decode(errors="replace")


class Bench:
    """A tree, its build folder, its tests."""

    def __init__(self, tree, jobs):
        self.tree = tree
        self.build_folder = tree / "build"
        self.jobs = jobs
        self.tests = []

    def set_up(self, only=None):
        """`only`: a test, or a suite, and no other is to be run."""
        more = os.environ.get("WEIR_MESON_ARGS", "").split()
        with Command(["meson", "setup", self.build_folder, *MESON_ARGS, *more], self.tree,
                     BUILD_ENV) as setup:
            if setup.wait() != 0:
                raise Problem("meson setup failed:\n" + setup.text())
        self.tests = read_tests(self.build_folder)
        if not any(test.targets for test in self.tests):
            raise Problem("no tests are built (is Catch2 there?)")
        if only is not None:
            self.tests = [test for test in self.tests if test.is_named(only)]
            if not self.tests:
                raise Problem(f"there is no test, and no suite, {only!r}")

    def build(self, tests):
        """None, or the error."""
        targets = sorted({target for test in tests for target in test.targets})
        if not targets:
            return None
        with Command(["ninja", f"-j{self.jobs}", *targets], self.build_folder, BUILD_ENV) as ninja:
            if ninja.wait() == 0:
                return None
            output = ninja.text()
        errors = [line for line in output.splitlines() if "error" in line]
        return errors[0] if errors else output[-1000:]

    def measure(self, tests):
        """Sees them pass. REQUIRES: no mutant is in the tree."""
        tests = [test for test in tests if test.seconds is None]
        if not tests:
            return
        if error := self.build(tests):
            raise Problem(f"without a mutant it does not build: {error}")
        for test in tests:
            began = time.monotonic()
            with Command(test.command, self.build_folder, {**TEST_ENV, **test.env}) as run:
                code, output = run.wait(), run.text()
            if code not in (0, SKIPPED):
                raise Problem(f"without a mutant the test {test.name!r} fails:\n{output[-3000:]}")
            test.seconds = time.monotonic() - began
            test.is_catch2 = PASSED_CATCH2.search(output) is not None

    def first_failure(self, tests):
        """(test, what it found), or None."""
        stop = threading.Event()

        def try_test(test):
            finding = None if stop.is_set() else self.finding(test, stop)
            if finding is not None:
                stop.set()
            return test, finding

        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            try:
                runs = [pool.submit(try_test, test) for test in tests]
                for run in concurrent.futures.as_completed(runs):
                    if run.result()[1] is not None:
                        return run.result()
                return None
            finally:
                stop.set()

    def finding(self, test, stop):
        """What the test says; None if it passes, or was stopped."""
        command = [*test.command, "--abort"] if test.is_catch2 else test.command
        with Command(command, self.build_folder, {**TEST_ENV, **test.env}) as run:
            code = run.wait(test.limit(), stop)
            if stop.is_set() and code is None:
                return None
            if code is not None:
                return None if code in (0, SKIPPED) else finding_of(run.text(), code)
            run.signal(signal.SIGTERM)
            run.wait(TO_SAY_WHERE)
            case = case_of_catch2(run.text())
            return f"{case} (hangs)" if case else "hangs"
