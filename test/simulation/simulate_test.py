"""Runs weir-simulate, seen from outside: the real one, and one whose lives go wrong on purpose.

    simulate_test.py FAKE [PROGRAM...]

FAKE is linked with fake_play.cc: its seed 75 has a finding, its seed 634 aborts.
"""

import os
import pathlib
import pty
import re
import signal
import subprocess
import sys
import tempfile
import time

TALLY = r"(\d+) seeds, \d+ calls, \d+ faults, \d+ turns, \d+ connections, \d+ bytes"
SUMMARY = re.compile(rf"simulate: {TALLY}, [\d.]+ s: (\d+) findings")  # of many
SUMMARY_OF_ONE = re.compile(rf"simulate: {TALLY}: (\d+) findings")

WRONG_USAGE = {
    ("--bogus",): "unknown option '--bogus'",
    ("more",): "unexpected argument 'more'",
    ("--seed",): "--seed needs a value",
    ("--seed", "-1"): "--seed '-1': not a number",
    ("--seeds", "0"): "--seeds '0': not a number from 1 to",
    ("--first", "x"): "--first 'x': not a number",
    ("--seconds", "nan"): "--seconds 'nan': not a number",
    ("--jobs", "257"): "--jobs '257': not a number from 1 to 256",
    ("--trace",): "--trace needs --seed or --schedule",
    ("--seed", "1", "--schedule", "x"): "--seed and --schedule exclude each other",
    ("--seed", "1", "--seeds", "2"): "--seed plays one life",
    ("--schedule", "x", "--no-shrink"): "--schedule plays one life",
}

QUIET = {**os.environ, "FAKE_QUIET": "1"}  # the fake finds nothing

failures = []


def run(program, *arguments, folder=None, env=None):
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60,
                          cwd=folder, env=env)


def check(what, done, code, output):
    """One line on stderr if it went wrong by itself; nothing there otherwise."""
    if done.returncode != code or output not in done.stdout + done.stderr:
        failures.append(f"{what}: wanted {code} and {output!r}, got {done}")
    complains = done.returncode == 2 or (done.returncode == 1 and not done.stdout)
    if done.stderr.count("\n") != (1 if complains else 0):
        failures.append(f"{what}: wanted {int(complains)} lines on stderr, got {done}")


def check_summary(what, done, pattern, seeds, findings):
    last = done.stdout.splitlines()[-1:] or [""]
    match = pattern.fullmatch(last[0])
    if not match or (seeds and int(match[1]) != seeds) or int(match[2]) != findings:
        failures.append(f"{what}: wanted {seeds or 'some'} seeds, {findings} findings: {done}")


def check_usage(program):
    check("--help", run(program, "--help"), 0, "Usage: tools/simulate")
    for arguments, message in WRONG_USAGE.items():
        done = run(program, *arguments)
        check(arguments, done, 2, f"weir-simulate: {message}")
        if done.stdout:
            failures.append(f"{arguments}: says more than that: {done}")


def check_quiet_runs(program, scratch):
    """Its first seeds have no finding."""
    done = run(program, "--seeds", "20", "--jobs", "2")
    check("20 seeds", done, 0, "seeds from 1 on, 2 processes\n")
    check_summary("20 seeds", done, SUMMARY, 20, 0)

    first = run(program, "--seed", "3", "--trace")
    check_summary("--seed", first, SUMMARY_OF_ONE, 1, 0)
    again = run(program, "--seed", "3", "--trace")
    if first.stdout.count("\n") < 5 or first.stdout != again.stdout:
        failures.append(f"--trace: nothing, or another one the next time: {first.stdout[:2000]}")
    if first.stdout == run(program, "--seed", "4", "--trace").stdout:
        failures.append("--trace: seeds 3 and 4 do the same")

    written = scratch / "some.schedule"
    written.write_text("# by hand\nplan: 3 0*12 5\n")
    done = run(program, "--schedule", written, "--trace")
    check_summary("--schedule", done, SUMMARY_OF_ONE, 1, 0)
    if done.stdout != run(program, "--schedule", written, "--trace").stdout:
        failures.append(f"--schedule: another one the next time: {done.stdout[:2000]}")
    written.write_text("plan: 3\norder: 4 x\n")
    check("a malformed schedule", run(program, "--schedule", written), 1,
          f"weir-simulate: {written}: line 2: 'x' is neither")
    check("a missing schedule", run(program, "--schedule", "/no/file"), 1,
          "weir-simulate: /no/file: No such file or directory")
    check("a folder", run(program, "--schedule", scratch), 1, f"{scratch}: Is a directory")


