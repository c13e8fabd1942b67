"""Counts the test cases of a `meson test`, from the log that it leaves.

    count_tests.py FOLDER_OF_LOGS EXIT_CODE_OF_MESON_TEST

Prints `N passed, N failed` as its last line; exits 0 only if nothing failed and something passed.

A Catch2 program counts as its summary says; any other as one case. A program that failed counts at
least one failed case, whatever it printed before (it may have crashed after its summary, or have
been killed). Skipped cases count as neither.
"""

import json
import pathlib
import re
import sys
from typing import NamedTuple

ALL_PASSED = re.compile(r"^All tests passed \(.*\bin (\d+) test cases?\)", re.MULTILINE)
TOTALS = re.compile(r"^test cases: *\d+ *(\|.*)$", re.MULTILINE)
PASSED = re.compile(r"(\d+) passed|(\d+) failed as expected")
FAILED = re.compile(r"(\d+) failed(?! as expected)")
SKIPPED = re.compile(r"(\d+) skipped")

GOOD = {"OK", "EXPECTEDFAIL"}


class Count(NamedTuple):
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def plus(self, other):
        return Count(*(a + b for a, b in zip(self, other)))


def numbers(pattern, text):
    return sum(int(n) for match in pattern.finditer(text) for n in match.groups() if n)


def catch2_summary(stdout):
    """What a Catch2 program says of itself; None if it says nothing."""
    total, found = Count(), False
    for match in ALL_PASSED.finditer(stdout):
        total, found = total.plus(Count(passed=int(match[1]))), True
    for match in TOTALS.finditer(stdout):
        row = match[1]
        total = total.plus(Count(numbers(PASSED, row), numbers(FAILED, row), numbers(SKIPPED, row)))
        found = True
    return total if found else None


def count_test(record):
    result = record["result"]
    if result == "SKIP":
        return Count(skipped=1)
    if result == "EXPECTEDFAIL":
        return Count(passed=1)
    count = catch2_summary(record.get("stdout") or "")
    if count is None:
        return Count(passed=1) if result in GOOD else Count(failed=1)
    if result not in GOOD and count.failed == 0:
        return count.plus(Count(failed=1))
    return count


def main(folder, meson_code):
    count = Count()
    for log in sorted(pathlib.Path(folder).glob("testlog*.json")):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.strip():
                count = count.plus(count_test(json.loads(line)))

    if meson_code != 0 and count.failed == 0:
        print(f"meson test failed (exit code {meson_code}), and no test says why: see above")
        count = count.plus(Count(failed=1))
    if count.passed == 0 and count.failed == 0:
        print("no test ran")
    if count.skipped:
        print(f"{count.skipped} skipped")
    print(f"{count.passed} passed, {count.failed} failed")
    return 0 if count.failed == 0 and count.passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
