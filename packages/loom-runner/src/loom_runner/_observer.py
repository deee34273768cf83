"""Runs as traces: the only module that knows flow_xray.

The page is drawn from the rows, so it shows every process that ever worked on the run, those that crashed included.
Around a run of this process, `tracing` also records what the user's own code traced (model calls, functions); those
live spans are hung under the row-made span of the step or tool call in which they happened.

The tree: the run; under it each process that held the run, and the waits between them; under a process its steps,
failed attempts and the step it took with it when it disappeared; under a step the tool calls that this process made
in it.

What a program itself knows of a step, only the program can tell: the rows hold its states, not what they mean. A
package that makes states may name a function in the entry-point group `loom_runner.describers`:

    describe_step(before: JSON, after: JSON | None, result: JSON | None) -> list[Span]

It is given the state before a committed step, the one after it and the result (each None where there is none), and
gives what happened in the step as spans, without ids and times: name, kind, input, output, meta. For states of other
programs it gives none. So the page shows the model calls of every process, whoever draws it. Where a live span of
that kind tells the same step, the live one is kept and the described one is left out.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow_xray import FlowXrayError, Span, TraceResult, trace

from loom_runner._doubt import read_tool_calls
from loom_runner._driver import unknown_run
from loom_runner._errors import UsageError
from loom_runner._lease import is_gone
from loom_runner._views import each_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from importlib.metadata import EntryPoint

    from loom_runner._events import Observer, RunEvent
    from loom_runner._records import AttemptRecord, ErrorInfo, LeaseRecord, RunRecord, StepRecord, ToolRecord, ToolTry
    from loom_runner._store import Store

__all__ = ["trace_of", "tracing", "write_trace"]

# A run that waits or is paused is at rest: nothing is going on, and nothing is wrong.
DESCRIBERS = "loom_runner.describers"
_RUN_STATUS = {
    "completed": "ok",
    "waiting": "ok",
    "paused": "ok",
    "failed": "error",
    "parked": "error",
    "cancelled": "cancelled",
}


def write_trace(store: Store, run_id: str, path: str | Path, *, live: TraceResult | None = None) -> None:
    """Write a run's page.

    Raises:
        UnknownRun: There is no such run.
        UsageError: The page cannot be written there.
    """
    try:
        trace_of(store, run_id, live=live).to_html(path)
    except (FlowXrayError, OSError) as exc:
        raise UsageError(f"cannot write the trace of {run_id!r} to {path}: {exc}", run_id=run_id) from exc


@contextmanager
def tracing(
    observe: Callable[[Observer], Callable[[], None]], store: Store, run_id: str, path: str | Path
) -> Iterator[None]:
    """Record what happens in the block and write the run's page at its end, also when it ends by an error."""
    folder = Path(path).parent
    if not folder.is_dir() or Path(path).is_dir():
        raise UsageError(f"cannot write the trace of {run_id!r} to {path}: it is not a file in an existing folder.")
    if not os.access(path if Path(path).exists() else folder, os.W_OK):
        raise UsageError(
            f"cannot write the trace of {run_id!r} to {path}: it may not be written. Choose another place."
        )
    live = _LiveSpans(run_id)
    with trace.capture(name=run_id) as session:
        stop = observe(live)
        try:
            yield
        finally:
            stop()
            live.close_all()
            recorded = session.result()
            if store.get_run(run_id) is not None:
                write_trace(store, run_id, path, live=recorded)


