"""Arguments and results of tools as JSON texts, and results that report a failure."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from loom_runner._program.plain_json import json_text, short_error, type_name
from loom_runner.errors import StateEncodeError, ToolFailed

if TYPE_CHECKING:
    from loom_runner._program.tools import Tool

__all__ = ["arguments_text", "earlier_text", "failed_envelope", "payload_text"]

_OF_JSON: Final = (str, int, float, bool, type(None))


# ---------------------------------------------------------------- arguments


def arguments_text(name: str, arguments: Mapping[str, Any]) -> str:
    """Encode arguments in the canonical form that is hashed.

    The same arguments have the same text in every process: keys and members of sets are sorted,
    and models, dataclasses, dates, bytes and the like have one form each.

    Raises:
        ToolFailed: With the category `invalid_arguments`; the message names the place.
    """
    try:
        return _canonical_text(arguments)
    except (TypeError, ValueError, RecursionError) as exc:
        path, why = _fault(arguments, "") or ("", str(exc))
        raise ToolFailed(
            f"cannot call {name}: its argument {path or 'list'} cannot be written as JSON ({why}). Pass plain values, "
            "models, dataclasses, dates, enums or bytes, and look up everything else inside the tool.",
            error_category="invalid_arguments",
            tool=name,
        ) from exc


def earlier_text(text: str, arguments: Mapping[str, Any]) -> str:
    """Return recorded arguments as they would be written now. Versions before 0.7 wrote the members
    of sets in any order.

    Args:
        text: The recorded arguments.
        arguments: Those of the call, which show what is a set.
    """
    return json_text(_with_sorted_sets(arguments, json.loads(text)), is_hashed=True)


def _canonical_text(value: Any) -> str:
    try:
        return json_text(value, default=_jsonable, is_hashed=True)
    except (TypeError, ValueError):
        return json_text(_with_plain_parts(value), default=_jsonable_with_plain_parts, is_hashed=True)


def _fault(value: Any, path: str) -> tuple[str, str] | None:
    """Find the first part that cannot be written: its path, and why."""
    try:
        _canonical_text(value)
    except (TypeError, ValueError, RecursionError) as exc:
        for mark, part in _parts(value, path):
            if (found := _fault(part, mark)) is not None:
                return found
        return path, short_error(exc)
    return None


def _parts(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield (f"{path}[{key!r}]" if path else str(key)), part
    elif isinstance(value, list | tuple | set | frozenset):
        for at, part in enumerate(value):
            yield f"{path}[{at}]", part
    elif dataclasses.is_dataclass(value):
        for each in dataclasses.fields(value):
            yield f"{path}.{each.name}", getattr(value, each.name, None)
    elif hasattr(type(value), "model_fields"):
        for name in type(value).model_fields:
            yield f"{path}.{name}", getattr(value, name, None)


# ---------------------------------------------------------------- results


def payload_text(value: Any, tool: Tool, redact: Callable[[Any], Any] | None = None) -> str:
    """Encode the result of a tool, changed by the `redact` of its agent.

    By its hint, if it has one: a value of this type comes back as it is, another one is converted
    as the hint says. Otherwise it becomes plain JSON.

    Raises:
        StateEncodeError: It does not fit the hint.
        TypeError, ValueError: It is not JSON.
    """
    text = _encoded(value, tool)
    return text if redact is None else json_text(redact(json.loads(text)))


def _encoded(value: Any, tool: Tool) -> str:
    try:
        if (path := _clash(value, "")) is not None:
            raise ValueError(f"two keys of {path or 'its dict'} are the same in JSON")
        codec = tool.result_codec
        if codec.is_plain:
            return json_text(value, default=_jsonable)
    except RecursionError:
        raise ValueError("it is nested too deeply, or contains itself") from None
    except ValueError:
        if (path := _odd_number(value, "")) is not None:
            raise ValueError(f"{path or 'it'} is NaN or infinite, which JSON is not: return None or a text") from None
        raise
    try:
        return codec.encode(value)[0]
    except StateEncodeError:
        converted = codec.converted(value)
        if converted is value:
            raise
        return codec.encode(converted)[0]


def failed_envelope(value: Any, tool: Tool) -> ToolFailed | None:
    """Return the failure that a result stands for: `{"is_error": true, "error": "why"}`, or an
    object with such attributes.
    """

    if value is None or isinstance(value, str | int | float | list | tuple):
        return None

    def get(name: str) -> Any:
        try:
            return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
        except Exception:  # noqa: BLE001  (a property of the user's class)
            return None

    if get("is_error") is not True and get("isError") is not True:
        return None
    why = next((found for name in ("error", "message", "content") if (found := get(name))), "it reported an error")
    after_s = get("retry_after_s")
    is_time = isinstance(after_s, int | float) and not isinstance(after_s, bool) and 0 <= after_s < math.inf
    return ToolFailed(
        _reason(why),
        error_category=str(get("error_category") or "error"),
        retryable=(get("retryable") is True or (is_time and get("retryable") is not False)) and tool.is_repeatable,
        retry_after_s=after_s if is_time else None,
    )


def _reason(why: Any) -> str:
    """Return a reason as text; of a list of texts (`{"type": "text", "text": "..."}`) the texts."""
    if isinstance(why, str):
        return why
    if isinstance(why, list):
        found = [part.get("text") if isinstance(part, Mapping) else getattr(part, "text", None) for part in why]
        texts = [text for text in found if isinstance(text, str)]
        if len(texts) == len(why):
            return " ".join(texts)
    return json.dumps(why, ensure_ascii=False, default=str)


def _clash(value: Any, path: str) -> str | None:
    """Find a dict in which two keys would become one, for instance 1 and "1"."""
    if isinstance(value, dict):
        names = value if all(type(key) is str for key in value) else {_key_text(key) for key in value}
        if len(names) != len(value):
            return path
        parts = [(f"{path}[{key!r}]", each) for key, each in value.items()]
    elif isinstance(value, list | tuple):
        parts = [(f"{path}[{at}]", each) for at, each in enumerate(value)]
    else:
        return None
    return next((found for mark, each in parts if (found := _clash(each, mark)) is not None), None)


def _odd_number(value: Any, path: str) -> str | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else path
    found = (_odd_number(part, mark) for mark, part in _parts(value, path))
    return next((mark for mark in found if mark is not None), None)


# ---------------------------------------------------------------- objects


def _jsonable(value: Any) -> Any:
    """Convert models, dataclasses, dates and similar objects to JSON; any other object is an
    error.
    """
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    from loom_runner._program.lossless_schema import bytes_text

    if isinstance(value, bytes | bytearray | memoryview):
        return bytes_text(value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted((json.loads(_canonical_text(each)) for each in value), key=_order)
    try:
        return _with_sorted_sets(value, to_jsonable_python(value))
    except (PydanticSerializationError, UnicodeDecodeError) as exc:
        if dataclasses.is_dataclass(value) or hasattr(type(value), "model_fields"):
            return _by_its_type(value)
        raise TypeError(f"{type_name(value)} is not JSON") from exc


def _by_its_type(value: Any) -> Any:
    """Convert an object with parts that only its type's codec can write, for instance bytes."""
    from loom_runner._program.codec import Codec
    from loom_runner.errors import UsageError

    try:
        plain = json.loads(Codec(type(value), "it").encode(value)[0])
    except (StateEncodeError, UsageError) as exc:
        raise TypeError(str(exc)) from exc
    return _with_sorted_sets(value, plain)


