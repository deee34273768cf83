import asyncio
import json

import pytest
from flow_xray import Span, trace
from loom_agents import (
    AgentState,
    Coordinator,
    ModelReply,
    ScriptedModel,
    ToolCall,
    Usage,
    build_agent_runner,
    described_tool,
)
from loom_agents._agent.spans import describe_step
from loom_runner import SQLiteStore, ToolRegistry
from loom_runner._queries.tracing import trace_of

PAID = Usage(1, 100, 60, 10, 0.25)
REPLIES = [
    ModelReply("Let me see.", (ToolCall("1", "look"), ToolCall("2", "look", malformed="{")), PAID, "m-1", "tool_calls"),
    ModelReply("A whale.", usage=Usage(1, 200, 0, 20, 0.5), model="m-2"),
]


def look() -> str:
    """Look."""
    return "a whale"


def spans_of_run(*, keeps_open: bool) -> tuple[list[Span], list[Span]]:
    """Run a conversation; return the spans traced live, and those read from the rows."""
    tools = ToolRegistry()
    tools.add(described_tool(look, read_only=True))
    state = AgentState().with_user("What is that?").to_json()
    with SQLiteStore(":memory:") as store:
        coordinator = Coordinator(ScriptedModel(REPLIES), tools, keeps_open=keeps_open)
        runner = build_agent_runner(coordinator, tools, store, name="agent")
        with trace.capture(name="t") as session:
            asyncio.run(runner.start(run_id="r", initial_state=state))
        states = [state, *(step["state"] for step in runner.history("r"))]
        result = runner.get("r")["result"]
    live = [span for span in session.result().spans if span.kind == "llm"]
    pairs = zip(states, states[1:], strict=False)
    return live, [span for before, after in pairs for span in describe_step(before, after, result)]


def test_the_rows_give_the_same_spans_as_a_live_trace() -> None:
    live, recorded = spans_of_run(keeps_open=True)
    assert [span.name for span in recorded] == ["m-1", "m-2"]
    for ours, theirs in zip(recorded, live, strict=True):
        assert json.loads(json.dumps([ours.kind, ours.input, ours.output, ours.meta])) == [
            theirs.kind,
            theirs.input,
            theirs.output,
            theirs.meta,
        ]


def test_the_last_request_of_a_completed_run_is_read_from_its_result() -> None:
    live, recorded = spans_of_run(keeps_open=False)
    assert [span.meta for span in recorded] == [span.meta for span in live]
    assert recorded[1].output == {"text": "A whale.", "tool_calls": []}


def test_a_step_without_a_request_has_no_span() -> None:
    state = AgentState(usage=PAID).with_user("hi").to_json()
    assert describe_step(state, state, None) == []


@pytest.mark.parametrize(
    "state",
    [None, 3, "conversation", [], {}, {"conversation": None}, {"conversation": {"format": "loom-messages/9"}}],
)
def test_states_of_other_programs_and_versions_have_no_spans(state: object) -> None:
    assert describe_step(state, state, None) == []
    assert describe_step(AgentState().to_json(), state, None) == []


def test_the_price_of_a_request_is_unknown_when_a_sum_is() -> None:
    assert (Usage(2, 30, 3, 9, 0.75) - Usage(1, 10, 2, 4, 0.25)) == Usage(1, 20, 1, 5, 0.5)
    assert (Usage(2, 30, 3, 9, None) - Usage(1, 10, 2, 4, 0.25)).cost_usd is None


def test_a_page_drawn_from_the_rows_alone_shows_each_model_request_in_its_step() -> None:
    """Draw the page with the entry point of the installed package, as any process does."""
    tools = ToolRegistry()
    tools.add(described_tool(look, read_only=True))
    with SQLiteStore(":memory:") as store:
        runner = build_agent_runner(
            Coordinator(ScriptedModel(REPLIES), tools, keeps_open=True), tools, store, name="agent"
        )
        asyncio.run(runner.start(run_id="r", initial_state=AgentState().with_user("What is that?").to_json()))
        drawn = trace_of(store.reader, "r")

    names = {span.id: span.name for span in drawn.spans}
    asked = [(span.name, names[span.parent_id or ""]) for span in drawn.spans if span.kind == "llm"]
    assert asked == [("m-1", "step 0"), ("m-2", "step 1")]
