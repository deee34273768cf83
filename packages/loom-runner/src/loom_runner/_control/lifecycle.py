"""Cancel and pause runs from outside.

Cancelling takes the lease away: a process that drives the run can write nothing more, learns of it from the heartbeat
or from its next write (the next transition, the next tool call), and stops the step. Pausing asks: the process that
drives the run commits its step and then leaves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    """Cancel a run and its children, and theirs. What has ended before stays as it is.

    Returns:
        The ids of the runs that were cancelled.

    Raises:
        UnknownRun: There is no such run.
        IllegalMove: It has ended, or failed.

    Durability: committed when this returns; nothing is committed of the runs after that.
    """
    record = await find_run(store, run_id, "cancel")
    move(record.status, "cancel", run_id=run_id)
    message = f"cancelled by {by}" + (f": {note}" if note else "")
    error = ErrorInfo("Cancelled", message, "cancelled")
    return await store.cancel_runs(run_id, CANCELLABLE, error, (clock or SystemClock()).now_us())


async def pause_run(store: Store, run_id: str, *, clock: Clock | None = None) -> list[str]:
    """Let a run pause after the step that it is in, and its children after theirs; `resume` goes on.

    Returns:
        The ids of the runs that will pause, or have been.

    Raises:
        UnknownRun: There is no such run.
        IllegalMove: Neither it nor a child of it runs, or is about to.
    """
    record = await find_run(store, run_id, "pause")
    asked = await store.request_pause(run_id, (clock or SystemClock()).now_us())
    if not asked:
        move(record.status, "pause", run_id=run_id)
    return asked
