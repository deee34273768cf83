"""Approvals: decisions of people about single tool calls. Theory of operation:

*Requested.* A call for which the gate returns `Ask` does not start. Its request is written in the
transaction that lets the run wait, bound to the call's key and the hash of its arguments. The other
calls of the step finish first, so that all requests of a step are written together.

*Decided.* By compare-and-set on the row that was read: of two people who decide at the same time,
one gets an error. One denial is enough to deny; `needed` different people have to approve. Each
decision names what it is about: `of` is the `final_hash` of the call, its final arguments and the
bound policy.

*Edited.* Other arguments are a new proposal: approvals of the earlier ones no longer count, and who
proposes is not counted. Only where one person decides alone (`needed` is 1, and no product has
bound a policy) is an edit an approval, too.

*Used.* In the transaction that writes the call's `started` row, so an approval starts one call. The
decisions are verified there (`why_not_usable`), and a product's verifier is called; a decision that
does not verify stops the run. A repetition of the call under its key (after a crash, if its tool
allows that) is the same call.

*Repeated.* A call in doubt whose request has a product's policy is repeated only after the same
number of approvals: `retry` is a new proposal of the same arguments, and an approval of it.

*Expired.* A request that was not decided in time, or an approval that was not used in time. This is
checked when it is decided and when it is used, and stored then, so every later attempt sees it.

| status | next |
|---|---|
| `pending` | `approved`, `denied`, `expired`; for a repetition, `used` when it is denied or expires |
| `approved` | `used`, `expired` |
| `used` | `pending` or `approved`, when a repetition is proposed |
| `denied`, `expired` | |
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any, Final, Literal

from loom_runner._model.clock import to_iso
from loom_runner._model.stored_json import stored_json
from loom_runner.run_ids import request_id

__all__ = [
    "GATE",
    "ApprovalRecord",
    "ApprovalStatus",
    "Decision",
    "DecisionKind",
    "Sign",
    "as_of",
    "may_decide",
    "why_not_usable",
    "with_decision",
]

ApprovalStatus = Literal["pending", "approved", "denied", "expired", "used"]
DecisionKind = Literal["approve", "deny", "edit"]
GATE: Final = "gate"
"""Who has decided, and via what, when a gate allows or denies what waits."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision of one person (or of a policy).

    Attributes:
        at: Microseconds since 1970.
        via: The interface that was used: `cli`, `http`, `gate`.
        of: The `final_hash` that it is about; that of the new arguments for an edit.
        signature: A signature of the decision, or "".
    """

    by: str
    how: DecisionKind | Literal["retry"]
    at: int
    via: str = ""
    note: str = ""
    of: str = ""
    signature: str = ""


Sign = Callable[[Decision], str]
"""Returns the signature of a decision, whose `of` is set."""


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

    @property
    def product(self) -> str | None:
        """The product whose policy is bound to the request; only its commands decide."""
        product = json.loads(self.policy).get("product")
        return product if isinstance(product, str) and product else None

    @property
    def final_hash(self) -> str:
        """The hash of what an approval allows: the call, its final arguments, and the policy."""
        rounds = sum(each.how in ("edit", "retry") for each in self.decisions)
        what = (self.run_id, self.number, self.step_index, self.key, self.name, self.edited or self.arguments)
        bound = (self.needed, self.policy, self.expires_at, rounds)
        return sha256(json.dumps(["approval 1", *what, *bound], ensure_ascii=True).encode()).hexdigest()

    @property
    def current_decisions(self) -> tuple[Decision, ...]:
        """The decisions about the current proposal: since the last edit or repetition."""
        proposals = [index for index, each in enumerate(self.decisions) if each.how in ("edit", "retry")]
        return self.decisions[proposals[-1] if proposals else 0 :]

    @property
    def is_repetition(self) -> bool:
        """Whether it is about the repetition of a call that had started before."""
        return bool(self.current_decisions) and self.current_decisions[0].how == "retry"

    @property
    def approvers(self) -> frozenset[str]:
        """The people whose approval of the current proposal counts."""
        decisions = self.current_decisions
        is_edit = bool(decisions) and decisions[0].how == "edit"
        if is_edit and (self.needed > 1 or self.product is not None):
            return frozenset(each.by for each in decisions if each.how == "approve" and each.by != decisions[0].by)
        return frozenset(each.by for each in decisions if each.how != "deny")

    def as_json(self) -> dict[str, Any]:
        """Return the request as plain JSON."""
        return {
            "id": request_id(self.run_id, self.number),
            "run_id": self.run_id,
            "number": self.number,
            "status": self.status,
            "step_index": self.step_index,
            "tool": self.name,
            "key": self.key,
            "arguments": stored_json(self.arguments),
            "arguments_hash": self.arguments_hash,
            "edited_arguments": None if self.edited is None else stored_json(self.edited),
            "final_hash": self.final_hash,
            "reason": self.reason,
            "needed": self.needed,
            "approvals_missing": 0 if self.status != "pending" else max(0, self.needed - len(self.approvers)),
            "policy": stored_json(self.policy),
            "requested_at": to_iso(self.requested_at),
            "expires_at": None if self.expires_at is None else to_iso(self.expires_at),
            "decisions": [asdict(decision) | {"at": to_iso(decision.at)} for decision in self.decisions],
        }


def as_of(approval: ApprovalRecord, now: int) -> ApprovalRecord:
    """Return a request with its status at a time: one not decided, or not used, in time has
    expired.
    """
    is_open = approval.status in ("pending", "approved")
    if is_open and approval.expires_at is not None and approval.expires_at <= now:
        is_repetition = approval.status == "pending" and approval.is_repetition
        return replace(approval, status="used" if is_repetition else "expired")
    return approval


def may_decide(approval: ApprovalRecord, by: str, how: str) -> str | None:
    """Return why a person may not decide about a pending request again; None when they may."""
    if how == "edit" and approval.is_repetition:
        return "it is about a call that had started with these arguments, which only a new call can change"
    if how == "deny" or (how == "edit" and by not in approval.approvers):
        return None
    if by in approval.approvers:
        return f"{by} has decided already, and {approval.needed} people are needed"
    if any(each.by == by for each in approval.current_decisions):
        return f"{by} proposed these arguments, and others must approve them"
    return None


def with_decision(
    approval: ApprovalRecord, decision: Decision, edited: str | None = None, *, sign: Sign | None = None
) -> ApprovalRecord:
    """Return a request after one more decision, which it binds to what is decided."""
    expires_at = approval.expires_at
    if decision.how == "retry" and expires_at is not None:
        expires_at = decision.at + max(0, expires_at - _proposed_at(approval))
    after = replace(
        approval, decisions=(*approval.decisions, decision), edited=edited or approval.edited, expires_at=expires_at
    )
    decision = replace(decision, of=after.final_hash)
    if sign is not None:
        decision = replace(decision, signature=sign(decision))
    status: ApprovalStatus = "pending"
    if decision.how == "deny":
        status = "used" if after.is_repetition else "denied"
    elif len(after.approvers) >= approval.needed:
        status = "approved"
    return replace(after, status=status, decisions=(*approval.decisions, decision))


def why_not_usable(approval: ApprovalRecord, now: int) -> str | None:
    """Return why the decisions of an approved request do not allow its call to start now; None when
    they do. They are read again from the row, not believed from its status.
    """
    decisions = approval.current_decisions
    for each in decisions:
        if each.of != approval.final_hash:
            return f"the decision of {each.by} is not about this call with these arguments"
        if each.how == "deny":
            return f"{each.by} denied it"
    if approval.expires_at is not None and approval.expires_at <= now:
        return "it has expired"
    is_allowed = approval.product is None and any((each.by, each.via) == (GATE, GATE) for each in decisions)
    if not is_allowed and len(approval.approvers) < approval.needed:
        return f"{len(approval.approvers)} of {approval.needed} people have approved it"
    return None


def _proposed_at(approval: ApprovalRecord) -> int:
    repeated = [each.at for each in approval.decisions if each.how == "retry"]
    return repeated[-1] if repeated else approval.requested_at
