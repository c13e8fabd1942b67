"""The tables, in markdown."""

import statistics

from rows import ROWS
from server import REFERENCE, SERVERS


def quartiles(values):
    """Lower quartile, median, upper quartile."""
    if len(values) < 2:
        return values * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def median(results, key):
    return statistics.median(result[key] for result in results)


def cpu_cell(results, row, name):
    own = [result["server_us_per_request"] for result in results[row, name]]
    if name == REFERENCE:
        return f"1.00 = {statistics.median(own):.2f} us"
    reference = [result["server_us_per_request"] for result in results[row, REFERENCE]]
    # A load too short for the clock of a small machine: nothing to divide by.
    ratios = [one / other for one, other in zip(own, reference) if other > 0]
    if not ratios:
        return "-"
    low, middle, high = quartiles(ratios)
    return f"{middle:.2f} [{low:.2f} {high:.2f}]"


def rate_cell(results, row, name):
    return f"{median(results[row, name], 'requests_per_second'):,.0f}"


def latency_cell(results, row, name):
    p99, worst = (median(results[row, name], key) / 1000 for key in ("p99_us", "worst_us"))
    return f"{p99:.1f} / {worst:.1f}"


def print_table(title, rows, names, cell):
    lines = [[title, *(SERVERS[name].title for name in names)]]
    lines += [[ROWS[row].title, *(cell(row, name) for name in names)] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    for line in lines:
        print("| " + " | ".join(text.ljust(width) for text, width in zip(line, widths)) + " |")


def print_tables(results, rows, names):
    """results: (row, server) -> what weir-echo-load said in each round."""
    def table(title, some_rows, cell):
        print_table(title, some_rows, names, lambda row, name: cell(results, row, name))

    table("server CPU for a request", rows, cpu_cell)
    print()
    table("requests a second", rows, rate_cell)
    if latency_rows := [row for row in rows if ROWS[row].tells_latency]:
        print()
        table("latency in ms, p99 / worst", latency_rows, latency_cell)
