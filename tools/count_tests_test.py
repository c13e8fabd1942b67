"""Tests count_tests.py on logs as meson and Catch2 (2 and 3) write them."""

import contextlib
import io
import json
import pathlib
import sys
import tempfile

import count_tests

BAR = "=" * 79 + "\n"
ONE_GOOD = [("OK", BAR + "All tests passed (1 assertion in 1 test case)\n")]

# Name, tests (result, stdout), exit code of meson test, last line, exit code.
CASES = [
    ("all passed", [("OK", BAR + "All tests passed (12 assertions in 3 test cases)\n")], 0,
     "3 passed, 0 failed", 0),
    ("sums", ONE_GOOD * 3, 0, "3 passed, 0 failed", 0),
    ("some failed", [("FAIL", BAR + "test cases:  45 |  44 passed | 1 failed\nassertions: 9\n")], 1,
     "44 passed, 1 failed", 1),
    ("all failed", [("FAIL", "test cases: 1 | 1 failed\nassertions: 1 | 1 failed\n")], 1,
     "0 passed, 1 failed", 1),
    ("as expected", [("OK", "test cases: 3 | 2 passed | 1 failed as expected\n")], 0,
     "3 passed, 0 failed", 0),
    ("all three", [("FAIL", "test cases: 6 | 3 passed | 1 failed | 2 failed as expected\n")], 1,
     "5 passed, 1 failed", 1),
    ("skipped cases", [("OK", "test cases: 3 | 2 passed | 1 skipped\n")], 0,
     "2 passed, 0 failed", 0),
    ("no assertions", [("OK", "test cases: 2 | 2 passed\nassertions: - none -\n")], 0,
     "2 passed, 0 failed", 0),
    ("a plain program", [("OK", "hello\n"), ("FAIL", "hello\n")], 1, "1 passed, 1 failed", 1),
    ("a program that skips", [("SKIP", ""), *ONE_GOOD], 0, "1 passed, 0 failed", 0),
    ("a crash after the summary", [("FAIL", "All tests passed (1 assertion in 7 test cases)\n")], 1,
     "7 passed, 1 failed", 1),
    ("a crash without one", [("FAIL", None), *ONE_GOOD], 1, "1 passed, 1 failed", 1),
    ("a time-out", [("TIMEOUT", "begun\n"), *ONE_GOOD], 1, "1 passed, 1 failed", 1),
    ("could not start", [("ERROR", "")], 1, "0 passed, 1 failed", 1),
    ("interrupted", [("INTERRUPT", "")], 1, "0 passed, 1 failed", 1),
    ("should fail, and does", [("EXPECTEDFAIL", "test cases: 1 | 1 failed\n")], 0,
     "1 passed, 0 failed", 0),
    ("should fail, and does not", [("UNEXPECTEDPASS", "")], 1, "0 passed, 1 failed", 1),
    ("meson fails, no test does", ONE_GOOD, 1, "1 passed, 1 failed", 1),
    ("no log at all", None, 1, "0 passed, 1 failed", 1),
    ("nothing ran", [], 0, "0 passed, 0 failed", 1),
    ("nothing but skips", [("SKIP", "")], 0, "0 passed, 0 failed", 1),
]


def count(tests, meson_code):
    with tempfile.TemporaryDirectory() as folder:
        if tests is not None:
            lines = [json.dumps({"result": result, "stdout": out}) for result, out in tests]
            (pathlib.Path(folder) / "testlog.json").write_text("\n".join(lines) + "\n")
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            code = count_tests.main(folder, meson_code)
        return said.getvalue().splitlines()[-1], code


def main():
    failures = 0
    for name, tests, meson_code, *wanted in CASES:
        if (got := list(count(tests, meson_code))) != wanted:
            failures += 1
            print(f"{name}: wanted {wanted}, got {got}")
    print(f"{len(CASES)} logs, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
