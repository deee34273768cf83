"""The texts of errors about values that cannot be stored: where, why, and what helps."""

from __future__ import annotations

import dataclasses
import typing
from collections import abc, deque
from datetime import datetime, time
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from loom_runner._program.parts_of_values import is_model, is_recreated
from loom_runner._program.plain_json import short_error, type_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loom_runner._program.compare import Difference

__all__ = ["difference_text", "failure_text", "refused_hint"]

_INSTEAD: Final = {
    bytearray: "Use bytes",
    abc.Iterator: "It can be read only once: use a list",
    abc.Generator: "It can be read only once: use a list",
    abc.AsyncIterator: "It can be read only once: use a list",
    abc.AsyncGenerator: "It can be read only once: use a list",
}
_BUILT_IN: Final = frozenset({str, int, float, bytes, bool, list, tuple, dict, set, frozenset})
_OWN_FUNCTIONS: Final = "or give the agent encode_state= and decode_state="


def difference_text(found: Difference) -> str:
    """Say what would not come back, and what helps."""
    before, after = found.before, found.after
    where = f"{found.path} " if found.path else "it "
    if any(hasattr(each, "get_secret_value") for each in (before, after)):
        return (
            f"{where}is a secret, and secrets are not stored. Keep it outside, for instance in an environment "
            "variable, and read it in the step."
        )
    name = found.path.rpartition(".")[2]
    if found.owner is not None and is_recreated(found.owner, name):
        how = "a private attribute" if name.startswith("_") else "excluded from its JSON (exclude=True)"
        return (
            f"{where}is {how}, so it is not stored, and its value would be lost. Make it an ordinary field, or compute "
            f"it when it is needed, {_OWN_FUNCTIONS}."
        )
    if found.is_lost and found.owner is not None:
        if type(found.owner) is type(found.owner_after):
            return f"{where}would be lost: it is no field of {type_name(found.owner)}. Make it one, {_OWN_FUNCTIONS}."
        return (
            f"{where}would be lost: {type_name(found.owner)} would come back as {type_name(found.owner_after)}, as its "
            f"type hint says. {_union_of(found.owner, found.owner_after)}."
        )
    if found.is_lost:
        return f"{where}would be lost: its type hint does not have it. Add it to the type, {_OWN_FUNCTIONS}."
    if found.is_added:
        return f"{where}would be added. Give the field a value that is stored, {_OWN_FUNCTIONS}."
    if isinstance(before, type) and type(before) is not type(after):
        name = before.__name__
        return f"{where}is the class {name}. Pass an object of it: {name}(...)."
    if type(before) is dict and (dataclasses.is_dataclass(after) or is_model(type(after))):
        name = type(after).__name__
        return f"{where}is a dict, and its type hint says {name}: pass {type_name(after)}."
    return f"{where}is {_shown(before)}, and would come back as {_shown(after, before)}. {_advice(before, after)}"


def _advice(before: Any, after: Any) -> str:
    if isinstance(before, datetime | time) and type(before) is type(after):
        return "Use a zone of zoneinfo.ZoneInfo, or UTC."
    if isinstance(before, Enum) and type(after) in _BUILT_IN:
        return f"Hint it as {type(before).__name__} alone, {_OWN_FUNCTIONS}."
    is_subclass = type(before) is not type(after) and isinstance(before, type(after)) and hasattr(before, "__dict__")
    if is_subclass and type(after) not in _BUILT_IN:
        return f"{_union_of(before, after)}."
    if {type(before), type(after)} <= {str, int, float, bool} and type(before) is not type(after):
        return f"Pass {type_name(after)}, as its type hint says, or hint it as {type(before).__name__}."
    if type(before) is not type(after):
        return (
            "Its type hint does not tell the two apart (JSON has no such type): give the field a more exact one, or "
            f"use a value that JSON has, {_OWN_FUNCTIONS}."
        )
    if isinstance(before, deque):
        return f"The limit of a deque (maxlen) is not stored: set it in the step, {_OWN_FUNCTIONS}."
    return f"Its type hint does not keep the difference: use a more exact one, {_OWN_FUNCTIONS}."


def _union_of(before: Any, after: Any) -> str:
    one, other = type(before).__name__, type(after).__name__
    if one.startswith(f"{other}["):
        return f"Hint it as {one}, {_OWN_FUNCTIONS}"
    return (
        f"Hint the classes that occur, {one} | {other} (with a discriminator if their fields are alike), "
        f"{_OWN_FUNCTIONS}"
    )


def _shown(value: Any, beside: Any = None) -> str:
    """Describe a value in a few words; the content only of what is certainly no secret."""
    if isinstance(value, str) and type(value) is type(beside):
        return "another one"
    if isinstance(value, bool | int | float | complex | datetime | time | None):
        text = repr(value)
        if len(text) <= 60:
            return text if type(value) is type(beside) or value is None else f"{type_name(value)}, {text}"
    return type_name(value)


