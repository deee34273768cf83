"""How pydantic is told to write JSON that can be read back as it was.

A `TypeAdapter` describes a type by a core schema. Here it is rewritten before the serializer and
the validator are made, also inside models and dataclasses, where the type's own settings would lose
something:

| value | is written as |
|---|---|
| a datetime or time in a `ZoneInfo` | ISO 8601 and the zone: `2024-07-01T09:00:00+02:00[Europe/Berlin]` (RFC 9557) |
| bytes that are not UTF-8, or may be taken for a string | `data:;base64,/9g=` (RFC 2397) |
| NaN and infinity | `"NaN"`, `"Infinity"`, `"-Infinity"` |
| an int in a float field | itself, not as a float |
| a field with `init=False` | is read again, too |

Everything else is written as pydantic does. A type or field with its own serializer is not touched.
"""

from __future__ import annotations

import base64
import contextlib
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["LosslessSchema", "bytes_text", "lossless_schema"]

_BASE64: Final = "data:;base64,"
_CONSTRAINTS: Final = ("gt", "ge", "lt", "le", "multiple_of", "strict")
_VALUES: Final = frozenset({"default", "expected", "members", "metadata", "cls", "enum_type", "serialization"})
"""Keys of a core schema that hold values or functions, not schemas."""
_NEVER_JSON: Final = {
    "generator": "an iterator can be read only once",
    "callable": "a function cannot be written as JSON",
    "is-subclass": "a class cannot be written as JSON",
    "is-instance": "its class says nothing about JSON",
}


@dataclass(frozen=True, slots=True)
class LosslessSchema:
    """A serializer and a validator for one type.

    Attributes:
        problem: Why no value of the type can be stored, beginning with the path of a field; None if
            values can be stored.
    """

    serializer: Any
    validator: Any
    problem: str | None


def lossless_schema(hint: Any) -> LosslessSchema:
    """Make the serializer and the validator for a type hint.

    Raises:
        PydanticUserError, PydanticSchemaGenerationError: pydantic does not know the type.
    """
    from pydantic import TypeAdapter
    from pydantic_core import SchemaSerializer, SchemaValidator

    with _typed_dicts_of_python_3_11():
        adapter = TypeAdapter(hint)
        if not adapter.pydantic_complete:  # `defer_build` is set
            adapter.rebuild(force=True)
        schema = _rewritten(adapter.core_schema)
    config: Any = {"ser_json_inf_nan": "strings"}
    return LosslessSchema(
        SchemaSerializer(schema, config, _use_prebuilt=False),
        SchemaValidator(schema, config, _use_prebuilt=False),
        next(_problems(schema, "", _definitions(schema)), None),
    )


@contextlib.contextmanager
def _typed_dicts_of_python_3_11() -> Iterator[None]:
    """Let pydantic accept `typing.TypedDict` on Python 3.11, too.

    It refuses the type there, because `Required` in an annotation that is a string would be
    missed; then a key is required that need not be, and reading back shows it.
    """
    from pydantic._internal import _generate_schema as module

    name = "_SUPPORTS_TYPEDDICT"
    if sys.version_info >= (3, 12) or not hasattr(module, name):
        yield
        return
    before = getattr(module, name)
    setattr(module, name, True)
    try:
        yield
    finally:
        setattr(module, name, before)


# ---------------------------------------------------------------- rewriting


def _rewritten(schema: Any, *, in_union: bool = False) -> Any:
    if isinstance(schema, list):
        return [_rewritten(each) for each in schema]
    if isinstance(schema, tuple):  # a choice of a union, with its label
        return tuple(_rewritten(each) for each in schema)
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if not isinstance(kind, str):  # fields or choices by name
        return {name: _rewritten(each) for name, each in schema.items()}
    in_union = in_union or kind == "union"
    new = {key: each if key in _VALUES else _child(key, each, in_union=in_union) for key, each in schema.items()}
    if "config" in new:
        new["config"] = {"ser_json_inf_nan": "strings", **new["config"]}
    if kind == "dataclass-field":
        new.pop("init", None) if new.get("init") is False else None
    elif kind == "decimal":
        new.setdefault("allow_inf_nan", True)
    elif "serialization" not in new and kind in ("bytes", "datetime", "time", "float"):
        return _REWRITES[kind](new, in_union)
    return new


def _child(key: str, schema: Any, *, in_union: bool) -> Any:
    """Rewrite what a key of a schema holds; through the layers of an optional, a union is still a
    union.
    """
    if key == "config" or not isinstance(schema, dict | list | tuple):
        return schema
    if in_union and key == "choices" and isinstance(schema, list):
        return [
            tuple(_rewritten(each, in_union=True) for each in choice)
            if isinstance(choice, tuple)
            else _rewritten(choice, in_union=True)
            for choice in schema
        ]
    return _rewritten(schema)


def _wrapped(schema: dict[str, Any], read: Callable[..., Any], write: Callable[..., Any]) -> dict[str, Any]:
    """Wrap a schema by a function that reads and one that writes; its name for references moves
    out.
    """
    inner = {key: each for key, each in schema.items() if key != "ref"}
    outer = {
        "type": "function-wrap",
        "function": {"type": "no-info", "function": read},
        "schema": inner,
        "serialization": {"type": "function-wrap", "function": write, "schema": inner, "when_used": "json"},
    }
    return outer | {key: schema[key] for key in ("ref", "metadata") if key in schema}


