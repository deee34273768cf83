"""Approvals: decisions of people about single tool calls. Theory of operation:

*Requested.* A call for which the gate returns `Ask` does not start. Its request is written in the
transaction that lets the run wait, bound to the call's key and the hash of its arguments. The other
calls of the step finish first, so that all requests of a step are written together.

*Decided.* By compare-and-set on the row that was read: of two people who decide at the same time,
one gets an error. One denial is enough to deny; `needed` different people have to approve. Editing
the arguments is an approval of the new arguments; approvals of the old ones no longer count.

*Used.* In the transaction that writes the call's `started` row, so an approval starts one call. A
repetition of the call under its key (after a crash, if its tool allows that) is the same call.

*Expired.* A request that was not decided in time, or an approval that was not used in time. This is
checked when it is decided and when it is used, and stored then, so every later attempt sees it.

| status | next |
|---|---|
| `pending` | `approved`, `denied`, `expired` |
| `approved` | `used`, `expired` |
| `denied`, `expired`, `used` | |
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["ApprovalRecord", "ApprovalStatus", "Decision", "DecisionKind", "as_of", "with_decision"]

ApprovalStatus = Literal["pending", "approved", "denied", "expired", "used"]
DecisionKind = Literal["approve", "deny", "edit"]


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision of one person (or of a policy).

    Attributes:
        at: Microseconds since 1970.
        via: The interface that was used: `cli`, `http`, `gate`.
    """

    by: str
    how: DecisionKind
    at: int
    via: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalRecord:
    """An approval request.

    Attributes:
        number: Its number in the run, from 1.
        arguments: The arguments of the call (JSON).
        needed: How many different people have to approve.
        edited: The arguments that the call is to use instead (JSON).
    """

    run_id: str
    number: int
    step_index: int
    key: str
    name: str
    arguments: str
    arguments_hash: str
    requested_at: int
    expires_at: int | None
    reason: str = ""
    needed: int = 1
    policy: str = "{}"
    status: ApprovalStatus = "pending"
    decisions: tuple[Decision, ...] = ()
    edited: str | None = None

    @property
    def note(self) -> str:
        """The note of the latest decision."""
        return self.decisions[-1].note if self.decisions else ""


def as_of(approval: ApprovalRecord, now: int) -> ApprovalRecord:
    """Return a request with its status at a time: one not decided, or not used, in time has
    expired.
    """
    is_open = approval.status in ("pending", "approved")
    if is_open and approval.expires_at is not None and approval.expires_at <= now:
        return replace(approval, status="expired")
    return approval


def with_decision(approval: ApprovalRecord, decision: Decision, edited: str | None = None) -> ApprovalRecord:
    """Return a pending request after one more decision."""
    decisions = (*approval.decisions, decision)
    status: ApprovalStatus = "pending"
    if decision.how == "deny":
        status = "denied"
    else:
        since = max((index for index, each in enumerate(decisions) if each.how == "edit"), default=0)
        if len({each.by for each in decisions[since:]}) >= approval.needed:
            status = "approved"
    return replace(approval, status=status, decisions=decisions, edited=edited or approval.edited)
