"""Tests tools/mutants on small trees: what a patch has to be, how it is planted and taken back, and
what is said of it."""

import contextlib
import io
import pathlib
import sys
import tempfile
import threading

import mutants
import patches
import runner

SOURCE = "".join(f"line {i}\n" for i in range(1, 31))
TEXT = "A sentence.\n\nWhat is seen.\n\nCaught-by: net / a case\n\n"
DIFF = """\
diff --git a/src/a.cc b/src/a.cc
--- a/src/a.cc
+++ b/src/a.cc
@@ -9,3 +9,3 @@
 line 9
-line 10
+line ten
 line 11
"""
TWO_HUNKS = DIFF + """\
@@ -19,3 +19,4 @@
 line 19
+line 19 and a half
 line 20
 line 21
"""
NEW = SOURCE.replace("line 10\n", "line ten\n")
NEWER = NEW.replace("line 20\n", "line 19 and a half\nline 20\n")

# What src/a.cc is, the patch, and what it becomes; or a part of what is said of it.
PATCHES = [
    (SOURCE, TEXT + DIFF, NEW),
    (SOURCE, TEXT + TWO_HUNKS, NEWER),
    ("new\n" * 5 + SOURCE, TEXT + TWO_HUNKS, "new\n" * 5 + NEWER),
    (SOURCE.replace("line 11\n", ""), TEXT + DIFF, "fits in no place"),
    ("new\n" + SOURCE * 2, TEXT + DIFF, "fits in 2 places"),
    (SOURCE * 2, TEXT + DIFF, NEW + SOURCE),  # one of them is where it says
    (None, TEXT + DIFF, "there is no src/a.cc"),
    (SOURCE, TEXT + DIFF.replace("line ten", "line 10"), "it changes nothing"),
    (SOURCE, TEXT, "it changes nothing"),
    (SOURCE, TEXT + DIFF.replace(" line 11\n", ""), "ends too soon"),
    (SOURCE, TEXT + DIFF.replace("src/", "test/"), "it changes test/a.cc"),
    (SOURCE, TEXT + DIFF.replace("src/", "src/../test/"), "it changes src/../test/a.cc"),
    (SOURCE, TEXT + DIFF + "junk\n", "is no part of a diff"),
    (SOURCE, TEXT.replace("net / a case", "net") + DIFF, "no line 'Caught-by"),
    (SOURCE, TEXT.replace("What is seen.\n\n", "") + DIFF, "does not begin with"),
]

CATCH2 = f"""\
{"-" * 79}
A case whose name is so long that Catch2 has to break it
into two lines
  a section
{"-" * 79}
../a_test.cc:1
{"." * 79}

../a_test.cc:2: FAILED:
  CHECK( false )

{"=" * 79}
test cases: 1 | 1 failed
"""

# Output, exit code, what is said of it.
FINDINGS = [
    (CATCH2, 1, "A case whose name is so long that Catch2 has to break it into two lines"),
    ("F.\n====\nFAIL: test_a (__main__.Tests)\n----\n", 1, "test_a (__main__.Tests)"),
    ("begun\n", -11, "killed by SIGSEGV"),
    ("begun\nit went wrong\n\n", 1, "it went wrong"),
    ("", 3, "exit code 3"),
]


class FakeBench:
    """Tests that fail when they find a word in the tree, or that it does not build."""

    def __init__(self, tree, **words):
        self.tree = tree
        self.words = words
        self.tests = [runner.Test(name, ["unit"], [], {}, []) for name in words]
        self.ran = []

    def text(self):
        return (self.tree / "src/a.cc").read_text()

    def build(self, _):
        return "a.cc:1: error" if "does not build" in self.text() else None

    def measure(self, tests):
        assert "line 10\n" in self.text(), "a test is measured without a mutant"
        for test in tests:
            test.seconds = 1.0

    def first_failure(self, tests):
        for test in tests:
            self.ran.append(test.name)
            if self.words[test.name] in self.text():
                return test, "a case"
        return None


# The words for which tests fail, the new line, what is said, which tests ran.
RUNS = [
    ({"data": "no", "net": "ten"}, "line ten", "caught   a  by net: a case  ", ["net"]),
    ({"data": "ten", "net": "no"}, "line ten",
     "caught   a  by data: a case (its patch says: net)  ", ["net", "data"]),
    ({"data": "no", "net": "no"}, "line ten", "SURVIVED a    ", ["net", "data"]),
    ({"data": "ten"}, "line ten", "caught   a  by data: a case (its patch says: net)  ", ["data"]),
    ({"net": "no"}, "does not build", "BROKEN   a  it does not build: a.cc:1: error  ", []),
]