def _rewritten_float(schema: dict[str, Any], in_union: bool) -> dict[str, Any]:  # noqa: FBT001, ARG001
    inner = {key: each for key, each in schema.items() if key not in ("ref", "metadata")}
    whole = {"type": "int"} | {key: schema[key] for key in _CONSTRAINTS if key in schema}
    outer = {"type": "union", "choices": [inner, whole]}
    return outer | {key: schema[key] for key in ("ref", "metadata") if key in schema}


_REWRITES: Final[dict[str, Callable[[dict[str, Any], bool], dict[str, Any]]]] = {
    "bytes": lambda schema, in_union: _wrapped(
        schema, _read_bytes, _write_bytes_in_union if in_union else _write_bytes
    ),
    "datetime": lambda schema, _: _wrapped(schema, _read_datetime, _write_zoned),
    "time": lambda schema, _: _wrapped(schema, _read_time, _write_zoned),
    "float": _rewritten_float,
}


# ---------------------------------------------------------------- bytes


def bytes_text(value: bytes | bytearray | memoryview) -> str:
    """Return bytes as text: themselves if they are UTF-8, else a data URL."""
    data = bytes(value)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return _base64_text(data)
    return _base64_text(data) if text.startswith(_BASE64) else text


def _base64_text(data: bytes) -> str:
    return _BASE64 + base64.b64encode(data).decode()


def _write_bytes(value: Any, handler: Callable[[Any], Any]) -> Any:
    if type(value) is bytes and (text := bytes_text(value)).startswith(_BASE64):
        return text
    return handler(value)


def _write_bytes_in_union(value: Any, handler: Callable[[Any], Any]) -> Any:
    return _base64_text(value) if type(value) is bytes else handler(value)


def _read_bytes(value: Any, handler: Callable[[Any], Any]) -> Any:
    if isinstance(value, str) and value.startswith(_BASE64):
        return handler(base64.b64decode(value[len(_BASE64) :], validate=True))
    return handler(value)


# ---------------------------------------------------------------- dates and times


def _write_zoned(value: Any, handler: Callable[[Any], Any]) -> Any:
    text = handler(value)
    zone = getattr(value, "tzinfo", None)
    return f"{text}[{zone.key}]" if isinstance(zone, ZoneInfo) and zone.key and isinstance(text, str) else text


def _read_datetime(value: Any, handler: Callable[[Any], Any]) -> Any:
    text, zone = _zone_of(value)
    moment: datetime = handler(text)
    if zone is None:
        return _with_standard_zone(moment)
    local = moment.replace(tzinfo=zone)
    other = local.replace(fold=1)
    return other if other.utcoffset() == moment.utcoffset() != local.utcoffset() else local


def _read_time(value: Any, handler: Callable[[Any], Any]) -> Any:
    text, zone = _zone_of(value)
    clock: time = handler(text)
    return _with_standard_zone(clock) if zone is None else clock.replace(tzinfo=zone)


def _zone_of(value: Any) -> tuple[Any, ZoneInfo | None]:
    if not isinstance(value, str) or not value.endswith("]"):
        return value, None
    text, _, name = value[:-1].partition("[")
    try:
        return text, ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as exc:
        raise ValueError(f"this machine has no time zone {name!r} (install tzdata)") from exc


def _with_standard_zone(value: Any) -> Any:
    """Replace pydantic's class for an offset by that of the standard library."""
    zone = value.tzinfo
    if zone is None or isinstance(zone, timezone):
        return value
    offset: timedelta = zone.utcoffset(None)
    return value.replace(tzinfo=timezone(offset) if offset else UTC)


# ---------------------------------------------------------------- types without values in JSON


def _problems(schema: Any, path: str, definitions: dict[str, Any], seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield why every value of a type is one that JSON cannot hold. What may be None, or one of
    several types, may be stored.
    """
    kind = schema.get("type")
    if "serialization" in schema or kind in ("union", "tagged-union", "nullable"):
        return
    if kind == "definition-ref":
        name = schema["schema_ref"]
        if name not in seen and name in definitions:
            yield from _problems(definitions[name], path, definitions, seen | {name})
    elif kind in _NEVER_JSON:
        shown = getattr(schema.get("cls"), "__name__", None)
        yield f"{path + ': ' if path else ''}{f'a {shown}: ' if shown else ''}{_NEVER_JSON[kind]}"
    elif "fields" in schema and kind != "dataclass":
        for name, each in _fields(schema["fields"]):
            if not each.get("serialization_exclude"):
                yield from _problems(each["schema"], f"{path}.{name}" if path else name, definitions, seen)
    else:
        for key, mark in (("items_schema", "[]"), ("values_schema", "[]"), ("schema", "")):
            for each in _listed(schema.get(key)):
                yield from _problems(each, path + mark, definitions, seen)
        for key in ("lax_schema", "json_schema"):
            if isinstance(schema.get(key), dict) and "type" in schema[key]:
                yield from _problems(schema[key], path, definitions, seen)


def _fields(fields: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(fields, dict):
        yield from fields.items()
    else:
        for each in fields:
            if isinstance(each, dict):
                yield each["name"], each


def _listed(schema: Any) -> list[Any]:
    if isinstance(schema, dict):
        return [schema]
    return [each for each in schema if isinstance(each, dict)] if isinstance(schema, list) else []


def _definitions(schema: dict[str, Any]) -> dict[str, Any]:
    listed = schema.get("definitions", []) if schema.get("type") == "definitions" else []
    return {each["ref"]: each for each in listed if "ref" in each}
