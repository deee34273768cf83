"""The gate: whether a tool call may run, must not run, or waits for an approval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loom_runner._model.seconds import check_seconds

if TYPE_CHECKING:
    from loom_runner._model.seconds import Seconds
    from loom_runner._program.tools import Tool

__all__ = ["Allow", "Ask", "Deny", "Gate", "PendingCall", "Verdict", "verdict_on"]


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A tool call that has not started.

    Attributes:
        tool: Its declaration (`read_only`, `needs_approval`, ...).
        arguments: As the step passes them; those of a stored request are plain JSON.
        key: Its idempotency key in the step.
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
    """The call fails with the category `denied` and the note as its message."""

    note: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """The run waits for an approval.

    Args:
        reason: Why the approval is needed.
        ttl_s: Seconds (or a `timedelta`) until the request expires; None never.
        needed: How many different people have to approve. One denial is enough to deny.
        policy: Plain JSON that is stored with the request, for programs that show or decide it.
    """

    reason: str = ""
    ttl_s: Seconds | None = None
    needed: int = 1
    policy: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.ttl_s is not None:
            object.__setattr__(self, "ttl_s", check_seconds("ask for an approval", "ttl_s", self.ttl_s))


Verdict = Allow | Deny | Ask
Gate = Callable[[PendingCall], Verdict]
"""Decides about a call. A pure function: it is called on every attempt, and again when a run that
waits for the request is resumed, so that a changed policy allows or denies the call."""


def verdict_on(gate: Gate | None, call: PendingCall) -> Verdict:
    """Return the gate's verdict; without a gate, only tools declared `needs_approval` need an
    approval.
    """
    if gate is not None:
        return gate(call)
    return Ask() if call.tool.needs_approval else Allow()
