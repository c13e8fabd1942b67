"""Runs an embedding example, which serves from inside a host program's loop, and talks to both.

    embed_test.py BUILD/examples/embed_poll
"""

import signal
import subprocess
import sys
import time
import unittest

from program import Client, Server

PROGRAM = sys.argv[1]


class Embedded(unittest.TestCase):
    def check_echo(self, client, text="hello"):
        client.send(text + "\n")
        self.assertEqual(client.line(), text)

    def test_it_echoes(self):
        with Server(PROGRAM) as server, Client(server.url) as a, Client(server.url) as b:
            self.check_echo(a)
            self.check_echo(b, "x" * 1_000_000)
            self.check_echo(a, "again")

    def test_a_timer_of_weirs_fires_while_nothing_else_happens(self):
        with Server(PROGRAM) as server:
            began = time.monotonic()
            with Client(server.url) as client:
                self.assertEqual(client.line(), "* are you there?")
                self.assertGreaterEqual(time.monotonic() - began, 0.5)

    def test_a_write_from_outside_a_turn_leaves_at_once(self):
        with Server(PROGRAM) as server, Client(server.url) as a, Client(server.url) as b:
            # After this no timer of weir's is left that could end in a turn, and no client speaks.
            self.assertEqual([a.line(), b.line()], ["* are you there?"] * 2)
            for text in ("the host says", "x" * 3000, "and again"):
                server.type(text + "\n")
                self.assertEqual([a.line(), b.line()], [text] * 2)

    def test_the_hosts_own_timer_fires(self):
        with Server(PROGRAM) as server:
            with Client(server.url) as a:
                self.check_echo(a)
                self.assertEqual(server.line(), "clients: 1")
                with Client(server.url) as b:
                    self.check_echo(b)
                    self.assertEqual(server.line(), "clients: 2")
            self.assertEqual(server.line(), "clients: 0")

    def test_it_sleeps_when_there_is_nothing_to_do_also_without_input(self):
        for stdin in (subprocess.PIPE, subprocess.DEVNULL):
            with self.subTest(stdin), Server(PROGRAM, stdin=stdin) as server:
                if server.process.stdin:
                    server.process.stdin.close()
                with Client(server.url) as client:
                    self.check_echo(client)
                    self.assertEqual(server.line(), "clients: 1")
                    used, began = server.cpu_seconds(), time.monotonic()
                client.socket.close()
                self.assertEqual(server.line(), "clients: 0")  # a second later
                with Client(server.url) as client:
                    self.assertEqual(client.line(), "* are you there?")
                passed = time.monotonic() - began
                self.assertLess(server.cpu_seconds() - used, passed / 4)

    def test_signals_drain(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number), Server(PROGRAM) as server, Client(server.url) as client:
                self.check_echo(client)
                with server.stopped():
                    client.send("this had arrived\n")
                    server.send_signal(number)
                self.assertEqual(client.lines(2), ["this had arrived", None])
                client.socket.close()
                self.assertEqual(server.exit_code(), 0)

    def test_a_second_signal_ends_it_at_once(self):
        with Server(PROGRAM) as server, Client(server.url) as client:
            self.check_echo(client)
            server.send_signal(signal.SIGTERM)
            self.assertIsNone(client.line())  # drained: now it waits for our end, in vain
            server.send_signal(signal.SIGTERM)
            self.assertEqual(server.exit_code(), 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
