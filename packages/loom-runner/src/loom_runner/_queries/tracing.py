"""Traces of runs. Only this module uses flow_xray.

The page is built from the rows, so it shows every process that ever drove the run, including those
that crashed. While this process drives a run, `tracing` also records the spans of the user's code
(model calls, functions); these live spans become children of the row's span of the step or tool
call in which they happened.

The rows hold a program's states, but not their meaning. A package that defines states may register
a function in the entry-point group `loom_runner.describers`:

    describe_step(before: JSON, after: JSON | None, result: JSON | None) -> list[Span]

It is called with the state before a committed step, the state after it and the result (each None if
there is none), and returns what happened in the step as spans without ids and times: name, kind,
input, output, meta. For states of other programs it returns none. So the page shows the model calls
of every process. If a step has a live span of the same kind, the described span is omitted.
"""

from __future__ import annotations

import hashlib
import json
import os
from bisect import bisect_right
from collections import Counter
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow_xray import FlowXrayError, Span, TraceResult, trace

from loom_runner._model.formatting import plural
from loom_runner._model.stored_json import stored_json
from loom_runner._queries.liveness import shown_status
from loom_runner._queries.row_spans import RowSpan, row_id, step_id, tool_id
from loom_runner._queries.tree_spans import run_tree_spans
from loom_runner._queries.views import each_step
from loom_runner._store.lookup import read_run
from loom_runner.errors import UsageError
from loom_runner.run_ids import is_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from importlib.metadata import EntryPoint

    from loom_runner._model.events import Observer, RunEvent
    from loom_runner._queries.run_trace import RunSpans
    from loom_runner._store.protocol import StoreReader

__all__ = ["golden_trace", "trace_of", "tracing", "write_diff", "write_trace"]

DESCRIBERS = "loom_runner.describers"
_FOLDED = {
    "folded_steps": "step",
    "folded_attempts": "failed attempt",
    "folded_calls": "tool call",
    "folded_runs": "child run",
}
"""What a span of folded rows counts, by its fact."""


def write_trace(reader: StoreReader, run_id: str, path: str | Path, *, live: TraceResult | None = None) -> str | None:
    """Write a run's trace page; return what it folds, as a sentence for people, None if nothing.

    Raises:
        UnknownRun: There is no such run.
        UsageError: The page cannot be written.
    """
    try:
        result = trace_of(reader, run_id, live=live)
        result.to_html(path)
    except (FlowXrayError, OSError) as exc:
        raise UsageError(f"cannot write the trace of {run_id!r} to {path}: {exc}", run_id=run_id) from exc
    folded = result.meta.get("folded")
    return None if folded is None else str(folded)


@contextmanager
def tracing(
    observe: Callable[[Observer], Callable[[], None]],
    reader: StoreReader,
    run_id: str,
    path: str | Path,
    *,
    on_folded: Callable[[str], object] | None = None,
) -> Iterator[None]:
    """Record the block and write the run's page at its end, also after an error.

    Args:
        on_folded: Called with what the page folds, if it folds anything.
    """
    target = Path(path).absolute()  # a step may change the current folder
    folder = target.parent
    if not folder.is_dir() or Path(path).is_dir():
        raise UsageError(f"cannot write the trace of {run_id!r} to {path}: it is not a file in an existing folder.")
    if not os.access(path if Path(path).exists() else folder, os.W_OK):
        raise UsageError(f"cannot write the trace of {run_id!r} to {path}: it is not writable. Choose another place.")
    live = _LiveSpans(run_id)
    with trace.capture(name=run_id) as session:
        stop = observe(live)
        try:
            yield
        finally:
            stop()
            live.close_all()
            recorded = session.result()
            if reader.get_run(run_id) is not None:
                folded = write_trace(reader, run_id, target, live=recorded)
                if folded is not None and on_folded is not None:
                    on_folded(folded)


