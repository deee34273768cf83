"""Whether a value that was read back is the value that was stored, and where it is not.

Two values are the same if they have the same types at each place and equal contents: dataclasses by
all fields, pydantic models by their fields, extra and private attributes, containers by their
members, zones by their names. NaN is the same as NaN, 1 is not the same as True or 1.0.

What is asked of each type is found once, so that comparing a small state costs a few microseconds.
"""

from __future__ import annotations

import copyreg
import math
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Comparison", "Difference", "is_model", "is_recreated"]

_EQUAL_IS_SAME: Final = frozenset({str, int, bool, type(None), bytes, bytearray, UUID, date, timedelta})
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """The first difference between two values.

    Attributes:
        path: Where, for instance `messages[3].tool_calls`; empty for the value as a whole.
        before: What was stored at this place.
        after: What comes back.
        owner: The object that has the attribute at the end of the path; None for a member of a
            container.
    """

    path: str
    before: Any
    after: Any
    owner: Any = None

    @property
    def is_lost(self) -> bool:
        """Whether nothing comes back."""
        return self.after is _ABSENT

    @property
    def is_added(self) -> bool:
        """Whether nothing was there."""
        return self.before is _ABSENT


class Comparison:
    """Compare values of the types that one codec has met.

    Args:
        is_lenient: Objects that do not say when they are equal are taken for the same, and fields
            of dataclasses with `compare=False` are not compared.
    """

    def __init__(self, *, is_lenient: bool = False) -> None:
        self._is_lenient = is_lenient
        self._by_type: dict[type, Callable[[Any, Any], bool]] = {}
        self._recreated = self if is_lenient else Comparison(is_lenient=True)

    def same(self, before: Any, after: Any) -> bool:
        """Return whether two values are the same."""
        kind = type(before)
        if kind is not type(after):
            return False
        if kind in _EQUAL_IS_SAME:
            return bool(before == after)
        compare = self._by_type.get(kind)
        if compare is None:
            compare = self._by_type[kind] = self._comparer(kind)
        return compare(before, after)

    def difference(self, before: Any, after: Any, path: str = "") -> Difference | None:
        """Return the first difference; None if the values are the same."""
        if self.same(before, after):
            return None
        for step, owner, one, other in self._parts(before, after):
            part = one is _ABSENT or other is _ABSENT
            compare = self._recreated if owner is not None and is_recreated(owner, step) else self
            if part or not compare.same(one, other):
                where = f"{path}{step}" if path or not step.startswith(".") else step[1:]
                return Difference(where, one, other, owner) if part else compare.difference(one, other, where)
        return Difference(path, before, after)

    # ------------------------------------------------------------------ one function for each type

    def _comparer(self, kind: type) -> Callable[[Any, Any], bool]:
        simple = _SIMPLE.get(kind)
        if simple is not None:
            return simple
        if issubclass(kind, Enum):
            return _is_or_equal
        if issubclass(kind, datetime):
            return _same_datetime
        if issubclass(kind, list | tuple | deque):
            return self._same_sequences
        if issubclass(kind, set | frozenset):
            return self._same_sets
        if issubclass(kind, dict):
            return self._same_dicts
        if is_model(kind):
            return self._same_models
        if is_dataclass(kind):
            return self._dataclass_comparer(kind)
        if hasattr(kind, "get_secret_value"):
            return lambda before, after: self.same(before.get_secret_value(), after.get_secret_value())
        if issubclass(kind, str | int | float | bytes | PurePath):
            return lambda before, after: bool(before == after) and self._same_attributes(before, after)
        if kind.__eq__ is not object.__eq__:
            return _own_equality
        return self._same_objects

    def _dataclass_comparer(self, kind: type) -> Callable[[Any, Any], bool]:
        names = tuple(each.name for each in fields(kind) if each.compare or not self._is_lenient)
        same, has_dict, count = self.same, "__dict__" in dir(kind) and not _slots(kind), len(fields(kind))

        def compare(before: Any, after: Any) -> bool:
            if not has_dict:
                return all(
                    same(getattr(before, name, _ABSENT), getattr(after, name, _ABSENT)) for name in names
                ) and self._same_attributes(before, after)
            one, other = before.__dict__, after.__dict__
            for name in names:
                x, y = one.get(name, _ABSENT), other.get(name, _ABSENT)
                if x is not y:
                    part = type(x)
                    if part is not type(y):
                        return False
                    if part in _EQUAL_IS_SAME:
                        if x != y:
                            return False
                    elif not same(x, y):
                        return False
            return (len(one) == count and len(other) == count) or self._same_attributes(before, after)

        return compare

    def _same_models(self, before: Any, after: Any) -> bool:
        same = self.same
        one, other = before.__dict__, after.__dict__
        if one.keys() != other.keys() and not self._same_attributes(before, after):
            return False
        excluded = _excluded(type(before))
        for name, value in one.items():
            compare = self._recreated.same if name in excluded else same
            if name in other and not compare(value, other[name]):
                return False
        if before.__pydantic_extra__ or after.__pydantic_extra__:
            if not same(before.__pydantic_extra__, after.__pydantic_extra__):
                return False
        private, other_private = before.__pydantic_private__, after.__pydantic_private__
        return not (private or other_private) or self._recreated.same(private or {}, other_private or {})

    def _same_sequences(self, before: Any, after: Any) -> bool:
        if len(before) != len(after) or (isinstance(before, deque) and before.maxlen != after.maxlen):
            return False
        same, equal = self.same, _EQUAL_IS_SAME
        for x, y in zip(before, after, strict=True):
            part = type(x)
            if part is not type(y):
                return False
            if part in equal:
                if x != y:
                    return False
            elif not same(x, y):
                return False
        return type(before) in (list, tuple) or self._same_attributes(before, after)

    def _same_sets(self, before: Any, after: Any) -> bool:
        if len(before) != len(after):
            return False
        counterparts = {member: member for member in after}
        unmatched = []
        for member in before:
            other = counterparts.pop(member, _ABSENT)
            if other is _ABSENT:
                unmatched.append(member)
            elif not self.same(member, other):
                return False
        rest = list(counterparts)  # members without an equal one, for instance NaN
        for member in unmatched:
            at = next((at for at, other in enumerate(rest) if self.same(member, other)), None)
            if at is None:
                return False
            del rest[at]
        return True

    def _same_dicts(self, before: Any, after: Any) -> bool:
        if len(before) != len(after):
            return False
        same, equal = self.same, _EQUAL_IS_SAME
        for (key, x), (other_key, y) in zip(before.items(), after.items(), strict=True):
            if type(key) is not type(other_key) or not (key == other_key or same(key, other_key)):
                return not isinstance(before, OrderedDict) and self._same_in_any_order(before, after)
            if key.__class__ not in equal and not same(key, other_key):
                return False
            part = type(x)
            if part is not type(y):
                return False
            if part in equal:
                if x != y:
                    return False
            elif not same(x, y):
                return False
        if type(before) is dict:
            return True
        if isinstance(before, defaultdict) and before.default_factory is not after.default_factory:
            return False
        return self._same_attributes(before, after)

    def _same_in_any_order(self, before: Any, after: Any) -> bool:
        """Compare dicts whose keys are in another order, as those of a TypedDict are after
        reading.
        """
        keys = {key: key for key in after}
        return all(
            key in after and self.same(key, keys[key]) and self.same(value, after[key]) for key, value in before.items()
        )

    def _same_attributes(self, before: Any, after: Any) -> bool:
        """Compare what an object has beside its fields or members."""
        one, other = _attributes(before), _attributes(after)
        return one.keys() == other.keys() and all(self.same(value, other[name]) for name, value in one.items())

    def _same_objects(self, before: Any, after: Any) -> bool:
        """Compare objects that do not say when they are equal."""
        if self._is_lenient or before is after:
            return True
        has_attributes = hasattr(before, "__dict__") or bool(_slots(type(before)))  # else its content is hidden
        return has_attributes and self._same_attributes(before, after)

    # ------------------------------------------------------------------ where two values differ

    def _parts(self, before: Any, after: Any) -> Iterator[tuple[str, Any, Any, Any]]:
        """Yield the parts of two values that differ: the step of the path, the owner of an
        attribute, and both parts.
        """
        kind = type(before)
        if isinstance(before, dict) and isinstance(after, dict):
            for key, value in before.items():
                yield f"[{_show_key(key)}]", None, value, _counterpart(self, key, after)
        elif isinstance(before, list | tuple | deque) and kind is type(after):
            for at, value in enumerate(before):
                if at < len(after):
                    yield f"[{at}]", None, value, after[at]
        elif is_model(kind) or is_dataclass(kind):
            names = list(_attribute_names(before))
            if kind is type(after):
                names += [name for name in _attribute_names(after) if name not in names]
                for name in names:
                    yield f".{name}", before, _value(before, name), _value(after, name)
            elif isinstance(before, type(after)):
                known = set(_attribute_names(after))
                for name in names:
                    if name not in known:
                        yield f".{name}", before, _value(before, name), _ABSENT
        elif kind is type(after) and not isinstance(before, str | int | float | bytes) and _attributes(before):
            if kind.__eq__ is object.__eq__:
                for name, value in _attributes(before).items():
                    yield f".{name}", before, value, _attributes(after).get(name, _ABSENT)


