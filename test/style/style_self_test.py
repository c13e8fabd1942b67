"""Plants each violation in a small tree and sees style_test.py find it."""

import pathlib
import sys
import tempfile

import style_test

CLEAN = {
    "meson.build": "project('weir', 'cpp',\n  version: '0.1.0',\n)\n",
    "include/weir/version.h": "#pragma once\n"
    "#define WEIR_VERSION_MAJOR 0\n#define WEIR_VERSION_MINOR 1\n#define WEIR_VERSION_PATCH 0\n"
    '#define WEIR_VERSION_STRING "0.1.0"\n',
    "include/weir/error.h": '#pragma once\n#include <string>\n#include "weir/version.h"\n',
    "include/weir/log.h": "#pragma once\n#include <spdlog/logger.h>\n",
    "src/base/log.cc": '#include <spdlog/spdlog.h>\n'
    '#include "weir/log.h"\n#include "base/check.h"\n',
    "src/base/check.h": "#pragma once\n#include <fmt/core.h>\n",
    "src/os/sys.h": '#pragma once\n#include <sys/epoll.h>\n#include <unistd.h>\n'
    '#include "base/check.h"\n',
    "src/net/connection.cc": '#include "os/sys.h"\n'
    + "int F() {\n" + "  G();\n" * 68 + "}\n" + "struct S {\n" + "  int i;\n" * 90 + "};\n",
    "src/net/meson.build": "weir_sources += files('connection.cc')\n",
    "test/net/connection_test.cc": '#include "net/connection.cc"\n'
    'TEST_CASE("it reads, "\n          "and says \\"so\\"", "[net]") {\n}\n',
    "test/net/meson.build": "test('net', executable('net_test', 'connection_test.cc'))\n",
    "include/weir/stats.h": "#pragma once\nstruct Stats {\n  std::uint64_t turns = 0;\n};\n",
    "examples/echo.cc": "int main() {}\n",
    "README.md": "`examples/echo`, `tools/run --fast`, `build/tools/gone`\n"
    "```\n`src/gone.cc`\n```\n",
    "docs/read.md": "`src/net/connection.cc`, `net/connection.cc`, `connection.cc`, `test/net`,\n"
    "`test/net/*_gone.cc`, `runtime/gone.go`, `program / name`, `net / it reads`,\n"
    "`net / it\nreads, and says \"so\"`, `Stats::turns`, `weir::Stats`\n",
    "docs/measured.md": "It made 1,234,567, not 1.5 or 99.\n<!-- tools/run -->\n| 1,234,567 |\n"
    "<!-- end of tools/run -->\nA line.\n",
    "tools/run": "#!/bin/sh\n",
}

