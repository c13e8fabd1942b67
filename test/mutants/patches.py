"""The patches of this folder: read, looked at, and applied to a tree.

A patch begins with text: what is broken, in a sentence; an empty line; what a user would see; an
empty line; `Caught-by: TEST / CASE`, the test that was seen to fail. A unified diff follows, as
`git diff` writes it. Its lines are taken as they are: a hunk may have moved, but it fits in one
place, or not at all.
"""

import re
from typing import NamedTuple

MAY_CHANGE = ("src/", "include/", "tools/models/")  # the library's defects, the laboratory's
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@")
CAUGHT_BY = re.compile(r"^Caught-by: ([^/\n]+) / (.+)$", re.MULTILINE)


class Broken(Exception):
    """What is wrong with a mutant: it proves nothing until that is mended."""


class Hunk(NamedTuple):
    start: int  # where `old` stood when the patch was made: an index of lines
    old: list
    new: list


class Patch(NamedTuple):
    name: str
    text: str  # before the diff
    files: dict  # path: hunks

    @property
    def sentence(self):
        return " ".join(self.text.split("\n\n")[0].split())

    @property
    def caught_by(self):
        """(the test's name, the case)"""
        match = CAUGHT_BY.search(self.text)
        return (match[1].strip(), match[2].strip()) if match else ("", "")

    def apply(self, tree):
        """What each changed file becomes: {path: (before, after)}. Writes nothing."""
        changes = {}
        for path, hunks in self.files.items():
            target = tree / path
            if not target.is_file():
                raise Broken(f"there is no {path}")
            before = target.read_text(encoding="utf-8")
            after = replaced(path, before, hunks)
            if replaced(path, after, [Hunk(at, new, old) for at, old, new in hunks]) != before:
                raise Broken(f"{path}: it cannot be taken back")
            changes[path] = (before, after)
        return changes


def replaced(path, text, hunks):
    lines = text.split("\n")
    shift, end = 0, 0
    for hunk in hunks:
        at = place_of(path, lines, hunk, hunk.start + shift, end)
        lines[at:at + len(hunk.old)] = hunk.new
        end = at + len(hunk.new)
        shift = end - (hunk.start + len(hunk.old))
    return "\n".join(lines)


def place_of(path, lines, hunk, stated, begin):
    size = len(hunk.old)
    fits = [at for at in range(begin, len(lines) - size + 1) if lines[at:at + size] == hunk.old]
    if stated in fits:
        return stated
    if len(fits) == 1:
        return fits[0]
    where = f"{len(fits)} places" if fits else "no place"
    raise Broken(f"{path}: the hunk of line {hunk.start + 1} fits in {where}")


def read(path):
    lines = path.read_text(encoding="utf-8").split("\n")
    begin = next((i for i, line in enumerate(lines) if line.startswith(("diff --git", "--- "))),
                 len(lines))
    patch = Patch(path.stem, "\n".join(lines[:begin]), read_files(lines[begin:]))
    look_at(patch)
    return patch


def read_files(lines):
    files, hunks, i = {}, None, 0
    while i < len(lines):
        line = lines[i]
        i += 1
        if line.startswith("+++ "):
            hunks = files.setdefault(line[4:].split("\t")[0].removeprefix("b/"), [])
        elif match := HUNK.match(line):
            if hunks is None:
                raise Broken("a hunk of no file")
            old, new, i = read_hunk(lines, i, int(match[2] or 1), int(match[3] or 1))
            hunks.append(Hunk(int(match[1]) - 1, old, new))
        elif line and not line.startswith(("diff --git ", "index ", "--- ")):
            raise Broken(f"{line!r} is no part of a diff")
    return files


def read_hunk(lines, i, old_size, new_size):
    old, new = [], []
    while len(old) < old_size or len(new) < new_size:
        mark, rest = (lines[i][:1], lines[i][1:]) if i < len(lines) else ("", "")
        if mark not in (" ", "-", "+"):
            raise Broken("a hunk ends too soon")
        if mark != "+":
            old.append(rest)
        if mark != "-":
            new.append(rest)
        i += 1
    return old, new, i


def look_at(patch):
    if not NAME.fullmatch(patch.name):
        raise Broken("its name is not in kebab-case")
    if not patch.sentence.endswith(".") or len(patch.text.strip().split("\n\n")) != 3:
        raise Broken("it does not begin with what is broken, what a user would see, and Caught-by")
    if not patch.caught_by[0]:
        raise Broken("it has no line 'Caught-by: TEST / CASE'")
    for path, hunks in patch.files.items():
        if not path.startswith(MAY_CHANGE) or ".." in path.split("/"):
            raise Broken(f"it changes {path}: only {', '.join(MAY_CHANGE)} may be")
        if not hunks or any(hunk.old == hunk.new for hunk in hunks):
            raise Broken(f"{path}: it changes nothing")
    if not patch.files:
        raise Broken("it changes nothing")
