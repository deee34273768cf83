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

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from loom_runner._model.clock import SystemClock, to_iso
from loom_runner._program.codec import to_plain_json
from loom_runner._store.lookup import find_run
from loom_runner.errors import UnknownApproval, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loom_runner._model.clock import Clock
    from loom_runner._store.protocol import Store

__all__ = [
    "ApprovalRecord",
    "ApprovalStatus",
    "Decision",
    "approval_view",
    "as_of",
    "decide_approval",
    "read_approvals",
    "settled",
]

ApprovalStatus = Literal["pending", "approved", "denied", "expired", "used"]
How = Literal["approve", "deny", "edit"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What one person (or a policy) said. `via` is where: `cli`, `http`, `gate`."""

    by: str
    how: How
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


def read_approvals(
    store: Store, run_id: str | None = None, *, pending_only: bool = False, clock: Clock | None = None
) -> list[ApprovalRecord]:
    """Read the requests of one run, or of all, in the order in which they were made.

    Raises:
        UnknownRun: There is no such run.
    """
    if run_id is not None:
        find_run(store, run_id, "show the approvals of")
    now = (clock or SystemClock()).now_us()
    rows = [as_of(row, now) for row in store.approvals(run_id, pending_only=pending_only)]
    return [row for row in rows if not pending_only or row.status == "pending"]


async def decide_approval(
    store: Store,
    run_id: str,
    number: int,
    how: How,
    *,
    by: str,
    via: str = "",
    note: str = "",
    arguments: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
) -> ApprovalRecord:
    """Decide about a request. The run goes on by `resume` once nothing of it is pending.

    Args:
        how: `approve`; `deny`, whose note reaches the step; `edit`, which approves other `arguments` (plain JSON).
        by: Who decides.
        via: Where, for the record.

    Returns:
        The request as it stands now; `pending` when more people have to approve.

    Raises:
        UnknownRun: There is no such run.
        UnknownApproval: The run has no request of this number.
        UsageError: It is decided already, or expired, or this person has spoken before.

    Durability: the decision is committed when this returns, and cannot be changed.
    """
    what = f"cannot {how} request {number} of {run_id!r}"
    if how not in ("approve", "deny", "edit"):
        raise UsageError(f"cannot decide with {how!r}: it is approve, deny or edit.", run_id=run_id)
    if not by.strip():
        raise UsageError(f"{what}: it is not said who decides. Give by=.", run_id=run_id)
    if (arguments is None) == (how == "edit"):
        raise UsageError(f"{what}: arguments go with edit, and with nothing else.", run_id=run_id)
    edited = None if arguments is None else to_plain_json(dict(arguments), f"the arguments of request {number}")
    find_run(store, run_id, f"decide request {number} of")
    for _ in range(3):
        found = [row for row in store.approvals(run_id) if row.number == number]
        if not found:
            numbers = ", ".join(str(row.number) for row in store.approvals(run_id)) or "none"
            raise UnknownApproval(f"{what}: there is no such request. Requests: {numbers}.", run_id=run_id)
        seen = found[0]
        now = (clock or SystemClock()).now_us()
        if as_of(seen, now).status == "expired" and seen.status == "pending":
            await store.update_approval(seen, replace(seen, status="expired"))
            raise UsageError(f"{what}: it expired at {to_iso(seen.expires_at or now)}.", run_id=run_id)
        if seen.status != "pending":
            who = ", ".join(each.by for each in seen.decisions) or "the clock"
            raise UsageError(f"{what}: it is {seen.status} already, by {who}.", run_id=run_id)
        if how != "deny" and any(each.by == by for each in seen.decisions):
            raise UsageError(f"{what}: {by} has decided already, and {seen.needed} people are needed.", run_id=run_id)
        after = settled(seen, Decision(by, how, now, via, note), edited)
        if await store.update_approval(seen, after):
            return after
    raise UsageError(f"{what}: others decide at the same moment. Look again.", run_id=run_id)


def approval_view(approval: ApprovalRecord) -> dict[str, Any]:
    """One request as plain JSON."""
    return {
        "run_id": approval.run_id,
        "number": approval.number,
        "status": approval.status,
        "step_index": approval.step_index,
        "tool": approval.name,
        "key": approval.key,
        "arguments": json.loads(approval.arguments),
        "arguments_hash": approval.arguments_hash,
        "edited_arguments": None if approval.edited is None else json.loads(approval.edited),
        "reason": approval.reason,
        "needed": approval.needed,
        "policy": json.loads(approval.policy),
        "requested_at": to_iso(approval.requested_at),
        "expires_at": None if approval.expires_at is None else to_iso(approval.expires_at),
        "decisions": [asdict(decision) | {"at": to_iso(decision.at)} for decision in approval.decisions],
    }
