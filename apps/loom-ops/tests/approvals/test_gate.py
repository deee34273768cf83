from pathlib import Path
from typing import Any

import pytest
from loom_ops._approvals.binding import PolicyBinding, rule_hash
from loom_ops._approvals.gate import approval_gate
from loom_ops._commands.context import ExecutionContext
from loom_ops._commands.rules_file import parse_rules
from loom_ops._commands.secrets import Vault
from loom_ops._runbook.model import ApprovalPolicy
from loom_ops._site import Site
from loom_runner import Allow, Ask, Deny, PendingCall, ToolRegistry

RULES = parse_rules("allow: [{argv: [rollback, api]}]", "ops.rules.yaml")
STEP = {
    "id": "rollback",
    "argv": ["rollback", "api"],
    "undo": ["redeploy", "api"],
    "reason": "it is slow",
    "environment": {},
    "approval": {
        "name": "default",
        "group": "oncall",
        "count": 2,
        "ttl_s": 60.0,
        "not_requester": True,
        "on_timeout": "deny",
    },
}


@pytest.fixture
def context(tmp_path: Path) -> ExecutionContext:
    return ExecutionContext(tmp_path, RULES, Vault({}, tmp_path))


def decide(context: ExecutionContext, name: str, **arguments: Any) -> Any:
    tools = ToolRegistry()
    tools.tool(name)(lambda: None)
    call = PendingCall("x", 0, "k", name, tools.get(name), arguments)
    folder = context.workspace
    site = Site(folder, folder / "rules", folder / "runbooks", groups={"oncall": ("bob", "alice")})
    binding = PolicyBinding(site, folder / "ops.sqlite", "token:alice")
    return approval_gate(context, binding, by_hand=ApprovalPolicy(group="oncall", count=3))(call)


def test_a_command_waits_for_an_approval_bound_to_its_whole_policy(context: ExecutionContext) -> None:
    answer = decide(context, "run_command", **STEP)
    assert isinstance(answer, Ask)
    assert (answer.reason, answer.ttl_s, answer.needed) == ("it is slow", 60.0, 2)
    policy = dict(answer.policy)
    assert len(policy.pop("rule")) == len(policy.pop("environment")) == 64
    assert policy == {
        "product": "loom-ops",
        "group": "oncall",
        "members": ["alice", "bob"],
        "count": 2,
        "not_requester": True,
        "on_timeout": "deny",
        "ttl_s": 60.0,
        "edits": "none",
        "sign": "off",
        "requester": "alice",
        "requester_identity": "token:alice",
        "people": {"identities": {}, "described": []},
        "step": "rollback",
        "argv": ["rollback", "api"],
        "undo": ["redeploy", "api"],
    }


def test_a_step_by_hand_waits_for_the_people_of_its_runbook(context: ExecutionContext) -> None:
    answer = decide(context, "do_by_hand", id="item-1", text="Call them.")
    assert isinstance(answer, Ask) and answer.reason == "do this by hand, then approve: Call them."
    assert (answer.policy["group"], answer.policy["step"], answer.policy["count"]) == ("oncall", "item-1", 3)
    assert (answer.ttl_s, answer.needed) == (1800.0, 3)


def test_another_rule_or_environment_has_another_hash(context: ExecutionContext) -> None:
    first = decide(context, "run_command", **STEP).policy
    other = decide(context, "run_command", **{**STEP, "environment": {"A": "1"}}).policy
    assert first["environment"] != other["environment"] and first["rule"] == other["rule"]
    rules = parse_rules("allow: [{argv: [rollback, api], env: [REGION]}]", "ops.rules.yaml")
    assert rule_hash(rules, ["rollback", "api"]) != first["rule"]
    rules = parse_rules("allow: [{argv: [rollback, api], network: false}]", "ops.rules.yaml")
    assert rule_hash(rules, ["rollback", "api"]) != first["rule"]
    rules = parse_rules("allow: [{argv: [rollback, api], network: true}]", "ops.rules.yaml")
    assert rule_hash(rules, ["rollback", "api"]) == first["rule"]
    assert rule_hash(rules, ["other"]) is rule_hash(None, ["rollback", "api"]) is None


def test_a_tool_that_changes_nothing_on_the_site_needs_no_approval(context: ExecutionContext) -> None:
    for name in ("check", "look", "write_postmortem", "learn"):
        assert isinstance(decide(context, name), Allow)


def test_a_command_that_cannot_be_allowed_is_denied_without_a_request(
    context: ExecutionContext, tmp_path: Path
) -> None:
    denied = decide(context, "run_command", **{**STEP, "argv": ["rollback", "web"]})
    assert isinstance(denied, Deny) and "no rule in ops.rules.yaml allows exactly rollback web" in str(denied)
    off = decide(ExecutionContext(tmp_path, None, context.vault), "run_command", **STEP)
    assert isinstance(off, Deny) and "commands are off" in str(off)
    off = decide(ExecutionContext(tmp_path, None, context.vault, why_off="others can write it"), "run_command", **STEP)
    assert isinstance(off, Deny) and "others can write it" in str(off)
