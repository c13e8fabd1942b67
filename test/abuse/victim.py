"""The server program under abuse, and what the kernel says of it: descriptors, memory, CPU."""

import contextlib
import os
import resource
import signal
import sys
import tempfile
import time

from program import Server
from streams import PATIENCE, Stream, send_more

KIB = 1 << 10
MIB = 1 << 20

# Of include/weir/options.h, and of the buffers of a loop.
HIGH_WATER = 256 * KIB
READ_CHUNK = 256 * KIB
STAGING = 64 * KIB
CACHED_BLOCKS = 4 * MIB
# What one connection may hold: at most high_water, and then one more read.
QUEUED = HIGH_WATER + READ_CHUNK
# The program itself, once it is warm: its stack, the table of connections, what malloc keeps.
PROGRAM = 2 * MIB

PROBE = 1_000_000  # the number of the client that looks whether it still serves


class Victim(Server):
    def __init__(self, command, url):
        # What malloc keeps of what was freed is not to hide what is left.
        os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
        os.environ["MALLOC_TRIM_THRESHOLD_"] = "0"
        self.log = tempfile.TemporaryFile()  # pylint: disable=consider-using-with
        super().__init__(command[0], url, arguments=command[1:], stderr=self.log)
        self.pid = self.process.pid
        self.loops = len(os.listdir(f"/proc/{self.pid}/task"))
        self.wait_asleep()
        self.fds_at_start = self.fds()
        self.memory_at_start = self.memory()
        # Address sanitizers keep what is freed, and shadow it: their memory says nothing of ours.
        self.is_sanitized = self.status("VmSize") > 1 << 40
        self.notes = []

    def __exit__(self, *problem):
        super().__exit__(*problem)
        log = self.logged()
        self.log.close()
        print(log[-10_000:], end="", file=sys.stderr)

    def logged(self):
        """All that it has written to stderr."""
        return os.pread(self.log.fileno(), 1 << 24, 0).decode(errors="replace")

    # ---- What the kernel says of it

    def read(self, name):
        with open(f"/proc/{self.pid}/{name}", encoding="utf-8") as file:
            return file.read()

    def tasks(self, name):
        texts = []
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                texts.append(self.read(f"task/{task}/{name}"))
        return texts

    def status(self, field):
        """Bytes."""
        for line in self.read("status").splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * KIB
        raise AssertionError(f"no {field}")

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self):
        return self.status("RssAnon")

    def grown(self):
        return self.memory() - self.memory_at_start

    def cpu(self):
        """Seconds, of all its threads. (clock_getcpuclockid(3), which Python lacks.)"""
        cpu_clock = (~self.pid << 3) | 2
        return time.clock_gettime(cpu_clock)

    def wakes(self):
        """How often it has gone to sleep of its own will."""
        return sum(int(line.split()[1]) for status in self.tasks("status")
                   for line in status.splitlines() if line.startswith("voluntary_ctxt"))

    # ---- What is awaited of it

    def wait_asleep(self):
        """Until it waits for events. One that spins never does."""
        deadline = time.monotonic() + PATIENCE
        while any(stat.rsplit(")", 1)[1].split()[0] != "S" for stat in self.tasks("stat")):
            assert time.monotonic() < deadline, "it does not go to sleep"
            os.sched_yield()

    def wait_stopped(self):
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    @contextlib.contextmanager
    def stopped(self):
        """As in Server; and it stands still from the first moment on."""
        self.send_signal(signal.SIGSTOP)
        self.wait_stopped()
        yield
        self.send_signal(signal.SIGCONT)

    def measure_idle(self, milliseconds=30):
        """Its CPU time and its wakes, while this process has worked for so many milliseconds: a
        program that spins has its fair share of the machine meanwhile, one that sleeps nothing."""
        self.wait_asleep()
        cpu, wakes = self.cpu(), self.wakes()
        end = time.process_time() + milliseconds / 1000
        while time.process_time() < end:
            pass
        return (self.cpu() - cpu) * 1000, self.wakes() - wakes

    def check_rests(self):
        """It has nothing to do, and does nothing. (It may wake: for a timer that nobody needs any
        more, or because the kernel moves what it still has.)"""
        used, wakes = self.measure_idle()
        assert used < 3 and wakes <= 100, f"it had nothing to do: {used} ms, {wakes} wakes"

    def check_memory(self, what, queues, connections=0):
        """Grown by no more than `queues` connections with output may hold, `connections` without
        any, and what its loops own."""
        cached = 0 if connections else CACHED_BLOCKS  # these need no block
        limit = (queues * QUEUED + connections * KIB + PROGRAM
                 + self.loops * (READ_CHUNK + STAGING + cached))
        grown = self.grown()
        self.notes.append(f"{what} {grown // KIB} KiB of {limit // KIB}")
        assert self.is_sanitized or grown <= limit, self.notes[-1]

    def wait_fds(self, count):
        """Until it has so many descriptors, but for those of this call."""
        with Stream(self.url, PROBE) as probe:
            self.wait_fds_with(count + 1, probe)
            send_more([probe], 2 * MIB // 3)

    def wait_fds_with(self, count, client):
        """The client asks and is answered meanwhile, so that each look is a turn later."""
        deadline = time.monotonic() + PATIENCE
        send_more([client], 1)
        while self.fds() != count:
            assert time.monotonic() < deadline, f"{self.fds()} descriptors, not {count}"
            send_more([client], 1)

    def limit_fds(self, more):
        """It can have so many more than it has."""
        taken = {int(fd) for fd in os.listdir(f"/proc/{self.pid}/fd")}
        if more >= 0:
            free = [fd for fd in range(len(taken) + more + 1) if fd not in taken]
            limit = free[more]  # the first that it cannot have
        else:
            limit = sorted(taken)[more]
        hard = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (limit, hard))

    def unlimit_fds(self):
        hard = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (hard, hard))

    # ---- The end

    def finish(self):
        """Nothing of the abuse is left, it serves, and it drains."""
        self.wait_fds(self.fds_at_start)
        self.check_rests()
        self.check_memory("left:", 0)
        self.send_signal(signal.SIGTERM)
        self.check_exit()

    def check_exit(self):
        code = self.exit_code()
        assert code == 0, f"exit code {code}"


@contextlib.contextmanager
def victim_over(kind, command):
    """A running server; kind: tcp or unix."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"unix:{folder}/abuse.sock" if kind == "unix" else "tcp://127.0.0.1:0"
        with Victim(command, url) as victim:
            yield victim
            if victim.process.poll() is None:
                victim.finish()
        assert not os.listdir(folder), "the socket's file is left"
