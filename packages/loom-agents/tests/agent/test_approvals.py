"""Calls that need an approval: policy, runner and tools together."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from loom_agents import (
    AgentState,
    Coordinator,
    ModelReply,
    ScriptedModel,
    ToolCall,
    ToolMessage,
    Workspace,
    build_agent_runner,
    workspace_tools,
)
from loom_agents._agent.policy import Mode, Policy, Rule
from loom_agents._workspace.undo.change_log import ChangeLog
from loom_runner import AgentRunner, RunnerError, RunResult, SQLiteStore

EDIT = {"path": "src/app.py", "old": "a + b", "new": "a - b"}


class Harness:
    def __init__(self, workspace: Workspace, folder: Path, *calls: ToolCall) -> None:
        self.workspace, self.folder = workspace, folder
        self.script = [ModelReply("", calls), "done"]
        self.store = SQLiteStore(str(folder / "runs.sqlite"))

    def runner(self, mode: Mode = "ask", *rules: Rule) -> AgentRunner:
        tools = workspace_tools(self.workspace, changes=ChangeLog(self.folder / "log"))
        coordinator = Coordinator(ScriptedModel(self.script), tools)
        return build_agent_runner(
            coordinator, tools, self.store, name="agent", policy=Policy(self.workspace, mode, rules)
        )

    def start(self, mode: Mode = "ask", *rules: Rule) -> RunResult:
        state = AgentState().with_user("go").to_json()
        return asyncio.run(self.runner(mode, *rules).start(run_id="r", initial_state=state))

    def resume(self, mode: Mode = "ask", *rules: Rule) -> RunResult:
        return asyncio.run(self.runner(mode, *rules).resume(run_id="r"))

    def decide(self, number: int, how: Any, **more: Any) -> None:
        asyncio.run(self.runner().decide(run_id="r", number=number, how=how, by="ann", **more))

    def answers(self, result: RunResult) -> list[tuple[str, Any]]:
        state = AgentState.from_json(result.state)
        return [(m.outcome, m.payload) for m in state.messages if isinstance(m, ToolMessage)]

    @property
    def app(self) -> str:
        return (self.workspace.root / "src/app.py").read_text()


@pytest.fixture
def harness(workspace: Workspace, tmp_path: Path) -> Harness:
    return Harness(
        workspace, tmp_path, ToolCall("e", "edit_file", EDIT), ToolCall("r", "read_file", {"path": "keep.log"})
    )


def test_an_edit_waits_for_approval(harness: Harness) -> None:
    waiting = harness.start()
    assert (waiting.status, waiting.wait and waiting.wait["approvals"]) == ("waiting", [1])
    (request,) = harness.runner().approvals("r")
    assert (request["tool"], request["arguments"], request["reason"]) == ("edit_file", EDIT, "mode ask")
    assert "a + b" in harness.app
    assert harness.resume().status == "waiting"
    harness.decide(1, "approve")
    assert [outcome for outcome, _ in harness.answers(harness.resume())] == ["success", "success"]
    assert "a - b" in harness.app


def test_a_denial_reaches_the_model_with_its_note_and_nothing_changes(harness: Harness) -> None:
    harness.start()
    harness.decide(1, "deny", note="use sub()")
    assert harness.answers(harness.resume())[0] == ("denied", "not run, and not waiting for a decision: use sub()")
    assert "a + b" in harness.app


def test_edited_arguments_are_used(harness: Harness) -> None:
    harness.start()
    harness.decide(1, "edit", arguments=EDIT | {"new": "a * b"})
    assert harness.answers(harness.resume())[0][0] == "success"
    assert "a * b" in harness.app


def test_a_request_is_decided_once(harness: Harness) -> None:
    harness.start()
    harness.decide(1, "approve")
    with pytest.raises(RunnerError, match="approved already"):
        harness.decide(1, "deny")


def test_a_changed_mode_or_rule_decides_about_pending_requests(harness: Harness) -> None:
    harness.start()
    assert harness.answers(harness.resume("edits"))[0][0] == "success"
    assert "a - b" in harness.app


def test_a_denying_rule_is_named_and_no_request_is_made(harness: Harness) -> None:
    rule = "deny edit_file(src/**)"
    result = harness.start("auto", Rule.parse("deny", "edit_file(src/**)"))
    outcome, text = harness.answers(result)[0]
    assert (outcome, text) == (
        "denied",
        f"not run, and not waiting for a decision: the rule {rule} forbids it. Do not try to do the same in another way.",
    )
    assert "a + b" in harness.app


def test_the_read_only_mode_denies_changes(harness: Harness) -> None:
    assert [outcome for outcome, _ in harness.answers(harness.start("read-only"))] == ["denied", "success"]


@pytest.mark.parametrize("argument", ["idempotency_key", "_key", "_approved"])
def test_a_model_cannot_set_arguments_of_the_runner(workspace: Workspace, tmp_path: Path, argument: str) -> None:
    harness = Harness(workspace, tmp_path, ToolCall("e", "edit_file", EDIT | {argument: "x"}))
    outcome, text = harness.answers(harness.start("auto"))[0]
    assert outcome == "failed"
    assert f"has no argument '{argument}'" in text
    assert "a + b" in harness.app