# What is planted where, and what the message must say (None: nothing is wrong with it). A text with
# a newline is the whole file; else it is one line more.
PLANTED = [
    ("src/data/a.h", '#include "os/sys.h"\n', "src/data/a.h:1: floor data includes src/os/sys.h"),
    ("include/weir/error.h", '#include "weir/serve.h"', "neither in src/ nor in include/"),
    ("include/weir/serve.h", "#pragma once\n", None),
    ("include/weir/surprise.h", "#pragma once\n", "add it to PUBLIC_HEADERS"),
    ("src/elsewhere/a.h", "#pragma once\n", "src/elsewhere/a.h:1: stands on no floor"),
    ("src/stray.cc", "int i;\n", "src/stray.cc:1: stands on no floor"),
    ("include/weir/version.h", '#include "weir/error.h"', "include cycle include/weir/"),
    ("src/base/check.h", '#include "base/check.h"', "src/base/check.h:3: include cycle"),
    ("src/os/sys.h", "#include <spdlog/fmt/fmt.h>", "src/os/sys.h:5: <spdlog/fmt/fmt.h>: only"),
    ("include/weir/error.h", "#include <spdlog/logger.h>", "<spdlog/logger.h>: only"),
    ("include/weir/error.h", "#include <fmt/core.h>", "<fmt/core.h>: a public header"),
    ("include/weir/error.h", "#include <sys/epoll.h>", "<sys/epoll.h>: a public header"),
    ("include/weir/log.h", "#include <fmt/core.h>", "<fmt/core.h>: a public header"),
    ("include/weir/error.h", '#include "base/check.h"', "error.h:4: \"base/check.h\": a public"),
    ("include/weir/error.h", "#include <weir/log.h>", "quotes, for what is ours"),
    ("src/net/connection.cc", "  #  include <sys/socket.h>", "<sys/socket.h>: neither the"),
    ("src/net/connection.cc", "#include <unistd.h>", "<unistd.h>: neither the standard"),
    ("src/base/check.h", "#include <errno.h>", "<errno.h>: neither the standard"),
    ("src/data/a.h", "#include <linux/filter.h>\n", "src/data/a.h:1: <linux/filter.h>: neither"),
    ("test/net/connection_test.cc", "// " + "x" * 98, "connection_test.cc:5: 101 columns"),
    ("test/net/connection_test.cc", "// " + "\u00e4" * 97, None),
    ("tools/run", "# TO" + "DO: later", "tools/run:2: TO" + "DO: do it"),
    ("src/net/meson.build", "# FIX" + "ME", "src/net/meson.build:2: FIX" + "ME"),
    ("src/net/a.cc", "int F(\n    int i) {\n" + "  G();\n" * 68 + "}\n", "a.cc:1: 71 lines"),
    ("src/net/a.h", "class A {\n  int F() {\n" + "    G();\n" * 69 + "  }\n};\n", "a.h:2: 71"),
    ("meson.build", "project('weir', 'cpp',\n  version: '0.1.1',\n)\n", "meson.build says 0.1.1"),
    ("include/weir/version.h", "#pragma once\n", "the string None"),
    ("README.md", "`src/net/gone.cc`", "README.md:5: `src/net/gone.cc` is not in the tree"),
    ("README.md", "`tools/gone --fast`", "`tools/gone --fast` is not in the tree"),
    ("README.md", "a backtick ` alone, then:\n\n`src/gone.cc`\n", "README.md:3: `src/gone.cc`"),
    ("docs/read.md", "`test/connection.cc`", "`test/connection.cc` is not in the tree"),
    ("docs/read.md", "`nection.cc`", "docs/read.md:5: `nection.cc` is no file of the tree"),
    ("docs/read.md", "`os/connection.cc`", "`os/connection.cc` is no file of the tree"),
    ("docs/read.md", "`net / reads, and`", "`net / reads, and` is no TEST_CASE"),
    ("docs/read.md", "`nets / it reads`", "`nets / it reads` is of no program"),
    ("docs/read.md", "`Stats::gone`", "docs/read.md:5: `Stats::gone` is no counter of include/"),
    ("include/weir/stats.h", "#pragma once\n", "`Stats::turns` is no counter"),
    ("docs/measured.md", "And 4,567.", "docs/measured.md:6: 4,567 stands in none of the page's"),
    ("docs/read.md", "And 4,567.", None),  # nothing is printed there
]


def plant(top, path, text):
    target = top / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if "\n" not in text:
        text = (target.read_text(encoding="utf-8") if target.exists() else "") + text + "\n"
    target.write_text(text, encoding="utf-8")


def violations_with(planted):
    with tempfile.TemporaryDirectory() as folder:
        top = pathlib.Path(folder)
        for path, text in CLEAN.items():
            plant(top, path, text)
        if planted:
            plant(top, *planted)
        return style_test.check(top)


def main():
    failures = [f"a clean tree: {found}" for found in violations_with(None)]
    for path, text, wanted in PLANTED:
        found = violations_with((path, text))
        good = len(found) == 1 and wanted in found[0] if wanted else not found
        if not good:
            failures.append(f"{path} with {text!r}: wanted only {wanted!r}, found {found}")
    print(*failures, sep="\n")
    print(f"style self-test: {len(PLANTED) + 1} trees, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
