import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from flow_xray import trace
from loom_agents import (
    AgentState,
    AssistantMessage,
    Coordinator,
    ModelError,
    ModelReply,
    ModelRequest,
    ScriptedModel,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
    build_agent_runner,
    described_tool,
)
from loom_runner import Budget, RetryPolicy, RunEvent, RunResult, SQLiteStore, Tool, ToolFailed, ToolRegistry

pytestmark = pytest.mark.interpreter

Script = Sequence[ModelReply | str] | Callable[[ModelRequest], ModelReply | str]


def calling(*calls: ToolCall, text: str = "") -> ModelReply:
    return ModelReply(text, calls)


class Harness:
    """An agent on a store in memory, with tools that record their calls."""

    def __init__(self, script: Script, **options: Any) -> None:
        self.effects: list[str] = []
        self.events: list[RunEvent] = []
        self.tools = ToolRegistry()
        self.tools.add(described_tool(self.note, idempotent=True))
        self.tools.add(described_tool(self.fails, read_only=True))
        self.store = SQLiteStore(":memory:")
        self.model = ScriptedModel(script)
        coordinator = Coordinator(self.model, self.tools, **options)
        policy = RetryPolicy(max_attempts=3, initial_s=0, should_retry=lambda e: getattr(e, "retryable", False))
        self.runner = build_agent_runner(
            coordinator, self.tools, self.store, name="agent", observers=[self.events.append], retry=policy
        )

    async def note(self, text: str) -> dict[str, str]:
        """Write a note.

        Args:
            text: What to write.
        """
        await asyncio.sleep(0)
        self.effects.append(text)
        return {"noted": text}

    def fails(self) -> None:
        """Fail."""
        raise ToolFailed("the disk is on fire", error_category="fire")

    def start(self, budget: Budget | None = None, **more: Any) -> tuple[RunResult, AgentState]:
        state = AgentState(**more).with_user("hi").to_json()
        result = asyncio.run(self.runner.start(run_id="r", initial_state=state, budget=budget))
        return result, AgentState.from_json(result.state)

    def resume(self, budget: Budget | None = None) -> tuple[RunResult, AgentState]:
        result = asyncio.run(self.runner.resume(run_id="r", budget=budget))
        return result, AgentState.from_json(result.state)

    def results(self) -> list[ToolMessage]:
        state = AgentState.from_json(self.runner.get("r")["state"])
        return [message for message in state.messages if isinstance(message, ToolMessage)]


def test_a_greeting_is_answered_in_one_step_and_waits_for_the_next_message() -> None:
    harness = Harness(["hello"])
    result, state = harness.start()
    assert (result.status, result.step_index, result.wait) == ("waiting", 1, {"signal": "message", "until": None})
    assert state.messages == (UserMessage("hi"), AssistantMessage("hello", model="scripted"))
    assert state.answer == "hello"


def test_a_task_completes_with_its_answer() -> None:
    result, _ = Harness(["done"], keeps_open=False).start()
    assert result.status == "completed"
    assert result.result["answer"] == "done"
    assert result.result["usage"]["requests"] == 1


def test_the_next_message_continues_the_conversation() -> None:
    harness = Harness(["one", "two"])
    harness.start()
    asyncio.run(harness.runner.signal(run_id="r", name="message", payload={"text": "and?"}))
    result, state = harness.resume()
    assert [m.text for m in state.messages if not isinstance(m, ToolMessage)] == ["hi", "one", "and?", "two"]
    assert (state.turn, state.usage.requests, result.step_index) == (2, 2, 2)


@pytest.mark.parametrize(
    ("payload", "text"),
    [("and?", "and?"), (3, "3"), (None, "null"), ({"text": 3}, '{"text": 3}'), ({"text": "a"}, "a")],
)
def test_any_payload_of_a_message_signal_is_accepted(payload: Any, text: str) -> None:
    harness = Harness(["one", "two"])
    harness.start()
    asyncio.run(harness.runner.signal(run_id="r", name="message", payload=payload))
    _, state = harness.resume()
    assert (state.last_user_text, state.answer) == (text, "two")


def test_one_step_is_one_model_request_and_the_tools_of_the_previous_reply() -> None:
    requests: list[ModelRequest] = []

    def script(request: ModelRequest) -> ModelReply | str:
        requests.append(request)
        return calling(ToolCall("1", "note", {"text": "a"})) if len(requests) == 1 else "done"

    harness = Harness(script, system="be kind")
    result, state = harness.start()
    assert (result.step_index, harness.effects) == (2, ["a"])
    assert [spec.name for spec in requests[0].tools] == ["note", "fails"]
    assert requests[0].system == "be kind"
    assert requests[1].messages[-1] == ToolMessage("1", "note", "success", {"noted": "a"})


