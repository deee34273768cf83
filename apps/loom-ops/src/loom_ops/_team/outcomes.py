"""The outcomes of an incident."""

from __future__ import annotations

from typing import Final, Literal

__all__ = ["GOOD", "Outcome", "current_outcome", "outcome_text"]

Outcome = Literal[
    "recovered",
    "done",
    "nothing_to_do",
    "not_started",
    "denied",
    "failed",
    "stopped",
    "not_recovered",
    "rolled_back",
]
"""The executor's outcome. Before `denied`, `failed`, `stopped`, `not_recovered` it rolls back."""

GOOD: Final = frozenset({"recovered", "done", "nothing_to_do"})

_EARLIER_NAMES: Final = {
    "nothing to do": "nothing_to_do",
    "not begun": "not_started",
    "not recovered": "not_recovered",
    "taken back": "rolled_back",
}


def current_outcome(stored: str) -> str:
    """Return a stored outcome by its current name; earlier builds wrote other names."""
    return _EARLIER_NAMES.get(stored, stored)


def outcome_text(outcome: str) -> str:
    """Return an outcome as people read it."""
    return current_outcome(outcome).replace("_", " ")