# ---------------------------------------------------------------- types whose equality is not enough


def _same_floats(before: float, after: float) -> bool:
    if before == after:
        return before != 0.0 or math.copysign(1.0, before) == math.copysign(1.0, after)
    return before != before and after != after  # noqa: PLR0124  (NaN)


def _same_complex(before: complex, after: complex) -> bool:
    return _same_floats(before.real, after.real) and _same_floats(before.imag, after.imag)


def _same_decimals(before: Decimal, after: Decimal) -> bool:
    return before.as_tuple() == after.as_tuple()


def _same_datetime(before: datetime, after: datetime) -> bool:
    return (
        before.replace(tzinfo=None) == after.replace(tzinfo=None)
        and _same_zones(before.tzinfo, after.tzinfo)
        and (before.fold == after.fold or (before.tzinfo is not None and before.utcoffset() == after.utcoffset()))
    )


def _same_time(before: time, after: time) -> bool:
    same_clock = before.replace(tzinfo=None) == after.replace(tzinfo=None) and before.fold == after.fold
    return same_clock and _same_zones(before.tzinfo, after.tzinfo)


def _same_zones(before: Any, after: Any) -> bool:
    if before is None or after is None:
        return before is after
    if isinstance(before, ZoneInfo) or isinstance(after, ZoneInfo):
        return type(before) is type(after) and before.key is not None and bool(before.key == after.key)
    if not (_is_fixed(before) and _is_fixed(after)):
        return False
    return bool(before.utcoffset(None) == after.utcoffset(None) and before.tzname(None) == after.tzname(None))


