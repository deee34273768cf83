"""A run's rows as a tree of plain spans, without live spans.

The tree: the run; below it each process that held the run, and the waits between them; below a
process its steps, failed attempts and the step in which it disappeared; below a step the tool calls
of this process; below a wait for children, the children.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from loom_runner._model.processes import is_gone
from loom_runner._model.waits import ChildrenWait, SignalWait
from loom_runner._queries.views import each_step
from loom_runner._store.in_doubt import read_tool_calls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loom_runner._model.records import (
        AttemptRecord,
        ErrorInfo,
        LeaseRecord,
        RunRecord,
        StepRecord,
        ToolRecord,
        ToolTry,
    )
    from loom_runner._model.waits import WaitFor
    from loom_runner._store.protocol import StoreReader

__all__ = ["RowSpan", "RunSpans", "row_id", "run_tree_spans", "step_id", "tool_id"]

SpanStatus = Literal["ok", "error", "open", "interrupted", "cancelled"]

# A waiting or paused run is neither active nor failed, so its span is `ok`.
_RUN_STATUS: dict[str, SpanStatus] = {
    "completed": "ok",
    "waiting": "ok",
    "paused": "ok",
    "failed": "error",
    "parked": "error",
    "cancelled": "cancelled",
}


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


class RunSpans:
    """The rows of one run, converted to spans.

    Args:
        parent: The spans of the parent run. This run is below the parent's wait for it, or the step
            that started it.
    """

    def __init__(self, reader: StoreReader, run: RunRecord, parent: RunSpans | None = None) -> None:
        self.run = run
        self._parent = parent
        self.steps = list(each_step(reader, run.run_id))
        self.attempts = reader.attempts(run.run_id)
        self.tools = _each_try(read_tool_calls(reader, run.run_id), reader.tool_tries(run.run_id))
        self.leases = reader.leases(run.run_id)
        self.root = row_id("run", run.run_id)
        self.is_abandoned = run.owner is not None and (not run.is_leased or is_gone(run.owner))

    def spans(self) -> list[RowSpan]:
        run = self.run
        status: SpanStatus = _RUN_STATUS.get(run.status, "interrupted" if self.is_abandoned else "open")
        root = RowSpan(
            self.root,
            None if self._parent is None else self._parent.place_of(run.run_id),
            run.run_id,
            "agent",
            run.created_at * 1000,
            None if status in ("open", "interrupted") else (run.updated_at - run.created_at) * 1000,
            status,
            json.loads(run.input),
            None if run.result is None else json.loads(run.result),
            _error(run.error),
            meta={"run_id": run.run_id, "status": run.status, "steps": run.step_index},
        )
        spans = [root]
        for lease, after in zip(self.leases, [*self.leases[1:], None], strict=True):
            spans.append(self._process(lease))
            spans += self._of_process(lease)
            if lease.ended_as == "waiting" and lease.ended_at is not None:
                spans.append(self._wait(lease, after))
        return spans

    def place_of(self, child: str) -> str:
        """Return the parent span of a child: the wait for it, else the step that started it, else
        the run.
        """
        for step in self.steps:
            if isinstance(step.wait, ChildrenWait) and child in step.wait.children:
                waits = any(one.fence == step.fence and one.ended_as == "waiting" for one in self.leases)
                if waits:
                    return row_id("wait", self.run.run_id, step.fence)
                return step_id(self.run.run_id, step.fence, step.step_index, step.attempts - 1)
        return self.root

    def _process(self, lease: LeaseRecord) -> RowSpan:
        status: SpanStatus = "ok"
        if lease.ended_as is None:
            status = "interrupted" if self.is_abandoned else "open"
        elif lease.ended_as == "lost":
            status = "interrupted"
        elif lease.ended_as in ("failed", "parked"):
            status = "error"
        return RowSpan(
            self._lease_id(lease),
            self.root,
            f"process {lease.owner.pid}",
            "function",
            lease.taken_at * 1000,
            None if lease.ended_at is None else max(lease.ended_at - lease.taken_at, 0) * 1000,
            status,
            meta={"first_step": lease.first_step, "ended_as": lease.ended_as, "code": lease.code, "at": lease.code_at},
            thread=f"process {lease.owner.pid}",
        )

    def _of_process(self, lease: LeaseRecord) -> Iterator[RowSpan]:
        """Yield steps, failed attempts and the interrupted step, each with its tool calls."""
        calls: dict[int, list[ToolRecord]] = {}
        for call in self.tools:
            if call.fence == lease.fence:
                calls.setdefault(call.step_index, []).append(call)
        cut_off = self._cut_off(lease)
        for failed in self.attempts:
            if failed.fence == lease.fence and failed.kind == "failed":
                yield self._failed(lease, failed)
        for step in self.steps:
            if step.fence == lease.fence:
                span = self._step(lease, step)
                yield span
                yield from (_tool(self.run, call, span) for call in calls.pop(step.step_index, []))
        for step_index, made in calls.items():
            # Calls of a step that this process did not commit: below its last failed attempt, or
            # the interrupted step.
            rows = [
                row
                for row in self.attempts
                if (row.fence, row.step_index, row.kind) == (lease.fence, step_index, "failed")
            ]
            span = (
                self._failed(lease, rows[-1])
                if rows and cut_off is None
                else self._interrupted(lease, step_index, made)
            )
            if not rows or cut_off is not None:
                yield span
                cut_off = None
            yield from (_tool(self.run, call, span) for call in made)
        if cut_off is not None:
            yield self._interrupted(lease, cut_off, [])

    def _cut_off(self, lease: LeaseRecord) -> int | None:
        """Return the step in which the process disappeared; None if it did not."""
        for row in self.attempts:
            if row.fence == lease.fence and row.kind == "interrupted":
                return row.step_index
        return self.run.step_index if lease.ended_at is None and self.is_abandoned else None

    def _step(self, lease: LeaseRecord, step: StepRecord) -> RowSpan:
        return RowSpan(
            step_id(self.run.run_id, lease.fence, step.step_index, step.attempts - 1),
            self._lease_id(lease),
            f"step {step.step_index}",
            "step",
            step.started_at * 1000,
            (step.ended_at - step.started_at) * 1000,
            "ok",
            output=None if step.state is None else json.loads(step.state),
            meta={"outcome": step.outcome, "attempt": step.attempts}
            | ({} if step.wait is None else {"wait": step.wait.as_json()}),
            thread=f"process {lease.owner.pid}",
        )

    def _failed(self, lease: LeaseRecord, row: AttemptRecord) -> RowSpan:
        started_at = row.ended_at if row.started_at is None else row.started_at
        return RowSpan(
            step_id(self.run.run_id, lease.fence, row.step_index, row.attempt),
            self._lease_id(lease),
            f"step {row.step_index}",
            "step",
            started_at * 1000,
            (row.ended_at - started_at) * 1000,
            "error",
            error=_error(row.error),
            meta={"attempt": row.attempt + 1},
            thread=f"process {lease.owner.pid}",
        )

    def _interrupted(self, lease: LeaseRecord, step_index: int, calls: list[ToolRecord]) -> RowSpan:
        before = [step.ended_at for step in self.steps if step.fence == lease.fence]
        started_at = min([call.started_at for call in calls], default=max(before, default=lease.taken_at))
        attempt = next(
            (
                r.attempt
                for r in self.attempts
                if r.fence == lease.fence and r.step_index == step_index and r.kind == "interrupted"
            ),
            self.run.failures + self.run.crashes,
        )
        return RowSpan(
            step_id(self.run.run_id, lease.fence, step_index, attempt),
            self._lease_id(lease),
            f"step {step_index}",
            "step",
            max(started_at, max(before, default=0)) * 1000,
            None,
            "open" if lease.ended_at is None and not self.is_abandoned else "interrupted",
            meta={"attempt": attempt + 1},
            thread=f"process {lease.owner.pid}",
        )

    def _wait(self, lease: LeaseRecord, after: LeaseRecord | None) -> RowSpan:
        ended_at = lease.ended_at or 0
        steps = [step for step in self.steps if step.fence == lease.fence and step.wait]
        name = _wait_name(steps[-1].wait) if steps else "wait for a person"
        return RowSpan(
            row_id("wait", self.run.run_id, lease.fence),
            self.root,
            name,
            "wait",
            ended_at * 1000,
            None if after is None else max(after.taken_at - ended_at, 0) * 1000,
            "open" if after is None else "ok",
        )

    def _lease_id(self, lease: LeaseRecord) -> str:
        return row_id("lease", self.run.run_id, lease.fence)


def run_tree_spans(reader: StoreReader, run: RunRecord, parent: RunSpans | None = None) -> Iterator[RunSpans]:
    """Yield the spans of a run and its descendants."""
    run_spans = RunSpans(reader, run, parent)
    yield run_spans
    for child in reader.children(run.run_id):
        yield from run_tree_spans(reader, child, run_spans)


def _wait_name(wait: WaitFor | None) -> str:
    match wait:
        case SignalWait(signal=name):
            return f"wait for signal {name!r}"
        case ChildrenWait():
            return "wait for children"
        case _:
            return "sleep"


def _each_try(calls: list[ToolRecord], tries: list[ToolTry]) -> list[ToolRecord]:
    """Return each try of a call as a separate call, because each belongs to the process that ran
    it.
    """
    by_number = {call.number: call for call in calls}
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
        )
        for each in tries
    ]
    return sorted([*calls, *earlier], key=lambda call: call.started_at)


def _tool(run: RunRecord, call: ToolRecord, parent: RowSpan) -> RowSpan:
    status: SpanStatus = "interrupted" if call.is_in_doubt else "open"
    if call.status == "done":
        status = "ok"
    elif call.status == "failed":
        status = "cancelled" if call.error is not None and call.error.category == "cancelled" else "error"
    return RowSpan(
        tool_id(run.run_id, call.step_index, call.key, call.tries),
        parent.id,
        call.name,
        "tool",
        call.started_at * 1000,
        None if call.ended_at is None else (call.ended_at - call.started_at) * 1000,
        status,
        json.loads(call.arguments),
        None if call.result is None else json.loads(call.result),
        _error(call.error),
        meta={"key": call.key, "call": f"{run.run_id}#{call.number}", "attempt": call.tries},
        thread=parent.thread,
    )


def _error(error: ErrorInfo | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {"type": error.type, "message": error.message, "traceback": error.traceback or ""}


def row_id(*parts: object) -> str:
    """Return a span id that is the same each time the rows are read."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:16]


def step_id(run_id: str, fence: int, step_index: int, attempt: int) -> str:
    return row_id("step", run_id, fence, step_index, attempt)


def tool_id(run_id: str, step_index: int, key: str, ordinal: int) -> str:
    return row_id("tool", run_id, step_index, key, ordinal)
