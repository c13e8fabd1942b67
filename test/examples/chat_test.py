"""Runs examples/chat and talks to it.

    chat_test.py BUILD/examples/chat
"""

import contextlib
import signal
import sys
import tempfile
import unittest

from program import Client, Server

CHAT = sys.argv[1]
LONGEST_LINE = 1024


class Chat(unittest.TestCase):
    def setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.open = stack.enter_context

    def enter(self, url=None):
        """A client that has joined; the others must still read that it did."""
        client = self.open(Client(url or self.server.url))
        client.name = client.line().split()[2]
        return client

    def enter_three(self, url="tcp://127.0.0.1:0"):
        """Three clients that have read of each other's joining."""
        self.server = self.open(Server(CHAT, url))
        a = self.enter()
        b = self.enter()
        c = self.enter()
        self.assertEqual(a.lines(2), ["* guest-2 joined", "* guest-3 joined"])
        self.assertEqual(b.line(), "* guest-3 joined")
        return a, b, c

    def test_a_line_goes_to_all_others_and_not_back(self):
        a, b, c = self.enter_three()
        a.send("hello\n")
        self.assertEqual(b.line(), "guest-1: hello")
        self.assertEqual(c.line(), "guest-1: hello")
        c.send("hello yourself\r\n")
        self.assertEqual(a.line(), "guest-3: hello yourself")
        self.assertEqual(b.line(), "guest-3: hello yourself")
        for client in (a, b, c):  # the answer to this is the next thing that each hears
            client.send("/who\n")
            self.assertEqual(client.line(), "* here: guest-1, guest-2, guest-3")

    def test_loops_hear_each_other(self):
        # By turns, so that it is known which loop has whom: one 1 and 3, the other 2 and 4.
        self.server = self.open(
            Server(CHAT, arguments=["--loops", "2", "--balance", "round-robin"]))
        clients = []
        for i in range(1, 5):
            client = self.enter()
            for other in clients:  # all have heard of it before the next one comes
                self.assertEqual(other.line(), f"* guest-{i} joined")
            clients.append(client)
        rounds = 200
        for client in clients:
            client.send("".join(f"line {i}\n" for i in range(rounds)))
        for client in clients:
            heard = {other.name: [] for other in clients}
            for _ in range(3 * rounds):
                name, text = client.line().split(": ")
                heard[name].append(text)
            for other in clients:
                self.assertEqual(heard[other.name], [] if other is client
                                 else [f"line {i}" for i in range(rounds)])
        clients[0].send("/name guest-2\n")
        self.assertEqual(clients[0].line(), "* that name is taken")
        clients[1].socket.close()
        for client in (clients[0], clients[2], clients[3]):
            self.assertEqual(client.line(), "* guest-2 left")
        clients[2].send("/who\n")
        self.assertEqual(clients[2].line(), "* here: guest-1, guest-3, guest-4")
        for client in clients:
            client.socket.close()
        self.server.send_signal(signal.SIGTERM)
        self.assertEqual(self.server.exit_code(), 0)

    def test_lines_may_come_in_pieces_and_together(self):
        a, b, _ = self.enter_three()
        heard = []
        for piece in ("o", "ne", "\n", "tw", "o\nthree\n\nfour\n"):
            a.send(piece)
            b.send("/who\n")  # once it is answered, the next piece comes to a later turn
            while not (line := b.line()).startswith("* here: "):
                heard.append(line)
        heard += b.lines(4 - len(heard))
        self.assertEqual(heard, [f"guest-1: {word}" for word in ("one", "two", "three", "four")])

    def test_names_are_set_and_told_and_belong_to_one(self):
        a, b, c = self.enter_three()
        a.send("/name alice\nhi\n")
        self.assertEqual(a.line(), "* you are alice")
        for other in (b, c):
            self.assertEqual(other.lines(2), ["* guest-1 is now alice", "alice: hi"])
        for name, answer in {
            "alice": "* that name is taken",
            "": "* a name has 1 to 32 bytes and no blank",
            "al ice": "* a name has 1 to 32 bytes and no blank",
            "x" * 33: "* a name has 1 to 32 bytes and no blank",
            "bell\a": "* a name has 1 to 32 bytes and no blank",
        }.items():
            b.send(f"/name {name}\n")
            self.assertEqual(b.line(), answer, name)
        b.send("/name bj\u00f6rn\n/who\n/dance\n")
        self.assertEqual(b.lines(3), ["* you are bj\u00f6rn", "* here: alice, bj\u00f6rn, guest-3",
                                      "* there is /name NAME, and /who"])
        self.assertEqual(c.line(), "* guest-2 is now bj\u00f6rn")

    def test_a_guest_gets_no_name_that_somebody_took(self):
        a, _, _ = self.enter_three()
        a.send("/name guest-4\n")
        self.assertEqual(a.line(), "* you are guest-4")
        self.assertEqual(self.enter().name, "guest-5")

    def test_who_leaves_is_announced_and_listed_no_more(self):
        a, b, c = self.enter_three()
        b.socket.close()
        self.assertEqual(a.line(), "* guest-2 left")
        self.assertEqual(c.line(), "* guest-2 left")
        a.send("/who\n")
        self.assertEqual(a.line(), "* here: guest-1, guest-3")

    def test_the_longest_line_passes(self):
        a, b, _ = self.enter_three()
        a.send("x" * LONGEST_LINE + "\n")
        self.assertEqual(b.line(), "guest-1: " + "x" * LONGEST_LINE)

    def test_a_longer_line_is_refused_politely_with_or_without_its_end(self):
        for rest in ("x" * (LONGEST_LINE + 1) + "\nnever said\n", "x" * (1 << 16)):
            with self.subTest(len(rest)):
                a, b, c = self.enter_three()
                with self.server.stopped():
                    b.send("before\n" + rest[:50_000])
                self.assertEqual(b.lines(2), ["* a line has at most 1024 bytes: goodbye", None])
                for other in (a, c):
                    self.assertEqual(other.lines(2), ["guest-2: before", "* guest-2 left"])
                    other.send("/who\n")
                    self.assertEqual(other.line(), "* here: guest-1, guest-3")

    def test_a_slow_reader_holds_up_nobody_and_is_dropped(self):
        with tempfile.TemporaryDirectory() as folder:
            # Unix: the kernel keeps less for a reader than it may with TCP.
            a, b, slow = self.enter_three(f"unix:{folder}/chat.sock")
            text = "y" * 1000
            heard = None
            for _ in range(200):  # 10 MB; without a limit, what the slow one is owed
                a.send((text + "\n") * 50)
                for _ in range(50):
                    heard = b.line()
                    if heard == "* guest-3 was dropped: too slow":
                        heard = b.line()
                        break
                    self.assertEqual(heard, "guest-1: " + text)
                else:
                    continue
                break
            else:
                self.fail("the slow reader was not dropped")
            self.assertEqual(a.line(), "* guest-3 was dropped: too slow")
            a.send("/who\n")
            self.assertEqual(a.line(), "* here: guest-1, guest-2")
            while slow.socket.recv(1 << 16):  # what the kernel had for it, and the end
                pass

    def test_a_reader_is_not_blamed_for_what_one_turn_writes(self):
        with tempfile.TemporaryDirectory() as folder:
            a, b, c = self.enter_three(f"unix:{folder}/chat.sock")
            name = "n" * 32
            a.send(f"/name {name}\n")
            self.assertEqual(a.line(), f"* you are {name}")
            count = 30_000  # 60 kB, of which the chat makes more than 1 MiB for each reader
            with self.server.stopped():
                a.send("x\n" * count)
            for reader in (b, c):
                self.assertEqual(reader.line(), f"* guest-1 is now {name}")
                self.assertEqual(set(reader.lines(count)), {f"{name}: x"})

    def test_signals_drain(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number):
                a, b, c = self.enter_three()
                with self.server.stopped():
                    a.send("/who\n")  # it has arrived before the signal
                    self.server.send_signal(number)
                self.assertEqual(a.line(), "* here: guest-1, guest-2, guest-3")
                for client in (a, b, c):
                    self.assertIsNone(client.line())
                    client.socket.close()
                self.assertEqual(self.server.exit_code(), 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
