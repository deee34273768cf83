"""Ids of related runs that are loom-ops' own: the rollback of a run is `<run>:rollback`."""

from __future__ import annotations

from typing import Final

from loom_runner.run_ids import child_run_id, parent_run_id

__all__ = ["incident_id", "is_rollback", "rollback_id", "sibling_id"]

_ROLLBACK: Final = ":rollback"


def sibling_id(run_id: str, role: str) -> str:
    """Return the id of another child of the same parent."""
    return child_run_id(parent_run_id(run_id) or "", role)


def rollback_id(run_id: str) -> str:
    """Return the id of the run that rolls a run back."""
    return run_id + _ROLLBACK


def is_rollback(run_id: str) -> bool:
    """Return whether a run rolls another one back."""
    return run_id.endswith(_ROLLBACK)


def incident_id(run_id: str) -> str:
    """Return the id of the run that a rollback rolls back; of another run, its own id."""
    return run_id.removesuffix(_ROLLBACK)
