"""Parse a unified diff and apply it exactly: every context line must match.

Line numbers in the header of a hunk are only a hint, because models often count wrong: a hunk is
applied at the stated line if its old lines match there, or else at the only place where they match.
A hunk that matches at several places or at none is refused; there is no approximate match.

Plain diffs and git diffs are supported: changed, new, deleted and renamed files, and the executable
bit. Binary diffs, links and submodules are refused.
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

from loom_agents._errors import ToolError
from loom_agents._workspace.write.edit import check_encodable

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NO_FILE = "dev/null"
_MODES = {"100644": False, "100755": True}


@dataclass(frozen=True, slots=True)
class Hunk:
    """Hold one hunk: its stated place, and its lines without line endings.

    Args:
        number: The number of the hunk in its file, from 1.
        start: The line of the old file at which it begins, from 1.
        old: The lines that must match.
        new: The lines that replace them.
        new_ends: Whether the last new line ends with a line feed.
    """

    number: int
    start: int
    old: tuple[str, ...]
    new: tuple[str, ...]
    new_ends: bool = True


@dataclass(frozen=True, slots=True)
class FilePatch:
    """Hold the part of a diff for one file.

    Args:
        source: Its path before; None for a new file.
        target: Its path after; None for a deleted file.
        hunks: The changes of its content.
        executable: Whether it becomes executable; None keeps its mode.
    """

    source: str | None
    target: str | None
    hunks: tuple[Hunk, ...] = ()
    executable: bool | None = None

    @property
    def path(self) -> str:
        """The path to show in messages."""
        return self.target or self.source or ""


def parse_patch(text: str) -> tuple[FilePatch, ...]:
    """Parse a unified diff.

    Raises:
        ToolError: It is not a unified diff, or has unsupported parts; the message names the line.
    """
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    reader = _Reader(lines)
    patches = tuple(reader.files())
    if not patches:
        raise ToolError("cannot apply the patch: there is no `--- a/FILE` and `+++ b/FILE` in it. Give a unified diff.")
    named = [path for patch in patches for path in {patch.source, patch.target} if path is not None]
    for path in named:
        if named.count(path) > 1:
            raise ToolError(f"cannot apply the patch: it names {path!r} twice. Combine its hunks.")
    return patches


def apply_hunks(patch: FilePatch, text: str) -> str:
    """Apply the hunks of one file to its text; other lines keep their line endings.

    Args:
        patch: The changes.
        text: The complete file; empty for a new one.

    Raises:
        ToolError: A hunk does not match.
    """
    lines = re.findall(
        r"[^\n]*\n|[^\n]+$", text
    )  # not `splitlines`, which also splits at form feeds and other characters
    ending = "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"
    result: list[str] = []
    done = 0
    for hunk in patch.hunks:
        check_encodable(patch.path, text, "".join(hunk.new))
        place = _place(patch, hunk, [line.rstrip("\r\n") for line in lines], done)
        result += lines[done:place]
        kept = {line.rstrip("\r\n"): line for line in lines[place : place + len(hunk.old)]}
        is_last = place + len(hunk.old) == len(lines)
        for index, line in enumerate(hunk.new):
            ends = hunk.new_ends or not is_last or index < len(hunk.new) - 1
            full = kept.get(line, line + ending)
            full = full if full.endswith("\n") else full + ending
            result.append(full if ends else full.rstrip("\r\n"))
        done = place + len(hunk.old)
    return "".join([*result, *lines[done:]])


def _place(patch: FilePatch, hunk: Hunk, lines: list[str], first: int) -> int:
    """Return the place of a hunk: the index of its first line, not before `first`."""
    stated = max(hunk.start - 1, 0)
    size = len(hunk.old)
    if size == 0:
        if hunk.start > len(lines):
            raise _mismatch(patch, hunk, f"the file has {len(lines)} lines")
        return max(hunk.start, first)  # a hunk that only adds lines states the line before them

    def matches(place: int) -> bool:
        return place >= first and tuple(lines[place : place + size]) == hunk.old

    if matches(stated):
        return stated
    places = [place for place in range(first, len(lines) - size + 1) if matches(place)]
    if not places:
        raise _mismatch(patch, hunk, "its old lines are not in the file")
    if len(places) > 1:
        where = ", ".join(str(place + 1) for place in places[:5])
        raise _mismatch(patch, hunk, f"its old lines occur {len(places)} times, at lines {where}")
    return places[0]


def _mismatch(patch: FilePatch, hunk: Hunk, reason: str) -> ToolError:
    return ToolError(
        f"cannot apply the patch: hunk {hunk.number} of {patch.path!r} (line {hunk.start}) does not match:"
        f" {reason}. Nothing was changed. Read the file again and use its exact lines."
    )


class _Reader:
    """Parse the lines of a diff, file by file."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._at = 0

    def files(self) -> "list[FilePatch]":
        found = []
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if line.startswith("diff --git "):
                found.append(self._git_file(line))
            elif line.startswith("--- ") and self._peek(1).startswith("+++ "):
                found.append(self._plain_file())
            elif _HUNK.match(line):
                raise self._wrong("a hunk is before the name of its file")
            else:
                self._at += 1  # prose, `index ...`, `From ...`
        return found

    def _git_file(self, line: str) -> FilePatch:
        halves = re.fullmatch(r'diff --git "?a/(.*?)"? "?b/(.*?)"?', line)
        if halves is None:
            raise self._wrong("a `diff --git` line does not name a/FILE and b/FILE")
        patch = FilePatch(halves[1], halves[2])
        self._at += 1
        while self._at < len(self._lines) and not self._lines[self._at].startswith("diff --git "):
            line = self._lines[self._at]
            key, _, value = line.rpartition(" ")
            if key in {"new file mode", "new mode"}:
                patch = replace(patch, executable=self._mode(value), source=None if key[4] == "f" else patch.source)
            elif key == "deleted file mode":
                self._mode(value)
                patch = replace(patch, target=None)
            elif line.startswith(("rename from ", "rename to ")):
                side: Literal["source", "target"] = "source" if line.startswith("rename from ") else "target"
                name = line.split(" ", 2)[2]
                patch = replace(patch, source=name) if side == "source" else replace(patch, target=name)
            elif line.startswith(("copy from ", "copy to ", "GIT binary patch", "Binary files ")):
                raise self._wrong("copies and binary files are not supported")
            elif line.startswith("--- ") and self._peek(1).startswith("+++ "):
                plain = self._plain_file()
                return replace(
                    plain,
                    source=plain.source and patch.source,
                    target=plain.target and patch.target,
                    executable=patch.executable,
                )
            elif _HUNK.match(line):
                raise self._wrong("a hunk is before `---` and `+++`")
            self._at += 1
        return patch

    def _plain_file(self) -> FilePatch:
        source, target = self._name("--- "), self._name("+++ ")
        if source is None and target is None:
            raise self._wrong("both sides are /dev/null")
        hunks: list[Hunk] = []
        while self._at < len(self._lines) and _HUNK.match(self._lines[self._at]):
            hunks.append(self._hunk(len(hunks) + 1))
        if not hunks:
            raise self._wrong("a file has no hunk (`@@ -line,count +line,count @@`)")
        return FilePatch(source, target, tuple(hunks))

    def _name(self, mark: str) -> str | None:
        name = self._lines[self._at].removeprefix(mark).partition("\t")[0].strip().strip('"')
        self._at += 1
        if name.lstrip("/") == _NO_FILE:
            return None
        return name[2:] if name.startswith(("a/", "b/")) else name

    def _hunk(self, number: int) -> Hunk:
        head = _HUNK.match(self._lines[self._at])
        assert head is not None
        at = self._at
        start, old_count, new_count = int(head[1]), int(head[2] or 1), int(head[4] or 1)
        old: list[str] = []
        new: list[str] = []
        new_ends = True
        self._at += 1
        while self._at < len(self._lines) and (len(old) < old_count or len(new) < new_count):
            sign, text = self._lines[self._at][:1], self._lines[self._at][1:]
            if sign == "\\":
                new_ends = new_ends and self._lines[self._at - 1][:1] == "-"
            elif sign in {" ", "-", "+", ""}:
                if sign != "+":
                    old.append(text)
                if sign != "-":
                    new.append(text)
            else:
                break
            self._at += 1
        if (len(old), len(new)) != (old_count, new_count) or self._peek(0)[:1] in {"+", " "} or self._continues():
            counted = f"-{head[1]},{old_count} +{head[3]},{new_count}"
            raise self._wrong(f"hunk {number} states {counted} but has other numbers of lines", at)
        if self._peek(0).startswith("\\"):
            new_ends = self._lines[self._at - 1][:1] == "-"
            self._at += 1
        return Hunk(number, start, tuple(old), tuple(new), new_ends)

    def _continues(self) -> bool:
        """Report whether a removed line follows the hunk; `---` may begin the next file."""
        line = self._peek(0)
        return line.startswith("-") and not (line.startswith("--- ") and self._peek(1).startswith("+++ "))

    def _mode(self, text: str) -> bool:
        if text not in _MODES:
            raise self._wrong(f"the mode {text} is neither 100644 nor 100755 (links and submodules are not supported)")
        return _MODES[text]

    def _peek(self, more: int) -> str:
        return self._lines[self._at + more] if self._at + more < len(self._lines) else ""

    def _wrong(self, what: str, at: int | None = None) -> ToolError:
        number = (self._at if at is None else at) + 1
        return ToolError(f"cannot apply the patch: {what} (line {number} of the patch). Give a unified diff.")
