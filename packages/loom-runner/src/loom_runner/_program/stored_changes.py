"""What is lost when changed code reads a stored value.

pydantic ignores keys that a type does not have, and converts values to the types of their fields.
When a run is resumed after its types have changed, a renamed field would so be replaced by its
default, silently. Here the decoded value is encoded again and compared with what is stored. Keys
that were added are defaults of new fields; any other difference may be a loss:

* A key that is gone. It is a loss unless the type has used it (an alias, a validator that renames),
  or it is a computed field, as earlier versions stored.
* Another kind of value, or a list of another length. It is a loss unless the type reads the stored
  value without converting it (pydantic's strict mode).

Another text for a string is not a loss: pydantic's versions write times differently.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loom_runner._program.compare import Comparison
    from loom_runner._program.lossless_schema import LosslessSchema

__all__ = ["first_change"]

_GONE: Final = object()
Path = tuple[str | int, ...]


def first_change(text: str, value: Any, schema: LosslessSchema, compare: Comparison) -> str | None:
    """Describe the first difference between a stored text and the value that was read from it; None
    if nothing is lost.
    """
    stored = json.loads(text)
    differences = list(_differences(stored, _plain(value, schema, round_trip=True), ()))
    if not differences:
        return None
    reader = _Reader(stored, value, schema, compare)
    for path, before, after in differences:
        if after is _GONE:
            if reader.is_lost(path):
                return f"{_shown(path)} is stored, and the type has no such field, so its value would be lost"
        elif isinstance(before, list) and isinstance(after, list):
            return f"{_shown(path)} is a list of {len(before)}, and would be read as {len(after)}"
        elif not reader.is_strict:
            return f"{_shown(path)} is {_brief(before)}, and would be read as {_brief(after)}"
    return None


def _plain(value: Any, schema: LosslessSchema, *, round_trip: bool) -> Any:
    write = schema.serializer
    try:
        return json.loads(write.to_json(value, round_trip=round_trip, warnings=False))
    except ValueError:  # text that is not Unicode
        return write.to_python(value, mode="json", round_trip=round_trip, warnings=False)


def _differences(stored: Any, again: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    """Yield places where something of a stored value is not in the one that was encoded again."""
    if isinstance(stored, dict) and isinstance(again, dict):
        for key, each in stored.items():
            if key not in again:
                yield (*path, key), each, _GONE
            else:
                yield from _differences(each, again[key], (*path, key))
    elif isinstance(stored, list) and isinstance(again, list):
        if len(stored) != len(again):
            yield path, stored, again
        elif stored != again and not _is_reordered(stored, again):
            for at, each in enumerate(stored):
                yield from _differences(each, again[at], (*path, at))
    elif _kind(stored) != _kind(again) or (_kind(stored) != "string" and stored != again):
        yield path, stored, again


def _is_reordered(stored: list[Any], again: list[Any]) -> bool:
    """Whether two lists have the same members in another order, as those of a set have."""
    one, other = (sorted(json.dumps(each, sort_keys=True) for each in members) for members in (stored, again))
    return one == other


def _kind(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    names = {str: "string", int: "number", float: "number", list: "list", dict: "object"}
    return names[type(value)]


class _Reader:
    """Finds out what of a stored value has been used."""

    def __init__(self, stored: Any, value: Any, schema: LosslessSchema, compare: Comparison) -> None:
        self._stored = stored
        self._value = value
        self._schema = schema
        self._compare = compare

    @property
    def is_strict(self) -> bool:
        """Whether the stored value is read without any conversion."""
        return self._reads(self._stored, strict=True)

    def is_lost(self, path: Path) -> bool:
        if self._reads(self._stored, extra="forbid") or self._is_computed(path):
            return False
        without = copy.deepcopy(self._stored)
        owner = without
        for each in path[:-1]:
            owner = owner[each]
        del owner[path[-1]]
        try:
            value = self._schema.validator.validate_json(json.dumps(without), by_alias=True, by_name=True)
        except ValueError:
            return False
        return self._compare.same(self._value, value)

    def _is_computed(self, path: Path) -> bool:
        part = _plain(self._value, self._schema, round_trip=False)
        for each in path:
            try:
                part = part[each]
            except (KeyError, IndexError, TypeError):
                return False
        return True

    def _reads(self, stored: Any, **how: Any) -> bool:
        try:
            self._schema.validator.validate_json(json.dumps(stored), by_alias=True, by_name=True, **how)
        except ValueError:
            return False
        return True


def _shown(path: Path) -> str:
    shown = ""
    for each in path:
        if isinstance(each, int):
            shown += f"[{each}]"
        else:
            shown += f".{each}" if shown else each
    return shown or "it"


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
