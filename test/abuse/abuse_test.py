"""Treats examples/echo as a hostile network would.

    abuse_test.py BUILD/examples/echo [GROUP...] [-- ARGUMENT...]

GROUPs are the classes below; without any, all run. The ARGUMENTs are the program's. Each case
prints figures, and ends with the same questions (victim.py): has everything come back, and right;
are the descriptors and the memory given back; does it rest; does it serve; does it drain, with exit
code 0?
"""

import contextlib
import fcntl
import functools
import os
import pathlib
import select
import signal
import socket
import struct
import sys
import termios
import unittest

sys.path.insert(1, str(pathlib.Path(__file__).parent.parent / "examples"))

import streams  # pylint: disable=wrong-import-position
from streams import PATIENCE, Stream, is_refused, pump, push, read_to_end, send_more
from victim import KIB, MIB, victim_over

COMMAND = []  # the program and its arguments


def over(*kinds):
    """The case runs once for each kind of socket, against a server of its own."""
    def decorate(case):
        @functools.wraps(case)
        def run(self):
            for kind in kinds:
                before = streams.compared
                with self.subTest(kind):
                    with victim_over(kind, COMMAND) as victim:
                        case(self, victim)
                    notes = "; ".join([f"{(streams.compared - before) / MIB:.2f} MiB compared",
                                       *victim.notes])
                    print(f"{case.__name__} ({kind}): {notes}", flush=True)
        return run
    return decorate


@contextlib.contextmanager
def crowd(victim, count, first=1, **options):
    """Clients of their own numbers."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Stream(victim.url, first + i, **options)) for i in range(count)]


def arrived(stream):
    """How much of what it sent is with the server's kernel: all but what is not acknowledged."""
    if stream.socket.family == socket.AF_UNIX:
        return stream.sent
    left = fcntl.ioctl(stream.socket, termios.TIOCOUTQ, struct.pack("i", 0))
    return stream.sent - struct.unpack("i", left)[0]


class Drips(unittest.TestCase):
    @over("tcp", "unix")
    def test_bytes_come_one_by_one(self, victim):
        with crowd(victim, 2) as (patient, hasty):
            for _ in range(2_000):
                send_more([patient], 1)
            hasty.piece = 1
            send_more([hasty], 20_000)

    @over("tcp", "unix")
    def test_messages_of_every_critical_size_come_back(self, victim):
        powers = [1 << power for power in range(10, 21)]
        with crowd(victim, 2) as clients:
            for size in sorted({size + more for size in powers for more in (-1, 0, 1)}):
                send_more(clients, size)
                with victim.stopped():  # and all of it at once
                    clients[0].total += size
                    clients[0].move()
                pump(clients)

    @over("tcp", "unix")
    def test_a_reader_takes_a_few_bytes_at_a_time(self, victim):
        with crowd(victim, 1, total=4 * MIB) as (client,):
            push(victim, [client])
            client.reads = False
            for i in range(20_000):
                client.receive(1 + i % 100)
                client.send()
            client.reads = True
            pump([client])

    @over("tcp", "unix")
    def test_300_connections_drip_one_byte_at_a_time(self, victim):
        with crowd(victim, 300) as clients:
            for _ in range(60):
                send_more(clients, 1)
            victim.check_memory("300 that drip:", 0, connections=300)

    @over("tcp", "unix")
    def test_300_connections_say_nothing(self, victim):
        with crowd(victim, 300) as clients:
            victim.wait_fds(victim.fds_at_start + 300)
            victim.check_rests()
            victim.check_memory("300 silent:", 0, connections=300)
            send_more(clients[::7], 10_000)  # and they are not forgotten

    @over("tcp", "unix")
    def test_300_connections_end_without_a_word(self, victim):
        with crowd(victim, 300) as clients:
            for client in clients:
                client.shut()
            pump(clients)
            victim.wait_fds(victim.fds_at_start)  # although none of them has closed

    @over("tcp", "unix")
    def test_2000_clients_connect_and_leave(self, victim):
        with crowd(victim, 1) as others:
            for i in range(2_000):
                client = Stream(victim.url, 2)
                client.reset() if i % 2 else client.close()
                if i % 100 == 0:
                    send_more(others, 1_000)
                if i == 500:
                    before = victim.grown()
            leak = (victim.grown() - before) / 1_500
        victim.notes.append(f"{leak:.1f} bytes more for each client")
        if not victim.is_sanitized:
            self.assertLess(leak, 64)


