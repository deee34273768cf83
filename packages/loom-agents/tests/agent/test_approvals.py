"""Calls that a person decides about: policy, runner and tools together."""

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


class Desk:
    def __init__(self, workspace: Workspace, folder: Path, *calls: ToolCall) -> None:
        self.workspace, self.folder = workspace, folder
        self.script = [ModelReply("", calls), "done"]
        self.store = SQLiteStore(str(folder / "runs.sqlite"))

    def runner(self, mode: Mode = "ask", *rules: Rule) -> AgentRunner:
        tools = workspace_tools(self.workspace, changes=ChangeLog(self.folder / "log"))
        coordinator = Coordinator(ScriptedModel(self.script), tools)
        return build_agent_runner(coordinator, tools, self.store, policy=Policy(self.workspace, mode, rules))

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
def desk(workspace: Workspace, tmp_path: Path) -> Desk:
    return Desk(workspace, tmp_path, ToolCall("e", "edit_file", EDIT), ToolCall("r", "read_file", {"path": "keep.log"}))


def test_an_edit_waits_for_a_word_and_happens_after_it(desk: Desk) -> None:
    waiting = desk.start()
    assert (waiting.status, waiting.wait and waiting.wait["approvals"]) == ("waiting", [1])
    (request,) = desk.runner().approvals("r")
    assert (request["tool"], request["arguments"], request["reason"]) == ("edit_file", EDIT, "mode ask")
    assert "a + b" in desk.app
    assert desk.resume().status == "waiting"
    desk.decide(1, "approve")
    assert [outcome for outcome, _ in desk.answers(desk.resume())] == ["success", "success"]
    assert "a - b" in desk.app


def test_a_denial_reaches_the_model_with_its_note_and_nothing_happens(desk: Desk) -> None:
    desk.start()
    desk.decide(1, "deny", note="use sub()")
    assert desk.answers(desk.resume())[0] == ("denied", "not run, and not waiting for a decision: use sub()")
    assert "a + b" in desk.app


def test_edited_arguments_are_the_ones_that_are_used(desk: Desk) -> None:
    desk.start()
    desk.decide(1, "edit", arguments=EDIT | {"new": "a * b"})
    assert desk.answers(desk.resume())[0][0] == "success"
    assert "a * b" in desk.app


def test_a_request_is_answered_once(desk: Desk) -> None:
    desk.start()
    desk.decide(1, "approve")
    with pytest.raises(RunnerError, match="approved already"):
        desk.decide(1, "deny")


def test_a_changed_mode_or_rule_decides_about_what_waits(desk: Desk) -> None:
    desk.start()
    assert desk.answers(desk.resume("edits"))[0][0] == "success"
    assert "a - b" in desk.app


def test_a_rule_that_denies_says_which_one_and_asks_nobody(desk: Desk) -> None:
    rule = "deny edit_file(src/**)"
    result = desk.start("auto", Rule.parse("deny", "edit_file(src/**)"))
    outcome, text = desk.answers(result)[0]
    assert (outcome, text) == (
        "denied",
        f"not run, and not waiting for a decision: the rule {rule} forbids it. Do not try to do the same in another way.",
    )
    assert "a + b" in desk.app


def test_a_mode_that_only_looks_denies_what_does_more(desk: Desk) -> None:
    assert [outcome for outcome, _ in desk.answers(desk.start("read-only"))] == ["denied", "success"]


@pytest.mark.parametrize("argument", ["idempotency_key", "_key", "_approved"])
def test_a_model_cannot_speak_for_the_runner(workspace: Workspace, tmp_path: Path, argument: str) -> None:
    desk = Desk(workspace, tmp_path, ToolCall("e", "edit_file", EDIT | {argument: "x"}))
    outcome, text = desk.answers(desk.start("auto"))[0]
    assert outcome == "failed"
    assert f"has no argument '{argument}'" in text
    assert "a + b" in desk.app
