"""Cuts the first C++ example out of a Markdown file, so that a test compiles what readers copy.

    first_cpp_block.py README.md OUT.cc

Its fixed port becomes 0, any free one: tests run beside each other.
"""

import pathlib
import re
import sys

BLOCK = re.compile(r"^```(?:cpp|c\+\+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORT = re.compile(r"(tcp://127\.0\.0\.1):\d+")


def main(markdown, out):
    block = BLOCK.search(pathlib.Path(markdown).read_text(encoding="utf-8"))
    if block is None:
        return f"{markdown}: no ```cpp block"
    code = PORT.sub(r"\1:0", block[1])
    pathlib.Path(out).write_text(code, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
