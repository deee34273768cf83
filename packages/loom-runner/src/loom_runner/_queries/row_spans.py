"""A span made of rows, and the ids of such spans."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from loom_runner._model.records import ErrorInfo

__all__ = ["RowSpan", "SpanStatus", "error_json", "row_id", "step_id", "tool_id"]

SpanStatus = Literal["ok", "error", "open", "interrupted", "cancelled"]


@dataclass(slots=True)
class RowSpan:
    """A span with the fields of `flow_xray.Span`."""

    id: str
    parent_id: str | None
    name: str
    kind: str
    started_at_ns: int
    duration_ns: int | None
    status: SpanStatus
    input: Any = None
    output: Any = None
    error: dict[str, Any] | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    thread: str = ""


def error_json(error: ErrorInfo | None) -> dict[str, Any] | None:
    """Return an error as a span holds it."""
    if error is None:
        return None
    return {"type": error.type, "message": error.message, "traceback": error.traceback or ""}


def row_id(*parts: object) -> str:
    """Return a span id that is the same each time the rows are read."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:16]


def step_id(run_id: str, fence: int, step_index: int, attempt: int) -> str:
    """Return the id of the span of an attempt."""
    return row_id("step", run_id, fence, step_index, attempt)


def tool_id(run_id: str, step_index: int, key: str, ordinal: int) -> str:
    """Return the id of the span of a try of a call."""
    return row_id("tool", run_id, step_index, key, ordinal)
