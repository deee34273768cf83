"""Split a document into chunks for the search: one per heading; long ones are split at blank lines.

Headings are the hash lines of Markdown and the underlined titles of Markdown and reStructuredText.
The title in the front matter of a document is above all of its headings. Nothing inside a fenced
code block is a heading, and a code block is not split unless it alone is longer than a chunk may
be.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from loom_agents._search.read.chunk import DEFAULT_SIZES, FENCE, Chunk, Sizes, split

_FRONT_MATTER_LINES = 50
_TITLE = re.compile(r"title:\s+(\S.*)", re.IGNORECASE)
_HASHES = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r"([=\-~^\"'*+#])\1{2,}[ \t]*$")


@dataclass(frozen=True, slots=True)
class _Heading:
    line: int
    level: int
    title: str


def chunks(text: str, sizes: Sizes = DEFAULT_SIZES) -> Iterator[Chunk]:
    """Split a text into chunks, in order."""
    lines = text.split("\n")
    headings = list(_headings(lines))
    title = _title(lines)
    trail = [_Heading(1, 0, title)] if title else []
    starts = [heading.line for heading in headings]
    yield from split(lines, 1, starts[0] if starts else len(lines) + 1, title, sizes)
    for index, heading in enumerate(headings):
        while trail and trail[-1].level >= heading.level:
            trail.pop()
        trail.append(heading)
        end = starts[index + 1] if index + 1 < len(starts) else len(lines) + 1
        yield from split(lines, heading.line, end, " > ".join(part.title for part in trail), sizes)


def _title(lines: list[str]) -> str:
    """Return the title in the front matter of a document; empty when it has none."""
    if lines[0].rstrip() != "---":
        return ""
    for line in lines[1:_FRONT_MATTER_LINES]:
        if line.rstrip() == "---":
            break
        if found := _TITLE.match(line):
            return found[1].strip().strip("\"'")
    return ""


def _headings(lines: list[str]) -> Iterator[_Heading]:
    fence = ""
    underlines: list[str] = []  # in reStructuredText, the order of first use determines the level
    for number, line in enumerate(lines, start=1):
        mark = FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence):
                fence = ""
            continue
        if hashes := _HASHES.match(line):
            yield _Heading(number, len(hashes[1]), (hashes[2] or "").strip())
            continue
        title = lines[number - 2].strip() if number > 1 else ""
        # Tildes under a title are reStructuredText; anywhere else they open a code block.
        if (under := _UNDERLINE.match(line)) and _is_title(lines, number - 1) and len(line.rstrip()) >= len(title):
            if under[1] not in underlines:
                underlines.append(under[1])
            yield _Heading(number - 1, underlines.index(under[1]) + 1, title)
        elif mark:
            fence = mark[1]


def _is_title(lines: list[str], number: int) -> bool:
    """Report whether this line can be a title: text after a blank line or an overline."""
    if number < 1 or not lines[number - 1].strip() or lines[number - 1].lstrip()[0] in "|#>-*+=`":
        return False
    before = lines[number - 2].strip() if number > 1 else ""
    return not before or bool(_UNDERLINE.match(before))
