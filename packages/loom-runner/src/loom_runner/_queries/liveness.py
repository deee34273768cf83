"""Whether a process drives a run now.

A run keeps the status `running` in its row until its process records an end or another process
takes over. If the process has ended without that, people and programs get the status
`interrupted`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from loom_runner._model.processes import is_gone
from loom_runner._model.statuses import Status

if TYPE_CHECKING:
    from loom_runner._model.records import RunRecord

__all__ = ["ShownStatus", "interruption", "is_interrupted", "shown_status"]

ShownStatus = Status | Literal["interrupted"]


def is_interrupted(run: RunRecord) -> bool:
    """Return whether the process that drove a run is gone, and no other has taken over.

    A process of this machine is looked up by its pid, one of another machine by its lease.
    """
    return run.status == "running" and (run.owner is None or not run.is_leased or is_gone(run.owner))


def shown_status(run: RunRecord) -> ShownStatus:
    """Return the status of a run, `interrupted` if it is running and its process is gone."""
    return "interrupted" if is_interrupted(run) else run.status


def interruption(run: RunRecord) -> str | None:
    """Return why a run is interrupted, and what to do, for people; None if it is not."""
    if not is_interrupted(run):
        return None
    if run.owner is None:
        return "no process drives it; resume it"
    if is_gone(run.owner):
        return f"process {run.owner.pid} is gone; resume it"
    return f"process {run.owner.pid} has not renewed its lease; resume it"
