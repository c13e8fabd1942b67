"""Runs weir-models edges, and wants each of its figures, for the reason that stands beside it.

    edges_test.py PATH_OF_WEIR_MODELS [unittest's arguments]

The reasons are the kernel's (epoll(7), tcp(7)) and weir's rules (docs/architecture.md): none of the
figures depends on a machine.
"""

import json
import pathlib
import re
import subprocess
import sys
import unittest

PROGRAM = ""
PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/io-models.md"
MAX_COLUMNS = 100


def reads(returns, reads, eagains, seen, unseen, **more):
    return dict(returns=returns, reads=reads, eagains=eagains, seen=seen, unseen=unseen, **more)


def accepts(returns, accepts, eagains, waiting):
    return dict(returns=returns, accepts=accepts, eagains=eagains, waiting=waiting)


def threads(returns, threads, at_once, seen, unseen, in_order):
    return dict(returns=returns, threads=threads, at_once=at_once, seen=seen, unseen=unseen,
                in_order=in_order)


def closes(returns, threads, closes, same_number, served):
    return dict(returns=returns, threads=threads, closes=closes, same_number=same_number,
                served=served)


def weir(events, receives, would_block, seen, unseen, end):
    return dict(events=events, receives=receives, would_block=would_block, seen=seen,
                unseen=unseen, end=end)


WANTED = {
    # LT reports as long as there is something: 80 / 20 = 4 times.
    "lt": reads(4, 4, 0, 80, 0),
    # ET reports an arrival, of which there was one: 80 - 20 stay.
    "et-no-drain": reads(1, 1, 0, 20, 60),
    # 80 / 20 = 4 reads, each of them full; only the fifth can say that there is no more.
    "et-drain": reads(1, 4, 1, 80, 0),
    # 30 + 30 + 20: the last is short, which for TCP means "empty".
    "et-short-30": reads(1, 3, 0, 80, 0),
    # 80 of 65,536: short at once.
    "et-short-large": reads(1, 1, 0, 80, 0),
    # 80 of 80 is not short: whether there was more, only another read can say.
    "et-short-exact": reads(1, 1, 1, 80, 0),

    # 2 arrivals, 2 reports, 20 each: 90 - 40. The program itself fails unless all bytes are seen
    # in the order in which they were sent, and those that it calls unseen are still there.
    "more-small": reads(2, 2, 0, 40, 50),
    # 20, then the 60 that were left and the 10 new ones in one read.
    "more-large": reads(2, 2, 0, 90, 0),
    # 1 + 5 arrivals; each brings 20 and earns a read of 20, so that the first 60 are never made up.
    "more-behind": reads(6, 6, 0, 120, 60),

    # 4 returns for the bytes, and one for the end, which is readable, too.
    "fin-lt": reads(5, 4, 0, 80, 0, end=True),
    # The short read ends it, and FIN, which came before the edge was taken, has none of its own.
    "fin-blind": reads(1, 1, 0, 80, 0, end=False),
    # The edge has RDHUP: one more read, which returns 0. That is not EAGAIN.
    "fin-rdhup": reads(1, 1, 0, 80, 0, end=True),
    # The same: a drain goes on until EAGAIN or 0, and here it is 0.
    "fin-drain": reads(1, 1, 0, 80, 0, end=True),

    # A read stops before the urgent byte (tcp(7)), which is no part of the stream: 40, then 39; LT
    # reports the rest. FIONREAD counts up to the urgent byte: 40 of the 79; at the byte: 0.
    "urgent-lt": reads(2, 2, 0, 79, 0, told=40, told_after=0),
    # 40 of 65,536 is short, and yet 39 are left. No new arrival, so no event.
    "urgent-blind": reads(1, 1, 0, 40, 39, told=40, told_after=0),
    # The edge has PRI: reads of 40 and 39, then EAGAIN.
    "urgent-pri": reads(1, 2, 1, 79, 0, told=40, told_after=0),

    # An empty socket has room whenever it is asked.
    "out-lt": dict(asked=1000, returns=1000),
    # When it is added to epoll, what is ready is reported, once; nothing changes after that.
    "out-et": dict(asked=1000, returns=1),
    # A write that found no room (EAGAIN) makes the kernel tell when there is some: once.
    "out-et-room": dict(asked=1000, returns=1),

    # Three clients, one for each return.
    "accept-lt": accepts(3, 3, 0, 0),
    # All three came before the edge was taken: one edge.
    "accept-et": accepts(1, 1, 0, 2),
    # The fourth is an arrival: one more edge, one more accept: 4 - 2.
    "accept-et-fourth": accepts(2, 2, 0, 2),
    # Three clients, and then nobody.
    "accept-et-drain": accepts(1, 3, 1, 0),

    # While the first thread has not read, LT reports again; after both have read 40, no more. The
    # second was made to write first.
    "threads": threads(2, 2, 2, 80, 0, in_order=False),
    # Not reported until it is armed again, then for the 40 that are left, then for nothing.
    "threads-oneshot": threads(2, 2, 1, 80, 0, in_order=True),

    # Both threads read the end, and both close. A descriptor has the lowest free number: after the
    # first close that is the one just given back.
    "close-threads": closes(2, 2, 2, same_number=True, served=False),
    # The descriptor is not armed again, and so never reported to a second thread.
    "close-oneshot": closes(1, 1, 1, same_number=True, served=True),

    # Rule 3: a full receive is owed another, without an event: 4 of 20, and one that finds EAGAIN.
    "weir-20": weir(1, 5, 1, 80, 0, end=False),
    # Rule 2: drained is known by a short receive.
    "weir": weir(1, 1, 0, 80, 0, end=False),
    # Rule 2: not after RDHUP. The second receive returns 0.
    "weir-fin": weir(1, 2, 0, 80, 0, end=True),
    # Rule 2: not after PRI. 40, 39, EAGAIN.
    "weir-urgent": weir(1, 3, 1, 79, 0, end=False),
    # Rules 3 and 9: one edge of the listener, accepts until EAGAIN; each client earns one receive,
    # which is short, before epoll has him.
    "weir-accept": dict(events=1, accepts=3, receives=3, would_block=1, seen=3, waiting=0),
}

