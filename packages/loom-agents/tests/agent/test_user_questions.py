import asyncio
from typing import Any

import pytest
from loom_agents import AgentState, Coordinator, ModelReply, ScriptedModel, ToolCall, ToolMessage, build_agent_runner
from loom_agents._agent.user_questions import INPUT_SIGNAL
from loom_runner import RunEvent, RunResult, SQLiteStore, Tool, ToolRegistry


class Desk:
    def __init__(self, *replies: ModelReply | str) -> None:
        self.calls: list[str] = []
        self.events: list[RunEvent] = []
        tools = ToolRegistry()
        tools.add(Tool(name="note", function=self.note, input_schema={"type": "object"}, idempotent=True))
        coordinator = Coordinator(ScriptedModel(replies), tools, asks=True)
        self.runner = build_agent_runner(coordinator, tools, SQLiteStore(":memory:"), observers=[self.events.append])
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


def test_a_question_waits_for_a_person_while_the_other_calls_are_done() -> None:
    desk = Desk(_asking(question("q", "Which file?"), ToolCall("n", "note", {"text": "x"})), "thanks")
    assert desk.wait["signal"] == INPUT_SIGNAL
    assert desk.calls == ["x"]
    assert [call.id for call in desk.state.pending] == ["q"]
    asked = [event.data["event"] for event in desk.events if event.kind == "emitted"]
    assert {"type": "question", "call_id": "q", "question": "Which file?"} in asked
    desk.answer("README.md")
    assert desk.calls == ["x"]
    results = [message for message in desk.state.messages if isinstance(message, ToolMessage)]
    assert [(m.call_id, m.outcome, m.payload) for m in results] == [
        ("q", "success", {"answer": "README.md"}),
        ("n", "success", "x"),
    ]
    assert desk.state.answer == "thanks"


@pytest.mark.parametrize("payload", ["b", {"text": "b"}, {"q2": "b"}])
def test_several_questions_are_answered_one_by_one(payload: Any) -> None:
    desk = Desk(_asking(question("q", "one?"), question("q2", "two?")), "thanks")
    desk.answer("a")
    assert [call.id for call in desk.state.pending] == ["q2"]
    desk.answer(payload)
    assert [m.payload for m in desk.state.messages if isinstance(m, ToolMessage)] == [{"answer": "a"}, {"answer": "b"}]


def test_both_may_be_answered_at_once_by_their_ids() -> None:
    desk = Desk(_asking(question("q", "one?"), question("q2", "two?")), "thanks")
    desk.answer({"q2": "b", "q": "a"})
    assert [m.payload for m in desk.state.messages if isinstance(m, ToolMessage)] == [{"answer": "a"}, {"answer": "b"}]
    assert desk.state.answer == "thanks"


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
def test_a_question_that_is_none_is_answered_at_once(call: ToolCall) -> None:
    desk = Desk(_asking(call), "sorry")
    assert desk.state.answer == "sorry"
    assert [m.outcome for m in desk.state.messages if isinstance(m, ToolMessage)] == ["failed"]


def test_an_odd_answer_is_given_as_it_is() -> None:
    desk = Desk(_asking(question("q", "one?")), "thanks")
    desk.answer({"other": [1]})
    assert [m.payload for m in desk.state.messages if isinstance(m, ToolMessage)] == [{"answer": {"other": [1]}}]
