"""One recorded call, as plain data."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from flow_xray._redaction.freeze import Json

__all__ = ["STATUSES", "Json", "Span", "Status"]

Status: TypeAlias = Literal["ok", "error", "open", "interrupted", "cancelled"]

STATUSES: tuple[Status, ...] = ("ok", "error", "open", "interrupted", "cancelled")


class _Recorded:
    """Holds the recorder's `freeze`.

    It is not a member of a span: never compared, printed or written.
    """

    __slots__ = ("freeze_output",)
    freeze_output: Callable[[object], Json]


@dataclass(slots=True)
class Span(_Recorded):
    """Hold one recorded call: who called it, when, with what, and how it ended.

    Args:
        id: 16 lower-case hex digits, unique in the trace (a W3C span id).
        parent_id: Id of the calling span; None for a root. A span whose parent is not in the trace
            is a root, too.
        name: The name of the call.
        kind: "function", "agent", "llm", "tool", "step", "wait", "retrieval" or a custom name.
        started_at_ns: Unix time in nanoseconds.
        duration_ns: None while the span is open, and when it was interrupted.
        status: "open" is still running; "interrupted" ended with its process; "cancelled" was
            stopped by its caller.
        input: JSON value frozen when the call began.
        output: JSON value frozen when the call returned.
        error: {"type", "message", "traceback"}, and {"origin": span id} when a span below raised
            it.
        meta: Facts about the call: model, input_tokens (cache included), output_tokens,
            cache_read_tokens, cost_usd, messages, run_id, ... Unknown keys are shown as they are.
        tags: Marks {"name", "at_ns", ...} in the order in which they were set.
        thread: Name of the thread or lane in which it ran.
        code: Location of the called function, "path/file.py:12"; empty when it is not known.
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
        """Set the output inside `with trace.span(...) as span`; it is frozen at once.

        On a span that you construct yourself the value is frozen when the trace is written.
        """
        freeze = getattr(self, "freeze_output", None)
        self.output = value if freeze is None else freeze(value)  # type: ignore[assignment]  # see above