@contextlib.contextmanager
def small_tree(source, **patch_texts):
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder)
        (tree / "src").mkdir()
        if source is not None:
            (tree / "src/a.cc").write_text(source)
        for name, text in patch_texts.items():
            (tree / f"{name}.patch").write_text(text)
        yield tree


def test_patches():
    for source, text, wanted in PATCHES:
        with small_tree(source, a=text) as tree:
            try:
                [(before, got)] = patches.read(tree / "a.patch").apply(tree).values()
                good = got == wanted and before == source
            except patches.Broken as broken:
                got = str(broken)
                good = wanted in got
            if not good:
                yield f"{text!r}: wanted {wanted!r}, got {got!r}"


def test_planting():
    with small_tree(SOURCE, a=TEXT + DIFF) as tree:
        with contextlib.suppress(KeyboardInterrupt):
            with mutants.planted(tree, patches.read(tree / "a.patch")):
                if (tree / "src/a.cc").read_text() != NEW:
                    yield "it was not planted"
                raise KeyboardInterrupt
        if (tree / "src/a.cc").read_text() != SOURCE:
            yield "it was not taken back"


def test_findings():
    for output, code, wanted in FINDINGS:
        if (got := runner.finding_of(output, code)) != wanted:
            yield f"{output!r}: wanted {wanted!r}, got {got!r}"


def said_of(function, *arguments):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        result = function(*arguments)
    return said.getvalue(), result


def test_runs():
    for words, line, wanted, ran in RUNS:
        with small_tree(SOURCE, a=TEXT + DIFF.replace("line ten", line)) as tree:
            bench = FakeBench(tree, **words)
            said, counts = said_of(mutants.run_all, bench, mutants.load(tree, []), False)
            if not said.startswith(wanted) or bench.ran != ran or sum(counts.values()) != 1:
                yield f"wanted {wanted!r} by {ran}, got {said!r} by {bench.ran}, {counts}"


def test_keeping_going():
    for keep_going, wanted in ((False, 1), (True, 3)):
        with small_tree(SOURCE, a=TEXT + DIFF, b=TEXT, c=TEXT + DIFF) as tree:
            bench = FakeBench(tree, net="no")
            _, counts = said_of(mutants.run_all, bench, mutants.load(tree, []), keep_going)
            if sum(counts.values()) != wanted or counts["BROKEN"] != 1:
                yield f"keep_going {keep_going}: {counts}"


def test_checking():
    with small_tree(SOURCE, a=TEXT + DIFF, b=TEXT, c=TEXT + DIFF.replace("line 9", "x")) as tree:
        said, broken = said_of(mutants.check, tree, mutants.load(tree, []))
        if broken != 2 or said.splitlines()[-1] != "mutants: 1 apply, 2 do not":
            yield f"check said {said!r}"


def test_the_copy():
    with small_tree(SOURCE) as tree:
        for folder in ("build", "build-asan", ".git", "src/build"):
            (tree / folder).mkdir()
        (tree / "src/.keep").touch()
        with tempfile.TemporaryDirectory() as scratch:
            copy = pathlib.Path(scratch) / "copy"
            mutants.copy_tree(tree, copy)
            got = sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*"))
        if got != ["src", "src/.keep", "src/a.cc", "src/build"]:
            yield f"copied {got}"


def test_commands():
    """A hang is told, and nobody stays: neither a child nor one that does not listen."""
    script = "trap '' TERM; echo begun; sleep 60 & echo $!; sleep 60"
    with runner.Command(["sh", "-c", script], "/", {}) as command:
        if command.wait(0.3) is not None:
            yield "it ended before its time"
        child = int(command.text().split()[1])
    for _ in range(100):
        state = pathlib.Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().rsplit(")")[-1].split()[0] == "Z":
            break
        threading.Event().wait(0.05)
    else:
        yield "its child lives on"


def main():
    failures = [f"{test.__name__}: {failure}" for test in TESTS for failure in test()]
    print(*failures, sep="\n")
    print(f"mutants self-test: {len(failures)} failures")
    return 1 if failures else 0


TESTS = [test_patches, test_planting, test_findings, test_runs, test_keeping_going, test_checking,
         test_the_copy, test_commands]

if __name__ == "__main__":
    sys.exit(main())
