"""Measures weir beside other echo servers. tools/bench is the way to start it.

In each round every server is started, and loaded row by row, one server after the other while the
others sleep; the next round begins with the next server. So what a machine does meanwhile meets
all of them alike, and each is compared with the C reference of its own round.

EXIT CODE  0 the table is printed, 1 a server or the build failed, 2 wrong usage.
"""

import argparse
import os
import pathlib
import resource
import signal
import subprocess
import sys

from machine import Disturbance, describe
from rows import ROWS
from server import REFERENCE, SERVERS, Failed, Server, measure
from table import print_tables

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TOP = pathlib.Path(__file__).resolve().parents[2]

ABOUT = """\
Measures the echo server of examples/ beside the same by hand (C, edge-triggered epoll: the
reference, 1.00), on libuv, libevent and Asio. Each runs on one CPU and the load on another, in
interleaved rounds. The tables tell medians over the rounds, with quartiles in brackets: CPU time
of the server for a request, relative to the reference in the same round (less is better), and
requests a second; and how late echoes come where connections compete for a busy server (row
"fair"). Every byte that comes back is checked.
"""


def closing_help():
    rows = "\n".join(f"  {name:<10} {row.title}" for name, row in ROWS.items())
    servers = "\n".join(
        f"  {name:<10} {server.title}{server.needs and ' (package ' + server.needs + ')'}"
        for name, server in SERVERS.items())
    return f"""\
rows:
{rows}

servers:
{servers}

It takes about rounds x rows x servers x (seconds + 0.1). Let nothing else run meanwhile: the last
line says how much did.
"""


def number(kind, least, most):
    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            raise argparse.ArgumentTypeError(f"'{text}' is not a number from {least} to {most}")
        return value

    return parse


def names_of(known):
    def parse(text):
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"'{name}' is none of {','.join(known)}")
        return [name for name in known if name in names]

    return parse


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        prog="bench", description=ABOUT, epilog=closing_help(), allow_abbrev=False,
        usage="tools/bench [OPTION...]", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", metavar="N", type=number(int, 1, 1000), default=10,
                        help="how often each is measured (10)")
    parser.add_argument("--seconds", metavar="S", type=number(float, 0.01, 60), default=0.5,
                        help="of each load (0.5)")
    parser.add_argument("--rows", metavar="LIST", type=names_of(ROWS), default=list(ROWS),
                        help="of the names below, with commas between them (all)")
    parser.add_argument("--servers", metavar="LIST", type=names_of(SERVERS), default=list(SERVERS),
                        help="likewise; the reference runs in any case (all)")
    parser.add_argument("--build", metavar="DIR", type=pathlib.Path,
                        help="measure what is built there already, and build nothing")
    return parser.parse_args(arguments)


def present(names, folder):
    """Those that were built, the reference first; says what the others miss."""
    there = []
    for name in [REFERENCE, *(name for name in names if name != REFERENCE)]:
        server = SERVERS[name]
        if (folder / server.program).exists():
            there.append(name)
        elif server.needs:
            print(f"bench: goes on without {server.title}: package {server.needs} is missing",
                  file=sys.stderr)
        else:
            raise Failed(f"{folder / server.program} is missing")
    return there


def pick_cpus():
    """For the server, and for the load; None: there is only one."""
    cpus = sorted(os.sched_getaffinity(0))
    return (cpus[0], cpus[1]) if len(cpus) > 1 else None


def run_round(index, names, options, cpus):
    """Yields (row, server, result)."""
    first = index % len(names)
    order = names[first:] + names[:first]
    running = {}
    try:
        for name in order:
            running[name] = Server(SERVERS[name], options.build, cpus)
        for row in options.rows:
            for name in order:
                yield row, name, measure(running[name], ROWS[row], options.seconds)
    finally:
        for server in running.values():
            server.stop()


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def run(options):
    if options.build is None:
        # Its output is not the table: it goes where warnings go.
        if subprocess.run([TOP / "tools/echo_bench/build"], stdout=sys.stderr).returncode != 0:
            raise Failed("the build failed")
        options.build = TOP / "build-bench"
    options.build = options.build.resolve()
    names = present(options.servers, options.build)
    cpus = pick_cpus()
    disturbance = Disturbance()
    results = {}
    for index in range(options.rounds):
        progress(f"round {index + 1} of {options.rounds}")
        for row, name, result in run_round(index, names, options, cpus):
            results.setdefault((row, name), []).append(result)
    progress("")
    print_tables(results, options.rows, names)
    print(f"\n{describe(options.build, names, cpus)}.")
    print(f"{options.rounds} rounds of {options.seconds:g} s each. {disturbance.tell()}")


def ended(number, frame):
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # once is enough: what follows is every `finally`
    sys.exit(128 + number)


def main(arguments):
    options = parse_arguments(arguments)
    for each in SIGNALS:
        signal.signal(each, ended)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    try:
        run(options)
    except Failed as failed:
        progress("")
        print(f"bench: {failed}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
