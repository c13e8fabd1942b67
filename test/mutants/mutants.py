"""tools/mutants: what it says there.

The copy of the tree stands in a folder of its own under ${TMPDIR:-/tmp} and goes with this program,
however that ends. A test is believed only after it was seen to pass without a mutant.
"""

import argparse
import contextlib
import difflib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import patches
from runner import Bench, Problem

TOP = pathlib.Path(__file__).resolve().parents[2]
FOLDER = pathlib.Path("test/mutants")


class Verdict:
    def __init__(self, kind, detail=""):
        self.kind = kind  # caught, SURVIVED or BROKEN
        self.detail = detail


def load(folder, names):
    """{name: Patch, or the Broken that it is}"""
    found = {}
    for path in sorted(folder.glob("*.patch")):
        if names and path.stem not in names:
            continue
        try:
            found[path.stem] = patches.read(path)
        except patches.Broken as broken:
            found[path.stem] = broken
    return found


@contextlib.contextmanager
def planted(tree, patch):
    """The tree with the mutant in it, and afterwards as it was. (Written anew, both times: for
    ninja a file is as new as its time says.)"""
    changes = patch.apply(tree)
    try:
        for path, (_, after) in changes.items():
            (tree / path).write_text(after, encoding="utf-8")
        yield
    finally:
        for path, (before, _) in changes.items():
            (tree / path).write_text(before, encoding="utf-8")


def stages(tests, named):
    """The test, or the suite, that is named; then the others, those first that are soon done."""
    first = [test for test in tests if test.is_named(named)]
    rest = sorted((test for test in tests if test not in first), key=lambda test: test.seconds or 0)
    return [stage for stage in (first, rest) if stage]


def try_mutant(bench, patch):
    named, _ = patch.caught_by
    for tests in stages(bench.tests, named):
        bench.measure(tests)
        with planted(bench.tree, patch):
            if error := bench.build(tests):
                return Verdict("BROKEN", f"it does not build: {error}")
            failure = bench.first_failure(tests)
        if failure is not None:
            test, finding = failure
            note = "" if test.is_named(named) else f" (its patch says: {named})"
            return Verdict("caught", f"by {test.name}: {finding}{note}")
    return Verdict("SURVIVED")


def run_all(bench, mutants, keep_going):
    """{kind: how many}"""
    counts = {"caught": 0, "SURVIVED": 0, "BROKEN": 0}
    width = max(map(len, mutants), default=0)
    # Those of one file behind each other: what one leaves to be rebuilt, the next changes anyway.
    for name, patch in sorted(mutants.items(), key=file_of):
        began = time.monotonic()
        try:
            if isinstance(patch, patches.Broken):
                raise patch
            verdict = try_mutant(bench, patch)
        except patches.Broken as broken:
            verdict = Verdict("BROKEN", str(broken))
        counts[verdict.kind] += 1
        seconds = time.monotonic() - began
        print(f"{verdict.kind:8} {name:{width}}  {verdict.detail}  ({seconds:.0f} s)", flush=True)
        if verdict.kind != "caught" and not keep_going:
            break
    return counts


def file_of(mutant):
    name, patch = mutant
    return ("" if isinstance(patch, patches.Broken) else min(patch.files), name)


def check(tree, mutants):
    """How many are broken."""
    broken = 0
    for name, patch in mutants.items():
        try:
            if isinstance(patch, patches.Broken):
                raise patch
            patch.apply(tree)
        except patches.Broken as why:
            broken += 1
            print(f"BROKEN {name}: {why}")
    print(f"mutants: {len(mutants) - broken} apply, {broken} do not")
    return broken


def list_all(mutants):
    for name, patch in mutants.items():
        print(f"{name}\n    {getattr(patch, 'sentence', 'BROKEN: ' + str(patch))}")


def copy_tree(top, tree):
    def ignored(folder, names):
        if pathlib.Path(folder) != top:
            return {"__pycache__"}.intersection(names)
        return {name for name in names if name.startswith((".", "build"))}

    shutil.copytree(top, tree, symlinks=True, ignore=ignored)


def run(top, mutants, options):
    setup = subprocess.run([top / "tools/setup"], check=False).returncode
    if setup != 0:
        return setup
    with tempfile.TemporaryDirectory(prefix="weir-mutants-", ignore_cleanup_errors=True) as scratch:
        tree = pathlib.Path(scratch) / "weir"
        copy_tree(top, tree)
        bench = Bench(tree, options.jobs)
        bench.set_up(options.only)
        counts = run_all(bench, mutants, options.keep_going)
    print("mutants: {caught} caught, {SURVIVED} survived, {BROKEN} broken".format(**counts))
    return 0 if counts["caught"] == len(mutants) else 1


def parse(arguments):
    parser = argparse.ArgumentParser(prog="mutants", add_help=False, allow_abbrev=False)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--keep-going", action="store_true")
    parser.add_argument("--only")
    parser.usage = ("tools/mutants [--list | --check] [--jobs N] [--keep-going] [--only TEST] "
                    "[NAME...]")
    options = parser.parse_intermixed_args(arguments)
    if options.jobs < 1:
        parser.error("--jobs takes a number from 1")
    if options.list and options.check:
        parser.error("--list and --check are two things")
    known = [path.stem for path in (TOP / FOLDER).glob("*.patch")]
    for name in options.names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            parser.error(f"there is no mutant {name!r} (see --list)"
                         + (f": is it {near[0]!r}?" if near else ""))
    return options


def leave(number, _):
    sys.exit(128 + number)


def main(arguments):
    options = parse(arguments)
    mutants = load(TOP / FOLDER, options.names)
    if options.list:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # of `| head`
        list_all(mutants)
        return 0
    if options.check:
        return 1 if check(TOP, mutants) else 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    try:
        return run(TOP, mutants, options)
    except Problem as problem:
        print(f"mutants: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
