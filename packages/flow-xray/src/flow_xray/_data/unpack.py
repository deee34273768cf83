"""Resolve the references of a file to pooled values, within limits on what they expand to.

Theory of operation. A file of 2 KB can describe a value of terabytes, because a reference costs a
few characters and may refer to a value with references. In memory a pooled value is shared, but
whatever writes or compares the value walks all of it. So its expanded size is counted from the
sizes of its parts, before anything walks it:

* the size of a value is about the number of characters of its JSON, references resolved;
* a value above `max_value`, or deeper than `MAX_DEPTH`, is replaced by a text that says so;
* so is every further value when all values together exceed `max_total`.

A recorded value stays far below: the freezer has bounded it, and a value that contains each pooled
value once is smaller than the file. Numbers that JSON can hold and arithmetic cannot become text.
"""

from math import isfinite, isnan
from typing import Final

from flow_xray._data.pool import MORE, RAW, REF, Key
from flow_xray._data.span import Json
from flow_xray._data.trace_data import TraceData

MAX_DEPTH: Final = 200
_MAX_NUMBER: Final = 2**63
_MAX_BITS: Final = 3_000
_SMALL: Final = 2  # characters of a number, a constant or an empty container, at least


class _TooLargeError(Exception):
    """A value that is not shown; the text says why."""


class Pool:
    """The pooled values of a file.

    Args:
        size: The number of bytes of the file; the limits grow with it.
        lost: The value of a key that is missing; without one, a missing key is a `KeyError`.
    """

    __slots__ = ("_deepest", "_left", "_lost", "_max_value", "_size", "_values")

    def __init__(self, size: int, lost: Json = None) -> None:
        self._values: dict[Key, tuple[Json, int, int]] = {}  # the value, its size, its depth
        self._lost = lost
        self._max_value = 4_000_000 + 4 * size
        self._left = min(24_000_000 + 200 * size, max(400_000_000, 4 * size))
        self._size = self._deepest = 0

    def add(self, key: Key, value: Json) -> None:
        """Add a value; its references must be to earlier ones.

        Raises:
            KeyError: One is not.
        """
        shown = self._bounded(value)
        self._values[key] = (shown, self._size, self._deepest)

    def unpack(self, value: Json) -> Json:
        """Return `value` with every reference resolved.

        Raises:
            KeyError: A reference has no value in the pool.
        """
        kind = type(value)
        if kind is int and -_MAX_NUMBER < value < _MAX_NUMBER:  # type: ignore[operator]  # narrowed by type()
            return value
        shown = self._bounded(value)
        if self._size > self._left:
            return f"<not shown: the values of this file expand to more than {self._limit()}>"
        self._left -= self._size
        return shown

    def unpack_members(self, members: Json) -> dict[str, Json]:
        """Return an object with its members unpacked, each for itself.

        A number beyond 64 bits becomes text: it is a fact that is added up.

        Raises:
            TypeError: It is something else.
        """
        if isinstance(members, dict) and not members.keys().isdisjoint((REF, RAW)) and len(members) == 1:
            members = self.unpack(members)
            return expect_object(members)
        return {key: countable(self.unpack(value)) for key, value in expect_object(members).items()}

    def _limit(self) -> str:
        return f"{self._max_value // 1_000_000:,} MB"

    def _bounded(self, value: Json) -> Json:
        self._size = self._deepest = 0
        try:
            shown = self._resolved(value, 0)
        except _TooLargeError as error:
            shown = str(error)
            self._size, self._deepest = len(shown), 0
        return shown

    def _count(self, size: int, depth: int) -> None:
        self._size += size
        if self._size > self._max_value:
            raise _TooLargeError(f"<not shown: its references expand to more than {self._limit()}>")
        if depth > self._deepest:
            self._deepest = depth
            if depth > MAX_DEPTH:
                raise _TooLargeError(f"<not shown: it is nested deeper than {MAX_DEPTH} levels>")

    def _resolved(self, value: Json, depth: int) -> Json:
        kind = type(value)
        if kind is str:
            self._count(len(value) if value.isascii() else 6 * len(value), depth)  # type: ignore[arg-type,union-attr]  # narrowed by type()
            return value
        if kind is dict:
            return self._object(value, depth)  # type: ignore[arg-type]  # narrowed by type()
        if kind is list:
            self._count(_SMALL, depth)
            return [self._resolved(item, depth + 1) for item in value]  # type: ignore[union-attr]  # narrowed by type()
        self._count(_SMALL, depth)
        return _number(value) if isinstance(value, int | float) and type(value) is not bool else value

    def _object(self, value: dict[str, Json], depth: int) -> Json:
        if len(value) == 1:
            if REF in value:
                return self._referred(value[REF], depth)
            more = value.get(MORE)
            if isinstance(more, list) and len(more) == 2 and isinstance(more[1], list):
                known = self._resolved(more[0], depth)
                added = [self._resolved(item, depth + 1) for item in more[1]]
                return [*(known if isinstance(known, list) else [known]), *added]
            raw = value.get(RAW)
            if isinstance(raw, dict):
                value = raw
        self._count(_SMALL + sum(map(len, value)), depth)
        return {key: self._resolved(member, depth + 1) for key, member in value.items()}

    def _referred(self, key: Json, depth: int) -> Json:
        if not isinstance(key, int | str):
            raise KeyError(key)
        found = self._values.get(key)
        if found is None:
            if self._lost is None:
                raise KeyError(key)
            return self._lost
        value, size, height = found
        self._count(size + _SMALL, depth + height)
        return value


def expect_object(value: Json) -> dict[str, Json]:
    """Return a JSON object.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(value, dict):
        raise TypeError(f"an object was expected, not {type(value).__name__}")
    return value


def countable(value: Json) -> Json:
    """Return a value whose numbers can be added up: one beyond 64 bits as text."""
    kind = type(value)
    if (kind is int or kind is float) and not -_MAX_NUMBER < value < _MAX_NUMBER:  # type: ignore[operator]  # narrowed
        return str(value)
    if kind is dict:
        return {key: countable(member) for key, member in value.items()}  # type: ignore[union-attr]  # narrowed
    return value


def nanoseconds(value: object) -> int:
    """Return a time or a duration of a file, at most 2^63 - 1 either way.

    Raises:
        ValueError: It is not a number.
    """
    try:
        number: int = int(value)  # type: ignore[call-overload]  # what is no number raises
    except OverflowError as error:
        raise ValueError(f"the time {value} is not a number") from error
    return max(1 - _MAX_NUMBER, min(number, _MAX_NUMBER - 1))


def _number(value: "int | float") -> Json:
    if isinstance(value, int):
        return value if value.bit_length() < _MAX_BITS else f"<int of {value.bit_length():,} bits>"
    if isfinite(value):
        return value
    return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"


def with_countable_meta(trace: TraceData) -> TraceData:
    """Return a trace of another program with facts that can be added up."""
    for span in trace.spans:
        for key, value in span.meta.items():
            span.meta[key] = countable(value)
    return trace
