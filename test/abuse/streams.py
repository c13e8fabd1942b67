"""Clients of an echo server that know at each byte what has to come back.

What a client sends depends on the client and on the place in its stream, so that a byte which is
lost, doubled, swapped or another client's is seen. Nothing sleeps: what is awaited comes, or
PATIENCE ends the case.
"""

import errno
import random
import select
import socket
import struct

from program import connect

PATIENCE = 20  # seconds without any progress
PIECE = 1 << 18

# A prime: no power of two of bytes can be lost or moved and still look right.
PERIOD = 1_048_573
URGENT = b"!"  # not in the text
TEXT = random.Random(4).randbytes(PERIOD).replace(URGENT, b"?") * 3

compared = 0  # bytes that came back and were right, of all clients


def content(number, position, size):
    """What client `number` sends at `position`. Of at most 2 MiB."""
    begin = (number * 7_919 + position) % PERIOD
    return TEXT[begin:begin + size]


class Stream:
    """One client. It sends `total` bytes, and then, if `ends`, its end."""

    def __init__(self, url, number, total=0, ends=False, send_buffer=None):
        self.number = number
        self.total = total
        self.ends = ends
        self.piece = PIECE
        self.sent = 0
        self.received = 0
        self.reads = True
        self.is_shut = False
        self.has_ended = False
        self.urgent = []  # where in the stream
        self.socket = connect(url)
        if self.socket.family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if send_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        self.socket.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __str__(self):
        return (f"client {self.number}: {self.total} to send, {self.sent} sent, "
                f"{self.received} back{', at the end' * self.has_ended}")

    @property
    def is_done(self):
        everything = self.sent == self.total and self.received == self.sent
        return everything and self.has_ended == self.ends

    def wants(self):
        writes = self.sent < self.total or (self.ends and not self.is_shut)
        return (select.POLLOUT * writes) | (select.POLLIN * (self.reads and not self.has_ended))

    def move(self, events=select.POLLIN | select.POLLOUT):
        """Sends and receives what can be. Returns by how many bytes it came on."""
        before = self.sent + self.received
        if events & select.POLLOUT:
            self.send()
        if events & ~select.POLLOUT and self.reads:
            self.receive()
        return self.sent + self.received - before

    def send(self, flags=0):
        """Sends a piece, and the end behind the last; less, if no more is taken."""
        if self.sent < self.total:
            piece = content(self.number, self.sent, min(self.piece, self.total - self.sent))
            try:
                self.sent += self.socket.send(piece, flags)
            except BlockingIOError:
                return
        if self.sent == self.total and self.ends and not self.is_shut:
            self.shut()

    def shut(self):
        self.ends = True
        self.is_shut = True
        self.socket.shutdown(socket.SHUT_WR)

    def send_urgent(self):
        """A byte that does not count: it stands beside the stream, and no echo returns it. (But
        where two of them are unread, Linux makes the first an ordinary one.)"""
        assert self.socket.send(URGENT, socket.MSG_OOB) == 1
        self.urgent.append(self.sent)

    def send_descriptors(self, count):
        """A piece that carries descriptors: the echo has no use for them."""
        piece = content(self.number, self.sent, min(self.piece, self.total - self.sent))
        self.sent += socket.send_fds(self.socket, [piece], [self.socket.fileno()] * count)

    def receive(self, size=1 << 20):
        """Receives and compares what is there. False: nothing is."""
        global compared
        try:
            got = self.socket.recv(size)
        except BlockingIOError:
            return False
        if not got:
            self.has_ended = True
            assert self.ends, f"an end that was not awaited; {self}"
            return False
        while got != (wanted := content(self.number, self.received, len(got))):
            at = next(i for i, (a, b) in enumerate(zip(got, wanted)) if a != b)
            assert got[at:at + 1] == URGENT and self.received + at in self.urgent, (
                f"wrong bytes from {self.received + at} on; {self}")
            self.urgent.remove(self.received + at)
            got = got[:at] + got[at + 1:]
        self.received += len(got)
        compared += len(got)
        assert self.received <= self.sent, f"more came back than was sent; {self}"
        return True

    def close(self):
        self.socket.close()

    def reset(self):
        """A close with RST; over Unix, where there is none, a close all the same."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def pump(streams, until=None, then=None):
    """Moves the streams until all are done, or until `until()`; calls `then()` after each step."""
    until = until or (lambda: all(stream.is_done for stream in streams))
    while not until():
        poll = select.poll()
        by_fd = {}
        for stream in streams:
            if wanted := stream.wants():
                poll.register(stream.socket, wanted)
                by_fd[stream.socket.fileno()] = stream
        ready = poll.poll(PATIENCE * 1000)
        assert ready, "nothing moves: " + "; ".join(str(s) for s in streams if not s.is_done)
        for fd, events in ready:
            by_fd[fd].move(events)
        if then:
            then()


def send_more(streams, count):
    """Each sends `count` bytes more, and gets all of it back."""
    for stream in streams:
        stream.total += count
    pump(streams)


def push(victim, streams):
    """Sends without receiving, until nobody takes any more."""
    for stream in streams:
        stream.reads = False
    while True:
        victim.wait_asleep()
        if not sum(stream.move(select.POLLOUT) for stream in streams):
            break
    for stream in streams:
        stream.reads = True


def read_to_end(streams):
    """What the server still has for them. It must have ended its side, politely."""
    for stream in streams:
        stream.total = stream.sent
        stream.ends = stream.is_shut = True
    pump(streams, until=lambda: all(stream.has_ended for stream in streams))


def is_refused(call):
    """True if the call says that the peer is gone, in one of the ways to say so."""
    try:
        return call() == b""
    except OSError as error:
        return error.errno in (errno.ECONNRESET, errno.EPIPE)
