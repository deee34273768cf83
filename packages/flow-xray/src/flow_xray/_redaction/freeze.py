"""Freeze: turn any Python value into plain JSON, at once, bounded, and with secrets masked.

Theory of operation. A recorder must never cause a failure, must not keep references to values that
the program changes later, and must not let a secret reach memory that is written to disk. So one
walk does everything: it copies, converts, cuts and redacts. Rules:

* Scalars stay. Floats without a JSON form become "NaN", "Infinity", "-Infinity".
* Text is redacted first and cut second: head and tail stay, the middle is replaced by its length.
* Dataclasses, pydantic models, attrs classes and named tuples become objects of their fields. They
  are read from the instance, so no property and no serialiser runs; a field with `repr=False` is
  not recorded. Other objects become their `repr`.
* A `repr` that raises, a cycle, a level too deep, and the items above the limits become a short
  text that describes this. Nothing is dropped silently, and the result is always valid JSON.
* The number of visited values is bounded for the whole call, so a large graph takes a bounded time.

Not covered: a `repr` that never returns.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final, TypeAlias

from flow_xray._redaction.plain_values import looks_random
from flow_xray._redaction.redactor import MASK, Redactor

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_TEXT_LIKE: Final = frozenset({"Decimal", "UUID", "datetime", "date", "time", "timedelta", "PosixPath", "WindowsPath"})
_OVERLAP: Final = 4_096  # characters read beyond a cut, so that a secret across it is redacted as a whole
_TEXT_TYPES: Final = (str, bytes)
_BIG_INT_BITS: Final = 3_000
_PLAIN_INT: Final = 2**63


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits on the recorded part of a value.

    Args:
        max_string: Characters of one text; of a longer one three quarters are head, the rest is
            tail.
        max_items: Members of one collection, cut the same way.
        max_depth: Levels of nesting.
        max_nodes: Values in one input or output, all levels together.
    """

    max_string: int = 20_000
    max_items: int = 1_000
    max_depth: int = 32
    max_nodes: int = 50_000

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 0:
                raise ValueError(f"cannot use {getattr(self, name)} as {name}: because it is below 0. Give 0 or more.")


NOT_SHOWN: Final = "<not recorded: repr=False>"
NOT_CAPTURED: Final = "[not captured]"
DEFAULT_LIMITS: Final = Limits()
DEFAULT_REDACTOR: Final = Redactor()


def freeze(value: object, redactor: Redactor = DEFAULT_REDACTOR, limits: Limits = DEFAULT_LIMITS) -> Json:
    """Return a bounded, redacted JSON copy of `value`; never raise for what `value` does."""
    if is_plain(value):
        return value  # type: ignore[return-value]  # checked by is_plain
    return _Freezer(redactor, limits).freeze(value, 0)


def is_plain(value: object) -> bool:
    """Return whether a value is JSON and no secret: None, a boolean, a 64-bit integer."""
    kind = type(value)
    if kind is int:
        return -_PLAIN_INT < value < _PLAIN_INT  # type: ignore[operator]  # narrowed by type()
    return value is None or kind is bool


def freeze_arguments(
    names: Iterable[str], values: Iterable[object], redactor: Redactor, limits: Limits = DEFAULT_LIMITS
) -> dict[str, Json]:
    """Return the arguments of a call as JSON: `freeze(dict(zip(names, values)))`, but faster."""
    out: dict[str, Json] = {}
    hidden = redactor.hidden
    has_no_callables = not redactor.callables
    freezer: _Freezer | None = None
    for name, value in zip(names, values, strict=False):
        kind = type(value)
        if (
            has_no_callables
            and hidden.get(name) == 0
            and ((kind is int and -_PLAIN_INT < value < _PLAIN_INT) or value is None or kind is bool)  # type: ignore[operator]  # narrowed
        ):
            out[name] = value  # type: ignore[assignment]  # checked above, as is_plain does; a call of it is slower
            continue
        if freezer is None:
            freezer = _Freezer(redactor, limits)
        out[name] = freezer.member(name, value, 1)
    return out