class _LiveSpans:
    """An observer that opens a span for each step and tool call, as the parent of the user's
    spans.
    """

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._fences: dict[str, int] = {}
        self._open: dict[str, AbstractContextManager[Span]] = {}

    def __call__(self, event: RunEvent) -> None:
        if not is_within(event.run_id, self._run_id):
            return
        match event.kind:
            case "run_started":
                self._fences[event.run_id] = event.data["fence"]
            case "step_started":
                self._enter(self._step(event), f"step {event.step_index}", "step")
            case "step_committed" | "attempt_failed":
                self._leave(self._step(event))
            case "tool_started":
                self._enter(self._tool(event), event.data["name"], "tool")
            case "tool_finished":
                self._leave(self._tool(event))
            case "run_ended" if event.run_id == self._run_id:
                self.close_all()
            case "emitted" if event.data["event"].get("type") != "text":  # the step's output contains the whole text
                trace.tag("emitted", event=event.data["event"])

    def close_all(self) -> None:
        for name in reversed(tuple(self._open)):
            self._leave(name)

    def _step(self, event: RunEvent) -> str:
        return step_id(event.run_id, self._fences.get(event.run_id, 0), event.step_index, event.attempt)

    def _tool(self, event: RunEvent) -> str:
        return tool_id(event.run_id, event.step_index, event.data["key"], event.data["try"])

    def _enter(self, row: str, name: str, kind: str) -> None:
        span = trace.span(name, kind=kind, row_id=row)
        span.__enter__()
        self._open[row] = span

    def _leave(self, row: str) -> None:
        span = self._open.pop(row, None)
        if span is not None:
            span.__exit__(None, None, None)


def trace_of(reader: StoreReader, run_id: str, *, live: TraceResult | None = None) -> TraceResult:
    """Return the trace of a run from its rows, with the live spans of this process.

    Raises:
        UnknownRun: There is no such run.
    """
    run = read_run(reader, run_id, "trace")
    tree = list(run_tree_spans(reader, run))
    spans = [_span(row) for _, rows in tree for row in rows]
    if live is not None:
        spans += _merge_live(live.spans, spans)
    for run_spans, _ in tree:
        spans += _described(reader, run_spans, spans)
    meta: dict[str, Any] = {
        "run_id": run_id,
        "status": shown_status(run),
        "program": run.program,
        "steps": run.step_index,
    }
    folded = _folded(spans)
    if folded is not None:
        meta["folded"] = spans[0].meta["folded"] = folded
    value = None if run.result is None else stored_json(run.result)
    return TraceResult(name=run_id, spans=spans, value=value, meta=meta)


def _folded(spans: list[Span]) -> str | None:
    """Return what a trace folds, as a sentence; None if nothing."""
    sums: Counter[str] = Counter()
    for span in spans:
        for name, what in _FOLDED.items():
            count = span.meta.get(name)
            if isinstance(count, int):
                sums[what] += count
    if not sums:
        return None
    counted = ", ".join(plural(count, what) for what, count in sums.items())
    return f"folded, with their sums in one row each: {counted}"


def golden_trace(reader: StoreReader, run_id: str) -> str:
    """Return a run's trace as reproducible JSON, without times, process ids and code lines."""
    result = trace_of(reader, run_id)
    threads: dict[str, str] = {}
    for at, span in enumerate(result.spans):
        name = threads.setdefault(span.thread, f"process {len(threads)}" if span.thread else "")
        span.name = name if span.name == span.thread else span.name
        span.thread = name
        span.started_at_ns = at * 1_000_000
        span.duration_ns = None if span.duration_ns is None else 1_000_000
        if span.error is not None:
            span.error = {**span.error, "traceback": ""}
        for moving in ("code", "at", "call", "sent_at"):
            span.meta.pop(moving, None)
        if span.kind == "wait" and isinstance(span.input, list):
            span.input = [_without_times(request) for request in span.input]
        wait = span.meta.get("wait")
        if isinstance(wait, dict):
            span.meta["wait"] = {name: value for name, value in wait.items() if name != "until"}
    plain = TraceResult(name=run_id, spans=result.spans, value=result.value, meta={"run_id": run_id}).to_json()
    return json.dumps(stored_json(plain) | {"trace_id": hashlib.sha256(run_id.encode()).hexdigest()[:32]})


def _without_times(request: Any) -> Any:
    """Return an approval request on a wait span without the times in it."""
    kept = {name: value for name, value in request.items() if not name.endswith("_at")}
    if "decisions" in kept:
        kept["decisions"] = [{**each, "at": ""} for each in kept["decisions"]]
    return kept


def write_diff(before: str, after: str, path: Path) -> None:
    """Write the page that shows two traces (JSON) side by side."""
    TraceResult.from_json(before).diff(TraceResult.from_json(after)).to_html(path)


def _span(row: RowSpan) -> Span:
    return Span(**{one.name: getattr(row, one.name) for one in fields(row)})


