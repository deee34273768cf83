"""Plain JSON: values without a type hint, and the text that is stored."""

from __future__ import annotations

import inspect
import json
import marshal
import math
from typing import TYPE_CHECKING, Any

from loom_runner.errors import StateEncodeError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["canonical", "encode_plain", "is_exactly", "json_text", "short_error", "to_plain_json", "type_name"]


def to_plain_json(value: Any, what: str) -> str:
    """Encode a value that has no hint.

    Raises:
        StateEncodeError: It contains something other than None, bool, int, finite float, str, list,
            and dict with str keys; the message names the place.
    """
    return encode_plain(value, what)[0]


def encode_plain(value: Any, what: str) -> tuple[str, Any]:
    """Encode a value that has no hint; return the text, and what is read back from it.

    Raises:
        StateEncodeError: See `to_plain_json`. A tuple is refused, too: it would come back as a
            list.
    """
    if value is None or type(value) in (bool, int):
        return json_text(value), value
    try:
        text = json_text(value)
        read = json.loads(text)
        if is_exactly(value, read):
            return text, read
        reason = None
    except (TypeError, ValueError, RecursionError) as exc:
        reason = exc
    raise _not_plain(value, what, reason) from reason


def is_exactly(value: Any, read: Any) -> bool:
    """Whether a value is the decoded one, also in its types: 1 is not 1.0, a tuple no list."""
    try:
        return marshal.dumps(value, 2) == marshal.dumps(read, 2)
    except ValueError:  # a class of the user's, or nested too deeply
        return False


def _not_plain(value: Any, what: str, reason: BaseException | None) -> StateEncodeError:
    try:
        found = _fault(value, "")
    except RecursionError:
        found = None
    if found is None:
        why = "it is nested too deeply" if isinstance(reason, RecursionError) else short_error(reason)
        return StateEncodeError(f"cannot store {what}: it is not plain JSON ({why}). Use plain values.")
    path, why, part = found
    return StateEncodeError(
        f"cannot store {what}: it is not plain JSON ({f'{path}: ' if path else ''}{why}). {_advice(part)}"
    )


def _advice(part: Any) -> str:
    """Say what helps against a value that is not plain JSON."""
    if inspect.isawaitable(part):
        return "Write await before the call that made it."
    if part is not None and not _can_be_hinted(part):
        by_class = "Make its class a dataclass and hint it. Or keep" if hasattr(part, "__dict__") else "Keep"
        return f"{'Keep' if callable(part) else by_class} it outside of the state, and make it in the step."
    return (
        "Give it a type hint, for instance a dataclass, or use None, bool, int, float, str, list, and dict with str "
        "keys."
    )


def _can_be_hinted(part: Any) -> bool:
    """Whether a type hint would make the value storable."""
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

    if callable(part) or type(part) is object:
        return False
    try:
        TypeAdapter(type(part))
    except (PydanticSchemaGenerationError, PydanticUserError):
        return False
    return True


def _fault(value: Any, path: str) -> tuple[str, str, Any] | None:
    """Find what is not plain JSON: its path, why, and the value; None for a key."""
    kind = type(value)
    if kind in (bool, int, type(None)) or (kind is float and math.isfinite(value)):
        return None
    if kind is str:
        is_kept = value.isascii() or json.loads(json.dumps(value)) == value
        return (
            None
            if is_kept
            else (path, "a str with both halves of a surrogate pair would come back as another one", None)
        )
    if kind is float:
        return path, f"{value} is no number of JSON", None
    if kind is list:
        parts = [(f"{path}[{at}]", each) for at, each in enumerate(value)]
    elif kind is dict:
        odd = next((key for key in value if type(key) is not str), None)
        if odd is not None or None in value:
            return path, f"a key is {type_name(odd)}, and would come back as a string", None
        parts = [(f"{path}[{key!r}]" if path or not key.isidentifier() else key, each) for key, each in value.items()]
    else:
        return path, f"{type_name(value)} {_comes_back_as(value)}", value
    return next((found for where, each in parts if (found := _fault(each, where)) is not None), None)


def _comes_back_as(value: Any) -> str:
    for base, shown in ((tuple, "a list"), (list, "a list"), (dict, "a dict"), (str, "a str"), (int, "an int")):
        if isinstance(value, base):
            return f"would come back as {shown}"
    return "is no value of JSON"


def type_name(value: Any) -> str:
    """Return the name of a value's type with its article: `a tuple`, `an Order`, `None`."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOaeio' else 'a'} {name}"


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


def short_error(exc: BaseException | None) -> str:
    """Return the first lines of an error's text in one line."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip() and "://" not in line]
    return "; ".join(lines[:3])[:300] or type(exc).__name__
