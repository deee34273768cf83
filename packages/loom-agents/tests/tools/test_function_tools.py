import asyncio
from typing import Any

import pytest
from loom_agents import AgentError, ToolError, described_tool
from loom_agents._tools.function_tools import check_arguments
from loom_runner import ToolFailed

pytestmark = pytest.mark.interpreter


def look(path: str, limit: int = 10, ratio: float = 0.5, deep: bool = False) -> dict[str, Any]:
    """Look at a thing
    closely.

    More for people.

    Args:
        path: Where it is,
            relative.
        limit: How many.
    """
    if path == "bad":
        raise ToolError("cannot look: it is bad.")
    return {"path": path, "limit": limit, "ratio": ratio, "deep": deep}


TOOL = described_tool(look, read_only=True)


def test_schema_and_description_come_from_the_function() -> None:
    assert TOOL.name == "look"
    assert TOOL.description == "Look at a thing closely. More for people."
    assert TOOL.schema() == {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "Where it is, relative."},
            "limit": {"type": "integer", "description": "How many.", "default": 10},
            "ratio": {"type": "number", "description": "", "default": 0.5},
            "deep": {"type": "boolean", "description": "", "default": False},
        },
        "required": ["path"],
        "additionalProperties": False,
    }
    assert TOOL.is_repeatable


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"path": "a"}, {"path": "a"}),
        ({"path": "a", "limit": None}, {"path": "a"}),
        ({"path": "a", "limit": "5"}, {"path": "a", "limit": 5}),
        ({"path": "a", "limit": "-5"}, {"path": "a", "limit": -5}),
        ({"path": "a", "ratio": 1}, {"path": "a", "ratio": 1.0}),
        ({"path": "a", "ratio": "1.5"}, {"path": "a", "ratio": 1.5}),
        ({"path": "5", "deep": True}, {"path": "5", "deep": True}),
    ],
)
def test_good_arguments_pass(arguments: dict[str, Any], expected: dict[str, Any]) -> None:
    assert check_arguments("look", TOOL.schema(), arguments) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"path": None},
        {"path": 5},
        {"path": ["a"]},
        {"path": "a", "limit": 1.5},
        {"path": "a", "limit": "1.5"},
        {"path": "a", "limit": "many"},
        {"path": "a", "limit": True},
        {"path": "a", "deep": 1},
        {"path": "a", "deep": "true"},
        {"path": "a", "ratio": "9" * 400},
        {"path": "a", "more": 1},
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(ToolFailed, match="cannot call look: ") as caught:
        TOOL.function(**arguments)
    assert caught.value.error_category == "invalid_arguments"
    assert len(str(caught.value)) < 200


def test_a_tool_error_becomes_a_failed_call_with_its_text() -> None:
    with pytest.raises(ToolFailed, match="it is bad") as caught:
        TOOL.function(path="bad")
    assert caught.value.error_category == "refused"


def test_an_async_function_stays_async() -> None:
    async def wait(seconds: int) -> int:
        """Wait."""
        if seconds < 0:
            raise ToolError("no")
        return seconds

    tool = described_tool(wait)
    assert asyncio.run(tool.function(seconds=1)) == 1
    with pytest.raises(ToolFailed):
        asyncio.run(tool.function(seconds=-1))


def test_a_function_with_other_parameters_is_refused() -> None:
    def odd(values: list[str]) -> None: ...

    with pytest.raises(AgentError, match="'values'"):
        described_tool(odd)
