"""Limits of the readers: the bytes of a file, and the memory that its JSON needs once decoded."""

import json
from collections.abc import Iterator
from typing import Any, Final

from flow_xray._errors import TooLargeError

MAX_BYTES: Final = 1_000_000_000
_MAX_MEMORY: Final = 900_000_000
SPAN_BYTES: Final = 1_400
FOREIGN_SPAN_BYTES: Final = 1_800  # it is frozen, so it exists twice for a time
_BYTES_OF_A_VALUE: Final = 90  # a small list, text or float, and its place in a list or an object


def read_bounded(path: str) -> bytes:
    """Return the content of a file.

    Raises:
        OSError: It cannot be read.
        TooLargeError: It is too large.
    """
    with open(path, "rb") as stream:  # noqa: PTH123  pathlib costs 9 ms at import
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise TooLargeError(
            f"cannot read {path!r}: because it is larger than {MAX_BYTES // 10**6:,} MB. Give a part of it."
        )
    return content


def decode(text: str | bytes) -> Any:
    """Return the value of a JSON text; NaN and Infinity as texts.

    Raises:
        ValueError: It is not JSON, or is nested too deeply.
        TooLargeError: It would need too much memory.
    """
    size = len(text)
    if size > 5_000_000:
        check_memory(values_in(text), "values", _BYTES_OF_A_VALUE, size)
    try:
        return json.loads(text, parse_constant=str)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def check_memory(count: int, of_what: str, bytes_each: int, size: int) -> None:
    """Refuse a file whose content would need too much memory for its size.

    Args:
        count: The number of values or spans.
        of_what: What is counted, for the error.
        bytes_each: The memory of one, in bytes, until the page is written.
        size: The number of bytes of the file.

    Raises:
        TooLargeError: It would.
    """
    needed = count * bytes_each
    if needed > max(_MAX_MEMORY, 9 * size):
        raise TooLargeError(
            f"cannot read the trace: because its {count:,} {of_what} would need {needed / 1e9:,.1f} GB of memory. "
            "Give a part of it."
        )


def values_in(text: str | bytes) -> int:
    """Return an upper bound of the number of values in a JSON text."""
    if isinstance(text, str):
        return text.count(",") + text.count("[") + text.count("{")
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def taken(items: list[Any]) -> Iterator[Any]:
    """Yield the items of a list and remove each from it, so that it is freed after its use."""
    items.reverse()
    while items:
        yield items.pop()
