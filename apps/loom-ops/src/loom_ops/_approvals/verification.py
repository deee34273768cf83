"""Verify the decisions about a step once more, in the transaction that starts it.

The runner has replayed the decisions of the row: all are about the final hash, and enough people
have approved. Here they are compared with the bound policy, with the step itself, and with the
audit trail, whose entry was written in the transaction of each decision. The step is that of the
runbook that was requested, not of the state, which a row holds. What was written into the tables by
SQL, or decided about another call, does not pass, and the run stops as *tampered*.

Not covered without signatures: somebody who can write to the database and rewrites the audit trail
as well.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from loom_ops._approvals.binding import PRODUCT, hash_of, rule_hash
from loom_ops._approvals.edits import edited_arguments
from loom_ops._audit.approval_facts import why_not_recorded
from loom_ops._errors import LoomOpsError
from loom_ops._runbook.render import call_of_step, render_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from loom_ops._commands.allow_rules import Rules
    from loom_ops._runbook.model import ApprovalPolicy, Runbook

__all__ = ["approval_verifier"]


def approval_verifier(
    rules: Rules | None,
    runbook: Runbook,
    inputs: Mapping[str, str],
    *,
    by_hand: ApprovalPolicy,
    why_off: str = "",
    check_signature: Callable[[Mapping[str, Any], Mapping[str, Any]], str | None] | None = None,
) -> Callable[[Any, Mapping[str, Any]], str | None]:
    """Return the verifier of one run's approvals.

    Args:
        by_hand: The policy of steps that people do by hand.
        why_off: Why there are no allow rules, when `rules` is None.
        check_signature: Called with a request and one of its decisions; returns what is wrong with
            the signature, or None.
    """

    def objections(connection: Any, request: Mapping[str, Any]) -> Iterator[str | None]:
        yield _objection_to_policy(request, by_hand)
        yield _objection_to_step(request, runbook, inputs)
        if rules is None and request["tool"] == "run_command":
            yield f"its allow rule cannot be read: {why_off.rstrip('.')}"
        yield _objection_to_command(request, rules, runbook, inputs)
        for decision in _current(request):
            if decision["how"] != "edit":
                yield _objection_to_person(decision["by"], request["policy"])
            yield None if check_signature is None else check_signature(request, decision)
        yield why_not_recorded(connection, request)

    def verify(connection: Any, request: Mapping[str, Any]) -> str | None:
        try:
            return next((why for why in objections(connection, request) if why is not None), None)
        except (LookupError, TypeError, ValueError) as exc:
            return f"its policy has another form ({exc!r})"

    return verify


def _current(request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the decisions about the current proposal."""
    decisions = request["decisions"]
    proposals = [index for index, each in enumerate(decisions) if each["how"] in ("edit", "retry")]
    return list(decisions[proposals[-1] if proposals else 0 :])


def _objection_to_policy(request: Mapping[str, Any], by_hand: ApprovalPolicy) -> str | None:
    policy, asked = request["policy"], request["arguments"].get("approval")
    if policy.get("product") != PRODUCT:
        return "it has no policy of loom-ops, because it was written by SQL or by an earlier version"
    names = ("group", "count", "not_requester", "ttl_s")
    wanted = {name: getattr(by_hand, name) for name in names} if asked is None else asked
    changed = [name for name in names if policy[name] != wanted[name]]
    if changed:
        return f"{changed[0]} of its policy is not that of the runbook"
    return None if request["needed"] == policy["count"] else "the number of people is not that of its policy"


def _objection_to_step(request: Mapping[str, Any], runbook: Runbook, inputs: Mapping[str, str]) -> str | None:
    step = next((step for step in runbook.steps if step.id == request["arguments"].get("id")), None)
    if step is not None:
        tool, arguments = call_of_step(render_step(step, inputs), runbook, inputs)
        if (tool, json.loads(json.dumps(arguments))) == (request["tool"], request["arguments"]):
            return None
    return "it is not a step of the runbook that was requested"


def _objection_to_command(
    request: Mapping[str, Any], rules: Rules | None, runbook: Runbook, inputs: Mapping[str, str]
) -> str | None:
    if request["tool"] != "run_command":
        return None if request["edited_arguments"] is None else "it was edited"
    policy, final = request["policy"], request["arguments"]
    if policy["environment"] != hash_of(final["environment"]):
        return "its environment is not the one that was bound"
    if request["edited_arguments"] is not None:
        final = request["edited_arguments"]
        try:
            edited_arguments(request, final, runbook=runbook, inputs=inputs, rules=rules)
        except LoomOpsError as exc:
            return f"its edit is not allowed: {str(exc).rstrip('.')}"
    return None if rule_hash(rules, final["argv"]) == policy["rule"] else "its allow rule was changed since"


def _objection_to_person(name: str, policy: Mapping[str, Any]) -> str | None:
    if name not in policy["members"]:
        return f"{name} is not in the group {policy['group']!r}"
    if policy["not_requester"] and name == policy["requester"]:
        return f"{name} requested the run"
    return None
