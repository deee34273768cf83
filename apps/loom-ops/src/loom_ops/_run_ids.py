"""Ids of related runs that are loom-ops' own: the rollback of a run is `<run>:rollback`. Nobody can
name a new run like one of these.
"""

from __future__ import annotations

from typing import Final

from loom_runner.run_ids import check_new_run_id, child_run_id, parent_run_id

from loom_ops._errors import LoomOpsError

__all__ = ["check_new_incident_id", "is_rollback", "rollback_id", "sibling_id"]

_ROLLBACK: Final = ":rollback"


def sibling_id(run_id: str, role: str) -> str:
    """Return the id of another child of the same parent."""
    return child_run_id(parent_run_id(run_id) or "", role)


def check_new_incident_id(run_id: str) -> None:
    """Refuse an id that poses as that of a child run or of a rollback.

    Raises:
        UsageError: It contains `:sub:`, or is not valid.
        LoomOpsError: It ends as that of a rollback.
    """
    check_new_run_id(run_id, "start")
    if is_rollback(run_id):
        raise LoomOpsError(
            f"cannot start {run_id!r}: {_ROLLBACK!r} names the rollback of a run. Choose another run id.", run_id=run_id
        )


def rollback_id(run_id: str) -> str:
    """Return the id of the run that rolls a run back."""
    return run_id + _ROLLBACK


def is_rollback(run_id: str) -> bool:
    """Return whether a run rolls another one back."""
    return run_id.endswith(_ROLLBACK)