class SlowReaders(unittest.TestCase):
    def withhold(self, victim, clients):
        """They send what they can of 64 MiB, and read nothing; and then they read."""
        push(victim, clients)
        taken = sum(client.sent for client in clients)
        victim.notes.append(f"{taken / MIB:.1f} MiB were taken unread")
        self.assertGreater(taken, len(clients) * 256 * KIB)
        victim.check_memory("unread:", len(clients))
        victim.check_rests()
        for client in clients:
            self.assertLess(client.sent, client.total, "nothing holds it back")

    @over("tcp", "unix")
    def test_one_sends_64_mib_and_reads_nothing(self, victim):
        with crowd(victim, 1, total=64 * MIB) as clients:
            self.withhold(victim, clients)
            pump(clients)

    @over("tcp", "unix")
    def test_48_send_64_mib_and_read_nothing(self, victim):
        with crowd(victim, 48, total=64 * MIB, send_buffer=64 * KIB) as clients:
            self.withhold(victim, clients)
            with crowd(victim, 1, first=100) as others:
                send_more(others, MIB)  # nobody else is held up
            for client in clients:
                client.total = client.sent  # and all that was taken comes back
            pump(clients)

    @over("tcp", "unix")
    def test_a_reader_stops_and_goes_on_again_and_again(self, victim):
        with crowd(victim, 4, total=64 * MIB) as clients:
            for i in range(12):
                push(victim, clients)
                victim.check_memory(f"at stop {i}:", 4) if i % 4 == 0 else None
                goal = sum(client.received for client in clients) + 4 * MIB
                pump(clients, lambda: sum(client.received for client in clients) >= goal)
            for client in clients:
                client.total = client.sent
            pump(clients)

    @over("tcp", "unix")
    def test_those_who_read_nothing_leave_with_everything_queued(self, victim):
        with crowd(victim, 32, total=64 * MIB, send_buffer=64 * KIB) as clients:
            push(victim, clients)
            victim.check_memory("unread:", 32)
            for i, client in enumerate(clients):
                client.reset() if i % 2 else client.close()


    @over("unix")  # with TCP the kernel takes more or less of it, and the figures vary
    def test_what_one_generation_leaves_serves_the_next(self, victim):
        # What is cached varies for a while; what leaks goes on growing. In address space, since how
        # much of a cached block has been written says nothing.
        sizes = []
        for generation in range(120):
            with crowd(victim, 40, total=64 * MIB, send_buffer=64 * KIB) as clients:
                push(victim, clients)
                waiting = victim.grown()
                for client in clients[::3]:
                    client.reset()
                for client in clients[1::3]:
                    client.socket.shutdown(socket.SHUT_WR)
            if generation % 5 == 4:
                victim.wait_fds(victim.fds_at_start)
                sizes.append(victim.status("VmData"))
        leak = (min(sizes[16:]) - min(sizes[4:12])) / (60 * 40)
        victim.notes.append(f"{waiting // KIB} KiB waited; {leak:.1f} bytes more for each client")
        if not victim.is_sanitized:
            self.assertGreater(waiting, MIB)
            self.assertLess(leak, 64)


