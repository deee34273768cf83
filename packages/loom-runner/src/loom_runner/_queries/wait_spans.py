"""The waits between two processes of a run, with what was waited for and what came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loom_runner._model.clock import to_iso
from loom_runner._model.stored_json import stored_json
from loom_runner._model.waits import ChildrenWait, SignalWait
from loom_runner._queries.decisions import decision_texts, is_about_call, requests_of_wait
from loom_runner._queries.row_spans import RowSpan, row_id
from loom_runner._queries.views import approval_view
from loom_runner.run_ids import call_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loom_runner._model.approvals import ApprovalRecord
    from loom_runner._model.records import LeaseRecord, RunRecord, SignalRecord, ToolRecord
    from loom_runner._model.waits import WaitFor

__all__ = ["wait_span"]


def wait_span(
    run: RunRecord,
    lease: LeaseRecord,
    after: LeaseRecord | None,
    *,
    parent_id: str,
    wait: WaitFor | None,
    approvals: Sequence[ApprovalRecord],
    decided: Sequence[ToolRecord],
    signals: Sequence[SignalRecord],
) -> RowSpan:
    """Return the span of the wait that ended a lease.

    Args:
        lease: The lease that ended with the wait; `after` is the next one.
        wait: What the last step of the lease asked to wait for; None if the step was not committed
            and waits for a person.
        approvals: All requests of the run.
        decided: The calls of the run about which a person has decided.
        signals: The signals that the run has received in the step after the wait.
    """
    started_at = lease.ended_at or 0
    ended_at = None if after is None else max(after.taken_at, started_at)
    span = RowSpan(
        row_id("wait", run.run_id, lease.fence),
        parent_id,
        "sleep",
        "wait",
        started_at * 1000,
        None if ended_at is None else (ended_at - started_at) * 1000,
        "ok" if ended_at is not None or run.status != "waiting" else "open",
    )
    if span.duration_ns is None and run.status != "waiting":  # cancelled, for instance
        span.duration_ns = max(run.updated_at - started_at, 0) * 1000
    match wait:
        case SignalWait(signal=name):
            span.name = f"wait for signal {name!r}"
            came = next((one for one in signals if one.name == name), None)
            if came is not None:
                span.output = stored_json(came.payload)
                span.meta["sent_at"] = to_iso(came.sent_at)
        case ChildrenWait():
            span.name = "wait for children"
        case None:
            step_index = run.step_index if after is None else after.first_step
            requests = requests_of_wait(approvals, step_index, started_at)
            _show_decisions(span, lease, requests, [call for call in decided if is_about_call(lease.note, call)])
    return span


def _show_decisions(
    span: RowSpan, lease: LeaseRecord, requests: Sequence[ApprovalRecord], calls: Sequence[ToolRecord]
) -> None:
    """Show who was asked what, and what they decided."""
    of = f" ({', '.join(call.name for call in calls)})" if calls else ""
    span.name = f"wait for {lease.note or 'a person'}{of}"
    span.input = [_asked(request) for request in requests] or None
    texts = [text for request in requests for text in decision_texts(request)]
    texts += [f"{call_id(call.run_id, call.number)} {call.name} decided by {call.decided_by}" for call in calls]
    span.output = texts or None
    decisions = [each for request in requests for each in request.decisions]
    names = dict.fromkeys([*(request.name for request in requests), *(call.name for call in calls)])
    people = dict.fromkeys([*(each.by for each in decisions), *(str(call.decided_by) for call in calls)])
    notes = [each.note for each in decisions if each.note]
    for name, values in (("tools", names), ("decided_by", people), ("notes", notes)):
        if values:
            span.meta[name] = ", ".join(values)


def _asked(request: ApprovalRecord) -> dict[str, Any]:
    view = approval_view(request)
    names = ("id", "tool", "arguments", "reason", "needed", "status", "requested_at", "expires_at", "decisions")
    return {name: view[name] for name in names if view[name] not in (None, "", [])}
