"""The data of a trace: what one span is."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Status: TypeAlias = Literal["ok", "error", "open", "interrupted", "cancelled"]

STATUSES: tuple[Status, ...] = ("ok", "error", "open", "interrupted", "cancelled")


@dataclass(slots=True)
class Span:
    """Hold one recorded call: who called it, when, with what, and how it ended.

    Args:
        id: 16 lower-case hex digits, unique in the trace (a W3C span id).
        parent_id: id of the calling span; None for a root. A parent that is not in the trace makes a root, too.
        name: what was called.
        kind: "function", "agent", "llm", "tool", "step", "wait", "retrieval" or any word of yours.
        started_at_ns: Unix time in nanoseconds.
        duration_ns: None while the span is open or when it was interrupted.
        status: "open" still runs; "interrupted" lost its process; "cancelled" was told to stop.
        input: JSON value frozen when the call began.
        output: JSON value frozen when the call returned.
        error: {"type", "message", "traceback"}; {"origin": span id} is added when a span below raised it.
        meta: what is known beside the values: model, input_tokens (cache included), output_tokens,
            cache_read_tokens, cost_usd, messages, run_id, ... Unknown keys are shown as they are.
        tags: {"name", "at_ns", ...} marks in the order in which they were set.
        thread: name of the thread or lane that ran it.
        code: where the called function stands, "path/file.py:12"; empty when nobody knows.
    """

    id: str
    parent_id: str | None
    name: str
    kind: str = "function"
    started_at_ns: int = 0
    duration_ns: int | None = None
    status: Status = "ok"
    input: Json = None
    output: Json = None
    error: dict[str, Json] | None = None
    meta: dict[str, Json] = field(default_factory=dict)
    tags: list[dict[str, Json]] = field(default_factory=list)
    thread: str = ""
    code: str = ""

    def set_output(self, value: object) -> None:
        """Freeze `value` as what this span returned (for `with trace.span(...) as span`)."""
        from flow_xray._freeze import freeze

        self.output = freeze(value)
