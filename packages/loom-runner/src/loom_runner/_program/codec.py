"""Values to JSON and back, by type hints.

A value with a hint is encoded by pydantic: models, dataclasses, TypedDicts, and its other types,
in a form that loses as little as possible (see `lossless_schema`). A value without a hint must be
plain JSON.

*It comes back as it went, or it is refused.* Each value is decoded at once and compared with what
was encoded (see `compare`); a difference is an error that names the place. The run continues with
the decoded value, so that it sees the same whether it was resumed or not.
"""

from __future__ import annotations

import inspect
import json
import typing
from types import SimpleNamespace
from typing import Any, Final

from loom_runner._program.compare import Comparison
from loom_runner._program.encode_errors import difference_text, failure_text, refused_hint
from loom_runner._program.plain_json import encode_plain, is_exactly, json_text, short_error, type_name
from loom_runner._program.stored_changes import first_change
from loom_runner.errors import StateDecodeError, StateEncodeError, UsageError

if typing.TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["UNHINTED", "Codec", "hints_of"]

UNHINTED: Final = inspect.Parameter.empty
_LARGE_CHARACTERS: Final = 16_384


class Codec:
    """Encode and decode the values of one type hint.

    Args:
        hint: A type; `inspect.Parameter.empty` or `Any` is a value without a hint.
        what: Describes the value in messages, for instance `the state of step 'agent'`.
        version: The version of the state that the code writes, for messages.

    Raises:
        UsageError: No value of the type can be stored; the message names the field.
    """

    def __init__(self, hint: Any, what: str, *, version: int = 1) -> None:
        self.what = what
        self._version = version
        self._schema: Any = None
        self._is_large = False
        if hint is not UNHINTED and hint is not Any:
            from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

            from loom_runner._program.lossless_schema import lossless_schema

            try:
                self._schema = lossless_schema(hint)
            except (PydanticSchemaGenerationError, PydanticUserError) as exc:
                raise UsageError(f"cannot store {what}: {refused_hint(hint, exc)}") from exc
            if self._schema.problem is not None:
                raise UsageError(
                    f"cannot store {what}: {self._schema.problem}, so it can never be stored. Leave it out of the "
                    "type and make it in the step, or exclude it: Field(exclude=True)."
                )
            self._write, self._read = self._schema.serializer.to_json, self._schema.validator.validate_json
            self._same = Comparison()

    @property
    def is_plain(self) -> bool:
        """Whether there is no hint."""
        return self._schema is None

    def encode(self, value: Any) -> tuple[str, Any]:
        """Encode a value; return the JSON text, and the value that is read back from it.

        Raises:
            StateEncodeError: The value is not of its type, cannot be written as JSON, or would not
                come back as it is. The message names the place.
        """
        if self._schema is None:
            return self._encoded_plain(value)
        try:
            # Warnings about values of a wrong type would take longer than reading the value, which
            # finds them too.
            written = self._write(value, warnings=False, round_trip=True)
            text, read = written.decode(), self._read(written, by_alias=True, by_name=True)
        except (ValueError, TypeError, RecursionError) as exc:  # pydantic's own errors are ValueErrors
            text, read = self._encoded_slowly(value, exc)
        if not self._same.same(value, read):
            difference = self._same.difference(value, read)
            if difference is not None:
                raise StateEncodeError(f"cannot store {self.what}: {difference_text(difference)}")
        return text, read

    def decode(self, text: str, *, reject_unknown_fields: bool = False, is_resumed: bool = False) -> Any:
        """Decode a value.

        Args:
            text: What `encode` wrote, perhaps by earlier code.
            reject_unknown_fields: A person typed the text; unknown fields are errors.
            is_resumed: The run continues with the value: nothing that is stored may get lost
                because the code has changed.

        Raises:
            StateDecodeError: The text does not fit the type; `raw` is the text.
        """
        if self._schema is None:
            try:
                return json.loads(text)
            except ValueError as exc:
                raise self._decode_error(short_error(exc), text) from exc
        try:
            value = self._validated(text, extra="forbid" if reject_unknown_fields else None)
        except (ValueError, RecursionError) as exc:
            raise self._decode_error(failure_text(exc), text) from exc
        if is_resumed and (change := first_change(text, value, self._schema, self._same)) is not None:
            raise self._decode_error(change, text)
        return value

    def converted(self, value: Any) -> Any:
        """Return a value as its hint describes it: a list for a tuple, a model for a dict.

        Raises:
            StateEncodeError: It does not fit.
        """
        try:
            return self._schema.validator.validate_python(value, by_alias=True, by_name=True)
        except (ValueError, TypeError, RecursionError) as exc:
            raise StateEncodeError(f"cannot store {self.what}: {type_name(value)}: {failure_text(exc)}.") from exc

    # ------------------------------------------------------------------ small parts

    def _encoded_plain(self, value: Any) -> tuple[str, Any]:
        encoded = (_encode_large(value) if self._is_large else None) or encode_plain(value, self.what)
        self._is_large = len(encoded[0]) > _LARGE_CHARACTERS
        return encoded

    def _encoded_slowly(self, value: Any, reason: Exception) -> tuple[str, Any]:
        """Encode a value with text that is not Unicode, which pydantic does not write.

        Raises:
            StateEncodeError: That was not the reason.
        """
        try:
            if "surrogates" not in str(reason):
                raise reason
            plain = self._schema.serializer.to_python(value, mode="json", warnings=False, round_trip=True)
            text = json_text(plain)
            return text, self._validated(text)
        except (ValueError, TypeError, RecursionError) as exc:
            raise StateEncodeError(
                f"cannot store {self.what}: {type_name(value)} does not fit its type "
                f"({failure_text(exc, value, self._schema)})."
            ) from exc

    def _validated(self, text: str, *, extra: Any = None) -> Any:
        try:
            return self._read(text, extra=extra, by_alias=True, by_name=True)
        except ValueError:
            if "\\ud" not in text:
                raise
            plain = json.loads(text)  # with half of a surrogate pair, which pydantic does not read
            return self._schema.validator.validate_python(plain, extra=extra, by_alias=True, by_name=True)

    def _decode_error(self, why: str, text: str) -> StateDecodeError:
        older, newer = self._version, self._version + 1
        default = "give new fields defaults, " if "Field required" in why else ""
        return StateDecodeError(
            f"cannot read {self.what}: what is stored does not fit its type ({why}). The code has changed; {default}"
            "restore the old type, or convert stored states: pass "
            f"state_version={newer}, upcasters={{{older}: convert}} to Agent or AgentRunner, where convert(old) takes "
            "the stored JSON and returns that of the new type.",
            raw=text,
            misfit=why,
        )


def _encode_large(value: Any) -> tuple[str, Any] | None:
    """Encode a large value without a hint in a third of the time; None if it may not be plain JSON.

    pydantic also writes values that are not JSON, silently converted; a value that is equal to its
    decoded text is plain JSON.
    """
    from pydantic_core import from_json, to_json

    try:
        written = to_json(value, inf_nan_mode="null")
        read = from_json(written, allow_inf_nan=False)
        return (written.decode(), read) if is_exactly(value, read) else None
    except (ValueError, TypeError, RecursionError):  # the slower encoder reports the error, or succeeds
        return None


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