def cut_text(text: str, limit: int) -> str:
    """Return head and tail of a text above `limit`, with the number of characters cut."""
    if len(text) <= limit:
        return text
    head = limit * 3 // 4
    tail = limit - head
    return f"{text[:head]} … [{len(text) - limit:,} characters cut] … {text[len(text) - tail :]}"


def safe_repr(value: object, limit: int = 2_000) -> str:
    """Return `repr(value)`, cut; a repr that raises is described instead."""
    try:
        return cut_text(repr(value), limit)
    except Exception as error:  # noqa: BLE001  whatever a foreign repr raises
        return f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"


_NAMED: Final = frozenset({"value", "Value", "kind"})


class _Freezer:
    """One walk over one value."""

    __slots__ = ("_left", "_limits", "_path", "_redactor")

    def __init__(self, redactor: Redactor, limits: Limits) -> None:
        self._redactor = redactor
        self._limits = limits
        self._left = limits.max_nodes
        self._path: set[int] = set()

    def freeze(self, value: object, depth: int) -> Json:
        self._left -= 1
        kind = type(value)
        if kind is str:
            return self._text(value)  # type: ignore[arg-type]  # narrowed by type()
        if kind is int and -_PLAIN_INT < value < _PLAIN_INT:  # type: ignore[operator]  # narrowed by type()
            return value  # type: ignore[return-value]  # narrowed by type()
        if value is None or value is True or value is False:
            return value
        try:
            return self._other(value, kind, depth)
        except Exception as error:  # noqa: BLE001  isinstance and attributes of a foreign class may raise
            return f"<{kind.__name__}, which raised {type(error).__name__} while it was recorded>"

    def _other(self, value: object, kind: type, depth: int) -> Json:
        """Freeze a value that is not exactly of one of the plain types."""
        if isinstance(value, Enum):
            return f"{kind.__name__}.{value.name}"
        if isinstance(value, int):
            return int(value) if value.bit_length() < _BIG_INT_BITS else f"<int of {value.bit_length():,} bits>"
        if isinstance(value, float):
            return _number(float(value))
        if isinstance(value, str):
            return self._text(str.__str__(value))
        if isinstance(value, bytes | bytearray | memoryview):
            return self._bytes(bytes(value[: self._limits.max_string]), len(value))
        if kind.__name__ in _TEXT_LIKE:
            return self._text(_safe_str(value))
        return self._compound(value, depth)

    def _text(self, text: str) -> str:
        limit = self._limits.max_string
        if len(text) <= limit + 2 * _OVERLAP:
            return cut_text(self._redactor.text(text), limit)
        head, tail = limit * 3 // 4, limit - limit * 3 // 4
        start = self._redactor.text(text[: head + _OVERLAP])[:head]
        end = self._redactor.text(text[len(text) - tail - _OVERLAP :])[-tail:]
        return f"{start} … [{len(text) - limit:,} characters cut] … {end}"

    def _bytes(self, head: bytes, length: int) -> str:
        shown = self._redactor.text(repr(head))
        if b"\0" in head:  # no pattern would match a text of two-byte characters
            plain = head.replace(b"\0", b"").decode("latin-1")
            if self._redactor.text(plain) != plain:
                shown = MASK
        return f"<{length:,} bytes {cut_text(shown, 400)}>"

    def _compound(self, value: object, depth: int) -> Json:
        identity = id(value)
        if identity in self._path:
            return f"<cycle: this {type(value).__name__} contains itself>"
        if depth >= self._limits.max_depth or self._left <= 0:
            return f"<{type(value).__name__}, not recorded: the value is too {'deep' if self._left > 0 else 'large'}>"
        self._path.add(identity)
        try:
            return self._members(value, depth + 1)
        except Exception as error:  # noqa: BLE001  foreign containers may raise anything while they are read
            return f"<{type(value).__name__}, which raised {type(error).__name__} while it was recorded>"
        finally:
            self._path.discard(identity)

    def _members(self, value: object, depth: int) -> Json:
        if isinstance(value, Mapping):
            return self._mapping(value, len(value), depth)
        if isinstance(value, list | tuple):
            names = getattr(value, "_fields", None)
            if names is not None:
                return self._mapping(dict(zip(names, value, strict=False)), len(value), depth)
            return self._sequence(value, len(value), depth)
        if isinstance(value, set | frozenset) or type(value).__name__ in {"deque", "dict_keys", "dict_values"}:
            return self._sequence(list(value), len(value), depth)  # type: ignore[call-overload,arg-type]  # sized collections
        fields = _fields_of(value)
        if fields is not None:
            return self._mapping(fields, len(fields), depth)
        if isinstance(value, type | FunctionType | BuiltinFunctionType | MethodType):
            return f"<{type(value).__name__} {getattr(value, '__qualname__', '?')}>"
        if isinstance(value, ModuleType):
            return f"<module {value.__name__}>"
        return self._text(safe_repr(value, 2 * self._limits.max_string + 2 * _OVERLAP))

    def member(self, name: str, value: object, depth: int) -> Json:
        """Freeze the value that belongs to a key."""
        redactor = self._redactor
        if redactor.hides_value(name, value):
            weight = redactor.weight(name)
            if weight == 3 or isinstance(value, str | bytes | bytearray | int | float):
                redactor.remember(value)
                return MASK
            masked: Json = redactor.masked(self.freeze(value, depth), weight)
            return masked
        if redactor.callables:
            value = redactor.apply(name, value)
        return self.freeze(value, depth)

    def _mapping(self, members: Mapping[Any, object], size: int, depth: int) -> Json:
        out: dict[str, Json] = {}
        limit = self._limits.max_items
        redactor = self._redactor
        hidden = redactor.secret_members(members) if _NAMED.intersection(members) else ()
        for key, value in islice(members.items(), limit):
            name = key if type(key) is str else _key_name(key)
            if key in hidden:
                self._remember_text(value)
                frozen: Json = MASK
            else:
                frozen = self.member(name, value, depth)
            name = redactor.name(name) if len(name) <= 200 else cut_text(redactor.text(name), 200)
            if name in out:
                name = f"{name} ({type(key).__name__})"
            out[name] = frozen
        if size > limit:
            out["…"] = f"[{size - limit:,} more keys cut]"
        return out

    def _sequence(self, items: "list[object] | tuple[object, ...]", size: int, depth: int) -> Json:
        limit = self._limits.max_items
        hidden = self._redactor.secret_items(items) if size and type(items[0]) in _TEXT_TYPES else ()
        if hidden:
            items = list(items)
            for place in hidden:
                if isinstance(place, int) and place < size:
                    self._remember_text(items[place])
                    items[place] = MASK
        if size <= limit:
            return [self.freeze(item, depth) for item in items]
        head = limit * 3 // 4
        tail = limit - head
        return [
            *(self.freeze(item, depth) for item in items[:head]),
            f"… [{size - limit:,} items cut] …",
            *(self.freeze(item, depth) for item in items[size - tail :]),
        ]

    def _remember_text(self, value: object) -> None:
        """Remember the value of a pair or an option as a secret, unless it may be a plain word."""
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        if isinstance(text, str) and any(looks_random(word) for word in text.split()):
            self._redactor.remember(text)


def _key_name(key: object) -> str:
    if isinstance(key, bytes):
        return key.decode("utf-8", "replace")
    return _safe_str(key)


def _number(value: float) -> Json:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _safe_str(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  whatever a foreign str raises
        return safe_repr(value)


def _fields_of(value: object) -> dict[str, object] | None:
    """Return the fields of a dataclass, attrs or pydantic instance; no code of its class runs."""
    cls = type(value)
    if isinstance(value, type):
        return None
    names = getattr(cls, "__dataclass_fields__", None)
    if isinstance(names, dict):
        return {name: getattr(value, name, None) if field.repr else NOT_SHOWN for name, field in names.items()}
    attributes = getattr(cls, "__attrs_attrs__", None)
    if attributes is not None:
        return {each.name: getattr(value, each.name, None) if each.repr else NOT_SHOWN for each in attributes}
    if hasattr(cls, "__pydantic_fields_set__"):
        described = getattr(cls, "__pydantic_fields__", {})
        extra = getattr(value, "__pydantic_extra__", None) or {}
        return {
            name: member if getattr(described.get(name), "repr", True) else NOT_SHOWN
            for name, member in {**vars(value), **extra}.items()
        }
    return None
