"""Several processes that serve one port, started by hand, and one of them leaving.

    processes_test.py BUILD/examples/echo

Nothing sleeps; the time-outs only end what hangs.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import unittest

ECHO = sys.argv[1]
HANGS = 60  # seconds


class Server:
    """A running echo, and where it said that it listens."""

    def __init__(self, url, *arguments, **options):
        self.process = subprocess.Popen([ECHO, "--listen", url, *arguments], text=True,
                                        stdout=subprocess.PIPE, **options)
        self.url = self.process.stdout.readline().strip().removeprefix("listening on ")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def address(self):
        host, port = self.url.removeprefix("tcp://").rsplit(":", 1)
        return host, int(port)

    def owns(self, client):
        """Whether the other end of a connection of ours is this process's."""
        ours, theirs = client.getsockname(), client.getpeername()
        with open(f"/proc/{self.process.pid}/net/tcp", encoding="ascii") as table:
            rows = [line.split() for line in table.readlines()[1:]]
        inodes = [row[9] for row in rows
                  if row[1].endswith(f":{theirs[1]:04X}") and row[2].endswith(f":{ours[1]:04X}")]
        folder = f"/proc/{self.process.pid}/fd"
        links = []
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                links.append(os.readlink(f"{folder}/{name}"))
        return any(f"socket:[{inode}]" in links for inode in inodes)

    def stop(self):
        """Returns the exit code, and what it printed since."""
        self.process.terminate()
        out, _ = self.process.communicate(timeout=HANGS)
        return self.process.returncode, out


def connect(address):
    return socket.create_connection(address, timeout=HANGS)


def echoed(client, text=b"ping"):
    client.sendall(text)
    return client.recv(len(text), socket.MSG_WAITALL)


class Stream(threading.Thread):
    """Clients that come, ask and go, one after the other, until they are told to end.

    Lost is who is reset, refused or never answered. A drain answers what has arrived: whoever is
    connected at that moment and has not yet asked is told of the end, in order, and asks again.
    """

    def __init__(self, address):
        super().__init__()
        self.address, self.is_over = address, False
        self.served, self.turned_away, self.lost = 0, 0, []
        self.has_served = threading.Event()

    def run(self):
        while not self.is_over:
            try:
                with connect(self.address) as client:
                    told = echoed(client)
                    if told not in (b"ping", b""):
                        raise ConnectionError(f"answered {told!r}")
                    self.turned_away += told == b""
            except OSError as error:
                self.lost.append(error)
            self.served += 1
            if self.served == 50:
                self.has_served.set()


class Processes(unittest.TestCase):
    def test_three_serve_one_port_and_one_leaves_without_a_lost_connection(self):
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(Server("tcp://127.0.0.1:0?reuseport=1"))
            url = first.url + "?reuseport=1"
            servers = [first] + [stack.enter_context(Server(url)) for _ in range(2)]
            self.assertEqual({server.url for server in servers}, {first.url})

            # Of 60 clients each has some: that one of three has none is once in 10^10.
            clients = [stack.enter_context(connect(first.address())) for _ in range(60)]
            for client in clients:
                self.assertEqual(echoed(client), b"ping")
            shares = [[client for client in clients if server.owns(client)] for server in servers]
            self.assertEqual(sum(map(len, shares)), 60)
            self.assertGreater(min(map(len, shares)), 0)

            streams = [Stream(first.address()) for _ in range(4)]
            for stream in streams:
                stream.start()
            for stream in streams:
                self.assertTrue(stream.has_served.wait(HANGS))
            leaving = servers[1]
            for client in shares[1]:  # they had spoken before, and end with it
                client.close()
            self.assertEqual(leaving.stop()[0], 0)
            for stream in streams:
                stream.is_over = True
            for stream in streams:
                stream.join(HANGS)
                self.assertFalse(stream.is_alive())
                self.assertEqual(stream.lost, [])
                self.assertLessEqual(stream.turned_away, 1)  # by the one that left

            for client in shares[0] + shares[2]:
                self.assertEqual(echoed(client), b"ping")
            with connect(first.address()) as late:
                self.assertEqual(echoed(late), b"ping")

    def test_who_does_not_say_so_shares_no_port(self):
        with Server("tcp://127.0.0.1:0?reuseport=1", "--loops", "2") as server:
            for loops in ("1", "2"):
                told = subprocess.run([ECHO, "--listen", server.url, "--loops", loops], text=True,
                                      capture_output=True, timeout=HANGS, check=False)
                self.assertEqual((told.returncode, told.stdout), (1, ""))
                self.assertEqual(len(told.stderr.splitlines()), 1, told.stderr)
                self.assertIn("Address already in use", told.stderr)
            self.assertEqual(server.stop()[0], 0)

    def test_an_inherited_socket_is_handed_from_one_process_to_the_next(self):
        for loops in ("1", "3"):
            with self.subTest(loops=loops), socket.create_server(("127.0.0.1", 0)) as listener:
                fd = listener.fileno()
                address = listener.getsockname()
                arguments = (f"fd://{fd}", "--loops", loops)
                with Server(*arguments, pass_fds=[fd]) as old:
                    self.assertEqual(old.url, f"tcp://127.0.0.1:{address[1]}")
                    with connect(address) as client:
                        self.assertEqual(echoed(client), b"ping")
                    self.assertEqual(old.stop()[0], 0)
                with connect(address) as waiting:  # nobody is there: the queue keeps it
                    waiting.sendall(b"ping")
                    with Server(*arguments, pass_fds=[fd]) as new:
                        self.assertEqual(waiting.recv(4, socket.MSG_WAITALL), b"ping")
                        waiting.close()
                        self.assertEqual(new.stop()[0], 0)


