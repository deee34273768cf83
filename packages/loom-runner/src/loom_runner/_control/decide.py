"""Decide about an approval request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from loom_runner._control.authority import also_of, refuse_without_product, sign_of
from loom_runner._model.approvals import ApprovalRecord, Decision, DecisionKind, as_of, may_decide, with_decision
from loom_runner._model.arguments import check_type
from loom_runner._model.clock import SystemClock, to_iso
from loom_runner._program.plain_json import to_plain_json
from loom_runner._store.lookup import find_run
from loom_runner.errors import UnknownApproval, UsageError
from loom_runner.run_ids import request_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from loom_runner._control.authority import Authority
    from loom_runner._model.clock import Clock
    from loom_runner._store.protocol import Store

__all__ = ["decide_approval"]


async def decide_approval(
    store: Store,
    run_id: str,
    number: int,
    how: DecisionKind,
    *,
    by: str,
    via: str = "",
    note: str = "",
    arguments: Mapping[str, Any] | None = None,
    shown: str | None = None,
    check: Callable[[str, Mapping[str, Any]], object] | None = None,
    clock: Clock | None = None,
    authority: Authority | None = None,
) -> ApprovalRecord:
    """Decide about a request. When none of the run's requests is pending, `resume` continues the
    run.

    Args:
        how: `approve`; `deny`, whose note reaches the step; or `edit`, which proposes other
            `arguments` (plain JSON). Where one person decides, and no product has bound a policy,
            an edit is an approval, too; else others must approve.
        by: Who decides.
        via: The interface that was used, for the record.
        shown: The `final_hash` that the person was shown; by default that of the row.
        check: Called with the name of the tool and the edited arguments; raises if they do not fit.
            Without it nothing is checked, and a call with wrong arguments fails when it is resumed.
        authority: The product that decides; only it may decide about requests with its policy.

    Returns:
        The request after the decision; `pending` if more people have to approve.

    Raises:
        UnknownRun: There is no such run.
        UnknownApproval: The run has no request of this number.
        UsageError: It is decided already, or expired, or this person has decided before; it was
            edited since it was shown; or it has a product's policy, whose command is named.

    Durability: The decision is committed when this returns, and cannot be changed.
    """
    if how not in ("approve", "deny", "edit"):
        raise UsageError(f"cannot decide with {how!r}: it is approve, deny or edit.", run_id=run_id)
    verb = f"{how} request {number} of {run_id!r}"
    what = f"cannot {verb}"
    check_type(verb, "number", number, int, "a whole number")
    for name, value in (("by", by), ("via", via), ("note", note)):
        check_type(verb, name, value, str, "a string")
    if not by.strip():
        raise UsageError(f"{what}: the person who decides is missing. Give by=.", run_id=run_id)
    if (arguments is None) == (how == "edit"):
        raise UsageError(f"{what}: edit needs arguments, and only edit takes them.", run_id=run_id)
    edited = None
    if arguments is not None:
        check_type(verb, "arguments", arguments, Mapping, "a mapping of the names of the arguments to their values")
        edited = to_plain_json(dict(arguments), f"the arguments of request {number}")
    await find_run(store, run_id, f"decide request {number} of")
    for _ in range(3):
        rows = await store.approvals(run_id)
        found = [row for row in rows if row.number == number]
        if not found:
            numbers = ", ".join(request_id(run_id, row.number) for row in rows) or "none"
            raise UnknownApproval(f"{what}: there is no such request. Requests: {numbers}.", run_id=run_id)
        seen = found[0]
        now = (clock or SystemClock()).now_us()
        refuse_without_product(seen, what, authority, store.address)
        if seen.status == "pending" and (due := as_of(seen, now)).status != "pending":
            await store.update_approval(seen, due)
            raise UsageError(f"{what}: it expired at {to_iso(seen.expires_at or now)}.", run_id=run_id)
        if seen.status != "pending":
            who = ", ".join(each.by for each in seen.decisions) or "the clock"
            raise UsageError(f"{what}: it is {seen.status} already, by {who}.", run_id=run_id)
        if how != "deny" and shown is not None and shown != seen.final_hash:
            raise UsageError(f"{what}: it was edited since you saw it. Look at it again, then decide.", run_id=run_id)
        if (why := may_decide(seen, by, how)) is not None:
            raise UsageError(f"{what}: {why}.", run_id=run_id)
        if check is not None and arguments is not None:
            check(seen.name, arguments)
        after = with_decision(seen, Decision(by, how, now, via, note), edited, sign=sign_of(authority, seen))
        if await store.update_approval(seen, after, also=also_of(authority, after)):
            return after
    raise UsageError(f"{what}: others have decided at the same time. Try again.", run_id=run_id)
