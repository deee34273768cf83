"""Line numbers as text: `3-7,9`."""

from collections.abc import Iterable
from typing import Final

_MAX_LINES: Final = 100_000  # in one range; an imported file may contain any numbers


def ranges(lines: Iterable[int]) -> str:
    """Return line numbers as text, neighbours as a range."""
    parts: list[str] = []
    first = last = -2
    for line in [*sorted(set(lines)), -1]:
        if line == last + 1 and line > 0:
            last = line
            continue
        if first > 0:
            parts.append(str(first) if first == last else f"{first}-{last}")
        first = last = line
    return ",".join(parts)


def lines_in(text: str) -> set[int]:
    """Return the line numbers in a text that `ranges` made; anything else in it is ignored."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            start = int(first)
            found.update(range(start, min(int(last or first), start + _MAX_LINES) + 1))
    return found
