"""Decide about an approval request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from loom_runner._model.approvals import ApprovalRecord, Decision, DecisionKind, as_of, with_decision
from loom_runner._model.arguments import check_type
from loom_runner._model.clock import SystemClock, to_iso
from loom_runner._program.plain_json import to_plain_json
from loom_runner._store.lookup import find_run
from loom_runner.errors import UnknownApproval, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

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
    check: Callable[[str, Mapping[str, Any]], object] | None = None,
    clock: Clock | None = None,
) -> ApprovalRecord:
    """Decide about a request. When none of the run's requests is pending, `resume` continues the
    run.

    Args:
        how: `approve`; `deny`, whose note reaches the step; or `edit`, which approves other
            `arguments` (plain JSON).
        by: Who decides.
        via: The interface that was used, for the record.
        check: Called with the name of the tool and the edited arguments; raises if they do not fit.
            Without it nothing is checked, and a call with wrong arguments fails when it is resumed.

    Returns:
        The request after the decision; `pending` if more people have to approve.

    Raises:
        UnknownRun: There is no such run.
        UnknownApproval: The run has no request of this number.
        UsageError: It is decided already, or expired, or this person has decided before.

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
            numbers = ", ".join(str(row.number) for row in rows) or "none"
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
        if check is not None and arguments is not None:
            check(seen.name, arguments)
        after = with_decision(seen, Decision(by, how, now, via, note), edited)
        if await store.update_approval(seen, after):
            return after
    raise UsageError(f"{what}: others have decided at the same time. Try again.", run_id=run_id)
