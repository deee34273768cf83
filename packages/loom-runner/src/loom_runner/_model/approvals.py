"""Approvals: a person's word about one tool call, kept in rows. Theory of operation:

*Asked.* A call that the gate wants asked about does not start. Its request is written in the transaction that parks
the run, bound to the call's key and to the hash of its arguments. Calls of the same step that need no word finish
first, and all that need one are asked about at once.

*Decided.* By compare-and-set on what was read: of two people who decide at the same moment one is told that the
other was faster. One denial denies; `needed` different people approve. Changing the arguments is a decision, too: it
is an approval of the changed ones, and earlier approvals, which were of others, do not count any more.

*Used.* In the transaction that writes the call's `started` row, so an approval starts one call. A call that is made
again under its key (after a crash, when its tool allows that) is still that call.

*Expired.* A request that nobody decided in time, or whose approval was not used in time. Looked at when it is
decided and when it is used, and written down then, so that every later attempt sees the same.

| status | next |
|---|---|
| `pending` | `approved`, `denied`, `expired` |
| `approved` | `used`, `expired` |
| `denied`, `expired`, `used` | |
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["ApprovalRecord", "ApprovalStatus", "Decision", "DecisionKind", "as_of", "settled"]

ApprovalStatus = Literal["pending", "approved", "denied", "expired", "used"]
DecisionKind = Literal["approve", "deny", "edit"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What one person (or a policy) said. `via` is where: `cli`, `http`, `gate`."""

    by: str
    how: DecisionKind
    at: int
    via: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalRecord:
    """One request. `number` counts in the run from 1. `edited` are the arguments that the call is to run with
    instead."""

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
        """What the last one to decide wrote."""
        return self.decisions[-1].note if self.decisions else ""


def as_of(approval: ApprovalRecord, now: int) -> ApprovalRecord:
    """Give a request as it stands at a time: one that nobody decided, or used, in time has expired."""
    is_open = approval.status in ("pending", "approved")
    if is_open and approval.expires_at is not None and approval.expires_at <= now:
        return replace(approval, status="expired")
    return approval


def settled(approval: ApprovalRecord, decision: Decision, edited: str | None = None) -> ApprovalRecord:
    """Give a pending request after one more decision."""
    decisions = (*approval.decisions, decision)
    status: ApprovalStatus = "pending"
    if decision.how == "deny":
        status = "denied"
    else:
        since = max((index for index, each in enumerate(decisions) if each.how == "edit"), default=0)
        if len({each.by for each in decisions[since:]}) >= approval.needed:
            status = "approved"
    return replace(approval, status=status, decisions=decisions, edited=edited or approval.edited)
