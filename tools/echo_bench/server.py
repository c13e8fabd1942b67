"""The servers, and one that runs."""

import json
import os
import select
import subprocess
from typing import NamedTuple

START_LIMIT_S = 20
STOP_LIMIT_S = 20
SPARE_S = 60  # what a load may take beyond its time; it gives up by itself before that


class Failed(Exception):
    """A server, a load or the build is not as it has to be: exit code 1."""


class Kind(NamedTuple):
    title: str
    program: str  # in the build folder
    arguments: list = []
    needs: str = ""  # a Debian package


REFERENCE = "epoll"

SERVERS = {
    REFERENCE: Kind("C", "tools/epoll_echo"),
    "weir": Kind("weir", "examples/echo", ["--listen", "tcp://127.0.0.1:0"]),
    "uv": Kind("libuv", "tools/uv_echo", needs="libuv1-dev"),
    "event": Kind("libevent", "tools/event_echo", needs="libevent-dev"),
    "asio": Kind("Asio", "tools/asio_echo", needs="libasio-dev"),
}


def pin(cpu):
    """For a child between fork and exec; None pins nothing."""
    return None if cpu is None else lambda: os.sched_setaffinity(0, {cpu})


class Server:
    """A running server. stop() it, whatever happens."""

    def __init__(self, kind, folder, cpus):
        self.title = kind.title
        self.load_program = folder / "tools/weir-echo-load"
        self.server_cpu, self.load_cpu = cpus or (None, None)
        self.process = subprocess.Popen(
            [folder / kind.program, *kind.arguments], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=pin(self.server_cpu),
            start_new_session=True)  # Ctrl-C is for bench.py, which then ends it
        try:
            self.url = self.wait_until_it_listens()
        except BaseException:
            self.stop()
            raise

    def wait_until_it_listens(self):
        stdout = self.process.stdout
        ready, _, _ = select.select([stdout], [], [], START_LIMIT_S)
        line = stdout.readline().decode() if ready else ""
        if not line.startswith("listening on tcp://"):
            raise Failed(f"{self.title}: does not listen, but says '{line.strip()}'")
        return line.removeprefix("listening on ").strip()

    def check_alive(self, during):
        code = self.process.poll()
        if code is not None:
            how = f"of signal {-code}" if code < 0 else f"with exit code {code}"
            raise Failed(f"{self.title}: died {how} during '{during}'")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def measure(server, row, seconds):
    """What weir-echo-load says of one load."""
    server.check_alive(row.title)
    load = subprocess.Popen(
        [server.load_program, "--connect", server.url, "--seconds", str(seconds),
         "--server-pid", str(server.process.pid), "--json", *row.load],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=pin(server.load_cpu))
    try:
        stdout, stderr = load.communicate(timeout=seconds + SPARE_S)
    except subprocess.TimeoutExpired:
        raise Failed(f"{server.title}: '{row.title}' does not end") from None
    finally:
        if load.poll() is None:
            load.kill()
            load.wait()
    server.check_alive(row.title)
    if load.returncode != 0:
        reason = stderr.strip().removeprefix("weir-echo-load: ")
        raise Failed(f"{server.title}: '{row.title}': {reason}")
    result = json.loads(stdout)
    if result["requests"] == 0:
        raise Failed(f"{server.title}: '{row.title}': no echo within {seconds:g} s: "
                     "give --seconds more")
    return result