class HalfCloses(unittest.TestCase):
    @over("tcp", "unix")
    def test_a_half_close_with_8_mib_pending_gets_them_all(self, victim):
        with crowd(victim, 4, total=8 * MIB, ends=True, send_buffer=4 * MIB) as clients:
            # Nobody reads but for those bytes without which the rest is not taken.
            while True:
                push(victim, clients)
                if all(client.is_shut for client in clients):
                    break
                for client in clients:
                    client.is_shut or client.receive(MIB)
            pending = min(client.sent - client.received for client in clients)
            victim.notes.append(f"at least {pending / MIB:.1f} MiB pending at the end")
            victim.check_memory("meanwhile:", 4)
            pump(clients)
            victim.wait_fds(victim.fds_at_start)

    @over("tcp", "unix")
    def test_the_end_comes_in_one_segment_with_the_last_bytes(self, victim):
        sizes = [1, 2, 100, 1447, 1448, 1449, 65_536, 70_000, 256 * KIB, 256 * KIB + 1]
        for i in range(300):
            size = sizes[i % len(sizes)]
            with Stream(victim.url, i) as client:
                if i % 3 == 0:
                    send_more([client], 10)  # not its first receive
                client.total = client.sent + size
                with victim.stopped() if i % 4 == 0 else contextlib.nullcontext():
                    if size < 2 * KIB and client.socket.family != socket.AF_UNIX:
                        client.send(socket.MSG_MORE)  # it waits for the end
                    client.ends = True
                    client.move(select.POLLOUT)
                pump([client])

    @over("tcp")
    def test_a_reset_of_another_does_not_hurt_who_half_closed(self, victim):
        with crowd(victim, 8, total=4 * MIB, ends=True) as clients:
            with crowd(victim, 8, first=20, total=4 * MIB) as others:
                push(victim, clients + others)
                for other in others:
                    other.reset()
            pump(clients)


class Resets(unittest.TestCase):
    @staticmethod
    def bother(victim, i, pending):
        """A client that leaves with RST, in one of the ways to leave; some stay open in `pending`
        to leave later, all together."""
        client = Stream(victim.url, i, total=MIB)
        if i % 7 > 0:
            client.send()
        if i % 7 == 2:
            while not client.receive(10_000):
                select.select([client.socket], [], [], PATIENCE)
        if i % 7 == 3:
            client.move()
            client.move()
        if i % 7 == 4:
            client.socket.shutdown(socket.SHUT_WR)
        if i % 7 == 5:
            client.socket.shutdown(socket.SHUT_RD)
        if i % 7 == 6:
            client.send_urgent() if client.socket.family != socket.AF_UNIX else None
            pending.append(client)
        else:
            client.reset()

    @over("tcp", "unix")
    def test_1000_clients_reset_in_the_middle(self, victim):
        pending = []
        with crowd(victim, 2) as neighbours:
            for i in range(1_000):
                self.bother(victim, i, pending)
                if i % 25 == 0:
                    send_more(neighbours, 200_000)
                    while pending:
                        pending.pop().reset()
            while pending:
                pending.pop().reset()

    @over("tcp", "unix")
    def test_clients_connect_and_send_and_reset_while_it_stands_still(self, victim):
        with crowd(victim, 2) as neighbours:
            for _ in range(4):
                old = [Stream(victim.url, i, total=MIB) for i in range(30)]
                push(victim, old)
                pending = []
                with victim.stopped():
                    for client in old:
                        client.reset()
                    for i in range(60):
                        if i % 7 != 2:  # nobody answers
                            self.bother(victim, i, pending)
                    for client in pending:
                        client.reset()
                    for neighbour in neighbours:
                        neighbour.total += MIB
                        neighbour.send()
                pump(neighbours)


