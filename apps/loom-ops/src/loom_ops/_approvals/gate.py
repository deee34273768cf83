"""The gate: which tool calls wait for an approval, and the policy bound to each request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loom_runner import Allow, Ask, Deny, PendingCall

from loom_ops._approvals.binding import hash_of, rule_hash
from loom_ops._commands.allow_rules import argv_text
from loom_ops._runbook.model import ApprovalPolicy

if TYPE_CHECKING:
    from loom_runner import Gate

    from loom_ops._approvals.binding import PolicyBinding
    from loom_ops._commands.context import ExecutionContext

__all__ = ["approval_gate"]


def approval_gate(context: ExecutionContext, binding: PolicyBinding, *, by_hand: ApprovalPolicy) -> Gate:
    """Return the gate of one run.

    Args:
        by_hand: The policy of steps that people do by hand.
    """

    def decide(call: PendingCall) -> Allow | Ask | Deny:
        step = call.arguments
        if call.name == "do_by_hand":
            bound = binding.policy(by_hand) | {"step": step["id"]}
            reason = f"do this by hand, then approve: {step['text']}"
            return Ask(reason, by_hand.ttl_s, by_hand.count, bound)
        if call.name != "run_command":
            return Allow()
        if context.rules is None:
            return Deny(context.why_off)
        if context.rules.rule_for(step["argv"]) is None:
            return Deny(f"no rule in {context.rules.source} allows exactly {argv_text(step['argv'])}")
        policy = ApprovalPolicy(**step["approval"])
        bound = binding.policy(policy) | {name: step[key] for name, key in (("step", "id"), ("argv", "argv"))}
        bound |= {"undo": step["undo"], "environment": hash_of(step["environment"])}
        bound |= {"rule": rule_hash(context.rules, step["argv"])}
        return Ask(step["reason"], policy.ttl_s, policy.count, bound)

    return decide
