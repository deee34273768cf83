"""An agent that delegates tasks: concurrent child runs and all their outcomes."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loom_agents import (
    AgentProfile,
    AgentState,
    Coordinator,
    Delegation,
    ModelReply,
    ScriptedModel,
    ToolCall,
    ToolMessage,
    Usage,
    build_agent_runner,
)
from loom_runner import AgentRunner, Budget, RunResult, SQLiteStore, Tool, ToolRegistry, UsageError

RESEARCHER = AgentProfile("researcher", "Find things out.\nLook first.")
VERIFIER = AgentProfile("verifier", "Check what others say.", tools=("read_*",), model="x:y", max_tokens=5)


def first_state(profile: AgentProfile, task: str) -> Any:
    return AgentState(setup={"agent": profile.name}).with_user(task).to_json()


class Team:
    def __init__(
        self, *lead: ModelReply | str, compact_at_tokens: int = 100_000, **children: list[ModelReply | str]
    ) -> None:
        self.store = SQLiteStore(":memory:")
        self.effects: list[str] = []
        tools = ToolRegistry()
        tools.add(Tool(name="note", function=self.note, input_schema={"type": "object"}, idempotent=True))

        def maker(name: str) -> Any:
            def make() -> AgentRunner:
                return build_agent_runner(
                    Coordinator(ScriptedModel(children[name], name=name), tools, keeps_open=False),
                    tools,
                    self.store,
                    name=name,
                )

            return make

        delegation = Delegation((RESEARCHER, VERIFIER), first_state)
        coordinator = Coordinator(
            ScriptedModel(lead), tools, asks=True, delegation=delegation, compact_at_tokens=compact_at_tokens
        )
        self.runner = build_agent_runner(
            coordinator, tools, self.store, name="agent", children={name: maker(name) for name in children}
        )

    def note(self, text: str) -> str:
        self.effects.append(text)
        return text

    def start(self, budget: Budget | None = None) -> RunResult:
        state = AgentState().with_user("go").to_json()
        return asyncio.run(self.runner.start(run_id="team", initial_state=state, budget=budget))

    @property
    def state(self) -> AgentState:
        return AgentState.from_json(self.runner.get("team")["state"])

    @property
    def answers(self) -> list[tuple[str, Any]]:
        return [(m.outcome, m.payload) for m in self.state.messages if isinstance(m, ToolMessage)]


def delegate(call_id: str, agent: str = "researcher", task: str = "look") -> ToolCall:
    return ToolCall(call_id, "delegate", {"agent": agent, "task": task})


def calling(*calls: ToolCall) -> ModelReply:
    return ModelReply("", calls)


def test_two_delegations_and_a_tool_of_one_reply_are_all_answered_in_order() -> None:
    lead = calling(delegate("a"), ToolCall("n", "note", {"text": "x"}), delegate("b", "verifier"))
    team = Team(lead, "merged", researcher=["found"], verifier=["checked"])
    result = team.start()
    assert (result.status, team.state.answer, team.effects) == ("waiting", "merged", ["x"])
    assert team.answers == [
        ("success", {"agent": "researcher", "run_id": "team:sub:researcher", "answer": "found"}),
        ("success", "x"),
        ("success", {"agent": "verifier", "run_id": "team:sub:verifier", "answer": "checked"}),
    ]
    child = AgentState.from_json(team.runner.get("team:sub:verifier")["state"])
    assert (child.last_user_text, child.answer, child.setup) == ("look", "checked", {"agent": "verifier"})


def test_the_next_delegation_to_an_agent_is_another_run() -> None:
    team = Team(calling(delegate("a")), calling(delegate("b", task="look again")), "done", researcher=["one"])
    team.start()
    assert [payload["run_id"] for _, payload in team.answers] == ["team:sub:researcher", "team:sub:researcher-2"]
    assert team.state.delegated == {"a": "researcher", "b": "researcher-2"}


def children_of(*agents: str, earlier: dict[str, str] | None = None) -> list[str]:
    """Return the names of the child runs for one call of each agent, all in one reply."""
    profiles = tuple(AgentProfile(name, "Works.") for name in ("coder", "coder-2", "coder-3", "coder-2-2"))
    calls = [delegate(f"call-{number}", agent) for number, agent in enumerate(agents)]
    children, names = Delegation(profiles, first_state).children(calls, earlier or {})
    assert [names[call.id] for call in calls] == [child.name for child in children]
    assert [child.program for child in children] == list(agents)
    return [child.name for child in children]


@pytest.mark.parametrize("name", ["", " ", "a#b", "a:sub:b", "a\nb", "x" * 101, "x" * 250, 5])
def test_a_profile_whose_name_cannot_be_that_of_a_run_is_refused(name: Any) -> None:
    with pytest.raises(UsageError, match="^cannot define an agent named") as caught:
        AgentProfile(name, "Works.")
    assert "\n" not in str(caught.value)
    assert AgentProfile("x" * 100, "Works.").name == "x" * 100


def test_an_agent_whose_name_ends_with_a_number_does_not_share_a_child_with_another_agent() -> None:
    assert children_of("coder-2", "coder") == ["coder-2", "coder"]
    assert children_of("coder", "coder-2") == ["coder", "coder-2"]
    assert children_of("coder-3", "coder", "coder") == ["coder-3", "coder", "coder-4"]


def test_the_children_of_earlier_replies_keep_their_unique_names() -> None:
    earlier = {"old-1": "coder", "old-2": "coder-2"}  # as every version has stored them
    assert children_of("coder", earlier=earlier) == ["coder-4"]  # coder-3 is the name of an agent
    assert children_of("coder-2", earlier=earlier) == ["coder-2-3"]  # so is coder-2-2
    assert children_of("coder-3", earlier=earlier) == ["coder-3"]


@given(st.lists(st.sampled_from(["coder", "coder-2", "coder-3", "coder-2-2"]), max_size=12), st.integers(0, 12))
def test_no_two_calls_ever_share_a_child(agents: list[str], first: int) -> None:
    earlier = {f"old-{number}": name for number, name in enumerate(children_of(*agents[:first]))}
    names = [*earlier.values(), *children_of(*agents[first:], earlier=earlier)]
    assert len(set(names)) == len(names)


def test_a_repeated_call_id_after_a_summary_is_not_answered_by_the_earlier_child() -> None:
    long = calling(delegate("call-1", task="x" * 4_000))
    lead = [long, calling(ToolCall("n", "note", {"text": "x"})), "summary", calling(delegate("call-1")), "done"]
    team = Team(*lead, compact_at_tokens=600, researcher=["found"])
    team.start()
    assert [row["run_id"] for row in team.runner.children("team")] == ["team:sub:researcher", "team:sub:researcher-2"]
    assert team.state.answer == "done"


def test_the_usage_of_children_is_summed() -> None:
    paid = ModelReply("found", usage=Usage(1, 10, 2, 5, 0.5))
    team = Team(calling(delegate("a"), delegate("b")), "done", researcher=[paid])
    team.start()
    assert team.state.children_usage == Usage(2, 20, 4, 10, 1.0)
    assert team.state.total_usage.cost_usd == 1.0
    assert team.state.total_usage.requests == 4


def test_a_child_that_fails_is_an_answer() -> None:
    team = Team(calling(delegate("a")), "sorry", researcher=[calling(ToolCall("n", "note", {"text": "x"}))])
    team.start()
    ((outcome, text),) = team.answers
    assert outcome == "failed"
    assert "researcher did not finish (team:sub:researcher is failed): cannot answer" in text
    assert team.state.answer == "sorry"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "there is no such agent. Agents: researcher, verifier."),
        ({"agent": "nobody", "task": "x"}, "'nobody': there is no such agent"),
        ({"agent": "researcher"}, "`task` is not a string"),
        ({"agent": "researcher", "task": " "}, "`task` is not a string"),
        ({"agent": "researcher", "task": "x" * 20_001}, "`task` is not a string"),
        ({"agent": "researcher", "task": "x", "more": 1}, "two arguments"),
        ({"agent": "researcher", "task": "x", "_key": 1}, "no argument '_key'"),
    ],
)
def test_an_invalid_delegation_is_answered_at_once(arguments: dict[str, Any], message: str) -> None:
    team = Team(calling(ToolCall("a", "delegate", arguments)), "sorry", researcher=["found"])
    team.start()
    ((outcome, text),) = team.answers
    assert outcome == "failed"
    assert message in text


def test_a_question_to_the_user_waits_until_the_children_are_done() -> None:
    ask = ToolCall("q", "ask_user", {"question": "which?"})
    team = Team(calling(ask, delegate("a")), "thanks", researcher=["found"])
    team.start()
    assert (team.state.question, [outcome for outcome, _ in team.answers]) == ("which?", ["success"])
    asyncio.run(team.runner.signal(run_id="team", name="input", payload="this"))
    asyncio.run(team.runner.resume(run_id="team"))
    assert [payload for _, payload in team.answers][0] == {"answer": "this"}
    assert team.state.answer == "thanks"


def test_children_have_what_remains_of_the_budget() -> None:
    lead = ModelReply("", (delegate("a"),), Usage(1, 5, 0, 5))
    child = ModelReply("", (ToolCall("n", "note", {"text": "x"}),), Usage(1, 1, 0, 1))
    team = Team(lead, "done", researcher=[child, "found"])
    result = team.start(Budget(tokens=12))
    assert (team.runner.get("team:sub:researcher")["status"], team.effects) == ("paused", [])
    assert result.status == "waiting"


def test_a_profile_has_its_own_budget() -> None:
    child = ModelReply("", (ToolCall("n", "note", {"text": "x"}),), Usage(1, 3, 0, 3))
    team = Team(calling(delegate("a", "verifier")), "done", verifier=[child, "found"])
    team.start()
    assert team.runner.get("team:sub:verifier")["status"] == "paused"
    assert RESEARCHER.budget is None


def test_a_stored_profile_reads_back_as_it_was_and_has_a_purpose() -> None:
    assert AgentProfile.from_json(json.loads(json.dumps(VERIFIER.to_json()))) == VERIFIER
    assert AgentProfile.from_json(RESEARCHER.to_json()) == RESEARCHER
    assert RESEARCHER.purpose == "Find things out."
    spec = Delegation((RESEARCHER, VERIFIER), first_state).spec()
    assert "researcher: Find things out.; verifier: Check what others say." in spec.description
    assert spec.parameters["properties"]["agent"]["enum"] == ["researcher", "verifier"]


PROGRAM = """
import asyncio, json, os, signal, sys
from loom_agents import *
from loom_runner import SQLiteStore, ToolRegistry, Tool
DIE_AT = int(sys.argv[1])
seen = 0
def observer(event):
    global seen
    seen += 1
    if seen == DIE_AT:
        os.kill(os.getpid(), signal.SIGKILL)
