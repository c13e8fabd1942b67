"""Runs weir-models as its user does, and looks at what it prints: counts, never times.

    models_test.py WEIR_MODELS
"""

import contextlib
import functools
import json
import os
import pathlib
import re
import resource
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = ""
FAST = ["--rounds", "1", "--seconds", "0.05"]
FIRST = ["blocking", "polling", "select", "poll", "epoll-level", "thread-per-ready", "epoll-edge"]
LIMIT_S = 120


def run(*arguments, **options):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=LIMIT_S,
                          **options)


def measure(*arguments, code=0, **options):
    """What --json says, as {(model, idle): cell}."""
    done = run(*FAST, "--json", *arguments, **options)
    if done.returncode != code:
        raise AssertionError(f"exit code {done.returncode}, not {code}: {done.stderr}{done.stdout}")
    document = json.loads(done.stdout)
    return {(cell["model"], cell["idle"]): cell for cell in document["results"]}


def model_names():
    """As --help has them; io_uring may be left out."""
    models = run("--help").stdout.split("models:\n")[1].split("\n\n")[0]
    return [line.split()[0] for line in models.splitlines() if not line.startswith("  (")]


@functools.cache
def forbidden():
    """What the system does not allow: io_uring, in many containers."""
    if "io_uring" not in model_names():
        return []
    cell = measure("--model", "io_uring", "--connections", "0")["io_uring", 0]
    return ["io_uring"] if "io_uring needs Linux 6.1" in cell.get("refused", "") else []


