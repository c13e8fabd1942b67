"""What weir/weir.h brings into a user's file: no spdlog, no fmt, no epoll.

    umbrella_test.py FOLDER_OF_HEADERS COMPILER...
"""

import re
import subprocess
import sys

UNWANTED = re.compile(r"/(spdlog|fmt|openssl)/|/sys/(epoll|socket)\.h$")


def headers_of(source, include_folder, compiler):
    """Every file that the source includes, directly or not."""
    command = [*compiler, "-std=c++20", "-I", include_folder, "-M", "-x", "c++", "-"]
    done = subprocess.run(command, input=source, text=True, stdout=subprocess.PIPE, check=True)
    return done.stdout.replace("\\\n", " ").split()[1:]


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
    return 1 if unwanted else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