class Urgent(unittest.TestCase):
    def require_urgent(self, victim):
        """Unix sockets have it since Linux 5.15, if it is configured."""
        with Stream(victim.url, 1) as client:
            try:
                client.send_urgent()
            except OSError as error:
                self.skipTest(f"no urgent data here: {error}")

    @over("unix")
    def test_descriptors_in_a_stream_hide_nothing_and_are_not_kept(self, victim):
        with crowd(victim, 1) as (client,):
            for i in range(200):
                with victim.stopped() if i % 2 else contextlib.nullcontext():
                    client.total += 300
                    client.piece = 100
                    client.send()
                    client.send_descriptors(1 + i % 50)
                    client.send()
                pump([client])
            victim.wait_fds(victim.fds_at_start + 1)

    @over("tcp", "unix")
    def test_an_urgent_byte_hides_nothing_that_comes_behind_it(self, victim):
        self.require_urgent(victim)
        sizes = [0, 1, 100, 5_000, 200_000]
        with crowd(victim, 1) as (old,):
            for before in sizes:
                for behind in sizes:
                    for stops in (False, True):
                        with crowd(victim, 1, first=2) as (new,):
                            with victim.stopped() if stops else contextlib.nullcontext():
                                for client in (old, new):
                                    client.total += before
                                    client.send()
                                    client.send_urgent()
                                    client.total += behind
                                    client.send()
                            pump([old, new])
                            new.shut()
                            pump([new])

    @over("tcp")
    def test_an_urgent_byte_and_the_end(self, victim):
        for stops in (False, True):
            for before, behind in ((0, 0), (1_000, 0), (0, 1_000), (1_000, 1_000)):
                with crowd(victim, 1, ends=True) as (client,):
                    with victim.stopped() if stops else contextlib.nullcontext():
                        client.ends = False
                        client.total = before
                        client.send()
                        client.send_urgent()
                        client.total += behind
                        client.send()
                        client.shut()
                    pump([client])

    @over("tcp")
    def test_urgent_bytes_all_along_a_stream_that_is_congested(self, victim):
        with crowd(victim, 4, total=16 * MIB) as clients:
            for client in clients:
                client.reads = False
            for _ in range(3):
                push(victim, clients)
                for client in clients:
                    with contextlib.suppress(BlockingIOError):
                        client.send_urgent()
                goal = sum(client.received for client in clients) + 8 * MIB
                pump(clients, lambda: sum(client.received for client in clients) >= goal)
            pump(clients)

    @over("tcp")
    def test_2000_urgent_bytes_wake_it_no_more_than_they_should(self, victim):
        with crowd(victim, 1) as (client,):
            for _ in range(2_000):
                client.send_urgent()
                send_more([client], 1)
            victim.check_rests()


