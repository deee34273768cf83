"""Arguments and results of tools as JSON texts, and results that report a failure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from loom_runner._program.plain_json import json_text
from loom_runner.errors import ToolFailed

if TYPE_CHECKING:
    from loom_runner._program.tools import Tool

__all__ = ["arguments_text", "failed_envelope", "payload_text"]


def arguments_text(name: str, arguments: Mapping[str, Any]) -> str:
    """Encode arguments in the canonical form that is hashed.

    Raises:
        ToolFailed: With the category `invalid_arguments`.
    """
    try:
        return json_text(arguments, default=_jsonable, is_hashed=True)
    except (TypeError, ValueError, RecursionError) as exc:
        raise ToolFailed(
            f"cannot call {name}: its arguments cannot be written as JSON ({exc}).",
            error_category="invalid_arguments",
            tool=name,
        ) from exc


def failed_envelope(value: Any, tool: Tool) -> ToolFailed | None:
    """Return the failure that a result stands for: `{"is_error": true, "error": "why"}`."""
    if not isinstance(value, Mapping) or (value.get("is_error") is not True and value.get("isError") is not True):
        return None
    why = next((value[name] for name in ("error", "message", "content") if value.get(name)), "it reported an error")
    return ToolFailed(
        why if isinstance(why, str) else json.dumps(why, ensure_ascii=False, default=str),
        error_category=str(value.get("error_category") or "error"),
        retryable=value.get("retryable") is True and tool.is_repeatable,
    )


def payload_text(value: Any) -> str:
    return json_text(value, default=_jsonable)


def _jsonable(value: Any) -> Any:
    """Convert models, dataclasses, dates and similar objects to JSON; any other object is an
    error.
    """
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    try:
        return to_jsonable_python(value)
    except PydanticSerializationError as exc:
        raise TypeError(f"a {type(value).__name__} is not JSON") from exc