NOT_FIGURES = {"id", "group", "title", "verdict"}


def run(*arguments):
    done = subprocess.run([PROGRAM, "edges", *arguments], capture_output=True, text=True,
                          timeout=60)
    if done.returncode != 0 or done.stderr:
        raise AssertionError(f"wanted 0 and nothing on stderr, got {done}")
    return done.stdout


def figures(line):
    return {name: value for name, value in line.items() if name not in NOT_FIGURES}


def as_text(value):
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


class Edges(unittest.TestCase):
    maxDiff = None

    def test_each_line_has_the_figures_that_it_must_have(self):
        lines = json.loads(run("--json"))
        self.assertEqual([line["id"] for line in lines], list(WANTED))
        for line in lines:
            with self.subTest(line["id"]):
                # As text, since True == 1.
                self.assertEqual(json.dumps(figures(line)), json.dumps(WANTED[line["id"]]))

    def test_the_table_says_the_same(self):
        wanted, group = [], None
        for line in json.loads(run("--json")):
            if line["group"] != group:
                group = line["group"]
                wanted += ["", group, " ".join(figures(line))]
            values = " ".join(map(as_text, figures(line).values()))
            wanted += [f"{line['title']} {values}", line["verdict"]]
        table = run().splitlines()
        said = [" ".join(line.split()) for line in table]
        self.assertEqual(said[said.index(""):], wanted)
        self.assertEqual([line for line in table if len(line) > MAX_COLUMNS], [])

    def test_the_page_has_what_is_printed(self):
        page = PAGE.read_text(encoding="utf-8")
        block = re.search(r"<!-- weir-models edges -->\n```\n(.*?)```\n", page, re.DOTALL)
        self.assertEqual(run(), block[1])


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
