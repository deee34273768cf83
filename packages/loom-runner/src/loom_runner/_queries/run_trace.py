"""A run's rows as a tree of plain spans, without live spans.

The tree: the run; below it each process that held the run, and the waits between them; below a
process its attempts of steps: committed, failed and interrupted ones; below an attempt the tool
calls that it started; below a wait for children, the children. Of a long run, most steps are folded
(see `folded_spans`).

A process that disappeared has no recorded end. What it was doing then ends, in the trace, when it
last renewed its lease: so long it was certainly alive.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from loom_runner._model.stored_json import stored_json
from loom_runner._model.waits import ChildrenWait
from loom_runner._queries.call_spans import call_span, calls_of_attempts, each_try
from loom_runner._queries.folded_spans import (
    DRAWN_OF_EACH,
    FOLDED_ABOVE,
    fold_of_calls,
    fold_of_steps,
    head_and_tail,
    ranges_to_draw,
)
from loom_runner._queries.liveness import is_interrupted, shown_status
from loom_runner._queries.row_spans import RowSpan, SpanStatus, error_json, row_id, step_id
from loom_runner._queries.views import each_step
from loom_runner._queries.wait_spans import wait_span
from loom_runner._store.in_doubt import with_liveness

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loom_runner._model.records import AttemptRecord, LeaseRecord, RunRecord, StepRecord, ToolRecord
    from loom_runner._store.protocol import StoreReader

__all__ = ["RunSpans"]

# A waiting or paused run is neither active nor failed, so its span is `ok`.
_RUN_STATUS: dict[str, SpanStatus] = {
    "completed": "ok",
    "waiting": "ok",
    "paused": "ok",
    "failed": "error",
    "parked": "error",
    "cancelled": "cancelled",
}
_ALL: Final = 1 << 32


class RunSpans:
    """The rows of one run, converted to spans.

    Args:
        parent: The spans of the parent run. This run is below the parent's wait for it, or the step
            that started it.

    Attributes:
        steps: The committed steps that are drawn.
        gaps: The ranges of steps that are folded, with their span; set by `spans`.
    """

    def __init__(self, reader: StoreReader, run: RunRecord, parent: RunSpans | None = None) -> None:
        self.run = run
        self.root = row_id("run", run.run_id)
        self.is_interrupted = is_interrupted(run)
        self.gaps: list[tuple[int, int, RowSpan]] = []
        self._reader = reader
        self._parent = parent
        size = reader.size_of_run(run.run_id)
        self._ranges = [(0, _ALL)] if size.rows <= FOLDED_ABOVE else ranges_to_draw(reader, run)
        drawn = [index for first, stop in self._ranges[:-1] for index in range(first, stop)]
        if size.rows <= FOLDED_ABOVE:
            self.steps = list(each_step(reader, run.run_id))
        else:
            drawn += range(self._ranges[-1][0], min(self._ranges[-1][1], run.step_index + 1))
            self.steps = [step for each in self._ranges for step in _steps_of(reader, run.run_id, *each)]
        self.leases = self._read_leases(size.leases, drawn)
        self._steps_by_fence = _by_fence(self.steps)
        self._attempts: dict[int, list[AttemptRecord]] = {}
        self._calls: dict[int, list[ToolRecord]] = {}
        for bounds in self._ranges:
            for attempt in reader.attempts(run.run_id, first=bounds[0], stop=bounds[1]):
                self._attempts.setdefault(attempt.fence, []).append(attempt)
            calls = [with_liveness(call) for call in reader.tool_calls(run.run_id, steps=bounds)]
            for call in each_try(calls, reader.tool_tries(run.run_id, steps=bounds), self.leases):
                self._calls.setdefault(call.fence, []).append(call)
        self._approvals = reader.approvals(run.run_id)
        self._decided = reader.tool_calls(run.run_id, decided_only=True)
        self._signals = [one for one in reader.signals(run.run_id) if one.taken_in_step is not None]
        self._places: dict[str, str] | None = None

    def _read_leases(self, count: int, drawn: Sequence[int]) -> list[LeaseRecord]:
        """Return the leases to draw: all, or those of the drawn steps, the first and the last."""
        if count <= 2 * DRAWN_OF_EACH:
            return self._reader.leases(self.run.run_id)
        fences = {1, self.run.fence, *self._reader.fences_of_steps(self.run.run_id, drawn)}
        # A wait ends with the lease after it.
        return self._reader.leases(self.run.run_id, fences=sorted(fences | {fence + 1 for fence in fences}))

    def spans(self) -> list[RowSpan]:
        """Return the spans of the run, parents before children."""
        root = self._root()
        spans = [root]
        step_after = 0
        previous: LeaseRecord | None = None
        for lease, after in itertools.zip_longest(self.leases, self.leases[1:]):
            if previous is not None and lease.fence > previous.fence + 1 and step_after < lease.first_step:
                spans += self._folds(step_after, lease.first_step, self.root, "", between=True)
            stop = self.run.step_index if after is None else after.first_step
            is_last_known = after is None or after.fence > lease.fence + 1
            if is_last_known and after is not None:
                stop = max([step.step_index + 1 for step in self._steps_by_fence.get(lease.fence, [])], default=0)
                stop = max(stop, lease.first_step)
            spans.append(self._process(lease))
            spans += self._of_process(lease)
            spans += self._folds(lease.first_step, stop, self._lease_id(lease), _thread(lease), between=False)
            if lease.ended_as == "waiting" and lease.ended_at is not None:
                spans.append(self._wait(lease, None if is_last_known else after))
            step_after, previous = stop, lease
        return spans

    def _root(self) -> RowSpan:
        run = self.run
        status: SpanStatus = _RUN_STATUS.get(run.status, "interrupted" if self.is_interrupted else "open")
        ended_at = None if status == "open" else run.updated_at
        if status == "interrupted":
            ended_at = max(run.updated_at, run.renewed_at or 0)
        meta = {"run_id": run.run_id, "status": shown_status(run), "steps": run.step_index}
        if run.spent_tokens or run.spent_cost_usd:
            meta |= {"spent_tokens": run.spent_tokens, "spent_cost_usd": run.spent_cost_usd}
        return RowSpan(
            self.root,
            None if self._parent is None else self._parent.place_of(run.run_id),
            run.run_id,
            "agent",
            run.created_at * 1000,
            None if ended_at is None else max(ended_at - run.created_at, 0) * 1000,
            status,
            stored_json(run.input),
            None if run.result is None else stored_json(run.result),
            error_json(run.error),
            meta=meta,
        )

    def place_of(self, child: str) -> str:
        """Return the parent span of a child: the wait for it, else the step that started it, else
        the run.
        """
        if self._places is None:
            self._places = {}
            waits = {lease.fence for lease in self.leases if lease.ended_as == "waiting"}
            for step in self.steps:
                if isinstance(step.wait, ChildrenWait):
                    place = row_id("wait", self.run.run_id, step.fence)
                    if step.fence not in waits:
                        place = step_id(self.run.run_id, step.fence, step.step_index, step.attempts - 1)
                    self._places |= dict.fromkeys(step.wait.children, place)
        return self._places.get(child, self.root)

    def _process(self, lease: LeaseRecord) -> RowSpan:
        status: SpanStatus = "ok"
        ended_at = lease.ended_at
        if lease.ended_as is None:
            status = "interrupted" if self.is_interrupted else "open"
            ended_at = self._alive_until(lease)
        elif lease.ended_as == "lost":
            status = "interrupted"
        elif lease.ended_as in ("failed", "parked"):
            status = "error"
        return RowSpan(
            self._lease_id(lease),
            self.root,
            _thread(lease),
            "function",
            lease.taken_at * 1000,
            None if ended_at is None else max(ended_at - lease.taken_at, 0) * 1000,
            status,
            meta={"first_step": lease.first_step, "ended_as": lease.ended_as, "code": lease.code, "at": lease.code_at},
            thread=_thread(lease),
        )

    def _alive_until(self, lease: LeaseRecord) -> int | None:
        """Return when a process that did not end its lease was last alive; None if it still is."""
        if lease.ended_at is not None or not self.is_interrupted:
            return lease.ended_at
        return self.run.renewed_at or self.run.updated_at

    def _of_process(self, lease: LeaseRecord) -> Iterator[RowSpan]:
        """Yield the attempts of a process, each with the tool calls that it started."""
        calls: dict[int, list[ToolRecord]] = {}
        for call in self._calls.get(lease.fence, []):
            calls.setdefault(call.step_index, []).append(call)
        attempts: dict[int, list[RowSpan]] = {}
        failed: dict[int, list[AttemptRecord]] = {}
        for row in self._attempts.get(lease.fence, []):
            if row.kind == "failed":
                failed.setdefault(row.step_index, []).append(row)
        for step_index, rows in failed.items():
            first, folded, last = head_and_tail(rows)
            attempts[step_index] = [self._failed(lease, row) for row in (*first, *last)]
            if folded:
                span = self._failed(lease, folded[0])
                span.id, span.name = (
                    row_id("fold", span.id),
                    f"{len(folded):,} failed attempts more of step {step_index}",
                )
                span.duration_ns = (folded[-1].ended_at - folded[0].ended_at) * 1000
                span.meta = {"folded_attempts": len(folded)}
                attempts[step_index].append(span)
        for step in self._steps_by_fence.get(lease.fence, []):
            attempts.setdefault(step.step_index, []).append(self._step(lease, step))
        committed = {step.step_index for step in self._steps_by_fence.get(lease.fence, [])}
        cut_off = self._cut_off(lease)
        for step_index, made in calls.items():
            latest = max((row.ended_at for row in failed.get(step_index, [])), default=None)
            after = [call for call in made if latest is None or call.started_at > latest]
            if step_index not in committed and step_index != cut_off and after:
                # An attempt that wrote no row of its own: it waits for a person, or it still runs.
                attempts.setdefault(step_index, []).append(self._unrecorded(lease, step_index, after))
        if cut_off is not None:
            latest = max((row.ended_at for row in failed.get(cut_off, [])), default=0)
            after = [call for call in calls.get(cut_off, []) if call.started_at > latest]
            attempts.setdefault(cut_off, []).append(self._unrecorded(lease, cut_off, after))
        for step_index in sorted(attempts):
            spans = sorted(attempts[step_index], key=lambda span: span.started_at_ns)
            yield from spans
            for span, made in calls_of_attempts(spans, calls.get(step_index, [])):
                first_calls, folded_calls, last_calls = head_and_tail(made)
                yield from (call_span(self.run, call, span) for call in (*first_calls, *last_calls))
                if folded_calls:
                    yield fold_of_calls(self.run.run_id, folded_calls, span)

    def _cut_off(self, lease: LeaseRecord) -> int | None:
        """Return the step in which the process disappeared; None if it did not."""
        for row in self._attempts.get(lease.fence, []):
            if row.kind == "interrupted":
                return row.step_index
        return self.run.step_index if lease.ended_at is None and self.is_interrupted else None

    def _step(self, lease: LeaseRecord, step: StepRecord) -> RowSpan:
        return RowSpan(
            step_id(self.run.run_id, lease.fence, step.step_index, step.attempts - 1),
            self._lease_id(lease),
            f"step {step.step_index}",
            "step",
            step.started_at * 1000,
            (step.ended_at - step.started_at) * 1000,
            "ok",
            output=None if step.state is None else stored_json(step.state),
            meta={"outcome": step.outcome, "attempt": step.attempts}
            | ({} if step.wait is None else {"wait": step.wait.as_json()}),
            thread=_thread(lease),
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
            error=error_json(row.error),
            meta={"attempt": row.attempt + 1},
            thread=_thread(lease),
        )

    def _unrecorded(self, lease: LeaseRecord, step_index: int, calls: Sequence[ToolRecord]) -> RowSpan:
        """Return the span of an attempt without a row: it was interrupted, waits, or still runs."""
        before = [lease.taken_at, *(step.ended_at for step in self._steps_by_fence.get(lease.fence, []))]
        before += [row.ended_at for row in self._attempts.get(lease.fence, []) if row.kind == "failed"]
        started_at = max(min((call.started_at for call in calls), default=max(before)), *before)
        cut_off = [row for row in self._attempts.get(lease.fence, []) if row.kind == "interrupted"]
        attempt = cut_off[0].attempt if cut_off else self.run.failures + self.run.crashes
        status: SpanStatus = "interrupted"
        ended_at = self._alive_until(lease)
        if lease.ended_as == "waiting":
            status = "ok"
        elif lease.ended_as == "cancelled":
            status = "cancelled"
        elif ended_at is None:
            status = "open"
        ends = [ended_at, *(call.ran_until for call in calls)]
        span = RowSpan(
            step_id(self.run.run_id, lease.fence, step_index, attempt),
            self._lease_id(lease),
            f"step {step_index}",
            "step",
            started_at * 1000,
            None
            if ended_at is None
            else (max(started_at, *(end for end in ends if end is not None)) - started_at) * 1000,
            status,
            meta={"attempt": attempt + 1},
            thread=_thread(lease),
        )
        if cut_off:
            span.error = error_json(cut_off[0].error)
        if lease.ended_as == "waiting":
            span.meta["outcome"] = f"waits for {lease.note or 'a person'}"
        return span

    def _wait(self, lease: LeaseRecord, after: LeaseRecord | None) -> RowSpan:
        steps = [step for step in self._steps_by_fence.get(lease.fence, []) if step.wait]
        step = steps[-1] if steps and after is not None and steps[-1].step_index + 1 == after.first_step else None
        if after is None and steps and steps[-1].step_index + 1 == self.run.step_index:
            step = steps[-1]
        # A wait for a person ends an attempt without committing its step.
        is_for_person = step is None or (lease.note or "").startswith(("a decision about ", "the approval of "))
        return wait_span(
            self.run,
            lease,
            after,
            parent_id=self.root,
            wait=None if is_for_person or step is None else step.wait,
            approvals=self._approvals,
            decided=self._decided,
            signals=[] if step is None else [one for one in self._signals if one.taken_in_step == step.step_index + 1],
        )

    def _folds(self, first: int, stop: int, parent_id: str, thread: str, *, between: bool) -> Iterator[RowSpan]:
        """Yield one span for each group of steps in a range that are not drawn.

        Args:
            between: The steps are those of processes that are not drawn.
        """
        for start, end in _gaps(self._ranges, first, stop):
            sums = self._reader.folded_steps(self.run.run_id, start, end)
            if not sums.count:  # retention deleted them
                continue
            processes = sums.fences[1] - sums.fences[0] + 1 if between else 0
            span = fold_of_steps(
                self.run.run_id, start, end, sums, parent_id=parent_id, thread=thread, processes=processes
            )
            self.gaps.append((start, end, span))
            yield span

    def _lease_id(self, lease: LeaseRecord) -> str:
        return row_id("lease", self.run.run_id, lease.fence)


def _steps_of(reader: StoreReader, run_id: str, first: int, stop: int) -> Iterator[StepRecord]:
    while first < stop and (page := reader.steps(run_id, first=first, limit=min(stop - first, 100))):
        yield from (step for step in page if step.step_index < stop)
        first = page[-1].step_index + 1


def _gaps(ranges: Sequence[tuple[int, int]], first: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a range that no drawn range covers."""
    for start, end in ranges:
        if start >= stop:
            break
        if start > first:
            yield first, start
        first = max(first, end)
    if first < stop:
        yield first, stop


def _by_fence(steps: Sequence[StepRecord]) -> dict[int, list[StepRecord]]:
    found: dict[int, list[StepRecord]] = {}
    for step in steps:
        found.setdefault(step.fence, []).append(step)
    return found


def _thread(lease: LeaseRecord) -> str:
    return f"process {lease.owner.pid}"
