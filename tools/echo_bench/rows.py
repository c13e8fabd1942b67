"""The loads: each is a row of the table."""

from typing import NamedTuple


class Row(NamedTuple):
    title: str
    load: list  # arguments of weir-echo-load
    tells_latency: bool = False


def load(connections, size, *more):
    return ["--connections", str(connections), "--size", str(size), *more]


ROWS = {
    "one": Row("1 connection, 64 bytes", load(1, 64)),
    "fifty": Row("50 connections, 64 bytes", load(50, 64)),
    "thousand": Row("1,000 connections, 64 bytes", load(1000, 64)),
    "pipeline": Row("50 connections, 64 bytes, 32 in flight", load(50, 64, "--depth", "32")),
    "large": Row("8 connections, 64 KiB", load(8, 65536)),
    "short": Row("50 at a time: connect, 64 bytes, reset", load(50, 64, "--reconnect")),
    "fair": Row("20 connections, 300 kB, 2 in flight", load(20, 300000, "--depth", "2"), True),
}
