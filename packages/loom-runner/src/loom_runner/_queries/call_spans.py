"""The spans of tool calls: one for each try, below the attempt that started it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from loom_runner._model.stored_json import stored_json
from loom_runner._queries.row_spans import RowSpan, SpanStatus, error_json, tool_id
from loom_runner.run_ids import call_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loom_runner._model.records import LeaseRecord, RunRecord, ToolRecord, ToolTry

__all__ = ["call_span", "calls_of_attempts", "each_try"]


def calls_of_attempts(
    spans: Sequence[RowSpan], calls: Sequence[ToolRecord]
) -> Iterator[tuple[RowSpan, list[ToolRecord]]]:
    """Yield each attempt with the calls that it started: those between its start and the next
    attempt's.
    """
    starts = [span.started_at_ns // 1000 for span in spans]
    made: list[list[ToolRecord]] = [[] for _ in spans]
    for call in calls:
        place = max((at for at, start in enumerate(starts) if start <= call.started_at), default=0)
        made[place].append(call)
    yield from zip(spans, made, strict=True)


def each_try(calls: list[ToolRecord], tries: list[ToolTry], leases: Sequence[LeaseRecord]) -> list[ToolRecord]:
    """Return each try of a call as a separate call, because each belongs to the attempt that
    started it.
    """
    by_number = {call.number: call for call in calls}
    ends = {lease.fence: lease.ended_at for lease in leases}
    earlier = [
        replace(
            by_number[each.number],
            status="in_doubt" if each.ended_at is None else each.status,
            tries=each.ordinal,
            started_at=each.started_at,
            ended_at=each.ended_at,
            fence=each.fence,
            result=None,
            error=each.error,
            alive_until=ends.get(each.fence),
        )
        for each in tries
    ]
    return sorted([*calls, *earlier], key=lambda call: call.started_at)


def call_span(run: RunRecord, call: ToolRecord, parent: RowSpan) -> RowSpan:
    """Return the span of one try of a call."""
    status: SpanStatus = "interrupted" if call.is_in_doubt else "open"
    if call.status == "done":
        status = "ok"
    elif call.status == "failed":
        status = "cancelled" if call.error is not None and call.error.category == "cancelled" else "error"
    ended_at = call.ran_until
    meta = {"key": call.key, "call": call_id(run.run_id, call.number), "attempt": call.tries}
    if call.decided_by is not None:
        meta["decided_by"] = call.decided_by
    return RowSpan(
        tool_id(run.run_id, call.step_index, call.key, call.tries),
        parent.id,
        call.name,
        "tool",
        call.started_at * 1000,
        None if ended_at is None else (ended_at - call.started_at) * 1000,
        status,
        stored_json(call.arguments),
        None if call.result is None else stored_json(call.result),
        error_json(call.error),
        meta=meta,
        thread=parent.thread,
    )
