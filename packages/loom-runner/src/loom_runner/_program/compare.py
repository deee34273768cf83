"""Whether a value that was read back is the value that was stored, and where it is not.

Two values are the same if they have the same types at each place and equal contents: dataclasses by
all fields, pydantic models by their fields, extra and private attributes, containers by their
members, zones by their names. NaN is the same as NaN, 1 is not the same as True or 1.0.

What is asked of each type is found once, so that comparing a small state costs a few microseconds.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from loom_runner._program.parts_of_values import (
    ABSENT,
    SIMPLE,
    attribute_names,
    attributes,
    excluded_fields,
    is_cached,
    is_model,
    is_or_equal,
    is_recreated,
    own_equality,
    same_datetimes,
    slots,
    value_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Comparison", "Difference"]

_EQUAL_IS_SAME: Final = frozenset({str, int, bool, type(None), bytes, bytearray, UUID, date, timedelta})


@dataclass(frozen=True, slots=True)
class Difference:
    """The first difference between two values.

    Attributes:
        path: Where, for instance `messages[3].tool_calls`; empty for the value as a whole.
        before: What was stored at this place.
        after: What comes back.
        owner: The object that has the attribute at the end of the path; None for a member of a
            container.
        owner_after: The object that comes back instead of it, perhaps of another class.
    """

    path: str
    before: Any
    after: Any
    owner: Any = None
    owner_after: Any = None

    @property
    def is_lost(self) -> bool:
        """Whether nothing comes back."""
        return self.after is ABSENT

    @property
    def is_added(self) -> bool:
        """Whether nothing was there."""
        return self.before is ABSENT


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
            part = one is ABSENT or other is ABSENT
            is_whole = part or (owner is not None and is_recreated(owner, step[1:]))
            if is_whole and not part and self._recreated.same(one, other):
                continue
            where = f"{path}{step}" if path or not step.startswith(".") else step[1:]
            found = Difference(where, one, other, owner, after) if is_whole else self.difference(one, other, where)
            if found is not None:
                return found
        return Difference(path, before, after)

    # ------------------------------------------------------------------ one function for each type

    def _comparer(self, kind: type) -> Callable[[Any, Any], bool]:
        simple = SIMPLE.get(kind)
        if simple is not None:
            return simple
        if issubclass(kind, Enum):
            return is_or_equal
        if issubclass(kind, datetime):
            return same_datetimes
        if issubclass(kind, list | tuple | deque):
            return self._same_sequences
        if issubclass(kind, set | frozenset):
            return self._same_sets
        if issubclass(kind, dict):
            return self._same_dicts
        if is_model(kind):
            return self._model_comparer(kind)
        if is_dataclass(kind):
            return self._dataclass_comparer(kind)
        if hasattr(kind, "get_secret_value"):
            return lambda before, after: self.same(before.get_secret_value(), after.get_secret_value())
        if issubclass(kind, PurePath):
            return is_or_equal
        if issubclass(kind, str | int | float | bytes):
            return lambda before, after: bool(before == after) and self._same_attributes(before, after)
        if _has_own_equality(kind):
            return own_equality
        return self._same_objects

    def _dataclass_comparer(self, kind: type) -> Callable[[Any, Any], bool]:
        names = tuple(each.name for each in fields(kind) if each.compare or not self._is_lenient)
        same, has_dict, count = self.same, "__dict__" in dir(kind) and not slots(kind), len(fields(kind))

        def compare(before: Any, after: Any) -> bool:
            if not has_dict:
                return all(
                    same(getattr(before, name, ABSENT), getattr(after, name, ABSENT)) for name in names
                ) and self._same_attributes(before, after)
            one, other = before.__dict__, after.__dict__
            for name in names:
                x, y = one.get(name, ABSENT), other.get(name, ABSENT)
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

    def _model_comparer(self, kind: type) -> Callable[[Any, Any], bool]:
        same, recreated, excluded = self.same, self._recreated.same, excluded_fields(kind)

        def compare(before: Any, after: Any) -> bool:
            one, other = before.__dict__, after.__dict__
            if len(one) != len(other) and not self._same_attributes(before, after):  # cached properties
                return False
            for name, x in one.items():
                y = other.get(name, ABSENT)
                part = type(x)
                if part in _EQUAL_IS_SAME and part is type(y):
                    if x != y:
                        return False
                elif name in excluded:
                    if not recreated(x, y):
                        return False
                elif not same(x, y) and not is_cached(kind, name):
                    return False
            extra, private = before.__pydantic_extra__, before.__pydantic_private__
            if (extra or after.__pydantic_extra__) and not same(extra, after.__pydantic_extra__):
                return False
            return not (private or after.__pydantic_private__) or recreated(private, after.__pydantic_private__)

        return compare

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
            other = counterparts.pop(member, ABSENT)
            if other is ABSENT:
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
        makes_same = getattr(before, "default_factory", None) is getattr(after, "default_factory", None)
        return makes_same and self._same_attributes(before, after)

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
        one, other = attributes(before), attributes(after)
        return one.keys() == other.keys() and all(self.same(value, other[name]) for name, value in one.items())

    def _same_objects(self, before: Any, after: Any) -> bool:
        """Compare objects that do not say when they are equal."""
        if self._is_lenient or before is after:
            return True
        has_attributes = hasattr(before, "__dict__") or bool(slots(type(before)))  # else its content is hidden
        return has_attributes and self._same_attributes(before, after)

    # ------------------------------------------------------------------ where two values differ

    def _parts(self, before: Any, after: Any) -> Iterator[tuple[str, Any, Any, Any]]:
        """Yield the parts of two values that differ: the step of the path, the owner of an
        attribute, and both parts.
        """
        kind = type(before)
        if isinstance(before, dict) and isinstance(after, dict):
            for key, value in before.items():
                other = _counterpart(self, key, after)
                renamed = _new_key(self, key, before, after) if other is ABSENT else ABSENT
                if renamed is ABSENT:
                    yield f"[{_show_key(key)}]", None, value, other
                else:
                    yield f"[{_show_key(key)}] (the key)", None, key, renamed
        elif isinstance(before, list | tuple | deque) and kind is type(after):
            for at, value in enumerate(before):
                if at < len(after):
                    yield f"[{at}]", None, value, after[at]
        elif is_model(kind) or is_dataclass(kind):
            names = list(attribute_names(before))
            if kind is type(after):
                names += [name for name in attribute_names(after) if name not in names]
                for name in names:
                    yield f".{name}", before, value_of(before, name), value_of(after, name)
            elif isinstance(before, type(after)):
                known = set(attribute_names(after))
                for name in names:
                    if name not in known:
                        yield f".{name}", before, value_of(before, name), ABSENT
        elif kind is type(after) and not _has_own_equality(kind):
            for name, value in attributes(before).items():
                yield f".{name}", before, value, attributes(after).get(name, ABSENT)


def _counterpart(compare: Comparison, key: Any, after: dict[Any, Any]) -> Any:
    return next((value for other, value in after.items() if compare.same(key, other)), ABSENT)


def _new_key(compare: Comparison, key: Any, before: dict[Any, Any], after: dict[Any, Any]) -> Any:
    """Return the key of another type that comes back instead of one; `ABSENT` if there is none."""
    others = (other for other in after if type(other) is not type(key))
    return next((other for other in others if _counterpart(compare, other, before) is ABSENT), ABSENT)


def _show_key(key: Any) -> str:
    text = repr(key)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _has_own_equality(kind: type) -> bool:
    return getattr(kind, "__eq__") is not object.__eq__  # noqa: B009  (mypy takes it for a method)
