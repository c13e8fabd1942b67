"""Runs tools/bench, and looks at the form of what it prints: no figure is asserted.

    bench_test.py BUILD_FOLDER
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BENCH = pathlib.Path(__file__).resolve().parents[1] / "bench"

ROWS = ["one", "short", "fair"]
FAST = ["--rounds", "1", "--seconds", "0.5"]

NUMBER = r"[\d,]+"
RATIO = r"\d+\.\d\d"
TABLE = "\n".join([
    r"\| server CPU for a request +\| C +\| weir +\|",
    r"\| -+ \| -+ \| -+ \|",
    *[rf"\| {title} +\| 1\.00 = {RATIO} us +\| ({RATIO} \[{RATIO} {RATIO}\]|-) +\|"
      for title in ("1 connection, 64 bytes", "50 at a time: connect, 64 bytes, reset",
                    "20 connections, 300 kB, 2 in flight")],
    r"",
    r"\| requests a second +\| C +\| weir +\|",
    r"\| -+ \| -+ \| -+ \|",
    *[rf"\| {title}.* +\| {NUMBER} +\| {NUMBER} +\|" for title in ("1 conn", "50 at", "20 conn")],
    r"",
    r"\| latency in ms, p99 / worst +\| C +\| weir +\|",
    r"\| -+ \| -+ \| -+ \|",
    r"\| 20 connections.* +\| [\d.]+ / [\d.]+ +\| [\d.]+ / [\d.]+ +\|",
    r"",
    r".+, \d+ CPUs; Linux .+; \S+ [\d.]+ -O\S+; "
    r"(server on CPU \d+, load on CPU \d+|not pinned: one CPU)\.",
    r"1 rounds of 0\.5 s each\. Others took \d+ % of a CPU meanwhile.*\.",
    r"",
])

# What stands in for a server, and what is said of it then.
LIARS = {
    "says nothing": ("#!/bin/sh\n", "C: does not listen, but says ''"),
    "dies": ("#!/bin/sh\necho listening on tcp://127.0.0.1:9\nexec false\n", "C: "),
    "flips a byte": (f"""#!{sys.executable}
import socket
listener = socket.create_server(("127.0.0.1", 0))
print("listening on tcp://127.0.0.1:%d" % listener.getsockname()[1], flush=True)
peer, _ = listener.accept()
while data := peer.recv(65536):
    peer.sendall(bytes([data[0] ^ 1]) + data[1:])
""", "C: '1 connection, 64 bytes': connection 1: byte 0 was sent as 0x"),
}


def bench(*arguments):
    return subprocess.run([BENCH, *arguments], capture_output=True, text=True, timeout=60)


def running_in(folder):
    """The names of the programs of `folder` that run."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            program = pathlib.Path(os.readlink(entry / "exe"))
        except OSError:
            continue  # no process, or it has ended, or is somebody else's
        if folder in program.parents:
            found.append(program.name)
    return found


def lying_folder(build, folder, text):
    """A build folder as `build`, with `text` in place of the C reference."""
    for name in ("tools/weir-echo-load", "examples/echo"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(build / name)
    program = folder / "tools/epoll_echo"
    program.write_text(text)
    program.chmod(0o755)
    return folder


def interrupt(folder):
    """Ctrl-C in the middle: returns the exit code."""
    process = subprocess.Popen([BENCH, "--build", folder, "--rows", "one", "--seconds", "30"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while process.poll() is None and "weir-echo-load" not in running_in(folder):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    return process.returncode


def main(build):
    failures = []

    def check(what, done, code, output):
        if done.returncode != code or output not in done.stdout + done.stderr:
            failures.append(f"{what}: wanted {code} and {output!r}, got {done}")

    check("--help", bench("--help"), 0, "usage: tools/bench")
    for arguments, message in {
        ("--bogus",): "--bogus",
        ("--rounds", "0"): "'0' is not a number from 1 to 1000",
        ("--rounds", "x"): "'x' is not a number",
        ("--seconds", "nan"): "'nan' is not a number",
        ("--seconds",): "expected one argument",
        ("--rows", "one,two"): "'two' is none of one,fifty",
        ("--servers", "weir,nginx"): "'nginx' is none of epoll,weir",
        ("more",): "more",
    }.items():
        check(arguments, bench(*arguments), 2, message)

    done = bench("--build", build, "--servers", "weir", "--rows", ",".join(ROWS), *FAST)
    if done.returncode != 0 or not re.fullmatch(TABLE, done.stdout):
        failures.append(f"the table: wanted {TABLE}, got {done.stdout}{done.stderr}")

    with tempfile.TemporaryDirectory() as scratch:
        for what, (text, message) in LIARS.items():
            folder = pathlib.Path(scratch, what.replace(" ", "-"))
            folder.mkdir()
            lying_folder(build, folder, text)
            done = bench("--build", folder, "--servers", "weir", "--rows", "one", *FAST)
            check(f"one that {what}", done, 1, message)
            if done.stdout:
                failures.append(f"one that {what}: a table all the same: {done.stdout}")
        check("none of the packages", bench("--build", folder, "--servers", "uv,asio", *FAST),
              1, "goes on without libuv: package libuv1-dev is missing")

        # Copies, so that no other test's process is taken for one of these.
        copies = pathlib.Path(scratch, "copies")
        for name in ("tools/weir-echo-load", "examples/echo", "tools/epoll_echo"):
            (copies / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(build / name, copies / name)
        code = interrupt(copies)
        if code != 128 + signal.SIGINT or running_in(copies):
            failures.append(f"Ctrl-C: exit code {code}, still there: {running_in(copies)}")

    print(*failures, sep="\n")
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve()))