def note(idempotency_key, text):
    with open("effects", "a") as file:
        file.write(idempotency_key + "\\n")
    return text
tools = ToolRegistry()
tools.add(Tool(name="note", function=note, input_schema={"type": "object"}, idempotent=True))
store = SQLiteStore("runs.sqlite", durability="process")
profiles = (AgentProfile("one", "One."), AgentProfile("two", "Two."))
def maker(name):
    script = [ModelReply("", (ToolCall("n", "note", {"text": name}),)), f"answer of {name}"]
    return build_agent(Coordinator(ScriptedModel(script), tools, keeps_open=False), tools, name=name)
delegation = Delegation(profiles, lambda profile, task: AgentState().with_user(task).to_json())
call = lambda i, a: ToolCall(i, "delegate", {"agent": a, "task": "go"})
lead = ScriptedModel([ModelReply("", (call("a", "one"), call("b", "two"))), ModelReply("", (call("c", "one"),)), "merged"])
runner = build_agent_runner(Coordinator(lead, tools, delegation=delegation), tools, store, name="lead", observers=[observer],
    children={p.name: maker(p.name) for p in profiles})
result = asyncio.run(runner.start(run_id="team", initial_state=AgentState().with_user("go").to_json()))
children = {row["run_id"]: row["result"] for row in runner.list() if row["run_id"] != "team"}
print(json.dumps({"state": result.state, "children": children, "events": seen}, sort_keys=True))
"""


def _run(folder: Path, die_at: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, str(die_at)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
@pytest.mark.uncovered
def test_killed_anywhere_the_parent_and_its_children_end_the_same(tmp_path: Path) -> None:
    (tmp_path / "undisturbed").mkdir()
    wanted = json.loads(_run(tmp_path / "undisturbed").stdout)
    assert set(wanted["children"]) == {"team:sub:one", "team:sub:two", "team:sub:one-2"}
    for die_at in range(1, wanted["events"] + 1, 3):
        folder = tmp_path / str(die_at)
        folder.mkdir()
        assert _run(folder, die_at).returncode == -signal.SIGKILL
        ended = _run(folder)
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout) | {"events": 0} == wanted | {"events": 0}, f"killed at event {die_at}"
