"""`explain`: what happened to a run, from its rows."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.clock import to_iso
from loom_runner._model.formatting import duration, one_line, plural, shorten
from loom_runner._queries.decisions import decision_texts
from loom_runner._queries.hints import clock_time, module_of, next_commands, waits_for
from loom_runner._queries.liveness import interruption, is_interrupted, shown_status
from loom_runner._queries.views import run_view
from loom_runner._store.in_doubt import read_tool_calls
from loom_runner._store.lookup import read_run
from loom_runner.run_ids import call_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loom_runner._model.approvals import ApprovalRecord
    from loom_runner._model.records import AttemptRecord, LeaseRecord, RunRecord, RunSummary, ToolRecord
    from loom_runner._store.protocol import StoreReader

__all__ = ["Explanation", "explain"]

_SHOWN_EVENTS: Final = 40
_READ_CHILDREN: Final = 1_000
_READ_EVENTS: Final = 500
"""At most this many of the first, and of the last, leases and attempts are read."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What happened to a run. `str()` of it is the text.

    Attributes:
        data: The facts as JSON: the run, its `processes`, `events` in order of time (of very many
            only the first and the last, then `events_left_out` is true), `counts` of its rows, a
            summary of its `tools` calls, its `children`, and the commands that are useful `next`,
            by label.
    """

    data: dict[str, Any]

    def lines(self) -> list[tuple[str, str, str]]:
        """Return rows of (what, text, time); the time may be empty."""
        events = self.data["events"]
        left_out = max(len(events) - _SHOWN_EVENTS, 0)
        if left_out:  # the text shows the beginning and the end; `data` has all events
            events = events[: _SHOWN_EVENTS // 4] + events[len(events) - _SHOWN_EVENTS * 3 // 4 :]
        rows = [(event["what"], event["text"], clock_time(event["at"])) for event in events]
        if left_out:
            rows.insert(_SHOWN_EVENTS // 4, ("...", f"{plural(left_out, 'event')} more (--output json has all)", ""))
        children = self.data["children"]
        rows += [
            ("child", f"{child['run_id']}  {child['status']}  {plural(child['step_index'], 'step')}", "")
            for child in children[:_SHOWN_EVENTS]
        ]
        if len(children) > _SHOWN_EVENTS:
            rows.append(("child", "and more: loom-runner children lists them", ""))
        rows += [(name, one_line(self.data[name]), "") for name in ("tools", "waits", "error") if self.data[name]]
        if self.data["status"] == "completed":
            rows.append(("result", shorten(json.dumps(self.data["result"], ensure_ascii=False), 200), ""))
        return rows

    def __str__(self) -> str:
        head = f"{self.data['run_id']}  {self.data['status']}  {self.data['summary']}"
        lines = self.lines()
        width = max((len(what) for what, _, _ in lines), default=0)
        body = [f"  {what:<{width}}  {text}  {at}".rstrip() for what, text, at in lines]
        return "\n".join([head, *body, *(f"{name}: {command}" for name, command in self.data["next"].items())])


def explain(
    reader: StoreReader, run_id: str, *, command: str = "loom-runner", module: str | None = None
) -> Explanation:
    """Explain what happened to a run.

    Args:
        command: The program that the commands in `next` begin with.
        module: The agent's module, for those commands; by default the one that drove the run last.

    Raises:
        UnknownRun: There is no such run.
    """
    run = read_run(reader, run_id, "explain")
    sums = reader.summary(run_id)
    leases, attempts = _some_leases(reader, run, sums), _some_attempts(reader, run_id, sums)
    doubts = read_tool_calls(reader, run_id, in_doubt=True)
    last = module_of(reader, run_id) or "MODULE"
    work_us = sums.work_us + sums.attempts_us
    approvals, decided = reader.approvals(run_id), reader.tool_calls(run_id, decided_only=True)
    settled = {request.number for request in approvals if request.status != "pending"}
    events = (
        _lease_events(leases, run, len(leases) == sums.leases)
        + _retry_events(attempts, run)
        + _decision_events(approvals, decided)
    )
    events.sort(key=lambda event: str(event["at"]))
    summary = (
        f"{plural(run.step_index, 'step')}, {plural(sums.processes, 'process', 'processes')}, "
        f"{duration(work_us)} of work"
    )
    if run.updated_at - run.created_at > max(2 * work_us, 1_000_000):
        summary += f" over {duration(run.updated_at - run.created_at)}"
    data = run_view(run) | {
        "summary": summary,
        "processes": [_process(lease) for lease in leases],
        "work_ms": work_us / 1000,
        "slowest_step": None
        if sums.slowest_step is None
        else {"step_index": sums.slowest_step, "duration_ms": (sums.slowest_us or 0) / 1000},
        "events": events,
        "events_left_out": len(leases) < sums.leases
        or len(attempts) < sums.failed_attempts + sums.interrupted_attempts,
        "tools": _tools(sums, doubts),
        "doubts": [call_id(run_id, call.number) for call in doubts],
        "counts": _counts(run, sums),
        "waits": waits_for(run, doubts, settled),
        "children": [
            {"run_id": child.run_id, "status": shown_status(child), "step_index": child.step_index}
            for child in reader.children(run_id, limit=_READ_CHILDREN)
        ],
        "error": None if run.error is None else str(run.error),
        "next": next_commands(
            run, doubts, command=command, module=module or last, database=reader.address, decided=settled
        ),
    }
    return Explanation(data)


def _some_leases(reader: StoreReader, run: RunRecord, sums: RunSummary) -> list[LeaseRecord]:
    """Return all leases, or the first and the last of very many."""
    if sums.leases <= 2 * _READ_EVENTS:
        return reader.leases(run.run_id)
    fences = [*range(1, _READ_EVENTS + 1), *range(run.fence - _READ_EVENTS + 1, run.fence + 1)]
    return reader.leases(run.run_id, fences=fences)


def _some_attempts(reader: StoreReader, run_id: str, sums: RunSummary) -> list[AttemptRecord]:
    """Return all attempts that did not commit, or the first and the last of very many."""
    if sums.failed_attempts + sums.interrupted_attempts <= 2 * _READ_EVENTS:
        return reader.attempts(run_id)
    return reader.attempts(run_id, limit=_READ_EVENTS) + reader.attempts(run_id, limit=_READ_EVENTS, newest=True)


def _lease_events(leases: list[LeaseRecord], run: RunRecord, is_whole: bool) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    for lease, after in itertools.zip_longest(leases, leases[1:]):
        if not is_whole and after is not None and after.fence != lease.fence + 1:
            continue  # the next lease was not read
        if lease.ended_as == "paused":
            events.append(_event("paused", f"{_before(after, run)}: {lease.note}", lease.ended_at))
        elif lease.ended_as == "interrupted":
            events.append(
                _event("interrupted", f"process {lease.owner.pid} was {lease.note or 'stopped'}", lease.ended_at)
            )
        elif lease.ended_as == "lost" and after is not None:
            gap = after.taken_at - (lease.ended_at or after.taken_at)
            text = (
                f"in step {after.first_step}: process {lease.owner.pid} disappeared, taken over after {duration(gap)}"
            )
            events.append(_event("interrupted", text, lease.ended_at))
        elif lease.ended_as == "waiting":
            waited = "" if after is None else f", {duration(after.taken_at - (lease.ended_at or 0))}"
            events.append(_event("waited", f"{_before(after, run)}: for {lease.note}{waited}", lease.ended_at))
        elif lease.ended_as is None and is_interrupted(run):
            text = f"in step {run.step_index}: {interruption(run)}"
            events.append(_event("interrupted", text, run.updated_at))
        elif lease.ended_as in ("failed", "parked"):
            events.append(_event(lease.ended_as, f"in step {_step(after, run)}", lease.ended_at))
        if after is not None and after.code != lease.code:
            text = f"changed before step {after.first_step} ({after.code_at})"
            events.append(_event("code", text, after.taken_at))
    return events


def _decision_events(approvals: list[ApprovalRecord], decided: list[ToolRecord]) -> list[dict[str, Any]]:
    """Return who decided what about approval requests and calls in doubt."""
    events = [
        _event("decided", text, each.at if each is not None else request.expires_at)
        for request in approvals
        for text, each in zip(decision_texts(request), request.decisions or (None,), strict=False)
    ]
    for call in decided:
        how = {"done": "its result was given", "failed": "skipped"}.get(call.status, "to be run again")
        text = f"{call_id(call.run_id, call.number)} {call.name} {how} by {call.decided_by}"
        events.append(_event("decided", text, call.ended_at or call.started_at))
    return events


def _before(after: LeaseRecord | None, run: RunRecord) -> str:
    return f"before step {_step(after, run)}"


def _step(after: LeaseRecord | None, run: RunRecord) -> int:
    """Return the step at which a process left the run: the first of the next process, or the run's
    next step.
    """
    return run.step_index if after is None else after.first_step


def _retry_events(attempts: list[AttemptRecord], run: RunRecord) -> list[dict[str, Any]]:
    by_step: dict[int, list[AttemptRecord]] = {}
    for row in attempts:
        if row.kind == "failed":
            by_step.setdefault(row.step_index, []).append(row)
    events = []
    for step_index, rows in by_step.items():
        last = rows[-1]
        tries = len(rows) + (step_index < run.step_index)
        waited_us = sum(row.retry_at - row.ended_at for row in rows if row.retry_at is not None)
        text = f"step {step_index}: {plural(tries, 'attempt')}, {last.error.type} ({last.error.category})"
        if waited_us:
            text += f", waited {duration(waited_us)}"
        events.append(_event("retried" if tries > 1 else "failed", text, last.ended_at))
    return events


def _event(what: str, text: str, at: int | None) -> dict[str, Any]:
    return {"what": what, "text": text, "at": None if at is None else to_iso(at)}


def _counts(run: RunRecord, sums: RunSummary) -> dict[str, int]:
    """Return the numbers of rows that `history`, `attempts`, `tool-calls` and the trace show."""
    interrupted = sums.interrupted_attempts + is_interrupted(run)
    return {
        "steps": sums.steps,
        "attempts": sums.steps + sums.failed_attempts + interrupted,
        "failed_attempts": sums.failed_attempts,
        "interrupted_attempts": interrupted,
        "tool_calls": sums.tool_calls,
        "failed_tool_calls": sums.tool_failed,
        "leases": sums.leases,
        "processes": sums.processes,
    }


def _process(lease: LeaseRecord) -> dict[str, Any]:
    return {
        "pid": lease.owner.pid,
        "fence": lease.fence,
        "first_step": lease.first_step,
        "taken_at": to_iso(lease.taken_at),
        "ended_at": None if lease.ended_at is None else to_iso(lease.ended_at),
        "ended_as": lease.ended_as,
        "code": lease.code,
        "code_at": lease.code_at,
    }


def _tools(sums: RunSummary, doubts: list[ToolRecord]) -> str | None:
    if not sums.tool_calls:
        return None
    parts = [plural(sums.tool_calls, "call")]
    if sums.tool_failed:
        parts.append(f"{sums.tool_failed:,} failed")
    again = sums.tool_repeated - sum(call.tries > 1 for call in doubts)
    if again > 0:
        parts.append(f"{again:,} in doubt and retried with its key ({_names(sums.repeated_names, again)})")
    if sums.tool_decided_by:
        parts.append(f"decided by {', '.join(sums.tool_decided_by)}")
    if doubts:
        parts.append(
            f"{len(doubts)} in doubt ({_names([(call.name, call.step_index) for call in doubts], len(doubts))})"
        )
    return ", ".join(parts)


def _names(calls: Sequence[tuple[str, int]], count: int) -> str:
    shown = ", ".join(f"{name}, step {step_index}" for name, step_index in calls[:3])
    return shown + ("; ..." if count > 3 else "")
