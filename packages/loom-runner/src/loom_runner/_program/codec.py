"""Values to JSON and back, by type hints.

A value with a hint is encoded by pydantic: models, dataclasses, TypedDicts, and its other types. A
value that does not fit its hint is refused when it is written, not when it is read later. A value
without a hint must be plain JSON, and the run continues with the decoded copy, so that it sees the
same value whether it was resumed or not.
"""

from __future__ import annotations

import inspect
import json
import typing
from types import SimpleNamespace
from typing import Any, Final

from loom_runner.errors import StateDecodeError, StateEncodeError, UsageError

if typing.TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Codec", "canonical", "hints_of", "json_text", "to_plain_json"]

UNHINTED: Final = inspect.Parameter.empty
_CHECKED_BYTES: Final = 65_536
_LARGE_CHARACTERS: Final = 16_384


class Codec:
    """Encode and decode the values of one type hint.

    Args:
        hint: A type; `inspect.Parameter.empty` or `Any` is a value without a hint.
        what: Describes the value in messages, for instance `the state of step 'agent'`.
    """

    def __init__(self, hint: Any, what: str) -> None:
        self.what = what
        self._adapter: Any = None
        self._is_large = False
        if hint is not UNHINTED and hint is not Any:
            from pydantic import TypeAdapter
            from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

            try:
                self._adapter = TypeAdapter(hint)
            except (PydanticSchemaGenerationError, PydanticUserError) as exc:
                raise UsageError(
                    f"cannot store {what}: {_show(hint)} cannot be written as JSON ({_first_line(exc)}) "
                    "Use a dataclass, a pydantic model, a TypedDict or plain JSON types."
                ) from exc

    @property
    def is_plain(self) -> bool:
        """Whether there is no hint."""
        return self._adapter is None

    def encode(self, value: Any) -> tuple[str, Any]:
        """Encode a value; return the JSON text and the value to continue with.

        Raises:
            StateEncodeError: The value is not of its type, or cannot be written as JSON.
        """
        if self._adapter is None:
            encoded = _encode_large(value) if self._is_large else None
            if encoded is not None:
                self._is_large = len(encoded[0]) > _LARGE_CHARACTERS
                return encoded
            text = to_plain_json(value, self.what)
            self._is_large = len(text) > _LARGE_CHARACTERS
            return text, value if value is None or isinstance(value, str | int | bool) else json.loads(text)
        try:
            written = self._adapter.serializer.to_json(value, warnings="error")
            # pydantic writes some wrong values silently: None for anything, a TypedDict without its
            # keys. Decoding detects them. It takes a microsecond, but for a large state it would
            # double the time of a step.
            if len(written) <= _CHECKED_BYTES or b"null" in written:
                self._adapter.validator.validate_json(written)
        except (ValueError, TypeError) as exc:  # pydantic's own errors are ValueErrors
            raise StateEncodeError(
                f"cannot store {self.what}: a {type(value).__name__} does not fit its type ({_first_line(exc)})."
            ) from exc
        return written.decode(), value

    def decode(self, text: str, *, reject_unknown_fields: bool = False) -> Any:
        """Decode a value that `encode` wrote, or, with `reject_unknown_fields`, one that a person
        typed.

        Raises:
            StateDecodeError: The text does not fit the type; `raw` is the text.
        """
        try:
            return json.loads(text) if self._adapter is None else self._validated(text, reject_unknown_fields)
        except ValueError as exc:
            raise StateDecodeError(
                f"cannot read {self.what}: what is stored does not fit its type ({_first_line(exc)}). "
                "The code has changed; restore the old type, or start another run.",
                raw=text,
            ) from exc

    def _validated(self, text: str, reject_unknown_fields: bool) -> Any:
        return self._adapter.validator.validate_json(text, extra="forbid" if reject_unknown_fields else None)


def _encode_large(value: Any) -> tuple[str, Any] | None:
    """Encode a large value without a hint in a third of the time; None if it may not be plain JSON.

    pydantic also writes values that are not JSON, silently converted; a value that is equal to its
    decoded text is plain JSON.
    """
    from pydantic_core import from_json, to_json

    try:
        written = to_json(value, inf_nan_mode="null")
        read = from_json(written, allow_inf_nan=False)
        return (written.decode(), read) if read == value else None
    except (ValueError, TypeError, RecursionError):  # the slower encoder reports the error, or succeeds
        return None


def to_plain_json(value: Any, what: str) -> str:
    """Encode a value that has no hint.

    Raises:
        StateEncodeError: It contains something other than the types of JSON.
    """
    try:
        return json_text(value)
    except (TypeError, ValueError, RecursionError) as exc:
        raise StateEncodeError(
            f"cannot store {what}: it is not plain JSON ({_first_line(exc)}). Give it a type hint, or use plain values."
        ) from exc


def json_text(value: Any, *, default: Callable[[Any], Any] | None = None, is_hashed: bool = False) -> str:
    """Encode a value as JSON for a column.

    A lone surrogate, which occurs in file names and in answers of models but not in UTF-8, is
    written as its escape sequence.

    Args:
        default: Converts an object that is not JSON.
        is_hashed: Use the canonical form. It must never change, because hashes of it are stored.
    """

    def write(*, ensure_ascii: bool) -> str:
        separators = (", ", ": ") if is_hashed else (",", ":")
        return json.dumps(
            value,
            default=default,
            sort_keys=is_hashed,
            ensure_ascii=ensure_ascii,
            allow_nan=False,
            separators=separators,
        )

    text = write(ensure_ascii=False)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return write(ensure_ascii=True)
    return text


def canonical(text: str) -> str:
    """Return the canonical form of a JSON text, so that texts can be compared."""
    return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the type hints of a function, each resolved separately.

    A hint with names that cannot be resolved (they exist for the type checker only, or in another
    scope) is omitted; whether it is needed is decided later.
    """
    function = inspect.unwrap(function)
    annotations: dict[str, Any] = dict(inspect.get_annotations(function))
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None) or ()
    names = dict(zip(code.co_freevars, cells, strict=True)) if code is not None else {}
    local: dict[str, Any] = {}
    for name, cell in names.items():
        try:
            local[name] = cell.cell_contents
        except ValueError:  # a variable that is not assigned yet
            continue
    hints: dict[str, Any] = {}
    for name, annotation in annotations.items():
        holder = SimpleNamespace(__annotations__={name: annotation})
        try:
            hints |= typing.get_type_hints(holder, getattr(function, "__globals__", {}), local, include_extras=True)
        except (NameError, AttributeError, TypeError, SyntaxError):
            continue
    return hints


def _first_line(exc: BaseException) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip() and "://" not in line]
    return "; ".join(lines[:3])[:300] or type(exc).__name__


def _show(hint: Any) -> str:
    return getattr(hint, "__name__", None) or str(hint)
