"""Values to JSON and back, by type hints.

A value with a hint goes through pydantic: models, dataclasses, TypedDicts, and whatever else it knows. What is not
of the hinted type is refused when it is written, not when it is read a day later. A value without a hint must be
plain JSON, and the run goes on with what was read back, so that a run that was resumed sees exactly what one that
was not sees.
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
    """Write and read the values of one hint.

    Args:
        hint: A type; `inspect.Parameter.empty` or `Any` is a value without a hint.
        what: How messages call the value, for instance `the state of step 'agent'`.
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
        """Write a value; return the JSON and the value to go on with.

        Raises:
            StateEncodeError: The value is not of its type, or holds what JSON cannot.
        """
        if self._adapter is None:
            found = _encode_large(value) if self._is_large else None
            if found is not None:
                self._is_large = len(found[0]) > _LARGE_CHARACTERS
                return found
            text = to_plain_json(value, self.what)
            self._is_large = len(text) > _LARGE_CHARACTERS
            return text, value if value is None or isinstance(value, str | int | bool) else json.loads(text)
        try:
            written = self._adapter.dump_json(value, warnings="error")
            # pydantic writes some misfits without a word: None for anything, a TypedDict without its keys. Reading
            # back shows them. It costs a microsecond, but for a large state it would double the price of a step.
            if len(written) <= _CHECKED_BYTES or b"null" in written:
                self._adapter.validate_json(written)
        except (ValueError, TypeError) as exc:  # pydantic's own errors are ValueErrors
            raise StateEncodeError(
                f"cannot store {self.what}: a {type(value).__name__} does not fit its type ({_first_line(exc)})."
            ) from exc
        return written.decode(), value

    def decode(self, text: str, *, typed_by_hand: bool = False) -> Any:
        """Read a value that `encode` wrote; one that a person typed may not hold fields that the type does not know.

        Raises:
            StateDecodeError: The text does not fit the type; the text is in `raw`.
        """
        try:
            return json.loads(text) if self._adapter is None else self._validated(text, typed_by_hand)
        except ValueError as exc:
            raise StateDecodeError(
                f"cannot read {self.what}: what is stored does not fit its type ({_first_line(exc)}). "
                "The code has changed; bring the old type back, or start another run.",
                raw=text,
            ) from exc

    def _validated(self, text: str, typed_by_hand: bool) -> Any:
        return self._adapter.validate_json(text, extra="forbid" if typed_by_hand else None)


def _encode_large(value: Any) -> tuple[str, Any] | None:
    """Write a large value without a hint in a third of the time; None when it is not certainly plain JSON.

    pydantic's writer knows more than JSON and turns it into JSON silently; what is equal to its own text read back was
    plain JSON to begin with.
    """
    from pydantic_core import from_json, to_json

    try:
        written = to_json(value, inf_nan_mode="null")
        read = from_json(written, allow_inf_nan=False)
        return (written.decode(), read) if read == value else None
    except (ValueError, TypeError, RecursionError):  # the slow way says what is wrong, or can do it
        return None


def to_plain_json(value: Any, what: str) -> str:
    """Write a value that has no hint.

    Raises:
        StateEncodeError: It holds something else than JSON's own types.
    """
    try:
        return json_text(value)
    except (TypeError, ValueError, RecursionError) as exc:
        raise StateEncodeError(
            f"cannot store {what}: it is not plain JSON ({_first_line(exc)}). Give it a type hint, or use plain values."
        ) from exc


def json_text(value: Any, *, default: Callable[[Any], Any] | None = None, is_hashed: bool = False) -> str:
    """Write JSON for a column.

    Half a surrogate pair, which file names and models' answers have now and then, and UTF-8 has not, is written as its
    escape, so that it is stored and comes back.

    Args:
        default: What to do with an object that is not JSON.
        is_hashed: Write the same value always in the same way, which may never change: hashes of it are on record.
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
    """Write the same JSON value always the same way, so that texts can be compared."""
    return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Read the type hints of a function, each by itself.

    A hint whose names cannot be found (they exist for the type checker only, or in another scope) is left out, not
    an error: whether it is needed is known later.
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
    found: dict[str, Any] = {}
    for name, annotation in annotations.items():
        holder = SimpleNamespace(__annotations__={name: annotation})
        try:
            found |= typing.get_type_hints(holder, getattr(function, "__globals__", {}), local, include_extras=True)
        except (NameError, AttributeError, TypeError, SyntaxError):
            continue
    return found


def _first_line(exc: BaseException) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip() and "://" not in line]
    return "; ".join(lines[:3])[:300] or type(exc).__name__


def _show(hint: Any) -> str:
    return getattr(hint, "__name__", None) or str(hint)