def _with_sorted_sets(value: Any, plain: Any) -> Any:
    """Sort the members of sets in the JSON of a value."""
    if isinstance(plain, list):
        if isinstance(value, set | frozenset | list | tuple) and len(value) == len(plain):
            members = [_with_sorted_sets(one, other) for one, other in zip(value, plain, strict=True)]
            return sorted(members, key=_order) if isinstance(value, set | frozenset) else members
    elif isinstance(plain, dict):
        if isinstance(value, Mapping):
            by_text = {_key_text(key): each for key, each in value.items()}
            return {key: _with_sorted_sets(by_text.get(key), each) for key, each in plain.items()}
        if dataclasses.is_dataclass(value):
            return {key: _with_sorted_sets(getattr(value, key, None), each) for key, each in plain.items()}
        if hasattr(type(value), "model_fields"):
            fields = type(value).model_fields.items()
            by_alias = {each.serialization_alias or name: getattr(value, name, None) for name, each in fields}
            return {key: _with_sorted_sets(by_alias.get(key), each) for key, each in plain.items()}
    return plain


def _order(plain: Any) -> tuple[int, float, str]:
    """Return a place among the members of a set: numbers by size, everything else by text."""
    if isinstance(plain, int | float) and not isinstance(plain, bool):
        return 0, float(plain), str(plain)
    return 1, 0.0, json_text(plain, is_hashed=True)


def _jsonable_with_plain_parts(value: Any) -> Any:
    return _with_plain_parts(_jsonable(value))


def _with_plain_parts(value: Any) -> Any:
    """Replace NaN, infinity, and keys that are not those of JSON, by their texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Mapping):
        named = {_key_text(key): _with_plain_parts(each) for key, each in value.items()}
        if len(named) != len(value):
            raise TypeError("two of its keys are the same in JSON")
        return named
    return [_with_plain_parts(each) for each in value] if isinstance(value, list | tuple) else value


def _key_text(key: Any) -> str:
    if isinstance(key, str):
        return str(key)
    if isinstance(key, _OF_JSON):
        return json.dumps(key)
    plain = _jsonable(key)
    if not isinstance(plain, str | int | float):
        raise TypeError(f"a key is {type_name(key)}")
    return str(plain)
