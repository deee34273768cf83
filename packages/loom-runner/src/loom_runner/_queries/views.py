"""Rows as plain JSON, with ISO times and durations in milliseconds.

The commands `history`, `attempts`, `tool-calls`, `list` and `get` print these objects, and
`AgentRunner` returns them.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.clock import to_iso
from loom_runner._model.records import ErrorInfo
from loom_runner._model.stored_json import stored_json
from loom_runner._queries.liveness import interruption, is_interrupted, shown_status
from loom_runner.errors import StateDecodeError, StoreDamaged
from loom_runner.run_ids import call_id, request_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loom_runner._model.approvals import ApprovalRecord
    from loom_runner._model.records import AttemptRecord, RunRecord, StepRecord, ToolRecord, ToolTry
    from loom_runner._store.protocol import StoreReader

__all__ = [
    "approval_view",
    "attempt_view",
    "attempt_views",
    "each_step",
    "run_view",
    "step_view",
    "step_views",
    "tool_view",
    "try_view",
]


_ALL: Final = 1 << 32
"""A number above that of every step."""
_PAGE_STEPS: Final = 100
"""Steps per page. Each may contain a state of a megabyte."""


def run_view(run: RunRecord) -> dict[str, Any]:
    """Return a run as plain JSON.

    `status` is `interrupted`, and `interrupted` says why, if the row says *running* and its process
    is gone.
    """
    return {
        "run_id": run.run_id,
        "status": shown_status(run),
        "step_index": run.step_index,
        "state": _loads(run.state, run),
        "result": None if run.result is None else _loads(run.result, run),
        "error": _error(run.error),
        "wait": run.wait.as_json() if run.wait is not None and run.status == "waiting" else None,
        "program": run.program,
        "parent_run_id": run.parent_run_id,
        "input": _loads(run.input, run),
        "attempt": run.failures + run.crashes,
        "retry_or_deadline_at": _iso(run.due_at),
        "held_by": {"pid": run.owner.pid, "lease_left_s": run.lease_left_s}
        if run.owner and run.is_leased and not is_interrupted(run)
        else None,
        "interrupted": interruption(run),
        "created_at": to_iso(run.created_at),
        "updated_at": to_iso(run.updated_at),
    }


def step_view(step: StepRecord) -> dict[str, Any]:
    """Return a committed step as plain JSON; `state` is the checkpoint after it."""
    return {
        "step_index": step.step_index,
        "outcome": step.outcome,
        "attempts": step.attempts,
        "started_at": to_iso(step.started_at),
        "duration_ms": (step.ended_at - step.started_at) / 1000,
        "fence": step.fence,
        "state": None if step.state is None else stored_json(step.state),
        "wait": None if step.wait is None else step.wait.as_json(),
    }


def tool_view(call: ToolRecord) -> dict[str, Any]:
    """Return a managed tool call as plain JSON."""
    return {
        "id": call_id(call.run_id, call.number),
        "run_id": call.run_id,
        "step_index": call.step_index,
        "name": call.name,
        "key": call.key,
        "status": "in_doubt" if call.is_in_doubt else call.status,
        "tries": call.tries,
        "arguments": stored_json(call.arguments),
        "result": None if call.result is None else stored_json(call.result),
        "error": _error(call.error),
        "retryable": call.retryable,
        "started_at": to_iso(call.started_at),
        "duration_ms": None if call.ran_until is None else (call.ran_until - call.started_at) / 1000,
        "ended_at": _iso(call.ended_at),
        "decided_by": call.decided_by,
    }


def try_view(run_id: str, earlier: ToolTry) -> dict[str, Any]:
    """Return an earlier try of a repeated call as plain JSON."""
    return {
        "id": call_id(run_id, earlier.number),
        "try": earlier.ordinal,
        "status": earlier.status,
        "started_at": to_iso(earlier.started_at),
        "ended_at": _iso(earlier.ended_at),
        "fence": earlier.fence,
        "error": _error(earlier.error),
    }


def attempt_views(reader: StoreReader, run: RunRecord, *, first: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
    """Return the attempts of the steps from `first` on: failed, interrupted and committed ones.

    Args:
        limit: The largest number of steps; all attempts of a step are returned together.
    """
    steps = reader.steps(run.run_id, first=first, limit=limit, states=False)
    is_last_page = len(steps) < limit
    stop = _ALL if is_last_page else steps[-1].step_index + 1
    rows: dict[int, list[dict[str, Any]]] = {}
    for attempt in reader.attempts(run.run_id, first=first, stop=stop):
        rows.setdefault(attempt.step_index, []).append(attempt_view(attempt))
    for step in steps:
        view = {
            "step_index": step.step_index,
            "attempt": step.attempts - 1,
            "outcome": step.outcome,
            "started_at": to_iso(step.started_at),
            "duration_ms": (step.ended_at - step.started_at) / 1000,
            "error": None,
            "retry_at": None,
            "fence": step.fence,
        }
        rows.setdefault(step.step_index, []).append(view)
    if is_last_page and run.step_index >= first and (why := interruption(run)) is not None:
        last = {
            "step_index": run.step_index,
            "attempt": run.failures + run.crashes,
            "outcome": "interrupted",
            "started_at": None,
            "duration_ms": None,
            "error": ErrorInfo("Interrupted", why, "interrupted").as_json(),
            "retry_at": None,
            "fence": run.fence,
        }
        rows.setdefault(run.step_index, []).append(last)
    return [view for step_index in sorted(rows) for view in rows[step_index]]


def step_views(reader: StoreReader, run_id: str, *, first: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
    """Return committed steps, each with the decisions that people made about its calls."""
    steps = reader.steps(run_id, first=first, limit=limit)
    decisions: dict[int, list[dict[str, Any]]] = {}
    if steps:
        for request in reader.approvals(run_id):
            decisions.setdefault(request.step_index, []).extend(_decisions(request))
        bounds = (steps[0].step_index, steps[-1].step_index + 1)
        for call in reader.tool_calls(run_id, decided_only=True, steps=bounds):
            view = {"id": call_id(run_id, call.number), "tool": call.name, "by": call.decided_by}
            how = {"done": "result", "failed": "skip"}.get(call.status, "retry")
            at = None if call.ended_at is None else to_iso(call.ended_at)
            decisions.setdefault(call.step_index, []).append(view | {"how": how, "at": at, "via": "", "note": ""})
    return [step_view(step) | {"decisions": decisions.get(step.step_index, [])} for step in steps]


def _decisions(request: ApprovalRecord) -> list[dict[str, Any]]:
    view = {"id": request_id(request.run_id, request.number), "tool": request.name}
    return [view | asdict(each) | {"at": to_iso(each.at)} for each in request.decisions]


def each_step(reader: StoreReader, run_id: str, *, first: int = 0) -> Iterator[StepRecord]:
    """Yield all steps, page by page; no read stays open between pages."""
    while page := reader.steps(run_id, first=first, limit=_PAGE_STEPS):
        yield from page
        first = page[-1].step_index + 1


def attempt_view(row: AttemptRecord) -> dict[str, Any]:
    """Return an attempt that did not commit as plain JSON."""
    return {
        "step_index": row.step_index,
        "attempt": row.attempt,
        "outcome": row.kind,
        "started_at": _iso(row.started_at),
        "duration_ms": None if row.started_at is None else (row.ended_at - row.started_at) / 1000,
        "error": row.error.as_json(),
        "retry_at": _iso(row.retry_at),
        "fence": row.fence,
    }


def _iso(at: int | None) -> str | None:
    return None if at is None else to_iso(at)


def _error(error: ErrorInfo | None) -> dict[str, Any] | None:
    return None if error is None else error.as_json()


def _loads(text: str, run: RunRecord) -> Any:
    try:
        return stored_json(text)
    except StoreDamaged as exc:
        raise StateDecodeError(
            f"cannot read run {run.run_id!r}: its row in the database is damaged ({exc}).", run_id=run.run_id, raw=text
        ) from exc


def approval_view(approval: ApprovalRecord) -> dict[str, Any]:
    """Return an approval request as plain JSON."""
    return approval.as_json()