class Descriptors(unittest.TestCase):
    SPARE = 6  # descriptors that are left
    MORE = 60  # clients that come in excess

    # (UBSan tells of an invalid vptr when it is asked for a new type of object in here: it looks at
    # memory by way of a pipe, for which there is no descriptor.)
    @contextlib.contextmanager
    def starving(self, victim, total=1_000):
        """Clients that have all of its descriptors, and those that wait for some. All have sent."""
        with crowd(victim, 4) as old:
            send_more(old, 100)
            victim.wait_fds_with(victim.fds_at_start + 4, old[0])
            victim.limit_fds(self.SPARE)
            with crowd(victim, self.SPARE + self.MORE, first=10, total=total) as new:
                for client in new:
                    client.send()
                pump(new, lambda: sum(client.is_done for client in new) >= self.SPARE)
                served = [client for client in new if client.is_done]
                waiting = [client for client in new if not client.is_done]
                self.assertEqual(len(served), self.SPARE)
                yield old + served, waiting
                self.assertTrue(all(client.is_done for client in new))

    @over("tcp", "unix")
    def test_who_waits_is_served_when_the_limit_rises(self, victim):
        for _ in range(2):
            with self.starving(victim) as (served, waiting):
                send_more(served, 500_000)  # what has a descriptor goes on
                self.assertEqual(sum(client.received for client in waiting), 0)
                victim.unlimit_fds()
                pump(waiting)  # nobody new has come: it has not forgotten them
                self.assertTrue(all(client.is_done for client in waiting))
            victim.wait_fds(victim.fds_at_start)

    @over("tcp", "unix")
    def test_who_waits_is_served_when_others_leave(self, victim):
        with self.starving(victim) as (served, waiting):
            for i in range(5):
                served[i].reset() if i % 2 else served[i].close()
            left = set(waiting)
            while left:  # each that has been served makes room for another
                pump(left, lambda: any(client.is_done for client in left))
                for client in [client for client in left if client.is_done]:
                    client.close()
                    left.remove(client)
        victim.unlimit_fds()

    @over("tcp", "unix")
    def test_it_hardly_works_while_it_waits_for_descriptors(self, victim):
        with self.starving(victim) as (served, waiting):
            used, wakes = victim.measure_idle(milliseconds=300)
            victim.notes.append(f"{used:.1f} ms and {wakes} wakes, while another worked 300 ms")
            self.assertLess(used, 15, "5 %")
            send_more(served, 1_000)
            victim.unlimit_fds()
            pump(waiting)

    @over("tcp", "unix")
    def test_clients_that_come_and_go_at_the_limit_do_not_fill_the_log(self, victim):
        victim.wait_fds(victim.fds_at_start)
        victim.limit_fds(2)
        for _ in range(1_000):
            with crowd(victim, 3, total=1) as clients:
                pump(clients, lambda: sum(client.is_done for client in clients) >= 2)
        victim.unlimit_fds()
        lines = len(victim.logged().splitlines())
        victim.notes.append(f"{lines} lines logged")
        self.assertLess(lines, 20)

    @over("tcp", "unix")
    def test_fewer_descriptors_than_are_open(self, victim):
        with crowd(victim, 20) as old:
            send_more(old, 100)
            victim.limit_fds(-10)
            with crowd(victim, 20, first=50, total=5_000) as new:
                for client in new:
                    client.send()
                for client in old[:9]:
                    client.close()  # not enough of them
                send_more(old[9:], 50_000)
                self.assertEqual(sum(client.received for client in new), 0)
                victim.unlimit_fds()
                pump(new)

    @over("tcp", "unix")
    def test_who_waits_may_leave_before_its_turn(self, victim):
        with crowd(victim, 2) as old:
            send_more(old, 100)
            victim.wait_fds_with(victim.fds_at_start + 2, old[0])
            victim.limit_fds(0)
            with crowd(victim, 30, first=50, total=5_000) as new:
                for client in new:
                    client.send()
                for i, client in enumerate(new[:20]):
                    client.reset() if i % 2 else client.close()
                send_more(old, 100)
                victim.unlimit_fds()
                pump(new[20:])

    @over("tcp", "unix")
    def test_a_stop_takes_those_who_wait_as_others_leave(self, victim):
        with self.starving(victim) as (served, waiting):
            victim.send_signal(signal.SIGTERM)
            for client in served:  # none leaves until the server, which drains, has sent its end
                client.ends = True
            pump(served, lambda: all(client.has_ended for client in served))
            for client in served:
                client.ends, client.has_ended = False, False
                client.close()
            left = set(waiting)
            for client in left:
                client.ends = True
            while left:
                pump(left, lambda: any(client.is_done or client.has_ended for client in left))
                for client in [client for client in left if client.has_ended]:
                    self.assertEqual(client.received, client.sent)
                    client.ends, client.has_ended = False, False  # for who counts at the end
                    client.close()
                    left.remove(client)
            victim.check_exit()