def failure_text(exc: BaseException, value: Any = None, schema: Any = None) -> str:
    """Say where and why pydantic refused to write or read a value."""
    errors = getattr(exc, "errors", None)
    if callable(errors):
        first = errors(include_url=False, include_context=False)[0]
        path = _path(first["loc"])
        return f"{f'{path}: ' if path else ''}{first['msg']}"
    if isinstance(exc, RecursionError):
        return "it is nested too deeply"
    if schema is not None:
        for path, part in _unwritable(value, schema):
            return f"{f'{path}: ' if path else ''}{part}"
        if (wrong := _misfit(value, schema)) is not None:
            return wrong
    return short_error(exc)


def _path(loc: tuple[int | str, ...]) -> str:
    path = ""
    for each in loc:
        if isinstance(each, int):
            path += f"[{each}]"
        else:
            path += f".{each}" if path else each
    return path


def _misfit(value: Any, schema: Any) -> str | None:
    """Find a value of the wrong type: pydantic reports its place only when it reads it."""
    try:
        plain = schema.serializer.to_python(value, warnings=False, round_trip=True)
        schema.validator.validate_python(plain, by_alias=True, by_name=True)
    except Exception as exc:  # noqa: BLE001  (it is only asked for a better text)
        return failure_text(exc) if callable(getattr(exc, "errors", None)) else None
    return None


def _unwritable(value: Any, schema: Any) -> Iterator[tuple[str, str]]:
    """Yield the place of an object that pydantic cannot write at all."""
    found: list[Any] = []

    def note(unknown: Any) -> None:
        found.append(unknown)

    try:
        schema.serializer.to_json(value, fallback=note, warnings=False, round_trip=True)
    except Exception:  # noqa: BLE001  (it is only asked for a better text)
        return
    for unknown in found[:1]:
        yield _place(value, unknown, "", 0) or "", f"{type_name(unknown)} cannot be written as JSON"


def _place(value: Any, wanted: Any, path: str, depth: int) -> str | None:
    """Return the path of an object in a value."""
    if value is wanted:
        return path
    if depth > 50:
        return None
    if isinstance(value, dict):
        parts = [(f"{path}[{key!r}]", each) for key, each in value.items()]
    elif isinstance(value, list | tuple | set | frozenset):
        parts = [(f"{path}[{at}]", each) for at, each in enumerate(value)]
    elif is_model(type(value)) or dataclasses.is_dataclass(value):
        names = value.__dict__ if hasattr(value, "__dict__") else [each.name for each in dataclasses.fields(value)]
        parts = [(f"{path}.{name}" if path else name, getattr(value, name, None)) for name in names]
    else:
        return None
    places = (_place(each, wanted, where, depth + 1) for where, each in parts)
    return next((place for place in places if place is not None), None)


def refused_hint(hint: Any, exc: BaseException) -> str:
    """Say which part of a type hint pydantic does not know."""
    path, part = _refused_part(hint, "", set())
    where = f"{path}: " if path else ""
    if (instead := _INSTEAD.get(typing.get_origin(part) or part)) is not None:
        return f"{where}{_name(part)} cannot be written as JSON. {instead}."
    why = "" if getattr(exc, "code", None) == "schema-for-unknown-type" else f" ({short_error(exc)})"
    return (
        f"{where}{_name(part)} cannot be written as JSON{why}. "
        "Use a dataclass, a pydantic model, a TypedDict or plain JSON types, or keep it outside and make it in the "
        "step."
    )


def _refused_part(hint: Any, path: str, seen: set[int]) -> tuple[str, Any]:
    seen.add(id(hint))
    for mark, part in _parts_of_hint(hint):
        if id(part) not in seen and not _is_known(part):
            where = f"{path}{mark}" if path or not mark.startswith(".") else mark[1:]
            return _refused_part(part, where, seen)
    return path, hint


def _parts_of_hint(hint: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or hasattr(hint, "__annotations__")):
        try:
            named = typing.get_type_hints(hint, include_extras=True)
        except Exception:  # noqa: BLE001  (names that cannot be resolved)
            named = {}
        for name, part in named.items():
            yield f".{name}", part
    is_container = isinstance(typing.get_origin(hint), type) and issubclass(typing.get_origin(hint), typing.Iterable)
    for part in typing.get_args(hint):
        if isinstance(part, type) or typing.get_args(part):
            yield "[]" if is_container else "", part


def _is_known(hint: Any) -> bool:
    from loom_runner._program.lossless_schema import lossless_schema

    try:
        lossless_schema(hint)
    except Exception:  # noqa: BLE001  (whatever is wrong with it, it is the part to name)
        return False
    return True


def _name(hint: Any) -> str:
    return getattr(hint, "__name__", None) or str(hint)
