"""How the source tree has to look: floors, includes, lines, functions, the version;
and that what the docs name is there, and that what they tell of a run stands in what it printed.

    style_test.py TOP_OF_THE_TREE

Prints one line for each violation (file:line, what is wrong, what to do); exits 1 if there is any.
style_self_test.py plants each violation and sees it found.
"""

import pathlib
import re
import sys
from typing import NamedTuple

# A file includes its own floor or those below it. (docs/architecture.md)
FLOORS = ["base", "data", "os", "loop", "net", "server"]

PUBLIC_HEADERS = {  # they are flat: this is the floor of each
    "address.h": "os",
    "callbacks.h": "net",
    "clock.h": "base",
    "connection.h": "net",
    "connection_ref.h": "net",
    "error.h": "base",
    "event_loop.h": "net",
    "function.h": "base",
    "handler.h": "net",
    "log.h": "base",
    "options.h": "base",
    "serve.h": "server",
    "server.h": "server",
    "session.h": "net",
    "stats.h": "loop",
    "version.h": "base",
    "weir.h": "server",
}

MAY_INCLUDE_SPDLOG = {"src/base/log.cc", "include/weir/log.h"}
MAY_INCLUDE_SYSTEM = "src/os/"  # the seam, and what stands around it

ONLY_PUBLIC = 'a public header includes the standard library and "weir/..." only: move it to src/'

MAX_COLUMNS = 100
MAX_FUNCTION_LINES = 70
TEXT_FOLDERS = ["include", "src", "test", "examples", "tools"]
TEXT_SUFFIXES = {".h", ".c", ".cc", ".py", ".sh", ".in", ".build", ""}
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b")

STANDARD_HEADERS = set(
    """
    algorithm any array atomic barrier bit bitset cassert cctype cerrno cfenv cfloat charconv chrono
    cinttypes climits clocale cmath codecvt compare complex concepts condition_variable coroutine
    csetjmp csignal cstdarg cstddef cstdint cstdio cstdlib cstring ctime cuchar cwchar cwctype deque
    exception execution filesystem format forward_list fstream functional future initializer_list
    iomanip ios iosfwd iostream istream iterator latch limits list locale map memory memory_resource
    mutex new numbers numeric optional ostream queue random ranges ratio regex scoped_allocator
    semaphore set shared_mutex source_location span sstream stack stdexcept stop_token streambuf
    string string_view strstream syncstream system_error thread tuple type_traits typeindex typeinfo
    unordered_map unordered_set utility valarray variant vector version
    """.split()
)

# What the docs may name in backticks, and is then looked up.
CITED = re.compile(r"`((?:[^`\n]|\n(?!\n))+)`")  # not beyond its paragraph
PATH = re.compile(r"(?:include|src|test|tools|docs|examples)/[\w./-]+")  # exactly there
FILE = re.compile(r"[\w./-]+\.(?:h|cc|c|py|md)")  # somewhere: `data/slab.h`, `slab.h`
TEST = re.compile(r"([a-z][a-z ]*) / (.+)")  # `program / name`, or how the name begins
COUNTER = re.compile(r"(?:weir::)?Stats::(\w+)")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
TEST_CASE = re.compile(rf"\bTEST_CASE\(\s*((?:{STRING.pattern}\s*)+)")

# What a command has printed stands between two marks: <!-- tools/x --> ... <!-- end of tools/x -->
PRINTED = re.compile(r"^<!-- (?!end of )(.+?) -->$.*?^<!-- end of \1 -->$",
                     re.MULTILINE | re.DOTALL)
FIGURE = re.compile(r"(?<![\d,.])\d{1,3}(?:,\d{3})+(?![\d,])")  # 1,234: smaller ones mean anything

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


class Include(NamedTuple):
    line: int
    quoted: bool
    name: str


class Source:
    def __init__(self, top, path):
        self.path = path.relative_to(top).as_posix()
        self.lines = path.read_text(encoding="utf-8").splitlines()
        self.includes = []
        for number, line in enumerate(self.lines, 1):
            if match := INCLUDE.match(line):
                self.includes.append(Include(number, match[1] == '"', match[2]))

    @property
    def is_public(self):
        return self.path.startswith("include/")

    def floor(self):
        """The index of its floor, or None if it stands on none."""
        parts = self.path.split("/")
        name = PUBLIC_HEADERS.get(parts[-1]) if self.is_public else parts[1]
        return FLOORS.index(name) if name in FLOORS else None


