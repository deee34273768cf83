import json

import pytest
from loom_agents._budget import Budget
from loom_agents._messages import AssistantMessage, ToolCall, ToolMessage, Usage, UserMessage
from loom_agents._state import AgentState

CALLS = (ToolCall("1", "grep", {"pattern": "x"}), ToolCall("2", "grep", malformed="{"))


def test_a_state_comes_back_from_json_as_it_was() -> None:
    state = AgentState(
        (UserMessage("hi"), AssistantMessage("", CALLS, "m"), ToolMessage("1", "grep", "success", {"a": [1]})),
        Usage(1, 2, 3, 4, None),
        Budget(5, 6, 7.5),
        {"workspace": "."},
    )
    assert AgentState.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_pending_calls_are_those_without_an_answer() -> None:
    asked = (UserMessage("hi"), AssistantMessage("", CALLS))
    assert AgentState().pending == ()
    assert AgentState(asked[:1]).pending == ()
    assert AgentState(asked).pending == CALLS
    assert AgentState((*asked, ToolMessage("1", "grep", "success", 1))).pending == CALLS[1:]


def test_a_turn_is_answered_when_the_assistant_has_spoken_without_asking_for_tools() -> None:
    state = AgentState().with_user("hi")
    assert (state.answer, state.turn, state.last_user_text) == (None, 1, "hi")
    asking = AgentState((*state.messages, AssistantMessage("wait", CALLS)))
    assert (asking.answer, asking.turn_requests) == (None, 1)
    done = AgentState((*state.messages, AssistantMessage("hello")))
    assert done.answer == "hello"
    again = done.with_user("more")
    assert (again.answer, again.turn, again.turn_requests, again.last_user_text) == (None, 2, 0, "more")
    assert AgentState().last_user_text is None


@pytest.mark.parametrize(
    ("budget", "usage", "requests", "reason"),
    [
        (Budget(), Usage(), 49, None),
        (Budget(), Usage(), 50, "50 model requests"),
        (Budget(None, None, None), Usage(999, 10**9, 0, 10**9, None), 10**6, None),
        (Budget(max_tokens=100), Usage(1, 50, 0, 49), 0, None),
        (Budget(max_tokens=100), Usage(1, 50, 0, 50), 0, "100 tokens used"),
        (Budget(max_cost_usd=1.0), Usage(1, 1, 0, 1, 0.99), 0, None),
        (Budget(max_cost_usd=1.0), Usage(1, 1, 0, 1, 1.0), 0, "spent"),
        (Budget(max_cost_usd=1.0), Usage(1, 1, 0, 1, None), 0, "not known"),
    ],
)
def test_a_budget_names_the_limit_that_is_reached(
    budget: Budget, usage: Usage, requests: int, reason: str | None
) -> None:
    found = budget.exceeded(usage, turn_requests=requests)
    assert (found is None) == (reason is None)
    assert reason is None or reason in str(found)
