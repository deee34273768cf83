"""A run as lines of JSON, for `export` and golden copies."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.clock import to_iso
from loom_runner._model.stored_json import stored_json
from loom_runner._queries.approvals import read_approvals
from loom_runner._queries.liveness import shown_status
from loom_runner._queries.views import approval_view, attempt_view, each_step, run_view, step_view, tool_view, try_view
from loom_runner._store.in_doubt import read_tool_calls
from loom_runner._store.lookup import read_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loom_runner._model.records import LeaseRecord, SignalRecord
    from loom_runner._store.protocol import StoreReader

__all__ = ["EXPORT_FORMAT", "export_rows"]

EXPORT_FORMAT: Final = 1


def export_rows(reader: StoreReader, run_id: str) -> Iterator[dict[str, Any]]:
    """Yield everything that is recorded about a run as JSON objects, each with its `kind`.

    The first one names the format; then follow `run`, `process` (a holder), `step` (with the
    checkpoint after it), `attempt` (one that did not commit), `tool_call`, `tool_try` (an earlier
    try of a call), `approval`, `signal` and `child`. Steps are read page by page, so a long run
    need not fit into memory.

    Raises:
        UnknownRun: There is no such run.
    """
    run = read_run(reader, run_id, "export")
    yield {
        "kind": "export",
        "format": EXPORT_FORMAT,
        "run_id": run_id,
        "made_by": f"loom-runner {version('loom-runner')}",
    }
    yield {"kind": "run"} | run_view(run)
    for lease in reader.leases(run_id):
        yield {"kind": "process"} | lease_view(lease)
    for step in each_step(reader, run_id):
        yield {"kind": "step"} | step_view(step)
    for attempt in reader.attempts(run_id):
        yield {"kind": "attempt"} | attempt_view(attempt)
    for call in read_tool_calls(reader, run_id):
        yield {"kind": "tool_call"} | tool_view(call)
    for earlier in reader.tool_tries(run_id):
        yield {"kind": "tool_try"} | try_view(run_id, earlier)
    for approval in read_approvals(reader, run_id):
        yield {"kind": "approval"} | approval_view(approval)
    for signal in reader.signals(run_id):
        yield {"kind": "signal"} | _signal_view(signal)
    for child in reader.children(run_id):
        yield {"kind": "child", "run_id": child.run_id, "status": shown_status(child)}


def lease_view(lease: LeaseRecord) -> dict[str, Any]:
    """Return a lease as plain JSON."""
    return {
        "pid": lease.owner.pid,
        "fence": lease.fence,
        "first_step": lease.first_step,
        "taken_at": to_iso(lease.taken_at),
        "ended_at": None if lease.ended_at is None else to_iso(lease.ended_at),
        "ended_as": lease.ended_as,
        "note": lease.note,
        "module": lease.module,
        "code": lease.code,
        "code_at": lease.code_at,
    }


def _signal_view(signal: SignalRecord) -> dict[str, Any]:
    return asdict(signal) | {"payload": stored_json(signal.payload), "sent_at": to_iso(signal.sent_at)}