def test_several_calls_run_at_once_and_are_answered_in_their_order() -> None:
    both = asyncio.Event()
    harness = Harness([calling(ToolCall("slow", "first"), ToolCall("fast", "second")), "done"])

    async def first() -> str:
        await asyncio.wait_for(both.wait(), 5)
        return "first"

    async def second() -> str:
        both.set()
        return "second"

    for function in (first, second):
        harness.tools.add(Tool(name=function.__name__, function=function, input_schema={}, read_only=True))
    harness.start()
    assert [(m.call_id, m.payload) for m in harness.results()] == [("slow", "first"), ("fast", "second")]


def test_duplicate_and_empty_call_ids_are_renumbered_over_the_whole_conversation() -> None:
    same = ToolCall("x", "note", {"text": "a"})
    harness = Harness([calling(same, same, ToolCall("", "note", {"text": "b"})), calling(same), "done"])
    _, state = harness.start()
    assert [m.call_id for m in harness.results()] == ["x", "x-2", "call", "x-3"]
    assert harness.effects == ["a", "a", "b", "a"]
    asked = [call.id for m in state.messages if isinstance(m, AssistantMessage) for call in m.tool_calls]
    assert asked == [m.call_id for m in harness.results()]


@pytest.mark.parametrize(
    ("call", "outcome", "text"),
    [
        (ToolCall("1", "note", malformed='{"text": '), "failed", "not a JSON object"),
        (ToolCall("1", "note", malformed="x" * 5000), "failed", "5000 characters"),
        (ToolCall("1", "nothing", {}), "failed", "no such tool. Tools: fails, note."),
        (ToolCall("1", "note", {}), "failed", "'text' is missing"),
        (ToolCall("1", "note", {"text": 3}), "failed", "must be a JSON string"),
        (ToolCall("1", "note", {"text": "a", "b": 1}), "failed", "no argument 'b'"),
        (ToolCall("1", "fails"), "failed", "the disk is on fire"),
        (ToolCall("1", "note", {"text": "a", "_approved": "me"}), "failed", "no argument '_approved'"),
        (ToolCall("1", "note", {"text": "a", "_key": "k"}), "failed", "no argument '_key'"),
        (ToolCall("1", "no\ud800te"), "failed", "no such tool"),
    ],
)
def test_errors_of_a_call_are_reported_to_the_model(call: ToolCall, outcome: str, text: str) -> None:
    harness = Harness([calling(call), "I see"])
    result, state = harness.start()
    [message] = harness.results()
    assert (message.outcome, state.answer) == (outcome, "I see")
    assert text in message.payload
    assert harness.effects == []


def test_a_model_cannot_approve_its_own_call() -> None:
    harness = Harness([calling(ToolCall("1", "launch", {"_approved": "the model"})), "done"])
    harness.tools.add(
        Tool(name="launch", function=lambda: harness.effects.append("!"), input_schema={}, needs_approval=True)
    )
    harness.start()
    assert harness.effects == []


def test_usage_of_all_requests_is_summed() -> None:
    usage = Usage(1, 100, 60, 10, 0.25)
    harness = Harness([ModelReply("", (ToolCall("1", "note", {"text": "a"}),), usage), ModelReply("done", usage=usage)])
    assert harness.start()[1].usage == Usage(2, 200, 120, 20, 0.5)


def test_a_used_up_budget_pauses_the_run_and_a_larger_one_resumes_it() -> None:
    harness = Harness([calling(ToolCall("1", "note", {"text": "a"})), "done"])
    result, state = harness.start(budget=Budget(tokens=1))
    assert (result.status, result.error and result.error.category) == ("paused", "limit")
    assert (harness.effects, [call.id for call in state.pending]) == ([], ["1"])
    result, state = harness.resume(budget=Budget(tokens=1000))
    assert (state.answer, harness.effects) == ("done", ["a"])


def test_a_cost_limit_needs_a_known_price() -> None:
    unknown = Usage(1, 10, 0, 5, None)
    harness = Harness([ModelReply("", (ToolCall("1", "note", {"text": "a"}),), unknown), "done"])
    result, _ = harness.start(budget=Budget(cost_usd=1.0))
    assert (result.status, result.error and result.error.category) == ("failed", "limit")
    assert result.error is not None
    assert "the price of a request is unknown" in result.error.message


