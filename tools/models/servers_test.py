"""Runs every model of weir-models as a server, and treats all of them alike.

    servers_test.py PATH_OF_WEIR_MODELS PATH_OF_WEIR_ECHO_LOAD

Nothing here sleeps for a time that has to be enough: what has to become true is waited for, and the
limit of that is only how long a failure takes.
"""

import contextlib
import functools
import os
import pathlib
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

OPTIONAL = "io_uring"  # a system may forbid it
NOT_TO_BE_HAD = 3  # the exit code of a server that says so
SPINS_WHILE_NOTHING_HAPPENS = ["polling"]
LETS_CLIENTS_WAIT_FOR_DESCRIPTORS = ["weir"]  # the others refuse them

SHAPES = [
    ["--connections", "1"],
    ["--connections", "50", "--depth", "8"],
    ["--connections", "200", "--size", "3000"],
    ["--connections", "400", "--size", "100000"],  # more at once than io_uring has buffers
    ["--connections", "3", "--size", "1000000", "--depth", "2"],
    ["--connections", "5", "--size", "300000"],
    ["--connections", "10", "--depth", "32", "--size", "1"],
    ["--connections", "5", "--reconnect"],
]

FEW = 16
MANY = 4096
PATIENCE = 10  # seconds until something that does not happen is a failure
RESET = struct.pack("ii", 1, 0)

program = load = ""


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        os.sched_yield()
    return True


def limit_descriptors(soft):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard), hard))


def most_that_the_kernel_keeps():
    """Of a connection of which only the server reads: its input, and its output."""
    limits = [pathlib.Path("/proc/sys/net/ipv4", name).read_text() for name in
              ("tcp_rmem", "tcp_wmem")]
    return sum(int(limit.split()[2]) for limit in limits)