def load(top, folders, suffixes):
    return [
        Source(top, path)
        for folder in folders
        for path in sorted((top / folder).rglob("*"))
        if path.is_file() and path.suffix in suffixes and "__pycache__" not in path.parts
    ]


def resolve(include, files):
    """The path of a quoted include in the tree, or None. Ours are by path from src/ or include/."""
    for folder in ("src/", "include/"):
        if folder + include.name in files:
            return folder + include.name
    return None


def check_floors(files):
    for source in files.values():
        if source.floor() is None:
            if source.is_public:
                todo = "add it to PUBLIC_HEADERS in test/style/style_test.py, with its floor"
            else:
                todo = "move it to one of src/{" + ",".join(FLOORS) + "}"
            yield f"{source.path}:1: stands on no floor: {todo}"
            continue
        for include in source.includes:
            if not include.quoted:
                continue
            target = resolve(include, files)
            if target is None:
                yield (f'{source.path}:{include.line}: "{include.name}" is neither in src/ nor in '
                       "include/: include by the path from there")
                continue
            above = files[target].floor()
            if above is not None and above > source.floor():
                yield (f"{source.path}:{include.line}: floor {FLOORS[source.floor()]} includes "
                       f"{target} of floor {FLOORS[above]}, which is above it: move what is needed "
                       "down, or the user of it up")


def check_cycles(files):
    """One message for each include that closes a cycle."""
    done, trail = set(), []

    def visit(path):
        trail.append(path)
        for include in files[path].includes:
            target = resolve(include, files) if include.quoted else None
            if target in trail:
                cycle = " -> ".join(trail[trail.index(target):] + [target])
                yield f"{path}:{include.line}: include cycle {cycle}: forward-declare or split"
            elif target is not None and target not in done:
                yield from visit(target)
        done.add(trail.pop())

    for path in files:
        if path not in done:
            yield from visit(path)


def why_not(source, name):
    """Why `source` may not #include <name>, or None if it may."""
    if name in STANDARD_HEADERS:
        return None
    if name.startswith("spdlog/"):
        if source.path in MAY_INCLUDE_SPDLOG:
            return None
        return f'only {" and ".join(sorted(MAY_INCLUDE_SPDLOG))} may: use "base/log.h"'
    if name.startswith("weir/"):
        return f'write "{name}": quotes, for what is ours'
    if source.is_public:
        return ONLY_PUBLIC
    if name.startswith("fmt/") or source.path.startswith(MAY_INCLUDE_SYSTEM):
        return None
    return (f"neither the standard library nor fmt: system headers belong to {MAY_INCLUDE_SYSTEM} "
            "(and <errno.h> and its like are written <cerrno>)")


def check_includes(files):
    for source in files.values():
        for include in source.includes:
            if include.quoted:
                if source.is_public and not include.name.startswith("weir/"):
                    yield f'{source.path}:{include.line}: "{include.name}": {ONLY_PUBLIC}'
            elif reason := why_not(source, include.name):
                yield f"{source.path}:{include.line}: <{include.name}>: {reason}"


def check_lines(sources):
    for source in sources:
        for number, line in enumerate(source.lines, 1):
            if len(line) > MAX_COLUMNS:
                yield (f"{source.path}:{number}: {len(line)} columns: break the line, at most "
                       f"{MAX_COLUMNS}")
            if match := UNFINISHED.search(line):
                yield f"{source.path}:{number}: {match[1]}: do it, or say why it is not needed"


def check_functions(sources):
    """Rough, and enough where clang-format keeps the indentation: a block ends with a brace at the
    column where its first line began."""
    other = re.compile(r"\s*(#|//|/\*|\*|}|\)|enum |union |struct |class |namespace )")
    for source in sources:
        if not source.path.endswith((".h", ".c", ".cc")) or source.path.startswith("test/"):
            continue
        for indent in ("", "  "):  # namespace level, and inside a class
            start = None
            for number, line in enumerate(source.lines, 1):
                if line == indent + "}":
                    if start is not None and number - start + 1 > MAX_FUNCTION_LINES:
                        yield (f"{source.path}:{start}: {number - start + 1} lines: a function has "
                               f"{MAX_FUNCTION_LINES} at most: give its steps names")
                    start = None
                elif line.startswith(indent) and line[len(indent):len(indent) + 1].strip():
                    start = None if other.match(line) else number


