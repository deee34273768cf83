"""A chunk, which is the unit of search, and how lines are split into chunks of limited size."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from loom_agents.redaction import redact_certain, with_lines_of

MAX_CHUNK_CHARACTERS: Final = 1_800
FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of chunks.

    Args:
        chunk: The number of characters after which a chunk ends at the next blank line, and at
            twice of which it ends anywhere.
        overlap: How many characters of the end of a chunk its successor below the same heading
            begins with, in whole lines.
    """

    chunk: int = MAX_CHUNK_CHARACTERS
    overlap: int = 0


DEFAULT_SIZES: Final = Sizes()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Hold one chunk of a document.

    Args:
        heading: The headings above it, outermost first, joined by ` > `.
        line: The number of its first line, from 1.
        text: Its text. For plain files its lines as they are in the file, including the line of the
            heading.
        is_source: Whether the lines of the text are lines of the file.
    """

    heading: str
    line: int
    text: str
    is_source: bool = True


def without_secrets(text: str) -> str:
    """Return the text of a document, or a part of it, with secrets of known forms masked and as
    many lines as before. Readers mask before they split: an index holds no secret, and no chunk
    begins inside one, where it could not be recognised.
    """
    return with_lines_of(text, redact_certain(text))


def split(lines: list[str], first: int, end: int, heading: str, sizes: Sizes) -> Iterator[Chunk]:
    """Yield the lines from `first` to before `end` (from 1) as chunks of limited size.

    A fenced code block is not split unless it alone is longer than two chunks.
    """
    part_lines: list[str] = []
    first_line, size, fence = first, 0, ""
    for number in range(first, end):
        line = lines[number - 1]
        is_break = not fence and not line.strip()
        if part_lines and size + len(line) > sizes.chunk and (is_break or size > 2 * sizes.chunk):
            yield from _chunk(heading, first_line, part_lines)
            part_lines = _tail(part_lines, sizes.overlap)
            first_line, size = number - len(part_lines), 0
        if mark := FENCE.match(line):
            fence = ("" if mark[1].startswith(fence) else fence) if fence else mark[1]
        part_lines.append(line)
        size += len(line) + 1
    yield from _chunk(heading, first_line, part_lines)


def _tail(lines: list[str], characters: int) -> list[str]:
    """Return the last lines that together have at most so many characters."""
    count = size = 0
    for line in reversed(lines):
        size += len(line) + 1
        if size > characters:
            break
        count += 1
    return lines[len(lines) - count :]


def _chunk(heading: str, first_line: int, part_lines: list[str]) -> Iterator[Chunk]:
    start = next((number for number, line in enumerate(part_lines) if line.strip()), 0)
    text = "\n".join(part_lines[start:]).rstrip()
    if text:
        yield Chunk(heading, first_line + start, text)