def _is_fixed(zone: Any) -> bool:
    """Whether a zone is an offset from UTC: that of the standard library, or of pydantic."""
    return isinstance(zone, timezone) or type(zone).__module__.partition(".")[0] == "pydantic_core"


def _same_zone_objects(before: ZoneInfo, after: ZoneInfo) -> bool:
    return _same_zones(before, after)


def _is_or_equal(before: Any, after: Any) -> bool:
    return before is after or bool(before == after)


def _own_equality(before: Any, after: Any) -> bool:
    try:
        answer = before == after
        return bool(answer.all()) if hasattr(answer, "all") else bool(answer)
    except Exception:  # noqa: BLE001  (whatever an `__eq__` raises, it does not say that they are equal)
        return False


_SIMPLE: Final[dict[type, Callable[[Any, Any], bool]]] = {
    float: _same_floats,
    complex: _same_complex,
    Decimal: _same_decimals,
    datetime: _same_datetime,
    time: _same_time,
    ZoneInfo: _same_zone_objects,
}


# ---------------------------------------------------------------- attributes


def is_model(kind: type) -> bool:
    """Whether a class is a pydantic model."""
    return hasattr(kind, "__pydantic_fields__") and hasattr(kind, "__pydantic_private__")


def _excluded(kind: Any) -> frozenset[str]:
    return frozenset(name for name, each in kind.__pydantic_fields__.items() if each.exclude)


def is_recreated(owner: Any, step: str) -> bool:
    """Whether an attribute is made by the code, not read from what is stored."""
    kind, name = type(owner), step.removeprefix(".")
    return is_model(kind) and (name in (owner.__pydantic_private__ or {}) or name in _excluded(kind))


def _slots(kind: type) -> list[str]:
    return list(copyreg._slotnames(kind))  # type: ignore[attr-defined]  # noqa: SLF001  (as `copy` and `pickle` do)


def _attributes(value: Any) -> dict[str, Any]:
    """Return the attributes that an object stores, without those that are computed from others."""
    kind = type(value)
    slots = () if is_model(kind) else _slots(kind)  # those of a model are pydantic's own
    found = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    for name, each in getattr(value, "__dict__", {}).items():
        if not isinstance(getattr(kind, name, None), cached_property):
            found[name] = each
    return found


def _attribute_names(value: Any) -> Iterable[str]:
    if is_model(type(value)):
        return [
            *_stored_attributes(value),
            *(value.__pydantic_extra__ or {}),
            *(value.__pydantic_private__ or {}),
        ]
    return _attributes(value)


def _stored_attributes(model: Any) -> Iterable[str]:
    kind = type(model)
    return (name for name in model.__dict__ if not isinstance(getattr(kind, name, None), cached_property))


def _value(owner: Any, name: str) -> Any:
    if is_model(type(owner)):
        for each in (owner.__dict__, owner.__pydantic_extra__, owner.__pydantic_private__):
            if each and name in each:
                return each[name]
        return _ABSENT
    return getattr(owner, name, _ABSENT)


def _counterpart(compare: Comparison, key: Any, after: dict[Any, Any]) -> Any:
    return next((value for other, value in after.items() if compare.same(key, other)), _ABSENT)


def _show_key(key: Any) -> str:
    text = repr(key)
    return text if len(text) <= 40 else f"{text[:37]}..."
