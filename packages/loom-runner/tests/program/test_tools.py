import asyncio
from dataclasses import dataclass

import pytest
from loom_runner import RunnerError, Tool, ToolFailed, ToolRegistry, UsageError, tool

pytestmark = pytest.mark.interpreter


def test_a_registered_function_stays_an_ordinary_function():
    tools = ToolRegistry()

    @tools.tool("double", description="Double it.", read_only=True)
    def double(n: int) -> int:
        return 2 * n

    assert double(4) == 8
    assert tools.get("double").description == "Double it."
    assert "double" in tools
    assert [each.name for each in tools] == ["double"]
    assert len(tools) == 1


def test_an_unknown_name_lists_the_known_ones():
    tools = ToolRegistry()
    tools.add(Tool(name="b", function=print))
    tools.add(Tool(name="a", function=print))
    with pytest.raises(RunnerError, match="cannot call tool 'c': it is not registered. Tools: a, b."):
        tools.get("c")


def test_a_name_can_be_taken_once():
    tools = ToolRegistry()
    tools.add(Tool(name="a", function=print))
    with pytest.raises(UsageError, match="cannot register tool 'a': the name is taken"):
        tools.add(Tool(name="a", function=print))


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"name": "a/b"}, {"name": "a#1"}, {"timeout_s": 0}, {"on_doubt": "perhaps"}]
)
def test_an_absurd_declaration_is_refused(wrong):
    with pytest.raises(UsageError, match="cannot declare tool"):
        Tool(**{"name": "a", "function": print} | wrong)


@pytest.mark.parametrize(
    ("declared", "policy"),
    [
        ({}, "ask"),
        ({"idempotent": True}, "retry"),
        ({"read_only": True}, "retry"),
        ({"idempotent": True, "on_doubt": "fail"}, "fail"),
    ],
)
def test_a_doubt_is_retried_only_where_that_does_no_harm(declared, policy):
    assert Tool(name="a", function=print, **declared).doubt_policy == policy


def test_the_schema_comes_from_the_hints_without_the_key():
    def fetch(url: str, limit: int = 3, *, idempotency_key: str) -> str:
        return url

    schema = Tool(name="fetch", function=fetch).schema()
    assert set(schema["properties"]) == {"url", "limit"}
    assert schema["required"] == ["url"]
    assert schema["additionalProperties"] is False


def test_arguments_are_read_by_their_hints():
    @dataclass
    class Where:
        path: str

    def look(where: Where, depth: int = 1, **more: int) -> None: ...

    given = Tool(name="look", function=look).check({"where": {"path": "/"}, "depth": "2", "x": 1})
    assert given == {"where": Where("/"), "depth": 2, "x": 1}


@pytest.mark.parametrize("arguments", [{}, {"n": "many"}, {"n": 1, "m": 2}])
def test_arguments_that_do_not_fit_are_named(arguments):
    def double(n: int) -> int:
        return n

    with pytest.raises(ToolFailed, match="cannot call double: argument '[nm]': ") as caught:
        Tool(name="double", function=double).check(arguments)
    assert caught.value.error_category == "invalid_arguments"


def test_a_misspelt_argument_is_named_beside_the_missing_one():
    def double(n: int) -> int:
        return n

    with pytest.raises(
        ToolFailed, match="argument 'n': Field required; argument 'number': Extra inputs are not permitted"
    ):
        Tool(name="double", function=double).check({"number": 1})


def test_a_schema_leaves_out_arguments_without_a_name():
    def join(separator: str, *parts: str, model_name: str = "") -> str:
        return separator.join(parts)

    schema = Tool(name="join", function=join).schema()
    assert set(schema["properties"]) == {"separator", "model_name"}
    assert schema["properties"]["model_name"]["title"] == "Model Name"


def test_a_schema_that_was_given_is_shown_and_its_arguments_pass_unchecked():
    remote = Tool(name="remote", function=lambda **given: given, input_schema={"type": "object"})
    assert remote.schema() == {"type": "object"}
    assert remote.check({"any": [1]}) == {"any": [1]}


def test_outside_a_run_a_tool_is_the_plain_function():
    @tool(idempotent=True)
    async def fetch(url: str) -> str:
        """Fetch it."""
        return url.upper()

    @tool
    def add(a: int, b: int = 1) -> int:
        return a + b

    assert asyncio.run(fetch("x")) == "X"
    assert add(2, b=3) == 5
    assert (fetch.__name__, fetch.__doc__, add.tool.idempotent) == ("fetch", "Fetch it.", False)
