"""When each waiting run is ready, stored in its row (`ready_at`).

The definition of *ready* is in `_model/waits.py`. This module reads the facts and stores the
answer, inside every transaction that may change it.
"""

# ruff: noqa: S608  (the f-strings join constants of this package; values always travel as parameters)
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.waits import (
    SETTLED,
    ChildrenWait,
    DecisionWait,
    RetryWait,
    SignalWait,
    TimerWait,
    WaitFacts,
    ready_at,
    wait_from_json,
)

if TYPE_CHECKING:
    import apsw

    from loom_runner._model.waits import WaitFor

__all__ = [
    "set_ready_at",
    "set_ready_at_of_interrupted_run",
    "set_ready_at_of_parent",
    "set_ready_at_of_run",
    "set_ready_at_of_run_key",
    "set_ready_at_of_waiting_runs",
]

_WAITING: Final = "SELECT run_key, wait FROM runs WHERE status = 'waiting'"
_WAITING_FORKS: Final = f"""
    {_WAITING} AND forked_from IS NOT NULL
    AND (SELECT run_id FROM runs WHERE run_key = ?) IN (SELECT value FROM json_each(wait, '$.children'))
"""
"""Forks that wait for a run: a fork begins with the wait of the step that it begins after."""


def set_ready_at(db: apsw.Connection, run_key: int, wait: WaitFor) -> None:
    """Store when a waiting run is ready."""
    at = ready_at(wait, _facts(db, run_key, wait))
    db.execute("UPDATE runs SET ready_at = ? WHERE run_key = ? AND ready_at IS NOT ?", (at, run_key, at))


def set_ready_at_of_interrupted_run(db: apsw.Connection, run_key: int) -> None:
    """Store when a paused run is ready whose process was asked to end: now, or when its next
    attempt is due.
    """
    db.execute("UPDATE runs SET ready_at = coalesce(due_at, 0) WHERE run_key = ? AND status = 'paused'", (run_key,))


def set_ready_at_of_run(db: apsw.Connection, run_id: str) -> None:
    """Store when a run is ready, if it is waiting."""
    _set_ready_at_of(db, f"{_WAITING} AND run_id = ?", (run_id,))


def set_ready_at_of_run_key(db: apsw.Connection, run_key: int) -> None:
    """Store when a run is ready, if it is waiting."""
    _set_ready_at_of(db, f"{_WAITING} AND run_key = ?", (run_key,))


def set_ready_at_of_parent(db: apsw.Connection, run_key: int) -> None:
    """Store when the parent of a settled run is ready, and forks of the parent, if they are
    waiting.
    """
    _set_ready_at_of(db, f"{_WAITING} AND run_key = (SELECT parent_key FROM runs WHERE run_key = ?)", (run_key,))
    _set_ready_at_of(db, _WAITING_FORKS, (run_key,))


def set_ready_at_of_waiting_runs(db: apsw.Connection) -> None:
    """Store when each waiting run is ready, for a database that an earlier version wrote."""
    _set_ready_at_of(db, _WAITING, ())


def _set_ready_at_of(db: apsw.Connection, query: str, values: tuple[str | int, ...]) -> None:
    rows: list[tuple[Any, ...]] = db.execute(query, values).fetchall()
    for run_key, wait in rows:
        if wait is not None:
            set_ready_at(db, run_key, wait_from_json(wait))


def _facts(db: apsw.Connection, run_key: int, wait: WaitFor) -> WaitFacts:
    match wait:
        case SignalWait(signal=name):
            found = db.execute(
                "SELECT 1 FROM signals WHERE run_key = ? AND name = ? AND taken_in_step IS NULL LIMIT 1",
                (run_key, name),
            ).get
            return WaitFacts(has_signal=found is not None)
        case TimerWait() | RetryWait():
            return WaitFacts()
        case ChildrenWait(children=children):
            settled = db.execute(
                """SELECT count(*) FROM runs WHERE run_id IN (SELECT value FROM json_each(?))
                   AND status IN (SELECT value FROM json_each(?))""",
                (json.dumps(children), json.dumps(sorted(SETTLED))),
            ).get
            return WaitFacts(settled=int(settled))
        case DecisionWait(doubt=doubt, approvals=approvals):
            pending: list[tuple[Any, ...]] = db.execute(
                """SELECT number, expires_at FROM approvals WHERE run_key = ? AND status = 'pending'
                   AND number IN (SELECT value FROM json_each(?))""",
                (run_key, json.dumps(approvals)),
            ).fetchall()
            undecided = db.execute(
                "SELECT 1 FROM tool_calls WHERE run_key = ? AND ordinal = ? AND status IN ('started', 'in_doubt')",
                (run_key, doubt),
            ).get
            return WaitFacts(pending=dict(pending), is_in_doubt=undecided is not None)
