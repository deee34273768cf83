"""Durations, sizes and counts as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["counted", "duration", "one_line", "plural", "shorten", "size"]


def duration(microseconds: float) -> str:
    """Format a duration: `840 us`, `12 ms`, `1.2 s`, `4 m 12 s`, `2 h 10 m`, `3 d 4 h`."""
    microseconds = max(microseconds, 0)
    if microseconds < 1_000:
        return f"{microseconds:.0f} us"
    if microseconds < 999_500:
        milliseconds = microseconds / 1_000
        return f"{milliseconds:.1f} ms" if milliseconds < 9.95 else f"{milliseconds:.0f} ms"
    seconds = microseconds / 1_000_000
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for large, small, unit in ((86_400, 3_600, "dh"), (3_600, 60, "hm"), (60, 1, "ms")):
        if whole >= large:
            return f"{whole // large} {unit[0]} {whole % large // small} {unit[1]}"
    return f"{whole} s"


def size(size_bytes: float) -> str:
    """Format a size: `912 B`, `2.1 KB`, `13 MB`; 1 KB is 1000 bytes."""
    if size_bytes < 1_000:
        return f"{size_bytes:.0f} B"
    unit = "KB"
    size_bytes /= 1_000
    for larger in ("MB", "GB"):
        if size_bytes >= 999.5:
            unit = larger
            size_bytes /= 1_000
    return f"{size_bytes:.1f} {unit}" if size_bytes < 9.95 else f"{size_bytes:.0f} {unit}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """Format a count with its noun: `1 step`, `2 steps`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def counted(counts: Mapping[str, int]) -> str:
    """Format counts by the plural names of what was counted: `2 runs, 1 tool call`."""
    return ", ".join(plural(count, name.replace("_", " ").removesuffix("s")) for name, count in counts.items())


def shorten(text: str, width: int) -> str:
    """Put a text on one line, and end it with `...` if it is cut to the width."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: max(width - 3, 0)] + "..."


def one_line(text: str, width: int = 1200) -> str:
    """Put a text on one line; a very long one loses its middle, because its end says what to do."""
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width - 405]} ... {text[-400:]}"
