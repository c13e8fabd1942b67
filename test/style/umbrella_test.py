"""What weir/weir.h brings into a user's file: no spdlog, no fmt, no epoll, and few lines.

    umbrella_test.py FOLDER_OF_HEADERS COMPILER...
"""

import re
import subprocess
import sys

UNWANTED = re.compile(r"/(spdlog|fmt|openssl)/|/sys/(epoll|socket)\.h$")

# What a user's file is likely to include anyway. The public headers add next to nothing to these:
# <map>, say, would add 4000 lines.
STANDARD = ["array", "chrono", "functional", "memory", "span", "string", "system_error"]
MOST_LINES = 2500  # beyond those


def preprocess(source, include_folder, compiler, *options):
    command = [*compiler, "-std=c++20", "-I", include_folder, *options, "-x", "c++", "-"]
    return subprocess.run(command, input=source, text=True, stdout=subprocess.PIPE,
                          check=True).stdout


def headers_of(*arguments):
    """Every file that the source includes, directly or not."""
    return preprocess(*arguments, "-M").replace("\\\n", " ").split()[1:]


def lines_of(*arguments):
    return preprocess(*arguments, "-E").count("\n")


def main(include_folder, *compiler):
    probe = headers_of("#include <sys/epoll.h>\n", include_folder, compiler)
    if not any(map(UNWANTED.search, probe)):
        print("the probe, which does include <sys/epoll.h>, was not found out: this test is broken")
        return 1
    found = headers_of("#include <weir/weir.h>\n", include_folder, compiler)
    unwanted = [name for name in found if UNWANTED.search(name)]
    print(f"weir/weir.h includes {len(found)} files, unwanted: {unwanted or 'none'}")
    if unwanted:
        print("keep them out of the public headers: declare here, include in src/")

    standard = "".join(f"#include <{name}>\n" for name in STANDARD)
    lines = lines_of("#include <weir/weir.h>\n", include_folder, compiler)
    beyond = lines - lines_of(standard, include_folder, compiler)
    print(f"weir/weir.h has {lines} lines, {beyond} more than the standard headers that it may use")
    if beyond > MOST_LINES:
        print(f"that is above {MOST_LINES}: every user compiles them in each file; declare here, "
              "include in src/")
    return 1 if unwanted or beyond > MOST_LINES else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
