"""Runs the real echo programs as their users do: what they print, serve and say when they cannot.

    echo_program_test.py BUILD/examples/echo BUILD/test/server/readme_echo

Ports are free ones, files stand in a folder of the test's own. Nothing sleeps: the time-outs only
end what hangs.
"""

import contextlib
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

ECHO, README_ECHO = sys.argv[1:3]
HANGS = 30  # seconds
HAS_IP6 = socket.has_ipv6


def run(*arguments, **options):
    return subprocess.run([ECHO, *arguments], text=True, timeout=HANGS, check=False,
                          **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options))


def connect(url):
    if url.startswith("unix:"):
        client = socket.socket(socket.AF_UNIX)
        path = url[len("unix:"):]
        client.settimeout(HANGS)
        client.connect("\0" + path[1:] if path.startswith("@") else path)
        return client
    host, port = url[len("tcp://"):].rsplit(":", 1)
    return socket.create_connection((host.strip("[]"), int(port)), timeout=HANGS)


def read_to_end(client):
    pieces = []
    while piece := client.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


class Server:
    """A running echo and the URLs that it said it listens on."""

    def __init__(self, *urls, **options):
        arguments = [argument for url in urls for argument in ("--listen", url)]
        self.process = subprocess.Popen([ECHO, *arguments], text=True, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, **options)
        self.lines = [self.process.stdout.readline().rstrip("\n") for _ in urls]
        self.urls = [line.removeprefix("listening on ") for line in self.lines]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def stop(self, number=signal.SIGTERM):
        """Returns the exit code, and what it printed since."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=HANGS)
        return self.process.returncode, out, err


class Serving(unittest.TestCase):
    def test_it_says_where_it_listens_and_echoes_there(self):
        with tempfile.TemporaryDirectory() as folder:
            urls = ["tcp://127.0.0.1:0", f"unix:{folder}/echo.sock", "unix:@weir-echo-test"]
            urls[-1] += f"-{os.getpid()}"
            if HAS_IP6:
                urls.append("tcp://[::1]:0")
            with Server(*urls) as server:
                for url, line in zip(urls, server.lines):
                    pattern = re.escape("listening on " + url)
                    self.assertRegex(line, "^" + re.sub(r":0$", r":([1-9]\\d*)", pattern) + "$")
                for url in server.urls:
                    with connect(url) as client:
                        client.sendall(b"hello " * 20000)
                        client.shutdown(socket.SHUT_WR)
                        self.assertEqual(read_to_end(client), b"hello " * 20000)
                code, out, err = server.stop()
            self.assertEqual((code, out), (0, ""))
            self.assertNotIn("error", err)
            self.assertEqual(os.listdir(folder), [])  # the socket's file is gone

    def test_sigterm_and_sigint_drain_and_exit_with_0(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number), Server("tcp://127.0.0.1:0") as server:
                with connect(server.urls[0]) as client:
                    client.sendall(b"one")
                    self.assertEqual(client.recv(3), b"one")
                    server.process.send_signal(signal.SIGSTOP)
                    client.sendall(b"two")  # it has arrived before the signal
                    server.process.send_signal(number)
                    server.process.send_signal(signal.SIGCONT)
                    self.assertEqual(read_to_end(client), b"two")
                self.assertEqual(server.process.wait(timeout=HANGS), 0)

    def test_a_client_that_connected_before_the_signal_is_served(self):
        with Server("tcp://127.0.0.1:0") as server:
            server.process.send_signal(signal.SIGSTOP)
            with connect(server.urls[0]) as client:
                client.sendall(b"early")
                server.process.send_signal(signal.SIGTERM)
                server.process.send_signal(signal.SIGCONT)
                self.assertEqual(read_to_end(client), b"early")
            self.assertEqual(server.process.wait(timeout=HANGS), 0)

    def test_a_second_signal_ends_it_at_once(self):
        for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)):
            with self.subTest(), Server("tcp://127.0.0.1:0") as server:
                with connect(server.urls[0]) as client:
                    client.sendall(b"x")
                    self.assertEqual(client.recv(1), b"x")
                    server.process.send_signal(first)
                    self.assertEqual(client.recv(1), b"")  # drained; it waits for our end
                    server.process.send_signal(second)
                    self.assertEqual(server.process.wait(timeout=HANGS), 0)

    def test_clients_beyond_the_limit_of_descriptors_wait_and_are_served(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))

        with Server("tcp://127.0.0.1:0", preexec_fn=limit) as server:
            clients = [connect(server.urls[0]) for _ in range(40)]
            for client in clients:
                client.sendall(b"x")
            while clients:  # whoever has been served leaves, and makes room
                ready = select.select(clients, [], [], HANGS)[0]
                self.assertTrue(ready)
                for client in ready:
                    self.assertEqual(client.recv(1), b"x")
                    client.close()
                    clients.remove(client)
            with open(f"/proc/{server.process.pid}/stat", encoding="utf-8") as stat:
                used = stat.read().rsplit(")", 1)[1].split()  # from the third field on
            ticks = int(used[11]) + int(used[12])
            self.assertLess(ticks / os.sysconf("SC_CLK_TCK"), 5)  # seconds of CPU
            self.assertEqual(server.stop()[0], 0)

    def test_a_stopped_and_continued_process_goes_on_serving(self):
        with Server("tcp://127.0.0.1:0") as server, connect(server.urls[0]) as client:
            for _ in range(3):
                server.process.send_signal(signal.SIGSTOP)
                server.process.send_signal(signal.SIGCONT)
                client.sendall(b"still there?")
                self.assertEqual(client.recv(12, socket.MSG_WAITALL), b"still there?")

    def test_a_socket_file_that_a_killed_server_left_is_taken_over(self):
        with tempfile.TemporaryDirectory() as folder:
            url = f"unix:{folder}/echo.sock"
            with Server(url) as killed:
                killed.process.kill()
                killed.process.wait()
            self.assertEqual(os.listdir(folder), ["echo.sock"])
            with Server(url) as server, connect(url) as client:
                client.sendall(b"x")
                self.assertEqual(client.recv(1), b"x")
                client.close()
                self.assertEqual(server.stop()[0], 0)

    def test_without_a_url_it_takes_port_7000_or_says_why_not(self):
        with subprocess.Popen([ECHO], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            line = process.stdout.readline()
            if line:
                self.assertEqual(line, "listening on tcp://127.0.0.1:7000\n")
                process.terminate()
                self.assertEqual(process.wait(timeout=HANGS), 0)
            else:  # somebody else has it
                self.assertIn("tcp://127.0.0.1:7000", process.stderr.read())
                self.assertEqual(process.wait(timeout=HANGS), 1)


class Telling(unittest.TestCase):
    def test_help_and_version_are_printed(self):
        told = run("--help")
        self.assertEqual((told.returncode, told.stderr), (0, ""))
        for word in ("usage: echo", "--listen", "--help", "--version", "tcp://127.0.0.1:7000"):
            self.assertIn(word, told.stdout)
        told = run("--version")
        self.assertEqual((told.returncode, told.stderr), (0, ""))
        self.assertRegex(told.stdout, r"^echo \(weir\) \d+\.\d+\.\d+\n$")

    def check_one_line(self, told, code, *words):
        self.assertEqual(told.returncode, code, told.stderr)
        self.assertEqual(told.stdout, "")
        self.assertEqual(len(told.stderr.splitlines()), 1, told.stderr)
        for word in words:
            self.assertIn(word, told.stderr)

    def test_what_cannot_be_understood_is_one_line_and_exit_code_2(self):
        for url, reason in {
            "http://127.0.0.1:0": "unknown scheme 'http'",
            "127.0.0.1:7000": "scheme",
            "": "empty",
            "tcp://127.0.0.1:99999": "99999",
            "tcp://127.0.0.1:x": "x",
            "tcp://127.0.0.1": "port",
            "tcp://localhost:0": "localhost",
            "tcp://127.0.0.1:0?backlog=many": "many",
            "tcp://127.0.0.1:0?colour=red": "unknown option 'colour'",
            "tcp://127.0.0.1:0?v6only=1": "v6only",
            "unix:echo.sock": "echo.sock",
            "unix:/" + "x" * 200: "x" * 50,
        }.items():
            with self.subTest(url):
                told = run("--listen", url)
                self.check_one_line(told, 2, "listen", reason)
                if len(url) < 100:
                    self.assertIn(f"'{url}'", told.stderr)

    def test_wrong_arguments_are_one_line_and_exit_code_2(self):
        for arguments, reason in ((["--liste"], "liste"), (["--colour"], "--colour"),
                                  (["--listen"], "--listen"), (["-x"], "x"),
                                  (["stray"], "stray"), (["--help=yes"], "help")):
            with self.subTest(arguments):
                self.check_one_line(run(*arguments), 2, reason)

    def test_a_busy_port_is_one_line_and_exit_code_1(self):
        with socket.create_server(("127.0.0.1", 0)) as busy:
            url = f"tcp://127.0.0.1:{busy.getsockname()[1]}"
            self.check_one_line(run("--listen", url), 1, "listen", url, "bind",
                                "Address already in use")

    def test_two_servers_do_not_share_a_port(self):
        with Server("tcp://127.0.0.1:0") as server:
            self.check_one_line(run("--listen", server.urls[0]), 1, "Address already in use")

    def test_a_path_that_cannot_be_made_is_one_line_and_exit_code_1(self):
        with tempfile.TemporaryDirectory() as folder:
            self.check_one_line(run("--listen", f"unix:{folder}/no/such.sock"), 1, "listen",
                                f"{folder}/no/such.sock", "No such file or directory")
            with open(f"{folder}/a-file", "w", encoding="utf-8"):
                pass
            self.check_one_line(run("--listen", f"unix:{folder}/a-file"), 1,
                                "Address already in use")
            self.assertEqual(os.listdir(folder), ["a-file"])  # not ours: not removed

    def test_a_path_without_permission_is_one_line_and_exit_code_1(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o555)
            as_nobody = {}
            if os.geteuid() == 0:  # to root nothing is forbidden
                as_nobody = {"user": 65534, "group": 65534, "extra_groups": []}
                if not can_run_as(as_nobody):
                    self.skipTest("root, and no other user may run the program here")
            told = run("--listen", f"unix:{folder}/echo.sock", **as_nobody)
            self.check_one_line(told, 1, "listen", f"{folder}/echo.sock", "Permission denied")

    def test_a_second_listener_that_fails_leaves_nothing_of_the_first(self):
        with tempfile.TemporaryDirectory() as folder:
            told = run("--listen", f"unix:{folder}/echo.sock", "--listen", "nonsense:")
            self.assertEqual((told.returncode, told.stdout), (2, ""))
            self.assertIn("nonsense", told.stderr)
            self.assertEqual(os.listdir(folder), [])

    def test_a_standard_output_that_takes_nothing_is_no_silent_success(self):
        for arguments in (["--help"], ["--version"], ["--listen", "tcp://127.0.0.1:0"]):
            with self.subTest(arguments), open("/dev/full", "w", encoding="utf-8") as full:
                told = run(*arguments, stdout=full)
                self.assertEqual(told.returncode, 1)
                self.assertIn("stdout: No space left on device", told.stderr.splitlines()[-1])
            with self.subTest(arguments, stdout="closed"):
                told = run(*arguments, stdout=None, preexec_fn=lambda: os.close(1))
                self.assertEqual(told.returncode, 1)
                self.assertIn("stdout: ", told.stderr.splitlines()[-1])


def can_run_as(user):
    try:
        return run("--version", **user).returncode == 0
    except (PermissionError, OSError):
        return False


class Readme(unittest.TestCase):
    def test_the_example_that_opens_the_readme_echoes(self):
        with subprocess.Popen([README_ECHO], text=True, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE) as process:
            url = re.search(r"listening on (\S+)", process.stderr.readline())[1]
            with connect(url) as client:
                client.sendall(b"six lines")
                self.assertEqual(client.recv(9, socket.MSG_WAITALL), b"six lines")
            process.terminate()
            self.assertEqual(process.wait(timeout=HANGS), 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
