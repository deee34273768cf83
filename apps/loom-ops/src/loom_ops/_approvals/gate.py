"""The gate: which tool calls wait for an approval, and the policy bound to each request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loom_runner import Allow, Ask, Deny, PendingCall

from loom_ops._commands.allow_rules import argv_text
from loom_ops._commands.rules_file import ALLOW_VARIABLE
from loom_ops._runbook.model import ApprovalPolicy

if TYPE_CHECKING:
    from loom_runner import Gate

    from loom_ops._commands.context import ExecutionContext

__all__ = ["approval_gate"]


def approval_gate(context: ExecutionContext, *, requester: str) -> Gate:
    """Return the gate of one run.

    Args:
        requester: The person who requested the run; bound to each request, for policies that
            require another person.
    """

    def decide(call: PendingCall) -> Allow | Ask | Deny:
        if call.name == "do_by_hand":
            return _ask_by_hand(call, requester)
        if call.name != "run_command":
            return Allow()
        step = call.arguments
        if context.rules is None:
            return Deny(f"commands are off; set {ALLOW_VARIABLE}=1 and write allow rules")
        if context.rules.rule_for(step["argv"]) is None:
            return Deny(f"no rule in {context.rules.source} allows exactly {argv_text(step['argv'])}")
        approval = step["approval"]
        policy = {name: approval[name] for name in ("group", "not_requester", "on_timeout")}
        policy |= {"requester": requester, "step": step["id"], "argv": step["argv"], "undo": step["undo"]}
        return Ask(step["reason"], approval["ttl_s"], approval["count"], policy)

    return decide


def _ask_by_hand(call: PendingCall, requester: str) -> Ask:
    policy = ApprovalPolicy()
    text = f"do this by hand, then approve: {call.arguments['text']}"
    bound = {"group": policy.group, "requester": requester, "step": call.arguments["id"]}
    return Ask(text, policy.ttl_s, policy.count, bound)
