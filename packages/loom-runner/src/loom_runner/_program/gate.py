"""The gate: whether a tool call may run, must not, or waits for a person. Plain data; the ledger acts on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loom_runner._program.tools import Tool

__all__ = ["Allow", "Ask", "Deny", "Gate", "PendingCall", "Verdict", "verdict_on"]


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A tool call that has not begun.

    Attributes:
        tool: Its declaration (`read_only`, `needs_approval`, ...).
        arguments: As the step passes them; of a request that was stored before, plain JSON.
        key: Its key in the ledger.
    """

    run_id: str
    step_index: int
    key: str
    name: str
    tool: Tool
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Allow:
    """The call may run."""


@dataclass(frozen=True, slots=True)
class Deny:
    """The call fails with the category `denied`, and the note as its message."""

    note: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """The run waits until people have decided.

    Args:
        reason: Why they are asked.
        ttl_s: Seconds until the request expires; None never.
        needed: How many different people have to approve. One denial is enough to deny.
        policy: Plain JSON that is kept with the request, for whoever shows or decides it.
    """

    reason: str = ""
    ttl_s: float | None = None
    needed: int = 1
    policy: Mapping[str, Any] = field(default_factory=dict)


Verdict = Allow | Deny | Ask
Gate = Callable[[PendingCall], Verdict]
"""Decides about a call by what it is. Pure: it is asked again on every attempt, and again when a run that waits for
its request is resumed, so that a changed policy lets the call pass or stops it."""


def verdict_on(gate: Gate | None, call: PendingCall) -> Verdict:
    """Ask the gate; without one, a tool that is declared `needs_approval` asks, and any other may run."""
    if gate is not None:
        return gate(call)
    return Ask() if call.tool.needs_approval else Allow()
