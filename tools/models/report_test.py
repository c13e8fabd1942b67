"""Reads the report of figures that were made up (made_up.cc), and so wants each of its words.

    report_test.py PATH_OF_WEIR_MODELS_MADE_UP

Of each round the n-th field is n times its factor. The fast one's factors are 4, 2, 8 and 1 while
the CPUs were near, and 1000 and 900 while they were far: the median is 3. In the round of 1 nobody
was answered in time: that of the latencies is 4. Beside the crowd nobody counted the system calls.
"""

import json
import subprocess
import sys
import unittest

PROGRAM = ""
FIELDS = ["cpu_distance_ns", "requests_per_cpu_second", "requests_per_second", "p50_us", "p999_us",
          "threads", "bytes_per_connection", "kernel_stack_per_connection", "idle_cpu_percent",
          "idle_wakeups_per_second", "wakeups_per_request", "switches_per_request",
          "calls_per_request", "waits_per_request", "copies_per_request", "in_vain_per_request",
          "others_per_request"]

COST = ("requests per CPU second|p50 us|p99.9 us|threads|memory per idle connection|"
        "and kernel stack|idle CPU|idle wake-ups per s")
EACH = "system calls|waiting|copying|in vain|other|wake-ups|context switches"

ROWS = f"""
1 connection asks|{COST}
the fast one|3,703,701|16|20|18|||27.0 %|30
blocking|1,234,567|4|5|6|||9.0 %|10

1 connection asks: for each request|{EACH}
the fast one|39.00|42.00|45.00|48.00|51.00|33.00|36.00
blocking|13.00|in recv|15.00|16.00|17.00|11.00|12.00

1 connection asks, 10,000 idle|{COST}
the fast one|1,234,567|-|-|6|10,239 B|10 KiB|9.0 %|10
blocking|no: see below|||||||

1 connection asks, 10,000 idle: for each request|{EACH}
the fast one|-|-|-|-|-|11.00|12.00
blocking|no: see below||||||

blocking beside 10,000 idle connections: it said "no\\
"
a machine.
Medians of 2 rounds of 0.3 s. Every byte of every echo was right.
The two CPUs were 100 ns apart, there and back; 2 of 8 measurements are left out, \
for then it was up to 250.
blocking beside 0 idle connections was measured in no other time: it is not left out.
"""


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=True).stdout


class Report(unittest.TestCase):
    maxDiff = None

    def test_the_tables(self):
        lines = []
        for line in run().splitlines():
            if line.startswith("| -"):
                continue
            cells = [cell.strip() for cell in line.split("|")]
            lines.append("|".join(cells[1:-1]) if line.startswith("|") else line)
        self.assertEqual(lines, ROWS.splitlines()[1:])

    def test_a_column_is_one_below_the_other(self):
        table = []
        for line in run().splitlines():
            if line.startswith("|"):
                table.append([at for at, char in enumerate(line) if char == "|"])
            else:
                self.assertLessEqual(len({tuple(bars) for bars in table}), 1)
                table = []

    def test_json(self):
        document = json.loads(run("--json"))
        cells = document.pop("results")
        self.assertEqual(document, {"machine": 'a "machine"', "active": 1, "seconds": 0.3,
                                    "rounds": 2})
        self.assertEqual([(cell["model"], cell["idle"]) for cell in cells],
                         [("fast", 0), ("blocking", 0), ("fast", 10000), ("blocking", 10000)])
        self.assertEqual(cells[3], {"model": "blocking", "idle": 10000,
                                    "refused": 'it said "no\\\n"', "expected": True, "rounds": []})
        self.assertEqual([len(cell["rounds"]) for cell in cells], [6, 1, 1, 0])
        median = cells[0]["median"]
        self.assertEqual(list(median), FIELDS)
        wanted = {field: 3 * (at + 1) for at, field in enumerate(FIELDS)}
        wanted.update(cpu_distance_ns=100, requests_per_cpu_second=3.7037e6, p50_us=16, p999_us=20)
        self.assertEqual(median, wanted)
        absent = {"p50_us", "p999_us", *FIELDS[FIELDS.index("calls_per_request"):]}
        self.assertEqual({field for field in FIELDS if cells[2]["median"][field] is None}, absent)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
