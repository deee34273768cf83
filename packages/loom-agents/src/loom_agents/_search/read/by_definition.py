"""Split source code into chunks: one per definition that begins at the left margin.

No language is parsed. A line at the margin that begins with a keyword of a definition starts a
chunk, together with the comments and decorators right above it; whatever is not recognised is split
by size, as text is.
"""

import re
from collections.abc import Iterator

from loom_agents._search.read.chunk import DEFAULT_SIZES, Chunk, Sizes, split

_DEFINITION = re.compile(
    r"(?:(?:export|default|public|private|protected|internal|static|abstract|final|sealed|async|pub(?:\([\w:]+\))?"
    r"|unsafe|inline|data|override|virtual|extern|local|declare)\s+)*"
    r"(?:def|class|func|fn|function\*?|struct|enum|trait|impl|interface|type|mod|module|object|record|namespace|macro"
    r"|message|service|defmodule|defp|create\s+(?:or\s+replace\s+)?\w+|const|let|var|sub|proc)\b[\s(<]*([\w.:$]*)",
    re.IGNORECASE,
)
_MEMBER = re.compile(r"(?: {2,4}|\t)(?:async\s+)?(?:def|class)\s+(\w+)")
_ABOVE = re.compile(r"[@#]|//|/\*| \*|--|\[")
_SMALL = 200


def chunks(text: str, sizes: Sizes = DEFAULT_SIZES) -> Iterator[Chunk]:
    """Split a text into chunks, in order; their heading is the line of the definition."""
    lines = text.split("\n")
    starts = list(_starts(lines, sizes))
    ends = [start for start, _ in starts[1:]] + [len(lines) + 1]
    yield from split(lines, 1, starts[0][0] if starts else len(lines) + 1, "", sizes)
    for (start, heading), end in zip(starts, ends, strict=False):
        yield from split(lines, start, end, heading, sizes)


def _starts(lines: list[str], sizes: Sizes) -> Iterator[tuple[int, str]]:
    """Yield line and heading of each chunk; small definitions stay with those before them."""
    owner, size = "", _SMALL
    for number, line in enumerate(lines, start=1):
        if found := _DEFINITION.match(line):
            owner = line.strip().rstrip("{:(").rstrip()[:100]
            if size >= _SMALL:
                yield _with_lines_above(lines, number), owner
                size = 0
        elif size > sizes.chunk // 2 and owner.startswith("class") and (found := _MEMBER.match(line)):
            yield _with_lines_above(lines, number), f"{owner} > {found[1]}"
            size = 0
        size += len(line) + 1


def _with_lines_above(lines: list[str], number: int) -> int:
    """Return the first line of the comments and decorators right above a line."""
    while number > 1 and _ABOVE.match(lines[number - 2].lstrip()):
        number -= 1
    return number
