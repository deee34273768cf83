import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loom_agents import (
    AgentState,
    AssistantMessage,
    Coordinator,
    ModelReply,
    ModelRequest,
    ScriptedModel,
    ToolCall,
    ToolMessage,
    UserMessage,
    build_agent_runner,
    described_tool,
)
from loom_agents._agent.compaction import Split, split, tokens_of, with_summary
from loom_agents._agent.spans import describe_step
from loom_agents._models.messages import Message, SummaryMessage, dump_messages, load_messages, replies_in
from loom_runner import SQLiteStore, ToolRegistry

LONG = "x" * 400  # 100 tokens


def exchange(number: int, text: str = LONG) -> tuple[Message, ...]:
    call = ToolCall(f"c{number}", "grep", {})
    return (AssistantMessage("", (call,)), ToolMessage(call.id, "grep", "success", text))


def turn(number: int) -> tuple[Message, ...]:
    return (UserMessage(f"question {number}"), *exchange(number), AssistantMessage(f"answer {number}"))


def test_a_short_conversation_is_not_split() -> None:
    assert split(turn(1), 1_000) is None


def test_the_beginning_is_replaced_and_complete_exchanges_are_kept() -> None:
    messages = (*turn(1), *turn(2), *turn(3), UserMessage("question 4"), *exchange(4))
    parts = split(messages, 300)
    assert parts is not None
    assert parts.old + parts.kept == messages
    assert parts.kept == exchange(4)
    short = with_summary(parts, "what happened", 300)
    assert short == (SummaryMessage("what happened", 3, 7, 0), UserMessage("question 4"), *exchange(4))
    before, after = AgentState(messages), AgentState(short)
    assert (after.turn, after.turn_requests, after.last_user_text) == (4, 1, "question 4")
    assert (before.turn, before.turn_requests, before.last_user_text) == (4, 1, "question 4")
    assert tokens_of(short) < 300


def test_a_long_turn_is_summarized_in_its_middle_and_its_counts_continue() -> None:
    messages = (UserMessage("go"), *(message for n in range(8) for message in exchange(n)))
    parts = split(messages, 400)
    assert parts is not None
    state = AgentState(with_summary(parts, "s", 400))
    assert (state.turn, state.turn_requests, state.last_user_text) == (1, 8, "go")
    again = AgentState((*state.messages, *(m for n in range(8, 16) for m in exchange(n))))
    parts = split(again.messages, 400)
    assert parts is not None
    twice = AgentState(with_summary(parts, "t", 400))
    assert (twice.turn, twice.turn_requests, twice.last_user_text) == (1, 16, "go")
    assert sum(isinstance(m, SummaryMessage) for m in twice.messages) == 1


def test_a_kept_user_message_is_counted_once() -> None:
    messages = (*turn(1), *turn(2), *turn(3), UserMessage("next"))
    parts = split(messages, 250)
    assert parts is not None
    short = with_summary(parts, "s", 250)
    assert AgentState(short).turn == 4
    assert AgentState(short).turn_requests == 0
    assert short[-1] == UserMessage("next")


@pytest.mark.parametrize(
    "messages",
    [
        (UserMessage("x" * 4_000),),
        (UserMessage("x" * 4_000), *exchange(1, "y")),
        (SummaryMessage("s" * 200, 1, 1), UserMessage("x" * 4_000), *exchange(1, "y")),
        (ToolMessage("c", "grep", "success", "x" * 4_000),),
    ],
)
def test_a_conversation_that_would_not_get_shorter_is_not_split(messages: tuple[Message, ...]) -> None:
    assert tokens_of(messages) > 300
    assert split(messages, 300) is None


def test_a_summary_is_truncated_to_its_share_and_stored() -> None:
    parts = Split(turn(1), turn(2))
    (summary, *_) = short = with_summary(parts, "s" * 10_000, 300)
    assert isinstance(summary, SummaryMessage)
    assert len(summary.text) == 300
    assert load_messages(dump_messages(short)) == short


class Harness:
    def __init__(self, script: Any, limit: int) -> None:
        self.requests: list[ModelRequest] = []
        self.events: list[dict[str, Any]] = []
        tools = ToolRegistry()
        tools.add(described_tool(self.look, read_only=True))
        model = ScriptedModel(script)

        class Watched:
            name = "watched"

            async def request(inner, request: ModelRequest, *, on_delta: Any) -> ModelReply:
                self.requests.append(request)
                return await model.request(request, on_delta=on_delta)

        coordinator = Coordinator(Watched(), tools, system="work", compact_at_tokens=limit)

        def listen(event: Any) -> None:
            if event.kind == "emitted":
                self.events.append(event.data["event"])

        self.runner = build_agent_runner(coordinator, tools, SQLiteStore(":memory:"), name="agent", observers=[listen])
        asyncio.run(self.runner.start(run_id="r", initial_state=AgentState().with_user("go").to_json()))

    def look(self) -> str:
        """Look."""
        return LONG

    @property
    def state(self) -> AgentState:
        return AgentState.from_json(self.runner.get("r")["state"])


def test_the_summary_is_a_separate_step_and_the_run_continues_with_it() -> None:
    look = [ModelReply("", (ToolCall(f"c{n}", "look"),)) for n in range(4)]
    harness = Harness([*look[:3], "the summary", look[3], "done"], 250)
    assert harness.state.answer == "done"
    assert [len(step["state"]["conversation"]["messages"]) for step in harness.runner.history("r")] == [
        2,
        4,
        6,
        4,
        5,
        7,
    ]
    summing = harness.requests[3]
    assert summing.tools == ()
    assert summing.messages[-1] == UserMessage("Summarize the conversation up to here.")
    after = harness.requests[4]
    assert after.system == "work"
    assert after.messages[:2] == (SummaryMessage("the summary", 0, 3, 2), UserMessage("go"))
    assert {"type": "compacting", "messages": 5, "tokens": tokens_of(summing.messages[:-1])} in harness.events
    assert "the summary" not in "".join(event.get("text", "") for event in harness.events)
    assert harness.state.turn_requests == 5
    assert harness.state.usage.requests == 6
    steps = harness.runner.history("r")
    (span,) = describe_step(steps[2]["state"], steps[3]["state"], None)
    assert (span.name, span.output) == ("summary", {"text": "the summary", "tool_calls": []})


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 900), min_size=1, max_size=30), st.integers(50, 400))
def test_any_summary_keeps_the_counts_and_compaction_ends(sizes: list[int], limit: int) -> None:
    messages: list[Message] = [UserMessage("go")]
    for number, size in enumerate(sizes):
        more = (UserMessage("x" * size),) if size % 3 == 0 else exchange(number, "x" * size)
        messages += [AssistantMessage("done"), *more] if isinstance(more[0], UserMessage) else more
    state = AgentState(tuple(messages))
    for _ in range(20):
        parts = split(state.messages, limit)
        if parts is None:
            break
        shorter = AgentState(with_summary(parts, "s" * 5_000, limit))
        assert (shorter.turn, shorter.turn_requests, shorter.last_user_text) == (
            state.turn,
            state.turn_requests,
            state.last_user_text,
        )
        assert replies_in(shorter.messages) == replies_in(state.messages) + 1
        assert not isinstance(shorter.messages[1], ToolMessage)
        state = shorter
    else:
        raise AssertionError("compaction does not end")
