"""Cancel and pause runs from outside.

Cancelling ends the lease: the process that drives the run can write nothing more, detects this at
the next heartbeat or write (a step, a tool call), and stops the step. Pausing is a request: the
process that drives the run commits its current step and then releases the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loom_runner._model.arguments import check_type
from loom_runner._model.clock import SystemClock
from loom_runner._model.records import ErrorInfo
from loom_runner._model.statuses import CANCELLABLE, move
from loom_runner._store.lookup import find_run

if TYPE_CHECKING:
    from loom_runner._model.clock import Clock
    from loom_runner._store.protocol import Store

__all__ = ["cancel_run", "pause_run"]


async def cancel_run(
    store: Store, run_id: str, *, by: str = "a person", note: str = "", clock: Clock | None = None
) -> list[str]:
    """Cancel a run and its descendants, except those that have ended.

    Returns:
        The ids of the cancelled runs.

    Raises:
        UnknownRun: There is no such run.
        IllegalMove: It has ended, or failed.
        UsageError: An argument is not of its type.

    Durability: Committed when this returns; after that, nothing more is committed for these runs.
    """
    for name, value in (("by", by), ("note", note)):
        check_type(f"cancel {run_id!r}", name, value, str, "a string")
    record = await find_run(store, run_id, "cancel")
    move(record.status, "cancel", run_id=run_id)
    message = f"cancelled by {by}" + (f": {note}" if note else "")
    error = ErrorInfo("Cancelled", message, "cancelled")
    return await store.cancel_runs(run_id, CANCELLABLE, error, (clock or SystemClock()).now_us())


async def pause_run(store: Store, run_id: str, *, clock: Clock | None = None) -> list[str]:
    """Pause a run and its descendants, each after its current step; `resume` continues them.

    Returns:
        The ids of the runs that will pause, or have paused.

    Raises:
        UnknownRun: There is no such run.
        IllegalMove: None of them is running or created.
    """
    record = await find_run(store, run_id, "pause")
    pausing = await store.request_pause(run_id, (clock or SystemClock()).now_us())
    if not pausing:
        move(record.status, "pause", run_id=run_id)
    return pausing
