"""How pydantic is told to write JSON that can be read back as it was.

A `TypeAdapter` describes a type by a core schema. Here it is rewritten before the serializer and
the validator are made, also inside models and dataclasses, where the type's own settings would lose
something:

| value | is written as |
|---|---|
| a datetime or time in a `ZoneInfo` | ISO 8601 and the zone: `2024-07-01T09:00:00+02:00[Europe/Berlin]` (RFC 9557) |
| bytes that are not UTF-8 | `data:;base64,/9g=` (RFC 2397) |
| NaN and infinity | `"NaN"`, `"Infinity"`, `"-Infinity"` |
| an int in a float field | itself, not as a float |
| a field with `init=False` | is read again, too |
| a member of an enum whose values are not all texts or numbers | its name |

Everything else is written as pydantic does. A type or field with its own serializer is not touched.
"""

from __future__ import annotations

import base64
import contextlib
import re
import sys
import threading
from dataclasses import dataclass
from datetime import datetime, time
from typing import TYPE_CHECKING, Any, Final, TypedDict
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from enum import Enum

__all__ = ["LosslessSchema", "bytes_text", "lossless_schema"]

_building: Final = threading.Lock()
_SWITCH: Final = "_SUPPORTS_TYPEDDICT"
_BASE64: Final = "data:;base64,"
_DATETIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")
_TIME: Final = re.compile(r"\d\d:\d\d")
_NAMES: Final = ("ref", "metadata")
_CONSTRAINTS: Final = ("gt", "ge", "lt", "le", "multiple_of", "strict")
_VALUES: Final = frozenset({"default", "expected", "members", "metadata", "cls", "enum_type", "serialization"})
"""Keys of a core schema that hold values or functions, not schemas."""
_NEVER_JSON: Final = {
    "generator": "an iterator can be read only once",
    "callable": "a function cannot be written as JSON",
    "is-subclass": "a class cannot be written as JSON",
    "is-instance": "its class says nothing about JSON",
}

_NO_KEYS: Final = frozenset({"tuple", "list", "set", "frozenset", "dict", "typed-dict", "model", "dataclass"})
"""Kinds of a dict's keys that JSON cannot hold."""


class _Empty(TypedDict):
    pass


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
        schema = _rewritten(adapter.core_schema, None)
    config: Any = {"ser_json_inf_nan": "strings"}
    return LosslessSchema(
        SchemaSerializer(schema, config, _use_prebuilt=False),
        SchemaValidator(schema, config, _use_prebuilt=False),
        next(_problems(schema, "", _definitions(schema)), None),
    )


@contextlib.contextmanager
def _typed_dicts_of_python_3_11() -> Iterator[None]:
    """Let pydantic accept `typing.TypedDict` on Python 3.11, too.

    It refuses the type there because it misses the bases of generic ones, which a class statement
    adds and a call does not.
    """
    from pydantic._internal import _generate_schema as module

    if sys.version_info >= (3, 12) or not hasattr(module, _SWITCH):
        yield
        return
    meta: Any = type(_Empty)
    with _building:
        setattr(module, _SWITCH, True)
        meta.__orig_bases__ = ()
        try:
            yield
        finally:
            setattr(module, _SWITCH, False)
            del meta.__orig_bases__


# ---------------------------------------------------------------- rewriting


def _rewritten(schema: Any, settings: Any) -> Any:
    """Rewrite a schema, or a collection of schemas.

    Args:
        settings: The settings of the model or dataclass that the schema is in.
    """
    if isinstance(schema, list | tuple):
        return type(schema)(_rewritten(each, settings) for each in schema)
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if not isinstance(kind, str):  # fields or choices, by name
        return {name: _rewritten(each, settings) for name, each in schema.items()}
    settings = schema.get("config", settings)
    new = {key: each if key in _VALUES else _rewritten(each, settings) for key, each in schema.items()}
    if "config" in new:
        new["config"] = {"ser_json_inf_nan": "strings", **new["config"]}
    if kind == "dataclass-field" and new.get("init") is False:
        del new["init"]
    elif kind == "decimal":
        new.setdefault("allow_inf_nan", True)
    elif kind in _REWRITES and "serialization" not in new:
        rewrite, setting, value = _REWRITES[kind]
        if (settings or {}).get(setting, value) == value:
            return rewrite(new)
    return new


def _wrapped(schema: dict[str, Any], read: Callable[..., Any], write: Callable[..., Any]) -> dict[str, Any]:
    """Wrap a schema by a function that reads and one that writes; what names it moves out."""
    inner = {key: each for key, each in schema.items() if key not in _NAMES}
    outer = {
        "type": "function-wrap",
        "function": {"type": "no-info", "function": read},
        "schema": inner,
        "serialization": {"type": "function-wrap", "function": write, "schema": inner, "when_used": "json"},
    }
    return outer | {key: schema[key] for key in _NAMES if key in schema}