def check_version(top):
    meson = re.search(r"^\s*version: '([^']+)'", (top / "meson.build").read_text(), re.MULTILINE)
    header = (top / "include/weir/version.h").read_text()
    parts = [re.search(rf"define WEIR_VERSION_{part} (\d+)$", header, re.MULTILINE)
             for part in ("MAJOR", "MINOR", "PATCH")]
    string = re.search(r'define WEIR_VERSION_STRING "([^"]+)"$', header, re.MULTILINE)
    says = [meson and meson[1], ".".join(p[1] if p else "?" for p in parts), string and string[1]]
    if len(set(says)) != 1:
        yield ("include/weir/version.h:1: meson.build says {}, the numbers here {}, the string {}: "
               "write the same in all three".format(*says))


def cited(source):
    """The line and the text of all that a page has in backticks, but for blocks of code."""
    text = re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"),
                  "\n".join(source.lines), flags=re.MULTILINE | re.DOTALL)
    for match in CITED.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, " ".join(match[1].split())


def test_names(top):
    """The names of the tests' programs, and of all test cases."""
    programs = {name for build in (top / "test").rglob("meson.build")
                for name in re.findall(r"\btest\('([^']+)'", build.read_text(encoding="utf-8"))}
    cases = {"".join(STRING.findall(case[1])).replace("\\", "")
             for source in (top / "test").rglob("*.cc")
             for case in TEST_CASE.finditer(source.read_text(encoding="utf-8"))}
    return programs, cases


def check_docs(top):
    """Whether the files, tests and counters that the docs name are there."""
    pages = [top / "README.md", *sorted((top / "docs").glob("*.md"))]
    files = ["/" + path.relative_to(top).as_posix() for folder in [*TEXT_FOLDERS, "docs"]
             for path in (top / folder).rglob("*")]
    stats = (top / "include/weir/stats.h").read_text(encoding="utf-8")
    counters = set(re.findall(r"uint64_t (\w+) = 0;", stats))
    programs, cases = test_names(top)

    def why_not_there(text):
        first = text.split(" ")[0]
        if PATH.fullmatch(first):  # or a program, by its source: `examples/echo`
            found = (top / first).exists() or f"/{first}.cc" in files
            return None if found else "is not in the tree"
        if FILE.fullmatch(text):
            found = any(path.endswith("/" + text) for path in files)
            return None if found else "is no file of the tree"
        if (match := TEST.fullmatch(text)) and text != "program / name":
            if match[1] not in programs:
                return "is of no program that a meson.build under test/ has as a test"
            found = any(case.startswith(match[2]) for case in cases)
            return None if found else "is no TEST_CASE, nor how one begins"
        if match := COUNTER.match(text):
            return None if match[1] in counters else "is no counter of include/weir/stats.h"
        return None

    for page in (Source(top, path) for path in pages):
        for line, text in cited(page):
            if reason := why_not_there(text):
                yield f"{page.path}:{line}: `{text}` {reason}: name what is there"


def check_figures(top):
    """Whether a page that has what commands printed tells large figures of nothing else."""
    for path in sorted((top / "docs").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        printed = "".join(match[0] for match in PRINTED.finditer(text))
        if not printed:
            continue
        known = set(FIGURE.findall(printed))
        prose = PRINTED.sub(lambda match: "\n" * match[0].count("\n"), text)
        for number, line in enumerate(prose.splitlines(), 1):
            for figure in FIGURE.findall(line):
                if figure not in known:
                    yield (f"{path.relative_to(top).as_posix()}:{number}: {figure} stands in none "
                           "of the page's printed blocks: tell what was printed")


def check(top):
    """Every violation in the tree, in words."""
    core = {source.path: source for source in load(top, ["include", "src"], {".h", ".cc"})}
    texts = load(top, TEXT_FOLDERS, TEXT_SUFFIXES)
    return [
        *check_floors(core),
        *check_cycles(core),
        *check_includes(core),
        *check_lines(texts),
        *check_functions(texts),
        *check_version(top),
        *check_docs(top),
        *check_figures(top),
    ]


def main(top):
    violations = check(pathlib.Path(top))
    for violation in violations:
        print(violation)
    print(f"style: {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