def check_finding(fake, scratch):
    """What is found is cut down to a file that fails in the same way."""
    arguments = ["--first", "70", "--seeds", "10"]
    done = run(fake, *arguments, folder=scratch)
    check("a finding", done, 1, "\nseed 75\nfinding: made up: the sum is 537\n"
          "replay: tools/simulate --seed 75 --trace\nshrunk: 38 choices that are not 0 to 3 in ")
    check("a finding", done, 1, "\nfinding: made up: the sum is 100\n"
          "replay: tools/simulate --schedule weir-finding-75.schedule --trace\n")
    check_summary("a finding", done, SUMMARY, None, 1)
    again = run(fake, "--schedule", "weir-finding-75.schedule", folder=scratch)
    check("a shrunk finding", again, 1, "finding: made up: the sum is 100\n")
    check_summary("a shrunk finding", again, SUMMARY_OF_ONE, 1, 1)
    check("a seed with a finding", run(fake, "--seed", "75"), 1,
          "finding: made up: the sum is 537\n")

    (scratch / "weir-finding-75.schedule").unlink()
    done = run(fake, "--no-shrink", *arguments, folder=scratch)
    if "shrunk" in done.stdout or list(scratch.glob("weir-finding*")):
        failures.append(f"--no-shrink: {done}")

    done = run(fake, "--first", "634", "--seeds", "1", folder=scratch)
    check("a crash", done, 1, "\nseed 634\nfinding: SIGABRT, check failed: the sum is small\n")
    again = run(fake, "--schedule", "weir-finding-634.schedule", folder=scratch)
    if again.returncode != -signal.SIGABRT or "check failed" not in again.stderr:
        failures.append(f"a crash, again: {again}")

    done = run(fake, "--first", "570", "--seeds", "40", "--keep-going", "--no-shrink")
    check_summary("--keep-going", done, SUMMARY, 40, done.stdout.count("\nseed "))
    if done.stdout.count("\nseed ") < 2:
        failures.append(f"--keep-going: only one: {done}")


def check_fresh_seeds(fake):
    """Without --first each run has its own."""
    firsts = [run(fake, "--seconds", "0.001", env=QUIET).stdout.split()[2:3] for _ in range(2)]
    if firsts[0] == firsts[1]:
        failures.append(f"fresh seeds: {firsts}")


def running(program):
    """The ids of the processes of `program`."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if pathlib.Path(os.readlink(entry / "exe")) == program:
                found.append(int(entry.name))
        except OSError:
            continue  # no process, or it has ended, or is somebody else's
    return found


def wait_for_workers(program, count):
    deadline = time.monotonic() + 30
    while len(running(program)) != count and time.monotonic() < deadline:
        time.sleep(0.01)
    found = running(program)
    if len(found) != count:
        failures.append(f"wanted {count} processes, there are {found}")
        for pid in found:
            os.kill(pid, signal.SIGKILL)


def start_long(fake, stderr=subprocess.PIPE):
    """It has seeds for hours, and finds nothing."""
    process = subprocess.Popen([fake, "--first", "1", "--seeds", "1000000000", "--jobs", "2",
                                "--no-shrink"], stdout=subprocess.PIPE, stderr=stderr, text=True,
                               env=QUIET)
    wait_for_workers(fake, 3)
    return process


def check_ends(program):
    """However it is ended, no worker stays."""
    process = start_long(program)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    done = subprocess.CompletedProcess("Ctrl-C", process.returncode, stdout, stderr)
    check("Ctrl-C", done, 0, "simulate: ")
    check_summary("Ctrl-C", done, SUMMARY, None, 0)
    wait_for_workers(program, 0)

    process = start_long(program)
    process.kill()
    process.wait(timeout=30)  # not for the ends of its pipes: the workers have them
    wait_for_workers(program, 0)
    process.communicate()


def check_progress(program):
    """On a terminal one line, written again and again, and away at the end."""
    controller, terminal = pty.openpty()
    process = start_long(program, stderr=terminal)
    os.close(terminal)
    shown = b""
    while shown.count(b"\r") < 2:
        shown += os.read(controller, 4096)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    shown += os.read(controller, 4096)
    os.close(controller)
    line = rb"\r%d s: [1-9]\d* seeds \(\d+/s\), \d+ calls, \d+ faults, 0 findings\x1b\[K"
    if not re.fullmatch(line % 1 + line % 2 + rb"\r\x1b\[K", shown):
        failures.append(f"progress: {shown}")


def main(fake, *programs):
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch).resolve()
        for program in (fake, *programs):
            check_usage(program)
            check_quiet_runs(program, scratch)
        check_finding(fake, scratch)
        check_fresh_seeds(fake)
        # A copy, so that no other test's process is taken for one of these.
        copy = scratch / "simulate"
        copy.write_bytes(fake.read_bytes())
        copy.chmod(0o755)
        check_ends(copy)
        check_progress(copy)

    print(*failures, sep="\n")
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*(pathlib.Path(program).resolve() for program in sys.argv[1:])))
