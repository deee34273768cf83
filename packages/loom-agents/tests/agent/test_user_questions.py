import asyncio
from typing import Any

import pytest
from loom_agents import AgentState, Coordinator, ModelReply, ScriptedModel, ToolCall, ToolMessage, build_agent_runner
from loom_agents._agent.user_questions import INPUT_SIGNAL
from loom_runner import RunEvent, RunResult, SQLiteStore, Tool, ToolRegistry


class Harness:
    def __init__(self, *replies: ModelReply | str) -> None:
        self.calls: list[str] = []
        self.events: list[RunEvent] = []
        tools = ToolRegistry()
        tools.add(Tool(name="note", function=self.note, input_schema={"type": "object"}, idempotent=True))
        coordinator = Coordinator(ScriptedModel(replies), tools, asks=True)
        self.runner = build_agent_runner(
            coordinator, tools, SQLiteStore(":memory:"), name="agent", observers=[self.events.append]
        )
        asyncio.run(self.runner.start(run_id="r", initial_state=AgentState().with_user("hi").to_json()))

    def note(self, text: str) -> str:
        self.calls.append(text)
        return text

    def answer(self, payload: Any) -> RunResult:
        asyncio.run(self.runner.signal(run_id="r", name=INPUT_SIGNAL, payload=payload))
        return asyncio.run(self.runner.resume(run_id="r"))

    @property
    def wait(self) -> Any:
        return self.runner.get("r")["wait"]

    @property
    def state(self) -> AgentState:
        return AgentState.from_json(self.runner.get("r")["state"])


def _asking(*calls: ToolCall) -> ModelReply:
    return ModelReply("", calls)


def question(call_id: str, text: str) -> ToolCall:
    return ToolCall(call_id, "ask_user", {"question": text})


def test_a_question_waits_for_a_person_while_the_other_calls_run() -> None:
    harness = Harness(_asking(question("q", "Which file?"), ToolCall("n", "note", {"text": "x"})), "thanks")
    assert harness.wait["signal"] == INPUT_SIGNAL
    assert harness.calls == ["x"]
    assert [call.id for call in harness.state.pending] == ["q"]
    asked = [event.data["event"] for event in harness.events if event.kind == "emitted"]
    assert {"type": "question", "call_id": "q", "question": "Which file?"} in asked
    harness.answer("README.md")
    assert harness.calls == ["x"]
    results = [message for message in harness.state.messages if isinstance(message, ToolMessage)]
    assert [(m.call_id, m.outcome, m.payload) for m in results] == [
        ("q", "success", {"answer": "README.md"}),
        ("n", "success", "x"),
    ]
    assert harness.state.answer == "thanks"


@pytest.mark.parametrize("payload", ["b", {"text": "b"}, {"q2": "b"}])
def test_several_questions_are_answered_one_by_one(payload: Any) -> None:
    harness = Harness(_asking(question("q", "one?"), question("q2", "two?")), "thanks")
    harness.answer("a")
    assert [call.id for call in harness.state.pending] == ["q2"]
    harness.answer(payload)
    assert [m.payload for m in harness.state.messages if isinstance(m, ToolMessage)] == [
        {"answer": "a"},
        {"answer": "b"},
    ]


def test_several_questions_can_be_answered_at_once_by_their_ids() -> None:
    harness = Harness(_asking(question("q", "one?"), question("q2", "two?")), "thanks")
    harness.answer({"q2": "b", "q": "a"})
    assert [m.payload for m in harness.state.messages if isinstance(m, ToolMessage)] == [
        {"answer": "a"},
        {"answer": "b"},
    ]
    assert harness.state.answer == "thanks"


@pytest.mark.parametrize(
    "call",
    [
        ToolCall("q", "ask_user", {}),
        ToolCall("q", "ask_user", {"question": " "}),
        ToolCall("q", "ask_user", {"question": "a", "more": 1}),
        ToolCall("q", "ask_user", {"question": 3}),
        ToolCall("q", "ask_user", malformed="{"),
    ],
)
def test_an_invalid_question_is_answered_at_once(call: ToolCall) -> None:
    harness = Harness(_asking(call), "sorry")
    assert harness.state.answer == "sorry"
    assert [m.outcome for m in harness.state.messages if isinstance(m, ToolMessage)] == ["failed"]


def test_an_answer_of_any_json_type_is_passed_on() -> None:
    harness = Harness(_asking(question("q", "one?")), "thanks")
    harness.answer({"other": [1]})
    assert [m.payload for m in harness.state.messages if isinstance(m, ToolMessage)] == [{"answer": {"other": [1]}}]
