"""The statuses of a run and the moves between them: one table for the driver, the docs and the
tests.

The rules behind the table:

* Only the holder of the lease moves a *running* run. `claim` claims a run without a holder,
  `take_over` one whose process is gone.
* `step` commits a step and continues; `complete`, `wait` (for a signal, a time or children) and
  `pause` commit a step and release the lease.
* All other moves leave the step uncommitted, to be tried again: `retry` (a failed attempt, and more
  are allowed), `back_off` (the next attempt is due later, and the process gives the run back until
  then), `fail` (no more are allowed, or the step returned `Fail`), `ask` (a tool call is in doubt
  or needs an approval), `limit` (a budget is used up), `interrupt` (Ctrl-C, SIGTERM), `park` (this
  step has crashed its process too often).
* `cancel` is the only move of a running run that does not need the lease; it ends the lease.
* A failed or parked run keeps the state before the failing step; `claim` tries that step again.
* A completed or cancelled run never moves.
"""

from __future__ import annotations

from typing import Final, Literal

from loom_runner.errors import IllegalMove

__all__ = ["CANCELLABLE", "MOVES", "TERMINAL", "Move", "Status", "is_claimable", "move"]

Status = Literal["created", "running", "waiting", "paused", "completed", "failed", "cancelled", "parked"]
Move = Literal[
    "claim",
    "take_over",
    "step",
    "complete",
    "wait",
    "pause",
    "limit",
    "retry",
    "back_off",
    "fail",
    "ask",
    "interrupt",
    "park",
    "cancel",
]

MOVES: Final[dict[Status, dict[Move, Status]]] = {
    "created": {"claim": "running", "pause": "paused", "cancel": "cancelled"},
    "running": {
        "take_over": "running",
        "step": "running",
        "retry": "running",
        "complete": "completed",
        "wait": "waiting",
        "ask": "waiting",
        "back_off": "waiting",
        "pause": "paused",
        "limit": "paused",
        "interrupt": "paused",
        "fail": "failed",
        "park": "parked",
        "cancel": "cancelled",
    },
    "waiting": {"claim": "running", "cancel": "cancelled"},
    "paused": {"claim": "running", "cancel": "cancelled"},
    "completed": {},
    "failed": {"claim": "running"},
    "cancelled": {},
    "parked": {"claim": "running", "cancel": "cancelled"},
}
"""For each status, the moves that it allows, and the status after each."""

TERMINAL: Final[frozenset[Status]] = frozenset(status for status, moves in MOVES.items() if not moves)


CANCELLABLE: Final[tuple[Status, ...]] = tuple(status for status, moves in MOVES.items() if "cancel" in moves)


def move(status: Status, verb: Move, *, run_id: str | None = None) -> Status:
    """Return the status after a move.

    Raises:
        IllegalMove: The status does not allow it.
    """
    try:
        return MOVES[status][verb]
    except KeyError:
        allowed = (
            ", ".join("resume" if each == "claim" else each for each in MOVES[status])
            or "nothing, because it has ended"
        )
        what = f"run {run_id!r}" if run_id else "the run"
        raise IllegalMove(f"cannot {verb} {what}: it is {status}, which allows: {allowed}.", run_id=run_id) from None


def is_claimable(status: Status) -> bool:
    """Return whether a run with this status, and without a holder, may be claimed."""
    return "claim" in MOVES[status]