class Server:
    def __init__(self, model, descriptors):
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([program, "serve", model], stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True,
                                        preexec_fn=lambda: limit_descriptors(descriptors))
        self.proc = pathlib.Path("/proc", str(self.process.pid))
        self.url = ""
        for line in self.process.stdout:
            if line.startswith("listening on tcp://"):
                self.url = line.split()[-1]
                break

    def connect(self, receive_buffer=0):
        client = socket.socket()
        client.settimeout(PATIENCE)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, receive_buffer)
        with contextlib.suppress(ConnectionResetError):  # so soon: the next call will tell
            client.connect(("127.0.0.1", int(self.url.rpartition(":")[2])))
        return client

    def said(self):
        self.errors.seek(0)
        return self.errors.read()

    def descriptors(self):
        return sorted(int(name) for name in os.listdir(self.proc / "fd"))

    def time_on_processor(self):
        """Of the thread that waits, in nanoseconds: exact, not sampled."""
        task = self.proc / "task" / str(self.process.pid) / "schedstat"
        return int(task.read_text().split()[0])

    def virtual_memory(self):
        return int((self.proc / "statm").read_text().split()[0]) * resource.getpagesize()

    def limit(self, what, soft):
        hard = resource.prlimit(self.process.pid, what)[1]
        soft = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
        resource.prlimit(self.process.pid, what, (soft, hard))

    def states(self):
        """Of its threads: S sleeps, T is stopped."""
        return {(task / "stat").read_text().rpartition(")")[2].split()[0]
                for task in (self.proc / "task").iterdir()}

    @contextlib.contextmanager
    def stopped(self):
        """As by Ctrl-Z, until fg. A call that had moved a part of its bytes returns with that."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            if not wait_for(lambda: self.states() == {"T"}):
                raise AssertionError(f"it does not stop: {self.states()}")
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process.stdout.close()
        said = self.said()
        self.errors.close()
        return code, said


def echoes(client, data=b"who is there?"):
    """False if the connection was reset, or ended."""
    try:
        client.sendall(data)
        got = b""
        while len(got) < len(data):
            piece = client.recv(65536)
            if not piece:
                return False
            got += piece
        return got == data
    except (ConnectionResetError, BrokenPipeError):
        return False


def receive_until_end(client):
    pieces = []
    while piece := client.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


@functools.cache
def model_names():
    """As --help has them: io_uring is not among them in a program that was built without it."""
    text = subprocess.run([program, "--help"], capture_output=True, text=True).stdout
    models = text.split("models:\n")[1].split("\n\n")[0]
    return [line.split()[0] for line in models.splitlines() if not line.startswith("  (")]


def each_model(but=(), **limits):
    """The test is run for each of them, with its server."""

    def decorate(test):
        @functools.wraps(test)
        def run(self):
            for model in model_names():
                if model in but:
                    continue
                with self.subTest(model=model), self.serving(model, **limits) as server:
                    test(self, model, server)

        return run

    return decorate


class Case(unittest.TestCase):
    @contextlib.contextmanager
    def serving(self, model, descriptors=MANY, greeted=True):
        if model == OPTIONAL and b"__tsan_init" in pathlib.Path(program).read_bytes():
            self.skipTest("ThreadSanitizer holds signals back in calls that it does not know")
        server = Server(model, descriptors)
        code, said = None, ""
        try:
            if greeted:  # it has opened what it needs when this one is gone
                with server.connect() as client:
                    if not echoes(client) and model == OPTIONAL:
                        self.skip_if_forbidden(server)
                    self.assertTrue(echoes(client, b"and now?"), server.said())
                    client.shutdown(socket.SHUT_WR)
                    self.assertEqual(client.recv(1), b"")
            yield server
            server.limit(resource.RLIMIT_NOFILE, MANY)  # whoever looks for leaks needs some
        finally:
            code, said = server.stop()
        self.assertEqual(code, 0, said)
        self.assertNotIn("Sanitizer", said)
        self.assertNotIn("runtime error", said)

    def skip_if_forbidden(self, server):
        if server.process.wait(PATIENCE) == NOT_TO_BE_HAD:
            self.skipTest(server.said())

    def assert_open(self, server, descriptors):
        wait_for(lambda: server.descriptors() == descriptors)
        self.assertEqual(server.descriptors(), descriptors, "in the end")

    def assert_sleeps(self, server):
        """A thread that sleeps is not on a processor for one nanosecond."""

        def slept():
            before = server.time_on_processor()
            mine = time.process_time()
            while time.process_time() < mine + 0.02:
                pass
            return server.time_on_processor() == before

        self.assertTrue(any(slept() for _ in range(3)), "it spins while nothing happens")


class EveryModel(Case):
    @each_model()
    def test_every_byte_comes_back_in_its_order(self, model, server):
        before = server.descriptors()
        for shape in SHAPES:
            done = subprocess.run([load, "--connect", server.url, "--seconds", "0.03", *shape],
                                  capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual(done.returncode, 0, (model, shape, done.stderr))
        self.assert_open(server, before)

    @each_model()
    def test_what_was_sent_before_a_half_close_comes_back_whole(self, _, server):
        data = os.urandom(3_000_000)

        def send(client):
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)

        with server.connect() as client:
            sender = threading.Thread(target=send, args=(client,), daemon=True)
            sender.start()
            self.assertTrue(receive_until_end(client) == data)  # not three megabytes of diff
            sender.join()

    @each_model()
    def test_a_few_bytes_and_the_end_at_once(self, _, server):
        """The end is in the same edge as the bytes, or in the same receive's short read."""
        for _ in range(20):
            with server.connect() as client:
                client.send(b"short")
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(receive_until_end(client), b"short")

    @each_model()
    def test_a_reset_takes_nobody_else_along(self, _, server):
        before = server.descriptors()
        with server.connect() as other:
            for sent in (b"", b"x", bytes(1_000_000)):
                with server.connect() as client:
                    client.setblocking(False)
                    client.send(sent)  # what the kernel takes of it
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                self.assertTrue(echoes(other))
        self.assert_open(server, before)

    @each_model()
    def test_one_that_does_not_take_his_echo_holds_up_nobody_and_loses_nothing(self, model, server):
        data = os.urandom(1_000_003) * (most_that_the_kernel_keeps() // 1_000_003 + 5)
        with server.connect(receive_buffer=65536) as client, server.connect() as other:
            client.setblocking(False)
            sent = in_vain = 0
            while in_vain < 10 and sent < len(data):  # each echo lets the server take more
                try:
                    sent += client.send(data[sent:])
                    in_vain = 0
                except BlockingIOError:
                    in_vain += 1
                self.assertTrue(echoes(other))
            self.assertLess(sent, len(data), "the server reads more than it can send")
            if model not in SPINS_WHILE_NOTHING_HAPPENS:
                self.assert_sleeps(server)
            with server.stopped():
                pass
            self.assertTrue(echoes(other))
            client.settimeout(PATIENCE)
            client.shutdown(socket.SHUT_WR)
            self.assertTrue(receive_until_end(client) == data[:sent])

    @each_model()
    def test_many_ask_at_once(self, _, server):
        """More than one wait reports."""
        requests = [b"this is number %03d" % number for number in range(400)]
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in requests]
            self.assertTrue(all(map(echoes, clients)))
            with server.stopped():
                for client, request in zip(clients, requests):
                    client.sendall(request)
            for client, request in zip(clients, requests):
                self.assertEqual(client.recv(len(request), socket.MSG_WAITALL), request)

    @each_model()
    def test_ends_in_the_midst_of_it(self, _, server):
        client = server.connect(receive_buffer=65536)
        idle = server.connect()
        self.addCleanup(client.close)
        self.addCleanup(idle.close)
        self.assertTrue(echoes(idle))
        client.setblocking(False)
        client.send(bytes(1_000_000))
        self.assertTrue(echoes(idle))


