"""Values to JSON and back by functions of the user, where type hints are not enough."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from loom_runner._program.codec import Codec
from loom_runner._program.compare import Comparison
from loom_runner._program.encode_errors import difference_text
from loom_runner._program.plain_json import json_text, short_error, type_name
from loom_runner.errors import StateDecodeError, StateEncodeError, UsageError

__all__ = ["CodecFunctions", "FunctionCodec", "ValueCodec", "codec_for"]


Function = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class CodecFunctions:
    """The functions that an agent was given."""

    encode_state: Function | None = None
    decode_state: Function | None = None
    encode_result: Function | None = None
    decode_result: Function | None = None


class ValueCodec(Protocol):
    """Encodes and decodes values; see `Codec`."""

    def encode(self, value: Any) -> tuple[str, Any]: ...
    def decode(self, text: str, *, reject_unknown_fields: bool = False, is_resumed: bool = False) -> Any: ...


class FunctionCodec:
    """Encode and decode values by functions to and from plain JSON.

    What was encoded is decoded at once, and the run continues with that. If it is not equal to the
    value, by the value's own `==`, it is refused; objects without an equality of their own, and
    fields of dataclasses with `compare=False`, may be made anew by the decode function.
    """

    def __init__(self, encode: Callable[[Any], Any], decode: Callable[[Any], Any], what: str) -> None:
        self._encode = encode
        self._decode = decode
        self._what = what
        self._compare = Comparison(is_lenient=True)

    def encode(self, value: Any) -> tuple[str, Any]:
        try:
            plain = self._encode(value)
        except Exception as exc:
            raise StateEncodeError(
                f"cannot store {self._what}: its encode function failed for a {type(value).__name__} "
                f"({type(exc).__name__}: {exc})."
            ) from exc
        try:
            text = json_text(plain)
        except (TypeError, ValueError, RecursionError) as exc:
            raise StateEncodeError(
                f"cannot store {self._what}: its encode function returned {type_name(plain)} that is not plain JSON "
                f"({short_error(exc)})."
            ) from exc
        try:
            read = self._decode(json.loads(text))
        except Exception as exc:
            raise StateEncodeError(
                f"cannot store {self._what}: its decode function cannot read what its encode function wrote "
                f"({type(exc).__name__}: {exc})."
            ) from exc
        found = self._compare.difference(value, read)
        if found is not None:
            raise StateEncodeError(
                f"cannot store {self._what}: by its encode and decode functions, {difference_text(found)}"
            )
        return text, read

    def decode(
        self,
        text: str,
        *,
        reject_unknown_fields: bool = False,  # noqa: ARG002  (the function decides)
        is_resumed: bool = False,  # noqa: ARG002
    ) -> Any:
        try:
            return self._decode(json.loads(text))
        except Exception as exc:
            raise StateDecodeError(
                f"cannot read {self._what}: its decode function failed ({type(exc).__name__}: {exc}). "
                "The code has changed; restore the old form, or start another run.",
                raw=text,
            ) from exc


def codec_for(
    hint: Any,
    what: str,
    encode: Callable[[Any], Any] | None,
    decode: Callable[[Any], Any] | None,
    *,
    version: int = 1,
) -> ValueCodec:
    """Return a codec that uses the two functions, or the hint if there are none.

    Raises:
        UsageError: Only one function was given.
    """
    if encode is not None and decode is not None:
        return FunctionCodec(encode, decode, what)
    if encode is not None or decode is not None:
        raise UsageError(f"cannot store {what}: give both functions, one to encode and one to decode it.")
    return Codec(hint, what, version=version)
