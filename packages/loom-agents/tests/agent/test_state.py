import json

from loom_agents._agent.state import AgentState
from loom_agents._models.messages import AssistantMessage, ToolCall, ToolMessage, Usage, UserMessage

CALLS = (ToolCall("1", "grep", {"pattern": "x"}), ToolCall("2", "grep", malformed="{"))


def test_a_state_reads_back_from_json_as_it_was() -> None:
    state = AgentState(
        (UserMessage("hi"), AssistantMessage("", CALLS, "m"), ToolMessage("1", "grep", "success", {"a": [1]})),
        Usage(1, 2, 3, 4, None),
        Usage(5, 6, 7, 8, 9.5),
        {"workspace": "."},
        delegated={"1": "researcher"},
    )
    assert AgentState.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_pending_calls_are_those_without_an_answer() -> None:
    asked = (UserMessage("hi"), AssistantMessage("", CALLS))
    assert AgentState().pending == ()
    assert AgentState(asked[:1]).pending == ()
    assert AgentState(asked).pending == CALLS
    assert AgentState((*asked, ToolMessage("1", "grep", "success", 1))).pending == CALLS[1:]


def test_a_turn_is_answered_by_a_reply_without_tool_calls() -> None:
    state = AgentState().with_user("hi")
    assert (state.answer, state.turn, state.last_user_text) == (None, 1, "hi")
    asking = AgentState((*state.messages, AssistantMessage("wait", CALLS)))
    assert (asking.answer, asking.turn_requests) == (None, 1)
    done = AgentState((*state.messages, AssistantMessage("hello")))
    assert done.answer == "hello"
    again = done.with_user("more")
    assert (again.answer, again.turn, again.turn_requests, again.last_user_text) == (None, 2, 0, "more")
    assert AgentState().last_user_text is None