class Stops(unittest.TestCase):
    @over("tcp", "unix")
    def test_100_stops_and_continues_during_an_echo(self, victim):
        rounds = 0
        with crowd(victim, 6, total=12 * MIB) as clients:
            def disturb():
                nonlocal rounds
                back = sum(client.received for client in clients)
                if rounds < 100 and back >= rounds * 256 * KIB:
                    with victim.stopped():
                        for client in clients:
                            if rounds % 3:
                                client.move()
                    rounds += 1
            while rounds < 100:
                pump(clients, then=disturb)
                for client in clients:
                    client.total += MIB
            for client in clients:
                client.ends = True
            pump(clients)

    @over("tcp", "unix")
    def test_a_storm_of_stops_with_nothing_between(self, victim):
        with crowd(victim, 6, total=4 * MIB) as clients:
            def disturb():
                victim.send_signal(signal.SIGSTOP)
                victim.send_signal(signal.SIGCONT)
            pump(clients, then=disturb)
            for _ in range(1_000):
                disturb()
            send_more(clients, 1_000)

    @over("tcp", "unix")
    def test_everything_comes_at_once_behind_a_stop(self, victim):
        with crowd(victim, 20) as old:
            send_more(old, 10_000)
            for i in range(5):
                with victim.stopped():
                    with crowd(victim, 20, first=100 * i + 100, total=70_000, ends=True) as new:
                        for client in old:
                            client.total += 100_000
                        for client in old + new:
                            client.move(select.POLLOUT)
                        victim.send_signal(signal.SIGCONT)
                        pump(old + new)


class Drains(unittest.TestCase):
    @over("tcp", "unix")
    def test_what_had_arrived_before_the_signal_is_answered(self, victim):
        with crowd(victim, 20, total=MIB) as old:
            push(victim, old[:10])  # of the first ten it holds much already
            with victim.stopped():
                with contextlib.ExitStack() as stack:
                    new = [stack.enter_context(Stream(victim.url, 100 + i, total=40_000))
                           for i in range(20)]
                    clients = old + new
                    for client in clients:
                        client.move(select.POLLOUT)
                    there = {client: arrived(client) for client in clients}
                    victim.send_signal(signal.SIGTERM)
                    victim.send_signal(signal.SIGCONT)
                    read_to_end(clients)
                    for client in clients:
                        self.assertGreaterEqual(client.received, there[client], str(client))
                    victim.notes.append(f"{sum(there.values()) / MIB:.1f} MiB had arrived")
            for client in old:
                client.close()
            victim.check_exit()

    @over("tcp", "unix")
    def test_slow_readers_get_all_they_are_owed(self, victim):
        with crowd(victim, 8, total=64 * MIB, send_buffer=256 * KIB) as clients:
            push(victim, clients)
            there = {client: arrived(client) for client in clients}
            victim.send_signal(signal.SIGTERM)
            for _ in range(3):
                victim.wait_asleep()  # it waits for them
            self.assertTrue(is_refused_or_fresh(victim.url))
            read_to_end(clients)
            for client in clients:
                self.assertGreaterEqual(client.received, there[client], str(client))
                client.close()
            victim.check_exit()

    @over("tcp", "unix")
    def test_a_second_signal_ends_it_whoever_does_not_close(self, victim):
        with crowd(victim, 20, total=64 * MIB, send_buffer=64 * KIB) as clients:
            push(victim, clients[:10])
            send_first = clients[10:]
            for client in send_first:
                client.total = 100
            pump(send_first)
            victim.send_signal(signal.SIGTERM)
            for client in send_first:
                client.ends = True
            pump(send_first, lambda: all(client.has_ended for client in send_first))
            victim.send_signal(signal.SIGTERM)
            victim.check_exit()
            for client in clients[:10]:
                client.total = client.sent
                client.socket.setblocking(True)
                self.assertTrue(ends_somehow(client), "its connection is gone")

    @over("tcp", "unix")
    def test_a_signal_while_clients_come_and_go(self, victim):
        with crowd(victim, 10) as old:
            send_more(old, 1_000)
            with victim.stopped():
                for i in range(60):
                    client = Stream(victim.url, 50 + i, total=1_000)
                    client.send()
                    client.reset() if i % 2 else client.close()
                for client in old[:5]:
                    client.reset()
                victim.send_signal(signal.SIGTERM)
            read_to_end(old[5:])
            for client in old[5:]:
                client.close()
            victim.check_exit()