class _LiveSpans:
    """An observer that opens a span for each step and tool call, so that the user's spans find a parent."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._fence = 0
        self._open: dict[str, AbstractContextManager[Span]] = {}

    def __call__(self, event: RunEvent) -> None:
        if event.run_id != self._run_id:
            return
        match event.kind:
            case "run_started":
                self._fence = event.data["fence"]
            case "step_started":
                self._enter(self._step(event), f"step {event.step_index}", "step")
            case "step_committed" | "attempt_failed":
                self._leave(self._step(event))
            case "tool_started":
                self._enter(self._tool(event), event.data["name"], "tool")
            case "tool_finished":
                self._leave(self._tool(event))
            case "run_ended":
                self.close_all()
            case "emitted" if event.data["event"].get("type") != "text":  # a streamed answer is in its step, whole
                trace.tag("emitted", event=event.data["event"])

    def close_all(self) -> None:
        for row_id in reversed(tuple(self._open)):
            self._leave(row_id)

    def _step(self, event: RunEvent) -> str:
        return _step_id(event.run_id, self._fence, event.step_index, event.attempt)

    def _tool(self, event: RunEvent) -> str:
        return _tool_id(event.run_id, event.step_index, event.data["key"], event.data["try"])

    def _enter(self, row_id: str, name: str, kind: str) -> None:
        span = trace.span(name, kind=kind, row_id=row_id)
        span.__enter__()
        self._open[row_id] = span

    def _leave(self, row_id: str) -> None:
        span = self._open.pop(row_id, None)
        if span is not None:
            span.__exit__(None, None, None)


def trace_of(store: Store, run_id: str, *, live: TraceResult | None = None) -> TraceResult:
    """Draw a run from its rows, with the live spans of this process inside.

    Raises:
        UnknownRun: There is no such run.
    """
    run = store.get_run(run_id)
    if run is None:
        raise unknown_run(store, run_id, "trace")
    drawing = _Drawing(store, run)
    spans = drawing.spans()
    if live is not None:
        spans += _rehang(live.spans, spans)
    spans += drawing.described(spans)
    meta: dict[str, Any] = {"run_id": run_id, "status": run.status, "program": run.program, "steps": run.step_index}
    value = None if run.result is None else json.loads(run.result)
    return TraceResult(name=run_id, spans=spans, value=value, meta=meta)


class _Drawing:
    """The rows of one run, on their way to spans."""

    def __init__(self, store: Store, run: RunRecord) -> None:
        self.run = run
        self.steps = list(each_step(store, run.run_id))
        self.attempts = store.attempts(run.run_id)
        self.tools = _each_try(read_tool_calls(store, run.run_id), store.tool_tries(run.run_id))
        self.leases = store.leases(run.run_id)
        self.root = _id("run", run.run_id)
        self.is_abandoned = run.owner is not None and (not run.is_leased or is_gone(run.owner))

    def spans(self) -> list[Span]:
        run = self.run
        status: Any = _RUN_STATUS.get(run.status, "interrupted" if self.is_abandoned else "open")
        root = Span(
            self.root,
            None,
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

    def described(self, spans: list[Span]) -> list[Span]:
        """What the makers of the states say happened in the committed steps, where no live span tells it."""
        describers = list(entry_points(group=DESCRIBERS))
        if not describers:
            return []
        by_id = {span.id: span for span in spans}
        told = {(above, span.kind) for span in spans for above in _ancestors(span, by_id)}
        ends: dict[str | None, int] = {}
        for span in spans:
            if span.kind == "tool" and span.duration_ns is not None:
                ends[span.parent_id] = max(ends.get(span.parent_id, 0), span.started_at_ns + span.duration_ns)
        found: list[Span] = []
        before = json.loads(self.run.input)
        for step in self.steps:
            row = by_id[_step_id(self.run.run_id, step.fence, step.step_index, step.attempts - 1)]
            result = json.loads(self.run.result) if step.outcome == "complete" and self.run.result else None
            facts = [span for entry in describers for span in _described_by(entry, before, row.output, result)]
            for span in facts:
                if (row.id, span.kind) in told:
                    continue
                # A step that calls tools and then something else: the rest of its time is that of the something.
                end = row.started_at_ns + (row.duration_ns or 0)
                span.id = _id("described", row.id, len(found))
                span.parent_id, span.thread = row.id, row.thread
                span.started_at_ns = min(max(row.started_at_ns, ends.get(row.id, 0)), end)
                span.duration_ns = end - span.started_at_ns
                found.append(span)
            before = row.output if row.output is not None else before
        return found

    def _process(self, lease: LeaseRecord) -> Span:
        status: Any = "ok"
        if lease.ended_as is None:
            status = "interrupted" if self.is_abandoned else "open"
        elif lease.ended_as == "lost":
            status = "interrupted"
        elif lease.ended_as in ("failed", "parked"):
            status = "error"
        return Span(
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

    def _of_process(self, lease: LeaseRecord) -> Iterator[Span]:
        """Steps, failed attempts and the step that was cut off, each with the tool calls made in it."""
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
            # Calls of a step that this process did not commit: under its last failed attempt, or the step that was
            # cut off.
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
        """The step that the process took with it when it disappeared."""
        for row in self.attempts:
            if row.fence == lease.fence and row.kind == "interrupted":
                return row.step_index
        return self.run.step_index if lease.ended_at is None and self.is_abandoned else None

    def _step(self, lease: LeaseRecord, step: StepRecord) -> Span:
        return Span(
            _step_id(self.run.run_id, lease.fence, step.step_index, step.attempts - 1),
            self._lease_id(lease),
            f"step {step.step_index}",
            "step",
            step.started_at * 1000,
            (step.ended_at - step.started_at) * 1000,
            "ok",
            output=None if step.state is None else json.loads(step.state),
            meta={"outcome": step.outcome, "attempt": step.attempts} | ({"wait": step.detail} if step.detail else {}),
            thread=f"process {lease.owner.pid}",
        )

    def _failed(self, lease: LeaseRecord, row: AttemptRecord) -> Span:
        started_at = row.ended_at if row.started_at is None else row.started_at
        return Span(
            _step_id(self.run.run_id, lease.fence, row.step_index, row.attempt),
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

    def _interrupted(self, lease: LeaseRecord, step_index: int, calls: list[ToolRecord]) -> Span:
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
        return Span(
            _step_id(self.run.run_id, lease.fence, step_index, attempt),
            self._lease_id(lease),
            f"step {step_index}",
            "step",
            max(started_at, max(before, default=0)) * 1000,
            None,
            "open" if lease.ended_at is None and not self.is_abandoned else "interrupted",
            meta={"attempt": attempt + 1},
            thread=f"process {lease.owner.pid}",
        )

    def _wait(self, lease: LeaseRecord, after: LeaseRecord | None) -> Span:
        ended_at = lease.ended_at or 0
        steps = [step for step in self.steps if step.fence == lease.fence and step.outcome == "wait"]
        name = f"wait for signal {(steps[-1].detail or {}).get('signal')!r}" if steps else "wait for a person"
        return Span(
            _id("wait", self.run.run_id, lease.fence),
            self.root,
            name,
            "wait",
            ended_at * 1000,
            None if after is None else max(after.taken_at - ended_at, 0) * 1000,
            "open" if after is None else "ok",
        )

    def _lease_id(self, lease: LeaseRecord) -> str:
        return _id("lease", self.run.run_id, lease.fence)


def _each_try(calls: list[ToolRecord], tries: list[ToolTry]) -> list[ToolRecord]:
    """Each try of a call as a call of its own: an earlier one belongs to the process that made it."""
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


def _tool(run: RunRecord, call: ToolRecord, parent: Span) -> Span:
    status: Any = {"done": "ok", "failed": "error"}.get(call.status, "interrupted" if call.is_in_doubt else "open")
    return Span(
        _tool_id(run.run_id, call.step_index, call.key, call.tries),
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


def _rehang(live: list[Span], drawn: list[Span]) -> list[Span]:
    """Weave live spans into those drawn from rows: what a row tells is told by the row, where the live span was."""
    by_id = {span.id: span for span in drawn}
    rows = {span.id: str(span.meta["row_id"]) for span in live if span.meta.get("row_id") in by_id}
    kept = []
    for span in live:
        parent = span.parent_id or drawn[0].id
        if span.id not in rows:
            span.parent_id = rows.get(parent, parent)
            kept.append(span)
        elif parent not in rows and parent != drawn[0].id:
            # A tool that the user's own span called belongs under that span, not straight under the step.
            by_id[rows[span.id]].parent_id = parent
    return kept


def _described_by(entry: EntryPoint, before: Any, after: Any, result: Any) -> list[Span]:
    """What one describer tells of a step. A describer that fails tells nothing: the page is drawn all the same."""
    try:
        return list(entry.load()(before, after, result))
    except Exception:  # noqa: BLE001  (code of another package, about states that may be of a third)
        return []


def _ancestors(span: Span, by_id: dict[str, Span]) -> Iterator[str]:
    above = span.parent_id
    while above is not None and above in by_id:
        yield above
        above = by_id[above].parent_id


def _error(error: ErrorInfo | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {"type": error.type, "message": error.message, "traceback": error.traceback or ""}


def _id(*parts: object) -> str:
    """A span id that is the same each time the rows are drawn."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:16]


def _step_id(run_id: str, fence: int, step_index: int, attempt: int) -> str:
    return _id("step", run_id, fence, step_index, attempt)


def _tool_id(run_id: str, step_index: int, key: str, ordinal: int) -> str:
    return _id("tool", run_id, step_index, key, ordinal)