def start(*arguments):
    """As a shell does it: in a process group of its own, and Ctrl-C has its meaning."""
    return subprocess.Popen([PROGRAM, "--rounds", "1", "--connections", "0", *arguments],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            start_new_session=True,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def server_of(process, model):
    """The server's process, as soon as there is one. None if the laboratory has ended."""
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None:
        for child in children.read_text().split():
            with contextlib.suppress(OSError):
                words = pathlib.Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                if words[1:3] == [b"measured-server", model.encode()]:
                    return int(child)
    return None


def state(pid):
    """Of /proc/PID/status: {"State": "S (sleeping)", ...}; empty if it is gone."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    except OSError:
        return {}


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        os.sched_yield()
    return True


def is_sanitized():
    return b"__asan_init" in pathlib.Path(PROGRAM).read_bytes() or b"__tsan_init" in pathlib.Path(
        PROGRAM).read_bytes()


class CommandLine(unittest.TestCase):
    def test_what_cannot_be_understood_is_named(self):
        for arguments, reason in {
                ("--model", "select,nothing"): "--model 'nothing': is none of blocking, ",
                ("--connections", "10,many"): "--connections 'many': not a number from 0 to ",
                ("--connections", "0,10,0"): "--connections '0': named twice",
                ("--model", "poll,weir,poll"): "--model 'poll': named twice",
                ("--connections", "-1"): "--connections '-1': not a number",
                ("--connections", "1e3"): "--connections '1e3': not a number",
                ("--connections", "10,"): "--connections '': not a number",
                ("--active", "0"): "--active '0': not a number from 1 to ",
                ("--seconds", "-1"): "--seconds '-1': not a number",
                ("--rounds", "0"): "--rounds '0': not a number",
                ("--plot", "/nowhere/x.svg"): "--plot '/nowhere/x.svg': No such file",
                ("--seconds",): "--seconds needs a value",
                ("--also", "mine"): "--also 'mine': not NAME=COMMAND",
                ("--also", "=true"): "--also '=true': not NAME=COMMAND",
                ("--also", "mine="): "--also 'mine=': not NAME=COMMAND",
                ("--also", "a|b=true"): "--also 'a|b=true': a name is made of letters, ",
                ("--also", "poll=true"): "--also 'poll=true': there is a model of that name",
                ("--also", "a=true", "--also", "a=false"): "--also 'a=false': there is another",
                ("edges", "--also", "a=true"): "--also is no option of 'edges'",
                ("--frob",): "unknown option '--frob'",
                ("-q",): "unknown option '-q'",
                ("frob",): "'frob': none of calls, edges, serve",
                ("edges", "--model", "poll"): "--model is no option of 'edges'",
                ("edges", "all"): "unexpected argument 'all'",
                ("serve",): "serve needs a model: blocking, ",
                ("serve", "nothing"): "serve 'nothing': is none of blocking, ",
                ("serve", "weir", "--port", "65536"): "--port '65536': not a number from 0 to ",
        }.items():
            with self.subTest(arguments=arguments):
                if arguments[0] == "--plot" and not shutil.which("gnuplot"):
                    reason = "--plot needs gnuplot"
                done = run(*arguments)
                self.assertEqual(done.returncode, 2)
                self.assertIn(f"weir-models: {reason}", done.stderr)
                self.assertEqual(done.stdout, "")

    def test_help_names_all_models_and_options(self):
        text = run("--help").stdout
        self.assertEqual(model_names()[:7], FIRST)
        self.assertEqual(model_names()[-1], "weir")
        for option in ("--model", "--also", "--connections", "--active", "--seconds", "--rounds",
                       "--plot", "--json", "--port", "--help"):
            self.assertIn(f"  {option} ", text)


class Measuring(unittest.TestCase):
    def test_every_model_under_every_load(self):
        cells = measure("--connections", "0,20")
        self.assertEqual(list(cells), [(name, idle) for idle in (0, 20) for name in model_names()])
        for (name, idle), cell in cells.items():
            if name in forbidden():
                continue
            with self.subTest(name=name, idle=idle):
                self.assertNotIn("refused", cell)
                self.assertIn(len(cell["rounds"]), (1, 2))  # once more, if the CPUs were far apart
                self.check_figures(name, idle, cell["median"])

    def test_medians_are_of_the_rounds_in_which_the_cpus_were_near(self):
        cells = measure("--rounds", "5", "--seconds", "0.01", "--model", "poll,weir",
                        "--connections", "0")
        all_rounds = [one for cell in cells.values() for one in cell["rounds"]]
        near = 2 * min(one["cpu_distance_ns"] for one in all_rounds)
        for (name, _), cell in cells.items():
            rounds = [one for one in cell["rounds"] if one["cpu_distance_ns"] <= near]
            self.assertGreaterEqual(len(cell["rounds"]), 5)
            for key, value in cell["median"].items():
                values = [one[key] for one in rounds or cell["rounds"] if one[key] is not None]
                if not values:
                    self.assertIsNone(value)
                    continue
                expected = statistics.median(values)
                self.assertAlmostEqual(value, expected, delta=abs(expected) * 1e-4, msg=(name, key))

    def check_figures(self, name, idle, figures):
        # Nothing is in flight where the counts begin and end, and a request of 64 bytes is one
        # receive and one send; the kernel does both for io_uring.
        self.assertEqual(figures["copies_per_request"], 0 if name == "io_uring" else 2)
        total = sum(figures[f"{kind}_per_request"]
                    for kind in ("waits", "copies", "in_vain", "others"))
        self.assertAlmostEqual(figures["calls_per_request"], total, places=3)
        self.assertGreater(figures["requests_per_cpu_second"], 0)
        if figures["requests_per_second"] == 0:  # none was answered in the time
            self.assertIsNone(figures["p50_us"])
            self.assertIsNone(figures["p999_us"])
        else:
            self.assertGreater(figures["p50_us"], 0)
            self.assertLessEqual(figures["p50_us"], figures["p999_us"])
        if name == "blocking":
            self.assertIn(figures["threads"] - 1 - 10 - idle, (0, 1) if is_sanitized() else (0,))
            self.assertEqual(figures["waits_per_request"], 0)
            self.assertEqual(figures["in_vain_per_request"], 0)
        elif name == "thread-per-ready":
            self.assertGreaterEqual(figures["others_per_request"], 2)  # a thread, and the re-arming
        else:
            # Sanitizers may have a thread of their own.
            self.assertLessEqual(figures["threads"], 2 if is_sanitized() else 1)
        if name == "polling":
            # Those who do not ask are asked: at least one of ten finds nothing, now and then.
            self.assertGreater(figures["in_vain_per_request"], 0)
            self.assertGreater(figures["idle_wakeups_per_second"], 0)
            self.assertGreater(figures["idle_cpu_percent"], 0)
        elif name not in ("blocking", "thread-per-ready"):
            # A wait reports at least one of the requests, and at most all ten; two waits more are
            # those that the laboratory's questions have interrupted. io_uring waits for the send,
            # too.
            self.assertGreater(figures["waits_per_request"], 0)
            self.assertLess(figures["waits_per_request"], 2.5 if name == "io_uring" else 1.5)

    def test_one_connection_makes_every_request_wait(self):
        cells = measure("--active", "1", "--connections", "0", "--model", "select,epoll-edge,weir")
        for (name, _), cell in cells.items():
            with self.subTest(name=name):
                # epoll_wait, recv, send; of hundreds of requests, two at the borders.
                self.assertAlmostEqual(cell["median"]["waits_per_request"], 1, delta=0.2)

    def test_who_sleeps_between_requests_takes_little_of_the_cpu(self):
        cells = measure("--active", "1", "--connections", "0", "--model", "polling")
        figures = cells["polling", 0]["median"]
        self.assertGreater(figures["requests_per_cpu_second"], 2 * figures["requests_per_second"])

    @unittest.skipIf(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 600, "too few descriptors")
    def test_the_memory_of_a_connection_that_has_a_thread(self):
        cells = measure("--connections", "500", "--model", "blocking")
        figures = cells["blocking", 500]["median"]
        # At least a page of its stack is touched, and what the kernel has for it is more than that
        # (but not of this machine alone: other threads may come and go meanwhile).
        self.assertGreaterEqual(figures["bytes_per_connection"], 4096)
        self.assertGreater(figures["kernel_stack_per_connection"], 4096)

    @unittest.skipIf(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 1300, "too few descriptors")
    def test_select_says_where_it_ends_and_the_others_go_on(self):
        cells = measure("--model", "select,poll", "--connections", "1100,5")
        refused = cells["select", 1100]
        self.assertIn("FD_SETSIZE", refused["refused"])
        self.assertTrue(refused["expected"])
        self.assertEqual(refused["rounds"], [])
        for cell in (cells["poll", 1100], cells["select", 5], cells["poll", 5]):
            self.assertNotIn("refused", cell)

    @unittest.skipIf(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 200, "too few descriptors")
    def test_more_connections_than_descriptors(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))

        cells = measure("--model", "epoll-level", "--connections", "300,5", preexec_fn=limit)
        self.assertIn("and may have 200 (ulimit -Hn)", cells["epoll-level", 300]["refused"])
        self.assertNotIn("refused", cells["epoll-level", 5])

    def test_threads_past_a_limit(self):
        if is_sanitized():
            self.skipTest("a sanitizer needs more address space than this leaves")

        def limit():  # room for some stacks of 8 MiB, not for 300
            resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

        cells = measure("--model", "blocking,weir", "--connections", "300", preexec_fn=limit)
        self.assertIn("the system gives no more threads", cells["blocking", 300]["refused"])
        self.assertTrue(cells["blocking", 300]["expected"])
        self.assertNotIn("refused", cells["weir", 300])

    def assert_poll_failed_and_weir_went_on(self, process):
        stdout, _ = process.communicate(timeout=LIMIT_S)
        self.assertEqual(process.returncode, 1)
        self.assertRegex(
            stdout, r"(?m)^poll beside 0 idle connections: FAILED: .*the server died of signal 9$")
        self.assertRegex(stdout, r"(?m)^\| weir +\| +[\d,]+ \|")
        self.assertNotIn("Every byte of every echo was right", stdout)

    def test_a_server_that_dies_fails_the_run_and_the_others_go_on(self):
        process = start("--model", "poll,weir", "--seconds", "1")
        os.kill(server_of(process, "poll"), signal.SIGKILL)
        self.assert_poll_failed_and_weir_went_on(process)

    def test_a_server_that_dies_while_it_is_asked_what_it_uses(self):
        process = start("--model", "poll,weir", "--seconds", "1")
        server = server_of(process, "poll")

        def is_asked():
            return int(state(server)["ShdPnd"], 16) & 1 << (signal.SIGUSR1 - 1)

        # It is asked at once after a quiet time of 0.2 s: to be stopped for longer than that meets
        # one of the questions.
        os.kill(server, signal.SIGSTOP)
        while not wait_for(is_asked, 0.4):
            os.kill(server, signal.SIGCONT)
            time.sleep(0.01)
            os.kill(server, signal.SIGSTOP)
        os.kill(server, signal.SIGKILL)
        self.assert_poll_failed_and_weir_went_on(process)

    def test_no_server_outlives_the_laboratory(self):
        for number in (signal.SIGINT, signal.SIGKILL):
            with self.subTest(number):
                process = start("--model", "poll", "--seconds", "60")
                server = server_of(process, "poll")
                os.killpg(process.pid, number)
                process.communicate(timeout=LIMIT_S)
                self.assertEqual(process.returncode, -number)
                # Who inherits it may be slow to wait for it.
                self.assertTrue(wait_for(lambda: state(server).get("State", "Z")[0] in "ZX"))

    def test_one_cpu_is_enough_and_is_told(self):
        def one():
            os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])

        done = run(*FAST, "--json", "--model", "weir", "--connections", "0", preexec_fn=one)
        document = json.loads(done.stdout)
        self.assertIn("; not pinned: one CPU", document["machine"])
        self.assertEqual(document["results"][0]["median"]["cpu_distance_ns"], 0)


# A server as a guest may be one: argv[1] is what is special in it.
GUEST = """
import select, signal, socket, sys
kind = sys.argv[1]
if kind == "ends with 5":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
def receive(client):
    if kind != "asks in vain":
        return client.recv(65536)
    try:
        return client.recv(65536, socket.MSG_DONTWAIT)
    except BlockingIOError:
        select.select([client], [], [])
        return receive(client)
listener = socket.create_server(("127.0.0.1", 0))
print("a guest, with a word before")
print(f"listening on tcp://127.0.0.1:{listener.getsockname()[1]}", flush=True)
while True:
    client = listener.accept()[0]
    while data := receive(client):
        client.sendall(data[:-1] + bytes([data[-1] ^ 1]) if kind == "flips" else data)
    client.close()
"""


def guest(kind):
    return f"{kind}={shlex.join([sys.executable, '-c', GUEST, kind])}"


class Guests(unittest.TestCase):
    ONE = ["--active", "1", "--connections", "0"]

    def test_a_guest_is_measured_as_the_models_are_but_for_its_calls(self):
        twin = f"the twin={shlex.quote(PROGRAM)} serve poll"
        cells = measure("--model", "poll", "--also", twin, "--connections", "0,20")
        self.assertEqual(list(cells), [(name, idle) for idle in (0, 20)
                                       for name in ("poll", "the twin")])
        for (name, idle), cell in cells.items():
            with self.subTest(name=name, idle=idle):
                self.assertNotIn("refused", cell)
                figures = cell["median"]
                counted = {key for key, value in figures.items() if value is not None}
                not_counted = {f"{kind}_per_request" for kind in
                               ("calls", "waits", "copies", "in_vain", "others")}
                if name == "poll":
                    self.assertLessEqual(not_counted, counted)
                else:
                    self.assertTrue(not_counted.isdisjoint(counted))
                self.assertGreater(figures["requests_per_cpu_second"], 0)
                self.assertLessEqual(figures["threads"], 2 if is_sanitized() else 1)
                self.assertLessEqual(figures["wakeups_per_request"],
                                     figures["switches_per_request"])
                if not is_sanitized():
                    self.assertEqual(figures["idle_wakeups_per_second"], 0)

    def test_who_waits_for_each_request_is_woken_for_each(self):
        cells = measure(*self.ONE, "--model", "poll", "--also", guest("honest"))
        for (name, _), cell in cells.items():
            # But for those that came while it was put aside: others run beside this test.
            self.assertGreater(cell["median"]["wakeups_per_request"], 0.5, name)
            self.assertLess(cell["median"]["wakeups_per_request"], 1.5, name)

    def test_a_guest_that_is_none_fails_the_run_and_the_others_go_on(self):
        for also, why in {
                guest("flips"): "connection 1: byte 63 was sent as 0x",
                guest("ends with 5"): "the server did not end as it was asked to; the server ended "
                                      "with exit code 5",
                "silent=true": "the server does not say 'listening on tcp://HOST:PORT' on its "
                               "stdout; the server ended with exit code 0",
                "elsewhere=echo listening on unix:/nowhere": "the server does not say 'listening ",
                "missing=/no/such/server": "the server ended with exit code 127; the server said: ",
        }.items():
            name = also.partition("=")[0]
            with self.subTest(name):
                cells = measure(*self.ONE, "--model", "poll", "--also", also, code=1)
                self.assertIn(why, cells[name, 0]["refused"])
                self.assertFalse(cells[name, 0]["expected"])
                self.assertNotIn("refused", cells["poll", 0])

    def test_the_calls_of_a_guest(self):
        twin = f"the twin={shlex.quote(PROGRAM)} serve poll"
        guests = [twin, *map(guest, ("honest", "asks in vain", "flips")), "silent=true"]
        done = run("calls", "--json", "--model", "poll",
                   *(word for one in guests for word in ("--also", one)))
        if "ptrace" in done.stderr:
            self.skipTest(done.stderr)
        calls = json.loads(done.stdout)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.splitlines(), [
            "weir-models: flips: the echo did not come, or was wrong",
            "weir-models: silent: the server died"])
        self.assertEqual(list(calls), ["poll", "the twin", "honest", "asks in vain"])
        self.assertEqual(calls["honest"], {"recvfrom": 1, "sendto": 1})
        # However slow it is while it is traced: the next request comes when it rests.
        self.assertEqual({name: calls["asks in vain"][name] for name in calls["honest"]},
                         {"recvfrom": 2, "sendto": 1})
        if not is_sanitized():
            self.assertEqual(calls["the twin"], calls["poll"])


class Calls(unittest.TestCase):
    def test_the_calls_of_one_request_by_name(self):
        done = run("calls", "--json")
        if "ptrace" in done.stderr:
            self.skipTest(done.stderr)
        calls = json.loads(done.stdout)
        self.assertEqual(list(calls), [name for name in model_names() if name not in forbidden()])
        if not forbidden():
            self.assertEqual((done.returncode, done.stderr), (0, ""))
        copying = {"recvfrom": 1, "sendto": 1}
        if is_sanitized():
            return  # it makes calls of its own
        self.assertEqual(calls["blocking"], copying)
        for name in ("select", "poll", "epoll-level", "epoll-edge", "weir"):
            waiting = {call: count for call, count in calls[name].items() if call not in copying}
            self.assertEqual({**copying, **waiting}, calls[name], name)
            # By what name the kernel knows it differs between processors.
            self.assertRegex(" ".join(waiting), r"^(select|pselect6|poll|ppoll|epoll_p?wait)$")
            self.assertEqual(list(waiting.values()), [1], name)
        for call in ("epoll_ctl", "clone3", "exit"):
            self.assertEqual(calls["thread-per-ready"][call], 1)
        # It asks for clients and for bytes as often as it sleeps, and once before it finds some.
        polling = calls["polling"]
        self.assertEqual((polling["sendto"], polling["recvfrom"]), (1, polling["accept4"]))
        self.assertAlmostEqual(polling["recvfrom"], polling["clock_nanosleep"] + 1)
        if "io_uring" in calls:
            self.assertEqual(set(calls["io_uring"]), {"io_uring_enter"})


    def test_a_model_that_fails_is_told_and_the_others_go_on(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))

        done = run("calls", "--json", "--model", "poll,weir", preexec_fn=limit)
        self.assertEqual((done.returncode, done.stdout), (1, "{}\n"))
        for name in ("poll", "weir"):
            self.assertRegex(done.stderr, rf"(?m)^weir-models: {name}: .*: Too many open files$")


class Printing(unittest.TestCase):
    def test_two_tables_for_each_load(self):
        stdout = run(*FAST, "--model", "blocking,weir", "--connections", "0,10").stdout
        for title in ("10 connections ask", "10 connections ask, 10 idle"):
            for kind in ("", ": for each request"):
                self.assertEqual(len(re.findall(rf"(?m)^\| {title}{kind} +\|", stdout)), 1)
        self.assertEqual(len(re.findall(r"(?m)^\| weir +\|", stdout)), 4)
        tables = [line for line in stdout.splitlines() if line.startswith("|")]
        self.assertEqual(len(tables), 4 * 4)
        self.assertRegex(stdout, r"(?m)^.+, \d+ CPUs; Linux .+; (gcc|clang) .+\.$")
        self.assertIn("Medians of 1 round of 0.05 s. Every byte of every echo was right.", stdout)

    def test_each_column_has_its_figure(self):
        stdout = run(*FAST, "--model", "blocking,polling", "--connections", "0").stdout
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in stdout.splitlines()
                if line.startswith("|") and "---" not in line]
        titles = [row[0] for row in rows]
        self.assertEqual(titles[0::3],
                         ["10 connections ask", "10 connections ask: for each request"])
        cost = [dict(zip(rows[0], row)) for row in rows[1:3]]
        each = [dict(zip(rows[3], row)) for row in rows[4:6]]
        self.assertEqual(rows[0][1:], [
            "requests per CPU second", "p50 us", "p99.9 us", "threads",
            "memory per idle connection", "and kernel stack", "idle CPU", "idle wake-ups per s"])
        self.assertEqual(rows[3][1:], ["system calls", "waiting", "copying", "in vain", "other",
                                       "wake-ups", "context switches"])
        self.assertIn(cost[0]["threads"], ("11", "12") if is_sanitized() else ("11",))
        self.assertEqual((cost[0]["memory per idle connection"], cost[0]["and kernel stack"]),
                         ("", ""))
        self.assertTrue(cost[0]["idle CPU"].endswith(" %"))
        if not is_sanitized():  # whose thread wakes up
            self.assertEqual(cost[0]["idle wake-ups per s"], "0")
        self.assertNotEqual(cost[1]["idle wake-ups per s"], "0")
        for row in cost:
            if row["p50 us"] != "-":  # a busy machine may answer nothing in so short a time
                self.assertLessEqual(*(int(row[title].replace(",", ""))
                                       for title in ("p50 us", "p99.9 us")))
        self.assertEqual([each[0][title] for title in rows[3][1:6]],
                         ["2.00", "in recv", "2.00", "0.00", "0.00"])
        self.assertGreater(float(each[1]["in vain"]), 0)
        for row in each:
            self.assertLessEqual(float(row["wake-ups"]), float(row["context switches"]))

    def test_a_stdout_that_takes_nothing_is_an_error(self):
        quick = [*FAST, "--model", "poll", "--connections", "0"]
        commands = (quick, [*quick, "--json"], ["edges"], ["--help"], ["calls", "--model", "poll"],
                    ["serve", "poll"])
        for command in commands:
            with self.subTest(command=command), open("/dev/full", "w") as full:
                done = subprocess.run([PROGRAM, *command], stdout=full, stderr=subprocess.PIPE,
                                      text=True, timeout=LIMIT_S)
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, r"^weir-models: .*: No space left on device\n$")

    def test_no_standard_stream_is_open(self):
        def close_all():
            for fd in (0, 1, 2):
                os.close(fd)

        done = subprocess.run([PROGRAM, *FAST, "--model", "poll", "--connections", "0"],
                              preexec_fn=close_all, timeout=LIMIT_S)
        self.assertEqual(done.returncode, 1)  # its tables are nowhere

    def test_a_chart_that_cannot_be_drawn(self):
        with tempfile.TemporaryDirectory() as folder:
            file = str(pathlib.Path(folder) / "x.svg")
            chart = [*FAST, "--model", "poll", "--connections", "0", "--plot", file]
            path = {**os.environ, "PATH": folder}
            done = run(*chart, env=path)
            self.assertEqual((done.returncode, done.stdout), (2, ""))  # before it measures
            self.assertIn("--plot needs gnuplot", done.stderr)
            gnuplot = pathlib.Path(folder) / "gnuplot"
            gnuplot.write_text("#!/bin/sh\nexit 1\n")
            gnuplot.chmod(0o755)
            done = run(*chart, env=path)
            self.assertEqual(done.returncode, 1)
            self.assertIn("weir-models: gnuplot did not draw the chart", done.stderr)
            self.assertIn("| poll ", done.stdout)

    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed")
    def test_the_chart_has_a_line_for_each_model_that_has_figures(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "it's.svg"
            done = run(*FAST, "--model", "poll,weir", "--connections", "0,37", "--plot", str(file))
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            chart = file.read_text()
        self.assertTrue(chart.rstrip().endswith("</svg>"))
        for text in (">poll<", ">weir<", ">37<", "idle connections beside the 10"):
            self.assertIn(text, chart)
        # gnuplot's name of a line: its number, and its panel's letter.
        lines = sorted(re.findall(r'id="gnuplot_plot_(\w+)"', chart))
        self.assertEqual(lines, ["1a", "1b", "2a", "2b"])


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