class Limits(Case):
    @each_model(but=LETS_CLIENTS_WAIT_FOR_DESCRIPTORS, descriptors=FEW)
    def test_without_descriptors_clients_are_refused_and_the_others_served(self, model, server):
        with contextlib.ExitStack() as stack:
            def connect():
                return stack.enter_context(server.connect())

            first = connect()
            self.assertTrue(echoes(first))
            room = FEW - len(server.descriptors())
            clients = [connect() for _ in range(room + 4)]
            served = [True] * room + [False] * 4
            self.assertEqual([echoes(client) for client in clients], served)
            self.assertEqual(server.said().count("refused: the process has no more descr"), 4)
            if model not in SPINS_WHILE_NOTHING_HAPPENS:
                self.assert_sleeps(server)
            full = len(server.descriptors())
            clients[0].shutdown(socket.SHUT_WR)
            self.assertEqual(clients[0].recv(1), b"")
            self.assertTrue(wait_for(lambda: len(server.descriptors()) < full))
            self.assertTrue(echoes(connect()))
            self.assertTrue(echoes(first))
            self.assertFalse(echoes(connect()))

    def test_select_refuses_what_is_beyond_its_sets(self):
        if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 1300:
            self.skipTest("the system does not give so many descriptors")
        with self.serving("select") as server, contextlib.ExitStack() as stack:
            room = 1024 - len(server.descriptors())
            clients = [stack.enter_context(server.connect()) for _ in range(1100)]
            wanted = [True] * room + [False] * (1100 - room)
            self.assertEqual([echoes(client) for client in clients], wanted)
            self.assertEqual(server.said().count("\n"), 1100 - room)
            self.assertIn("a client is refused: descriptor 1024 is beyond what select can watch: "
                          "FD_SETSIZE is 1,024\n", server.said())
            self.assertTrue(all(echoes(client) for client in clients[:room]))

    def without_threads(self, server):
        if server.virtual_memory() > 1 << 40:
            self.skipTest("a sanitizer has more address space than can be limited")
        server.limit(resource.RLIMIT_AS, server.virtual_memory() + (4 << 20))  # less than a stack

    def test_blocking_refuses_whom_it_has_no_thread_for(self):
        # No thread has ended yet: libc would keep its stack for one more.
        serving = self.serving("blocking", greeted=False)
        with serving as server, contextlib.ExitStack() as stack:
            served = [stack.enter_context(server.connect()) for _ in range(2)]
            self.assertTrue(all(echoes(client) for client in served))
            self.without_threads(server)
            for _ in range(2):
                self.assertFalse(echoes(stack.enter_context(server.connect())))
            said = "a client is refused: the system gives no more threads\n"
            self.assertEqual(server.said().count(said), 2)
            self.assertTrue(all(echoes(client) for client in served))

    def test_the_loop_helps_where_there_is_no_thread(self):
        # No thread has been there yet: libc would keep its stack for the next.
        serving = self.serving("thread-per-ready", greeted=False)
        with serving as server, contextlib.ExitStack() as stack:
            self.without_threads(server)
            clients = [stack.enter_context(server.connect()) for _ in range(3)]
            self.assertTrue(all(echoes(client, bytes(100_000)) for client in clients))
            said = "weir-models: the system gives no more threads: the loop helps\n"
            self.assertEqual(server.said(), said)


if __name__ == "__main__":
    program, load = sys.argv[1:3]
    limit_descriptors(MANY)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
