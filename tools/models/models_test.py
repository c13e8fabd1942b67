"""Runs weir-models as its user does, and looks at what it prints: counts, never times.

    models_test.py WEIR_MODELS
"""

import json
import os
import pathlib
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
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


def is_sanitized():
    return b"__asan_init" in pathlib.Path(PROGRAM).read_bytes() or b"__tsan_init" in pathlib.Path(
        PROGRAM).read_bytes()


class CommandLine(unittest.TestCase):
    def test_what_cannot_be_understood_is_named(self):
        for arguments, reason in {
                ("--model", "select,nothing"): "--model 'nothing': is none of blocking, ",
                ("--connections", "10,many"): "--connections 'many': not a number from 0 to ",
                ("--connections", "10,"): "--connections '': not a number",
                ("--active", "0"): "--active '0': not a number from 1 to ",
                ("--seconds", "-1"): "--seconds '-1': not a number",
                ("--rounds", "0"): "--rounds '0': not a number",
                ("--plot", "/nowhere/x.svg"): "--plot '/nowhere/x.svg': No such file",
                ("--seconds",): "--seconds needs a value",
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
        for option in ("--model", "--connections", "--active", "--seconds", "--rounds", "--plot",
                       "--json", "--port", "--help"):
            self.assertIn(f"  {option} ", text)


class Measuring(unittest.TestCase):
    def test_every_model_under_every_load(self):
        cells = measure("--connections", "0,20")
        self.assertEqual(list(cells), [(name, idle) for idle in (0, 20) for name in model_names()])
        for (name, idle), cell in cells.items():
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
                expected = statistics.median(one[key] for one in rounds or cell["rounds"])
                self.assertAlmostEqual(value, expected, delta=abs(expected) * 1e-4, msg=(name, key))

    def check_figures(self, name, idle, figures):
        # Nothing is in flight where the counts begin and end, and a request of 64 bytes is one
        # receive and one send; the kernel does both for io_uring.
        self.assertEqual(figures["copies_per_request"], 0 if name == "io_uring" else 2)
        total = sum(figures[f"{kind}_per_request"]
                    for kind in ("waits", "copies", "in_vain", "others"))
        self.assertAlmostEqual(figures["calls_per_request"], total, places=3)
        self.assertGreater(figures["requests_per_cpu_second"], 0)
        self.assertLessEqual(figures["p50_us"], figures["p999_us"])
        if name == "blocking":
            self.assertEqual(figures["threads"], 1 + 10 + idle)
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
        elif name not in ("blocking", "thread-per-ready"):
            # A wait reports at least one of the requests, and at most all ten; two waits more are
            # those that the laboratory's questions have interrupted.
            self.assertGreater(figures["waits_per_request"], 0)
            self.assertLess(figures["waits_per_request"], 1.5)

    def test_one_connection_makes_every_request_wait(self):
        cells = measure("--active", "1", "--connections", "0", "--model", "select,epoll-edge,weir")
        for (name, _), cell in cells.items():
            with self.subTest(name=name):
                # epoll_wait, recv, send; of hundreds of requests, two at the borders.
                self.assertAlmostEqual(cell["median"]["waits_per_request"], 1, delta=0.2)

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

    def test_a_server_that_dies_fails_the_run_and_the_others_go_on(self):
        process = subprocess.Popen(
            [PROGRAM, "--model", "poll,weir", "--connections", "0", "--rounds", "1", "--seconds",
             "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        victim = None
        while victim is None and process.poll() is None:
            victim = self.child(process.pid, "poll")
        os.kill(victim, signal.SIGKILL)
        stdout, _ = process.communicate(timeout=LIMIT_S)
        self.assertEqual(process.returncode, 1)
        self.assertRegex(
            stdout, r"(?m)^poll beside 0 idle connections: FAILED: .*the server died of signal 9$")
        self.assertRegex(stdout, r"(?m)^\| weir +\| +[\d,]+ \|")
        self.assertNotIn("Every byte of every echo was right", stdout)

    @staticmethod
    def child(pid, model):
        """Of the laboratory `pid`, the server of `model`; None if there is none."""
        try:
            children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for child in children:
                words = pathlib.Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                if words[1:3] == [b"measured-server", model.encode()]:
                    return int(child)
        except OSError:
            pass
        return None


class Calls(unittest.TestCase):
    def test_the_calls_of_one_request_by_name(self):
        done = run("calls", "--json")
        if "ptrace" in done.stderr:
            self.skipTest(done.stderr)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        calls = json.loads(done.stdout)
        self.assertEqual(list(calls), model_names())
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
        if "io_uring" in calls:
            self.assertEqual(set(calls["io_uring"]), {"io_uring_enter"})


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
        self.assertIn("Medians of 1 rounds of 0.05 s. Every byte of every echo was right.", stdout)

    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed")
    def test_the_chart_has_a_line_for_each_model_that_has_figures(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "it's.svg"
            done = run(*FAST, "--model", "poll,weir", "--connections", "0,5", "--plot", str(file))
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            chart = file.read_text()
        self.assertTrue(chart.rstrip().endswith("</svg>"))
        for text in (">poll<", ">weir<", "idle connections beside the 10"):
            self.assertIn(text, chart)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
