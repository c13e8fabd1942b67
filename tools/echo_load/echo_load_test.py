"""Runs weir-echo-load against echo servers that lie, and sees each found out.

    echo_load_test.py PATH_OF_WEIR_ECHO_LOAD
"""

import json
import os
import socket
import struct
import subprocess
import sys
import threading

SPOIL_AFTER = 5000  # bytes

accepted = {}  # port: connections


def flip(data):
    return data[:-1] + bytes([data[-1] ^ 1])


# What a server does to its echo after a while; None: it ends the connection.
SPOILERS = {
    "honest": lambda data: data,
    "flips a bit": flip,
    "loses a byte": lambda data: data[1:],
    "doubles a byte": lambda data: data + data[:1],
    "ends early": lambda data: None,
}


def echo(peer, server):
    total = 0
    while data := peer.recv(65536):
        total += len(data)
        if total > SPOIL_AFTER and server in SPOILERS:
            data = SPOILERS[server](data)
            if data is None:
                return
        peer.sendall(data)
    if server == "says more at the end":
        peer.sendall(b"x")
    if server == "resets at the end":
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def serve_one(peer, server):
    with peer:
        try:
            echo(peer, server)
        except OSError:
            pass  # the load has seen enough and is gone


def start(server):
    """A server that accepts for as long as this process lives; its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def accept():
        while True:
            peer, _ = listener.accept()
            accepted[port] += 1
            threading.Thread(target=serve_one, args=(peer, server), daemon=True).start()

    port = listener.getsockname()[1]
    accepted[port] = 0
    threading.Thread(target=accept, daemon=True).start()
    return port


def run(program, *arguments):
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)


def load(program, server, *arguments):
    return run(program, "--connect", f"tcp://127.0.0.1:{start(server)}", "--connections", "3",
               "--seconds", "0.2", *arguments)


def check_short(program, failures):
    """One connection for each request, and for those that were in flight when the time was up."""
    port = start("honest")
    done = run(program, "--connect", f"tcp://127.0.0.1:{port}", "--connections", "3",
               "--seconds", "0.2", "--reconnect", "--json")
    if done.returncode != 0 or accepted[port] != json.loads(done.stdout)["requests"] + 3:
        failures.append(f"--reconnect: {accepted[port]} connections, {done}")


def main(program):
    failures = []

    def check(what, done, code, output):
        if done.returncode != code or output not in done.stdout + done.stderr:
            failures.append(f"{what}: wanted {code} and {output!r}, got {done}")
        if code != 0 and (done.stdout or done.stderr.count("\n") != 1):
            failures.append(f"{what}: wanted one line on stderr, got {done}")

    for shape in (["--size", "1"], ["--size", "64", "--depth", "16"], ["--size", "3000001"]):
        check(f"honest {shape}", load(program, "honest", *shape), 0, "requests/s")
    report = json.loads(load(program, "honest", "--json").stdout)
    latencies = [0, *(report[key] for key in ("p50_us", "p99_us", "p999_us", "worst_us"))]
    if report["requests"] <= 0 or latencies != sorted(latencies):
        failures.append(f"--json: {report}")

    measured = load(program, "honest", "--json", "--server-pid", str(os.getpid()))
    if not json.loads(measured.stdout)["server_us_per_request"] > 0:
        failures.append(f"--server-pid: {measured}")
    check("a process that is none", load(program, "honest", "--server-pid", "999999999"), 1,
          "CPU time of process 999999999")

    check_short(program, failures)
    check("short and wrong", load(program, "flips a bit", "--reconnect", "--size", "6000"), 1,
          "came back as 0x")
    check("short and deep", load(program, "honest", "--reconnect", "--depth", "2"), 2,
          "--reconnect needs --depth 1")

    check("a flipped bit", load(program, "flips a bit"), 1, "came back as 0x")
    check("a lost byte", load(program, "loses a byte"), 1, "came back as 0x")
    check("a doubled byte", load(program, "doubles a byte"), 1, "more came back")
    check("an early end", load(program, "ends early"), 1, "the server ended the connection")
    check("a late byte", load(program, "says more at the end"), 1, "more came back")
    check("a reset", load(program, "resets at the end"), 1, "Connection reset by peer")

    check("nobody there", run(program, "--connect", "unix:/nobody/there"), 1, "opened 0 of 50")
    check("no URL", run(program), 2, "--connect URL is missing")
    check("a bad URL", run(program, "--connect", "http://x"), 2, "'http://x'")
    check("a bad port", run(program, "--connect", "tcp://127.0.0.1:65536"), 2, "'65536'")
    check("a bad number", run(program, "--size", "3x"), 2, "--size '3x'")
    check("an unknown option", run(program, "--bogus"), 2, "'--bogus'")

    print(*failures, sep="\n")
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
