"""Limits of the readers: the bytes of a file, and the memory that its JSON needs once decoded."""

import json
from typing import Any, Final

from flow_xray._errors import TraceFormatError

MAX_BYTES: Final = 1_000_000_000
_MAX_MEMORY: Final = 800_000_000
_BYTES_OF_A_VALUE: Final = 90  # a small list, text or float, and its place in a list or an object


def read_bounded(path: str) -> bytes:
    """Return the content of a file.

    Raises:
        OSError: It cannot be read.
        TraceFormatError: It is too large.
    """
    with open(path, "rb") as stream:  # noqa: PTH123  pathlib costs 9 ms at import
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise TraceFormatError(
            f"cannot read {path!r}: because it is larger than {MAX_BYTES // 10**6:,} MB. Give a part of it."
        )
    return content


def decode(text: str | bytes) -> Any:
    """Return the value of a JSON text; NaN and Infinity as texts.

    Raises:
        ValueError: It is not JSON, is nested too deeply, or would need too much memory.
    """
    size = len(text)
    if size > 5_000_000:
        needed = values_in(text) * _BYTES_OF_A_VALUE
        if needed > max(_MAX_MEMORY, 8 * size):
            raise ValueError(f"its values would need {needed / 1e9:,.1f} GB of memory; split it")
    try:
        return json.loads(text, parse_constant=str)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def values_in(text: str | bytes) -> int:
    """Return an upper bound of the number of values in a JSON text."""
    if isinstance(text, str):
        return text.count(",") + text.count("[") + text.count("{")
    return text.count(b",") + text.count(b"[") + text.count(b"{")
