"""What the driver writes, as plain data: each is one transaction, or a part of one. The rows that
result are in `records`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loom_runner._model.approvals import ApprovalRecord
    from loom_runner._model.records import AttemptRecord, ErrorInfo, LeaseEnd, Owner, StepOutcome, ToolStatus
    from loom_runner._model.retention import Keep
    from loom_runner._model.statuses import Status
    from loom_runner._model.waits import WaitFor

__all__ = [
    "AttemptEnd",
    "Cancelling",
    "LeaseRequest",
    "NewRun",
    "StepCommit",
    "ToolEnd",
    "ToolStart",
    "VerifyApproval",
]


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """A request for the lease of a run.

    Attributes:
        code: The fingerprint of the agent's code.
        code_at: `FILE:LINE` of the agent's function.
        module: The agent module as the caller named it, for commands to copy.
        program: The agent's name.
    """

    owner: Owner
    lease_s: float
    code: str
    code_at: str
    module: str | None = None
    state_version: int = 1
    program: str | None = None


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to create. `budget` is JSON. A fork begins at `step_index`, and may begin with a
    wait.
    """

    run_id: str
    program: str
    input: str
    state: str
    at: int
    budget: str | None = None
    state_version: int = 1
    step_index: int = 0
    forked_from: str | None = None
    wait: WaitFor | None = None
    due_at: int | None = None


@dataclass(frozen=True, slots=True)
class Cancelling:
    """Which descendants of a run to cancel (those with one of these statuses), and their error."""

    statuses: tuple[Status, ...]
    error: ErrorInfo


@dataclass(slots=True)
class StepCommit:
    """All changes of one step, for one transaction.

    Not frozen, because one is created per step and this halves the cost.

    Attributes:
        children: Runs to create; one that exists already is not changed.
        cancels: Which open children to cancel.
        tokens: What this attempt has used; likewise `cost_usd`.
        keep: How much of the history is retained; None is the store's default.
    """

    step_index: int
    outcome: StepOutcome
    status: Status
    state: str | None
    started_at: int
    ended_at: int
    attempts: int
    result: str | None = None
    wait: WaitFor | None = None
    due_at: int | None = None
    signal_key: int | None = None
    lease_end: LeaseEnd | None = None
    note: str | None = None
    children: tuple[NewRun, ...] = ()
    cancels: Cancelling | None = None
    tokens: int = 0
    cost_usd: float = 0.0
    keep: Keep | None = None


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """The end of an attempt that commits no step.

    Attributes:
        status: The status of the run afterwards.
        failed: The failed attempt, if it counts as one.
        asks: Approval requests to write.
        tokens: What this attempt has used; likewise `cost_usd`.
    """

    status: Status
    at: int
    failed: AttemptRecord | None = None
    error: ErrorInfo | None = None
    wait: WaitFor | None = None
    due_at: int | None = None
    lease_end: LeaseEnd | None = None
    note: str | None = None
    asks: tuple[ApprovalRecord, ...] = ()
    tokens: int = 0
    cost_usd: float = 0.0


VerifyApproval = Callable[[Any, Mapping[str, Any]], str | None]
"""Returns why a request, as `Runs.approvals` shows it, does not allow its call to start; None when
it does. Called with the connection, inside the transaction that starts the call."""


@dataclass(frozen=True, slots=True)
class ToolStart:
    """A call that starts.

    Attributes:
        approval: The number of its approval request, if it has one; it is verified and used.
        verify: The verifier of the agent.
    """

    step_index: int
    key: str
    name: str
    arguments: str
    arguments_hash: str
    at: int
    ordinal: int = 1
    approval: int | None = None
    verify: VerifyApproval | None = None


@dataclass(frozen=True, slots=True)
class ToolEnd:
    status: ToolStatus
    at: int | None
    result: str | None = None
    error: ErrorInfo | None = None
    retryable: bool = False
