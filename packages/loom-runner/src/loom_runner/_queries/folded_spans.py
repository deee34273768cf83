"""Folding of long traces: which rows are drawn, and one span with the sums of the others.

A run with at most `FOLDED_ABOVE` rows is drawn whole. Of a longer one, the first and the last steps
are drawn, and those that a person looks for (`StoreReader.notable_steps`); every other group of
consecutive steps is one span. So are the tool calls of one step, the failed attempts of one step,
and the children of one run, if there are very many.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TypeVar

from loom_runner._model.formatting import duration, plural
from loom_runner._queries.row_spans import RowSpan, row_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loom_runner._model.folded import FoldedSteps
    from loom_runner._model.records import RunRecord, ToolRecord
    from loom_runner._store.protocol import StoreReader

__all__ = [
    "DRAWN_OF_EACH",
    "FOLDED_ABOVE",
    "fold_of_calls",
    "fold_of_children",
    "fold_of_steps",
    "head_and_tail",
    "ranges_to_draw",
]

FOLDED_ABOVE: Final = 4_000
DRAWN_OF_EACH: Final = 100
_SHORTEST_FOLD: Final = 5
"""A shorter group of steps is drawn."""
_SHOWN_TOOLS: Final = 8

T = TypeVar("T")


def ranges_to_draw(reader: StoreReader, run: RunRecord) -> list[tuple[int, int]]:
    """Return the ranges of steps to draw, each from its first step to before its second."""
    ranges: list[tuple[int, int]] = []
    for index in [*reader.notable_steps(run.run_id, each=DRAWN_OF_EACH), run.step_index]:
        if ranges and index - ranges[-1][1] < _SHORTEST_FOLD:
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], index + 1))
        else:
            ranges.append((index, index + 1))
    return ranges


def head_and_tail(rows: Sequence[T]) -> tuple[Sequence[T], Sequence[T], Sequence[T]]:
    """Split rows into those to draw first, those to fold and those to draw last."""
    if len(rows) <= 2 * DRAWN_OF_EACH + _SHORTEST_FOLD:
        return rows, (), ()
    return rows[:DRAWN_OF_EACH], rows[DRAWN_OF_EACH:-DRAWN_OF_EACH], rows[-DRAWN_OF_EACH:]


def fold_of_steps(
    run_id: str, first: int, stop: int, sums: FoldedSteps, *, parent_id: str, thread: str, processes: int = 0
) -> RowSpan:
    """Return the span of steps that are not drawn one by one.

    Args:
        first: The first of them; `stop` is the step after the last.
        processes: How many processes drove them, if they are not drawn either.
    """
    outcomes = (
        [f"all {_past(sums.outcomes[0].value)}"]
        if len(sums.outcomes) == 1
        else _counted({each.value: each.count for each in sums.outcomes})
    )
    facts = [*outcomes, f"{duration(sums.work_us)} of work"]
    failed = {each.value: each.count for each in sums.attempts}
    facts += [plural(count, f"{kind} attempt") for kind, count in failed.items()]
    calls = sum(each.count for each in sums.calls)
    if calls:
        facts.append(plural(calls, "tool call"))
    if processes:
        facts.append(plural(processes, "process", "processes"))
    if sums.waits and processes:
        facts.append(f"{plural(sums.waits, 'wait')} of {duration(sums.waited_us)}")
    meta: dict[str, Any] = {
        "folded_steps": sums.count,
        "outcomes": {each.value: each.count for each in sums.outcomes},
        "work_ms": sums.work_us / 1000,
    }
    if failed:
        meta["attempts"] = failed
    if sums.calls:
        meta["tool_calls"] = calls
        meta["tools"] = [
            {
                "name": each.name,
                "status": each.status,
                "calls": each.count,
                "tries": each.tries,
                "work_ms": each.work_us / 1000,
            }
            for each in sums.calls[:_SHOWN_TOOLS]
        ]
    if processes:
        meta |= {"processes": processes, "waits": sums.waits, "waited_ms": sums.waited_us / 1000}
    started_at, ended_at = sums.started_at or 0, sums.ended_at or 0
    return RowSpan(
        row_id("fold", run_id, first, stop, parent_id),
        parent_id,
        f"steps {first:,} to {stop - 1:,}: {plural(sums.count, 'step')}, {', '.join(facts)}",
        "step",
        started_at * 1000,
        max(ended_at - started_at, 0) * 1000,
        "ok",
        meta=meta,
        thread=thread,
    )


def fold_of_calls(run_id: str, calls: Sequence[ToolRecord], parent: RowSpan) -> RowSpan:
    """Return the span of calls of one step that are not drawn one by one."""
    statuses = Counter("in doubt" if call.is_in_doubt else call.status for call in calls)
    names = Counter(call.name for call in calls)
    started_at = min(call.started_at for call in calls)
    ended_at = max(call.ran_until or call.started_at for call in calls)
    work_us = sum((call.ran_until or call.started_at) - call.started_at for call in calls)
    what = ", ".join([*_counted(statuses), f"{duration(work_us)} in calls"])
    return RowSpan(
        row_id("fold of calls", run_id, parent.id, calls[0].number),
        parent.id,
        f"{plural(len(calls), 'tool call')} more: {what}",
        "tool",
        started_at * 1000,
        (ended_at - started_at) * 1000,
        "ok",
        meta={"folded_calls": len(calls), "statuses": dict(statuses), "tools": dict(names.most_common(_SHOWN_TOOLS))},
        thread=parent.thread,
    )


def fold_of_children(parent: RunRecord, folded: Iterable[RunRecord], parent_id: str) -> RowSpan | None:
    """Return the span of children that are not drawn one by one; None if there are none."""
    statuses: Counter[str] = Counter()
    steps = work_us = 0
    times: list[int] = []
    for child in folded:
        statuses[child.status] += 1
        steps, work_us = steps + child.step_index, work_us + child.work_us
        times = [min([*times[:1], child.created_at]), max([*times[1:], child.updated_at])]
    if not statuses:
        return None
    what = ", ".join([*_counted(statuses), plural(steps, "step"), f"{duration(work_us)} of work"])
    return RowSpan(
        row_id("fold of children", parent.run_id),
        parent_id,
        f"{plural(statuses.total(), 'child run')} more: {what}",
        "agent",
        times[0] * 1000,
        (times[1] - times[0]) * 1000,
        "ok",
        meta={"folded_runs": statuses.total(), "statuses": dict(statuses), "steps": steps, "work_ms": work_us / 1000},
    )


def _past(outcome: str) -> str:
    return {"wait": "waited", "sleep": "slept", "spawn": "started children", "complete": "completed"}.get(
        outcome, "continued"
    )


def _counted(counts: dict[str, int]) -> list[str]:
    return [f"{count:,} {name}" for name, count in counts.items()]
