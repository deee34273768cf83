"""Shared by the readers, for damaged files: the text for a lost value, and type checks."""

from typing import Final

from flow_xray._data.pool import Key
from flow_xray._data.span import Json

LOST: Final = "<lost: its record is damaged>"


class LossyPool(dict[Key, Json]):
    """The pooled values of a file; a value whose record is damaged reads as `LOST`."""

    def __missing__(self, key: Key) -> Json:
        return LOST


def expect_object(value: Json) -> dict[str, Json]:
    """Return a JSON object.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(value, dict):
        raise TypeError(f"an object was expected, not {type(value).__name__}")
    return value
