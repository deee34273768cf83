"""The statuses of a run and the moves between them: one table that the driver, the docs and the tests read.

The rules behind the table:

* Only the process that holds the lease moves a *running* run. `claim` takes a run that nobody holds; `take_over`
  takes one whose process is gone.
* `step` commits a step and goes on; `complete`, `wait` (for a signal, a time or children) and `pause` commit a step
  and give the lease back.
* Everything else leaves the step uncommitted, to be tried again: `retry` (a failed attempt, more are allowed),
  `fail` (no more are, or the step said so), `ask` (a tool call in doubt, or one that needs an approval, waits for a
  person), `limit` (a budget is used up), `interrupt` (Ctrl-C, SIGTERM), `park` (this step took its process down too
  often).
* `cancel` is the one move that anybody may make of a running run: it takes the lease away.
* A failed or parked run keeps the state before the failing step, so `claim` is allowed: it tries that step again.
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
"""For each status, the moves that are allowed and the status that each leads to."""

TERMINAL: Final[frozenset[Status]] = frozenset(status for status, moves in MOVES.items() if not moves)


CANCELLABLE: Final[tuple[Status, ...]] = tuple(status for status, moves in MOVES.items() if "cancel" in moves)


def move(status: Status, verb: Move, *, run_id: str | None = None) -> Status:
    """Look up where `verb` leads from `status`.

    Raises:
        IllegalMove: The table has no such move.
    """
    try:
        return MOVES[status][verb]
    except KeyError:
        allowed = ", ".join(MOVES[status]) or "nothing"
        what = f"run {run_id!r}" if run_id else "the run"
        raise IllegalMove(f"cannot {verb} {what}: it is {status}, which allows: {allowed}.", run_id=run_id) from None


def is_claimable(status: Status) -> bool:
    """Say whether a run in this status may be taken by a process when nobody holds it."""
    return "claim" in MOVES[status]