def test_a_model_that_only_calls_tools_is_stopped() -> None:
    harness = Harness(lambda request: calling(ToolCall("", "note", {"text": "again"})))
    result, state = harness.start(budget=Budget(steps=5))
    assert (result.status, result.error and result.error.category) == ("paused", "limit")
    assert (state.usage.requests, len(harness.effects)) == (5, 4)


def test_an_empty_reply_is_retried_and_then_fails() -> None:
    harness = Harness([""])
    result, _ = harness.start()
    assert (result.status, result.error.type if result.error else "") == ("failed", "ModelError")
    assert len(harness.runner.attempts("r")) == 3


def test_a_temporary_model_error_does_not_repeat_the_tools() -> None:
    replies = iter([calling(ToolCall("1", "note", {"text": "a"})), ModelError("429", retryable=True), "done"])

    def script(request: ModelRequest) -> ModelReply | str:
        reply = next(replies)
        if isinstance(reply, ModelError):
            raise reply
        return reply

    harness = Harness(script)
    result, state = harness.start()
    assert (state.answer, result.step_index, harness.effects) == ("done", 2, ["a"])
    recorded = [event.data["recorded"] for event in harness.events if event.kind == "tool_finished"]
    assert recorded == [False, True]


def test_a_permanent_model_error_fails_the_run_at_once() -> None:
    def script(request: ModelRequest) -> str:
        raise ModelError("401")

    result, _ = Harness(script).start()
    assert result.status == "failed"


def test_a_call_in_doubt_that_is_not_repeated_is_answered_as_interrupted(tmp_path: Path) -> None:
    harness = Harness([calling(ToolCall("1", "launch")), "I see"])

    async def launch() -> None:
        harness.effects.append("!")
        raise KeyboardInterrupt

    harness.tools.add(Tool(name="launch", function=launch, input_schema={}, on_doubt="fail"))
    with pytest.raises(KeyboardInterrupt):
        harness.start()
    _, state = harness.resume()
    [message] = harness.results()
    assert (message.outcome, harness.effects, state.answer) == ("interrupted", ["!"], "I see")


def test_a_call_in_doubt_that_asks_suspends_the_run_and_the_others_finish() -> None:
    harness = Harness([calling(ToolCall("1", "launch"), ToolCall("2", "note", {"text": "a"})), "I see"])
    stops = [True]

    async def launch() -> str:
        if stops.pop():
            raise KeyboardInterrupt
        return "launched"

    harness.tools.add(Tool(name="launch", function=launch, input_schema={}, on_doubt="ask"))
    with pytest.raises(KeyboardInterrupt):
        harness.start()
    result, _ = harness.resume()
    assert result.wait == {"doubt": 1}
    assert harness.effects == ["a"]
    asyncio.run(harness.runner.resolve(run_id="r", call=1, how="skip", decided_by="eve"))
    _, state = harness.resume()
    assert [m.outcome for m in harness.results()] == ["interrupted", "success"]
    assert harness.effects == ["a"]


def test_the_text_is_streamed_as_events_and_the_calls_are_announced() -> None:
    harness = Harness([calling(ToolCall("1", "note", {"text": "a"}), text="let me see"), "all done"])
    harness.start()
    emitted = [event.data["event"] for event in harness.events if event.kind == "emitted"]
    assert "".join(e["text"] for e in emitted if e["type"] == "text") == "let me seeall done"
    assert {"type": "tool_calls", "tool_calls": [{"id": "1", "name": "note", "arguments": {"text": "a"}}]} in emitted


def test_a_trace_shows_each_request_with_its_messages_and_tokens() -> None:
    harness = Harness([calling(ToolCall("1", "note", {"text": "a"})), "done"])
    with trace.capture(name="t") as session:
        harness.start()
    spans = [span for span in session.result().spans if span.kind == "llm"]
    assert [span.name for span in spans] == ["scripted", "scripted"]
    assert spans[1].meta["input_tokens"] > 0
    assert spans[1].meta["model"] == "scripted"
    assert [m["role"] for m in spans[1].input] == ["user", "assistant", "tool"]
    assert spans[0].output["tool_calls"] == [{"id": "1", "name": "note", "arguments": {"text": "a"}}]


def test_the_setup_of_this_process_replaces_the_stored_one() -> None:
    harness = Harness(["one"], setup={"model": "new"})
    _, state = harness.start(setup={"model": "old"})
    assert state.setup == {"model": "new"}
