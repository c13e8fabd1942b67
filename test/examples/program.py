"""A server program under test, and its clients.

Ports are free ones. Nothing sleeps: what is awaited comes, or the time-out ends the test.
"""

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import time

HANGS = 60  # seconds


def run(program, *arguments):
    return subprocess.run([program, *arguments], text=True, timeout=HANGS, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def connect(url):
    """A connected socket with a time-out."""
    if url.startswith("unix:"):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(HANGS)
        client.connect(url[len("unix:"):])
        return client
    host, port = url[len("tcp://"):].rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=HANGS)


class Client:
    """Speaks in lines."""

    def __init__(self, url):
        self.socket = connect(url)
        self.unread = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, text):
        self.socket.sendall(text.encode())

    def line(self):
        """The next line, without its end; None at the end of the stream."""
        while b"\n" not in self.unread:
            piece = self.socket.recv(1 << 16)
            if not piece:
                assert not self.unread, f"the stream ends within a line: {self.unread[:100]}"
                return None
            self.unread += piece
        line, self.unread = self.unread.split(b"\n", 1)
        return line.decode()

    def lines(self, count):
        return [self.line() for _ in range(count)]


class Server:
    """A running program. Its stdin is a pipe, unless another is given."""

    def __init__(self, program, url="tcp://127.0.0.1:0", stdin=subprocess.PIPE, arguments=(),
                 stderr=None):
        self.process = subprocess.Popen([program, "--listen", url, *arguments], bufsize=0,
                                        stdin=stdin, stdout=subprocess.PIPE, stderr=stderr)
        self.unread = b""
        told = re.fullmatch(r"listening on (\S+)", self.line())
        assert told, "its first line says where it listens"
        self.url = told[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def line(self):
        """The next line that it prints."""
        deadline = time.monotonic() + HANGS
        while b"\n" not in self.unread:
            left = max(deadline - time.monotonic(), 0)
            assert select.select([self.process.stdout], [], [], left)[0], "it prints nothing"
            piece = os.read(self.process.stdout.fileno(), 4096)
            assert piece, f"it ended, with {self.process.wait(timeout=HANGS)}"
            self.unread += piece
        line, self.unread = self.unread.split(b"\n", 1)
        return line.decode()

    def type(self, text):
        self.process.stdin.write(text.encode())

    def send_signal(self, number):
        self.process.send_signal(number)

    @contextlib.contextmanager
    def stopped(self):
        """What is done meanwhile it all finds done at once."""
        self.send_signal(signal.SIGSTOP)
        yield
        self.send_signal(signal.SIGCONT)

    def exit_code(self):
        return self.process.wait(timeout=HANGS)

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()  # from the third on
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
