from pathlib import Path
from typing import Any

import pytest
from loom_ops._approvals.gate import approval_gate
from loom_ops._commands.context import ExecutionContext
from loom_ops._commands.rules_file import parse_rules
from loom_ops._commands.secrets import Vault
from loom_runner import Allow, Ask, Deny, PendingCall, ToolRegistry

RULES = parse_rules("allow: [{argv: [rollback, api]}]", "ops.rules.yaml")
STEP = {
    "id": "rollback",
    "argv": ["rollback", "api"],
    "undo": ["redeploy", "api"],
    "reason": "it is slow",
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
    return approval_gate(context, requester="alice")(call)


def test_a_command_waits_for_an_approval_bound_to_its_whole_policy(context: ExecutionContext) -> None:
    answer = decide(context, "run_command", **STEP)
    assert isinstance(answer, Ask)
    assert (answer.reason, answer.ttl_s, answer.needed) == ("it is slow", 60.0, 2)
    assert answer.policy == {
        "group": "oncall",
        "not_requester": True,
        "on_timeout": "deny",
        "requester": "alice",
        "step": "rollback",
        "argv": ["rollback", "api"],
        "undo": ["redeploy", "api"],
    }


def test_a_step_by_hand_waits_for_the_operators(context: ExecutionContext) -> None:
    answer = decide(context, "do_by_hand", id="item-1", text="Call them.")
    assert isinstance(answer, Ask) and answer.reason == "do this by hand, then approve: Call them."
    assert answer.policy == {"group": "operators", "requester": "alice", "step": "item-1"}
    assert (answer.ttl_s, answer.needed) == (1800.0, 1)


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