def is_refused_or_fresh(url):
    """A drained listener: who comes now is refused, or finds nobody."""
    try:
        with socket.socket(socket.AF_UNIX if url.startswith("unix:") else socket.AF_INET) as late:
            late.setblocking(False)
            if url.startswith("unix:"):
                return late.connect_ex(url[len("unix:"):]) != 0
            host, port = url[len("tcp://"):].rsplit(":", 1)
            return late.connect_ex((host, int(port))) != 0
    except OSError:
        return True


def ends_somehow(client):
    """What is left comes, and then an end or a reset."""
    while not is_refused(lambda: client.socket.recv(1 << 20)):
        pass
    return True


class Crowds(unittest.TestCase):
    @over("tcp", "unix")
    def test_a_flood_leaves_its_neighbour_its_turns(self, victim):
        flooding = os.fork()
        if flooding == 0:  # another process, so that the two do not wait for each other
            code = 1
            with contextlib.suppress(BaseException):
                with crowd(victim, 4, total=48 * MIB) as clients:
                    pump(clients)
                code = 0
            os._exit(code)
        pings = 0
        with crowd(victim, 1, first=50) as neighbour:
            while (ended := os.waitpid(flooding, os.WNOHANG)) == (0, 0):
                send_more(neighbour, 64)
                pings += 1
        streams.compared += 192 * MIB
        victim.notes.append(f"{pings} pings beside 192 MiB")
        self.assertEqual(ended[1], 0, "the flood came back as it was")
        self.assertGreater(pings, 16, "one for each 12 MiB, on however busy a machine")

    @over("tcp", "unix")
    def test_all_kinds_of_abuse_at_once(self, victim):
        is_tcp = victim.url.startswith("tcp")
        with contextlib.ExitStack() as stack:
            def enter(count, first, **options):
                return stack.enter_context(crowd(victim, count, first, **options))
            slow = enter(8, 100, total=64 * MIB, send_buffer=256 * KIB)
            silent = enter(50, 200)
            bulk = enter(4, 300, total=12 * MIB, ends=True)
            drips = enter(20, 400, total=300)
            for client in slow:
                client.reads = False
            for client in drips:
                client.piece = 1
            steps = 0

            def disturb():
                nonlocal steps
                steps += 1
                for client in slow:
                    client.move(select.POLLOUT)
                if steps % 20 == 0:
                    Resets.bother(victim, 500 + steps, strays)
                if steps % 50 == 0:
                    with victim.stopped():
                        pass
                if steps % 30 == 0 and is_tcp:
                    bulk_or_drip = drips[steps % 20]
                    bulk_or_drip.send_urgent()
                if steps % 100 == 0:
                    victim.limit_fds(0)
                if steps % 100 == 10:
                    victim.unlimit_fds()

            strays = []
            pump(bulk + drips, then=disturb)
            victim.unlimit_fds()
            victim.notes.append(f"{steps} steps")
            for stray in strays:
                stray.reset()
            victim.check_memory("under all:", len(slow) + len(bulk))
            for client in slow:
                client.reads = True
                client.total = client.sent
            send_more(silent, 100)
            pump(slow)


def report(result):
    """As Catch2 says it, for those who count cases."""
    bad = {getattr(test, "test_case", test) for test, _ in result.failures + result.errors}
    print(f"{streams.compared / MIB:.0f} MiB came back and were compared")
    if not bad:
        print(f"All tests passed (all content equal in {result.testsRun} test cases)")
    else:
        print(f"test cases: {result.testsRun} | {result.testsRun - len(bad)} passed | "
              f"{len(bad)} failed")
    return 1 if bad else 0


def main(arguments):
    own, further = arguments, []
    if "--" in arguments:
        at = arguments.index("--")
        own, further = arguments[:at], arguments[at + 1:]
    COMMAND[:] = [own[0], *further]
    names = own[1:] or None
    module = sys.modules[__name__]
    loader = unittest.defaultTestLoader
    suite = (loader.loadTestsFromNames(names, module) if names
             else loader.loadTestsFromModule(module))
    return report(unittest.TextTestRunner(verbosity=2).run(suite))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