def _by_name(schema: dict[str, Any]) -> dict[str, Any]:
    """Write the members of an enum by name if JSON does not have their values."""
    members: dict[str, Enum] = schema["cls"].__members__
    if all(isinstance(each.value, str | int | float) for each in members.values()):
        return schema

    def write(value: Any, handler: Callable[[Any], Any]) -> Any:
        return value.name if isinstance(value, schema["cls"]) else handler(value)

    def read(value: Any, handler: Callable[[Any], Any]) -> Any:
        return handler(members.get(value, value) if isinstance(value, str) else value)

    return _wrapped(schema, read, write)


def _with_whole_numbers(schema: dict[str, Any]) -> dict[str, Any]:
    inner = {key: each for key, each in schema.items() if key not in _NAMES}
    whole = {"type": "int"} | {key: schema[key] for key in _CONSTRAINTS if key in schema}
    return {"type": "union", "choices": [inner, whole]} | {key: schema[key] for key in _NAMES if key in schema}


# What a string of JSON was read as, for pydantic: in a union it counts as much as the string
# itself, like the strings that pydantic reads without these functions. An instance of the class
# would win.


class _Bytes(bytes):
    pass


class _Datetime(datetime):
    pass


class _Time(time):
    pass


# ---------------------------------------------------------------- bytes


def bytes_text(value: bytes | bytearray | memoryview) -> str:
    """Return bytes as text: themselves if they are UTF-8, else a data URL."""
    data = bytes(value)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = _BASE64
    return _BASE64 + base64.b64encode(data).decode() if text.startswith(_BASE64) else text


def _write_bytes(value: Any, handler: Callable[[Any], Any]) -> Any:
    return bytes_text(value) if type(value) is bytes else handler(value)


def _read_bytes(value: Any, handler: Callable[[Any], Any]) -> Any:
    if not isinstance(value, str):
        return handler(value)
    data = base64.b64decode(value[len(_BASE64) :]) if value.startswith(_BASE64) else value.encode()
    return bytes(handler(_Bytes(data)))


# ---------------------------------------------------------------- dates and times


def _write_zoned(value: Any, handler: Callable[[Any], Any]) -> Any:
    text = handler(value)
    zone = getattr(value, "tzinfo", None)
    return f"{text}[{zone.key}]" if isinstance(zone, ZoneInfo) and zone.key else text


def _read_datetime(value: Any, handler: Callable[[Any], Any]) -> Any:
    text, zone = _zone_of(value)
    if _DATETIME.match(text) is None:
        return handler(value)
    try:
        moment = _Datetime.fromisoformat(text)
    except ValueError:
        return handler(value)
    if zone is not None:
        offset, moment = moment.utcoffset(), moment.replace(tzinfo=zone)
        if moment.utcoffset() != offset == moment.replace(fold=1).utcoffset():
            moment = moment.replace(fold=1)
    checked: datetime = handler(moment)
    return datetime.combine(checked.date(), checked.timetz())


def _read_time(value: Any, handler: Callable[[Any], Any]) -> Any:
    text, zone = _zone_of(value)
    if _TIME.match(text) is None:
        return handler(value)
    try:
        clock = _Time.fromisoformat(text)
    except ValueError:
        return handler(value)
    checked: time = handler(clock if zone is None else clock.replace(tzinfo=zone))
    return time(checked.hour, checked.minute, checked.second, checked.microsecond, checked.tzinfo, fold=checked.fold)


def _zone_of(value: Any) -> tuple[str, ZoneInfo | None]:
    """Split the text of a time in a zone; the text is empty if it is none."""
    if not isinstance(value, str):
        return "", None
    if not value.endswith("]"):
        return value, None
    text, _, name = value[:-1].partition("[")
    try:
        return text, ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as exc:
        raise ValueError(f"this machine has no time zone {name!r} (install tzdata)") from exc


_REWRITES: Final[dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str, str]]] = {
    "bytes": (lambda schema: _wrapped(schema, _read_bytes, _write_bytes), "val_json_bytes", "utf8"),
    "datetime": (lambda schema: _wrapped(schema, _read_datetime, _write_zoned), "ser_json_temporal", "iso8601"),
    "time": (lambda schema: _wrapped(schema, _read_time, _write_zoned), "ser_json_temporal", "iso8601"),
    "enum": (_by_name, "use_enum_values", ""),
    "float": (_with_whole_numbers, "ser_json_inf_nan", "strings"),
}
"""How a kind of schema is rewritten, unless a setting has another value than this."""


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
        yield f"{path + ': ' if path else ''}{f'{shown}: ' if shown else ''}{_NEVER_JSON[kind]}"
    elif "fields" in schema and kind != "dataclass":
        for name, each in _fields(schema["fields"]):
            if not each.get("serialization_exclude"):
                yield from _problems(each["schema"], f"{path}.{name}" if path else name, definitions, seen)
    elif kind == "dict" and (schema.get("keys_schema") or {}).get("type") in _NO_KEYS:
        where = f"{path}: " if path else ""
        yield f"{where}a key cannot be a {schema['keys_schema']['type']} in JSON (use a text, or a list of pairs)"
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
