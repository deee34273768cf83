"""Comparing values of the standard library exactly, and the attributes of objects."""

from __future__ import annotations

import copyreg
import math
from datetime import datetime, time, timezone
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "ABSENT",
    "SIMPLE",
    "attribute_names",
    "attributes",
    "excluded_fields",
    "is_cached",
    "is_model",
    "is_or_equal",
    "is_recreated",
    "own_equality",
    "same_datetimes",
    "slots",
    "value_of",
]

ABSENT: Final = object()
"""Stands for an attribute or a key that is not there."""

# --------------------------------------------------------------- types whose equality is not enough


def _same_floats(before: float, after: float) -> bool:
    if before == after:
        return before != 0.0 or math.copysign(1.0, before) == math.copysign(1.0, after)
    return before != before and after != after  # noqa: PLR0124  (NaN)


def _same_complex(before: complex, after: complex) -> bool:
    return _same_floats(before.real, after.real) and _same_floats(before.imag, after.imag)


def _same_decimals(before: Decimal, after: Decimal) -> bool:
    return before.as_tuple() == after.as_tuple()


def same_datetimes(before: datetime, after: datetime) -> bool:
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


def is_or_equal(before: Any, after: Any) -> bool:
    return before is after or bool(before == after)


def own_equality(before: Any, after: Any) -> bool:
    try:
        answer = before == after
        return bool(answer.all()) if hasattr(answer, "all") else bool(answer)
    except Exception:  # noqa: BLE001  (whatever an `__eq__` raises, it does not say that they are equal)
        return False


SIMPLE: Final[dict[type, Callable[[Any, Any], bool]]] = {
    float: _same_floats,
    complex: _same_complex,
    Decimal: _same_decimals,
    datetime: same_datetimes,
    time: _same_time,
    ZoneInfo: _same_zone_objects,
}


# ---------------------------------------------------------------- attributes


def is_model(kind: type) -> bool:
    """Whether a class is a pydantic model."""
    return hasattr(kind, "__pydantic_fields__") and hasattr(kind, "__pydantic_private__")


def excluded_fields(kind: Any) -> frozenset[str]:
    return frozenset(name for name, each in kind.__pydantic_fields__.items() if each.exclude)


def is_recreated(owner: Any, name: str) -> bool:
    """Whether an attribute is made by the code, not read from what is stored."""
    kind = type(owner)
    return is_model(kind) and (name in (owner.__pydantic_private__ or {}) or name in excluded_fields(kind))


def slots(kind: type) -> list[str]:
    return list(copyreg._slotnames(kind))  # type: ignore[attr-defined]  # noqa: SLF001  (as `copy` and `pickle` do)


def attributes(value: Any) -> dict[str, Any]:
    """Return the attributes that an object stores, without those that are computed from others."""
    kind = type(value)
    names = () if is_model(kind) else slots(kind)  # those of a model are pydantic's own
    found = {name: getattr(value, name) for name in names if hasattr(value, name)}
    own: dict[str, Any] = getattr(value, "__dict__", {})
    return found | {name: each for name, each in own.items() if not is_cached(kind, name)}


def attribute_names(value: Any) -> Iterable[str]:
    if is_model(type(value)):
        return [
            *_stored_attributes(value),
            *(value.__pydantic_extra__ or {}),
            *(value.__pydantic_private__ or {}),
        ]
    return attributes(value)


def _stored_attributes(model: Any) -> Iterable[str]:
    kind = type(model)
    return (name for name in model.__dict__ if not is_cached(kind, name))


def is_cached(kind: type, name: str) -> bool:
    """Whether an attribute is computed from the others when it is first read."""
    return isinstance(getattr(kind, name, None), cached_property)


def value_of(owner: Any, name: str) -> Any:
    if is_model(type(owner)):
        for each in (owner.__dict__, owner.__pydantic_extra__, owner.__pydantic_private__):
            if each and name in each:
                return each[name]
        return ABSENT
    return getattr(owner, name, ABSENT)