def _described(reader: StoreReader, run_spans: RunSpans, spans: list[Span]) -> list[Span]:
    """Return the spans of the describers for the committed steps, except where a live span of the
    kind exists. Below a span of folded steps they are added up by name, kind and model.
    """
    describers = list(entry_points(group=DESCRIBERS))
    if not describers:
        return []
    by_id = {span.id: span for span in spans}
    live_kinds = {(above, span.kind) for span in spans for above in _ancestors(span, by_id)}
    ends: dict[str | None, int] = {}
    for span in spans:
        if span.kind == "tool" and span.duration_ns is not None:
            ends[span.parent_id] = max(ends.get(span.parent_id, 0), span.started_at_ns + span.duration_ns)
    found: list[Span] = []
    sums: dict[tuple[str, str, str, str], Span] = {}
    gaps = sorted((first, stop, span.id) for first, stop, span in run_spans.gaps)
    before, expected = stored_json(run_spans.run.input), 0
    for step in each_step(reader, run_spans.run.run_id) if gaps else run_spans.steps:
        row = by_id.get(step_id(run_spans.run.run_id, step.fence, step.step_index, step.attempts - 1))
        after = None if step.state is None else stored_json(step.state)
        is_known = step.step_index == expected  # the state before is unknown if retention deleted its step
        expected = step.step_index + 1
        if is_known and row is None and (place := _gap_of(gaps, step.step_index)) is not None:
            for entry in describers:
                for span in _described_by(entry, before, after, None):
                    _add_up(sums, span, by_id[place])
        if row is None or not is_known:
            before = after if after is not None or not is_known else before
            continue
        result = stored_json(run_spans.run.result) if step.outcome == "complete" and run_spans.run.result else None
        facts = [span for entry in describers for span in _described_by(entry, before, row.output, result)]
        for span in facts:
            if (row.id, span.kind) in live_kinds:
                continue
            # The described span gets the time of the step after its last tool call.
            end = row.started_at_ns + (row.duration_ns or 0)
            span.id = row_id("described", row.id, len(found))
            span.parent_id, span.thread = row.id, row.thread
            span.started_at_ns = min(max(row.started_at_ns, ends.get(row.id, 0)), end)
            span.duration_ns = end - span.started_at_ns
            found.append(span)
        before = row.output if row.output is not None else before
    return found + list(sums.values())


def _gap_of(gaps: list[tuple[int, int, str]], step_index: int) -> str | None:
    """Return the span of the folded steps that contain a step."""
    at = bisect_right(gaps, step_index, key=lambda gap: gap[0]) - 1
    return gaps[at][2] if at >= 0 and step_index < gaps[at][1] else None


def _add_up(sums: dict[tuple[str, str, str, str], Span], span: Span, place: Span) -> None:
    """Add a described span of a folded step to the one that stands for all of its name."""
    key = (place.id, span.name, span.kind, str(span.meta.get("model")))
    total = sums.get(key)
    if total is None:
        total = sums[key] = replace(
            span,
            id=row_id("described", *key),
            parent_id=place.id,
            started_at_ns=place.started_at_ns,
            duration_ns=place.duration_ns,
            input=None,
            output=None,
            meta={"model": span.meta["model"]} if "model" in span.meta else {},
            thread=place.thread,
        )
    numbers: dict[str, Any] = {"spans": 1}
    numbers |= {name: value for name, value in span.meta.items() if name.endswith("_tokens") or name == "cost_usd"}
    meta: dict[str, Any] = total.meta
    for name, value in numbers.items():
        if type(value) in (int, float):
            meta[name] = meta.get(name, 0) + value


def _merge_live(live: list[Span], drawn: list[Span]) -> list[Span]:
    """Add live spans to those of the rows; return the added ones. A live span of a row is replaced
    by the row's.
    """
    by_id = {span.id: span for span in drawn}
    rows = {span.id: str(span.meta["row_id"]) for span in live if span.meta.get("row_id") in by_id}
    kept = []
    is_folded = any("folded_steps" in span.meta for span in drawn)
    folded: set[str] = set()
    for span in live:  # parents come before their children
        if is_folded and (span.parent_id in folded or ("row_id" in span.meta and span.id not in rows)):
            folded.add(span.id)
            continue
        parent = span.parent_id or drawn[0].id
        if span.id not in rows:
            span.parent_id = rows.get(parent, parent)
            kept.append(span)
        elif parent not in rows and parent != drawn[0].id:
            # A tool call inside a span of the user is a child of that span, not of the step.
            by_id[rows[span.id]].parent_id = parent
    return kept


def _described_by(entry: EntryPoint, before: Any, after: Any, result: Any) -> list[Span]:
    """Return the spans of one describer for a step; none if the describer fails."""
    try:
        return list(entry.load()(before, after, result))
    except Exception:  # noqa: BLE001  (code of another package must not prevent the page)
        return []


def _ancestors(span: Span, by_id: dict[str, Span]) -> Iterator[str]:
    above = span.parent_id
    while above is not None and above in by_id:
        yield above
        above = by_id[above].parent_id