class Loops(unittest.TestCase):
    def serve(self, *arguments, clients=60):
        """What each loop said that it served."""
        with Server("tcp://127.0.0.1:0", *arguments) as server, contextlib.ExitStack() as stack:
            for _ in range(clients):
                client = stack.enter_context(connect(server.address()))
                self.assertEqual(echoed(client), b"ping")
            server.process.send_signal(signal.SIGTERM)
            stack.close()
            code, out = server.stop()
        self.assertEqual(code, 0)
        told = sorted(re.findall(r"^loop (\d+): (\d+) connections$", out, re.MULTILINE))
        self.assertEqual(len(out.splitlines()), len(told), out)
        self.assertEqual(sum(int(count) for _, count in told), clients if told else 0)
        return [int(count) for _, count in told]

    def test_each_loop_tells_its_share(self):
        self.assertEqual(self.serve("--loops", "3", "--balance", "round-robin"), [20, 20, 20])
        self.assertEqual(self.serve("--loops", "3", "--balance", "least-connections"),
                         [20, 20, 20])
        self.assertEqual(sorted(self.serve("--loops", "3", "--balance", "source-hash")),
                         [0, 0, 60])
        self.assertGreater(min(self.serve("--loops", "2", "--balance", "reuseport")), 0)
        self.assertEqual(len(self.serve("--loops", "2", "--pin")), 2)

    def test_one_loop_tells_nothing(self):
        self.assertEqual(self.serve(), [])
        self.assertEqual(self.serve("--loops", "1"), [])

    def test_0_is_one_loop_for_each_processor(self):
        # At most: control groups may allow less, which the unit tests know more of.
        self.assertIn(len(self.serve("--loops", "0")), range(1, len(os.sched_getaffinity(0)) + 1))
        one = min(os.sched_getaffinity(0))
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {one})
        try:
            self.assertEqual(len(self.serve("--loops", "0")), 1)
        finally:
            os.sched_setaffinity(0, before)

    def test_it_drains_all_loops(self):
        for balance in ("reuseport", "round-robin", "least-connections", "source-hash"):
            with self.subTest(balance), Server("tcp://127.0.0.1:0", "--loops", "3", "--balance",
                                               balance) as server:
                server.process.send_signal(signal.SIGSTOP)
                clients = [connect(server.address()) for _ in range(40)]
                for client in clients:
                    client.sendall(b"early")
                server.process.send_signal(signal.SIGTERM)
                server.process.send_signal(signal.SIGCONT)
                for client in clients:
                    self.assertEqual(client.recv(5, socket.MSG_WAITALL), b"early")
                    self.assertEqual(client.recv(1), b"")
                    client.close()
                self.assertEqual(server.process.wait(timeout=HANGS), 0)

    def test_a_second_signal_ends_all_loops_at_once(self):
        for balance in ("reuseport", "round-robin"):
            with self.subTest(balance), Server("tcp://127.0.0.1:0", "--loops", "3", "--balance",
                                               balance) as server:
                clients = [connect(server.address()) for _ in range(20)]
                for client in clients:
                    self.assertEqual(echoed(client), b"ping")
                server.process.terminate()
                for client in clients:
                    self.assertEqual(client.recv(1), b"")  # drained; it waits for our end
                server.process.terminate()
                self.assertEqual(server.process.wait(timeout=HANGS), 0)
                for client in clients:
                    client.close()

    def test_each_loop_is_a_thread_and_there_are_no_others(self):
        def threads_with(loops):
            with Server("tcp://127.0.0.1:0", "--loops", str(loops)) as server:
                with connect(server.address()) as client:
                    self.assertEqual(echoed(client), b"ping")
                threads = os.listdir(f"/proc/{server.process.pid}/task")
                self.assertEqual(server.stop()[0], 0)
                return len(threads)
        self.assertEqual(threads_with(4) - threads_with(2), 2)  # (a sanitizer may have its own)

    def test_wrong_values_are_one_line_and_exit_code_2(self):
        for arguments, words in ((["--loops", "-1"], ["--loops", "'-1'", "0..1024"]),
                                 (["--loops", "two"], ["--loops", "'two'"]),
                                 (["--loops", "1025"], ["'1025'"]),
                                 (["--loops", ""], ["--loops", "''"]),
                                 (["--loops"], ["--loops"]),
                                 (["--balance", "fair"], ["--balance", "'fair'", "round-robin"]),
                                 (["--pin=yes"], ["pin"])):
            with self.subTest(arguments):
                told = subprocess.run([ECHO, *arguments], text=True, capture_output=True,
                                      timeout=HANGS, check=False)
                self.assertEqual((told.returncode, told.stdout), (2, ""), told.stderr)
                self.assertEqual(len(told.stderr.splitlines()), 1, told.stderr)
                for word in words:
                    self.assertIn(word, told.stderr)

    def test_help_tells_of_loops(self):
        told = subprocess.run([ECHO, "--help"], text=True, capture_output=True, timeout=HANGS,
                              check=True)
        for word in ("--loops", "--balance", "--pin", "reuseport=1", "fd://", "source-hash"):
            self.assertIn(word, told.stdout)
        self.assertLessEqual(max(map(len, told.stdout.splitlines())), 100)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
