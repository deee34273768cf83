"""Two calls are the same if their keys and arguments are, in every process and however written."""

from __future__ import annotations

import asyncio
import collections
import datetime as dt
import decimal
import enum
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from loom_runner import AgentRunner, Complete, Done, RetryPolicy, RunContext, ToolRegistry, UsageError, tool
from loom_runner._driver.payloads import arguments_text, earlier_text
from loom_runner.errors import ToolFailed
from pydantic import BaseModel, Field


class Colour(enum.Enum):
    RED = "red"


class Point(BaseModel):
    x: int = 1
    tags: set[str] = set()
    data: bytes = b""
    user_id: int = Field(default=0, alias="userId")


@dataclass
class Order:
    number: int = 1
    words: frozenset[str] = frozenset()
    parts: list[Point] = field(default_factory=list)


@pytest.fixture
def tools():
    return ToolRegistry()


@pytest.fixture
def run(store, clock, tools):
    """Run a step that fails once after its calls, so that it finds them recorded."""

    def run(step):
        async def twice(state: None, ctx: RunContext) -> Complete[Any]:
            result = await step(ctx)
            if ctx.attempt == 0:
                raise ConnectionError
            return Complete(result)

        retry = RetryPolicy(initial_s=0.01)
        result = asyncio.run(
            AgentRunner(step=twice, store=store, tools=tools, clock=clock, retry=retry).start(run_id="r")
        )
        assert result.status == "completed", result.error
        return result.result

    return run


ARGUMENTS: dict[str, Any] = {
    "words": {"a", "bb", "ccc", "dddd", "eeeee"},
    "numbers": {10, 9, 2, 100, 1},
    "mixed": {1, "1", None, 2.5},
    "nested": [{"deep": frozenset({("a", 1), ("b", 2)})}, {"b": 1, "a": {"d", "c"}}],
    "model": Point(x=1, tags={"x", "y", "z"}),
    "bytes in a model": Point(tags={"x", "y", "z"}, data=b"\xff"),
    "dataclass": Order(1, frozenset({"p", "q", "r"}), [Point(tags={"u", "v"})]),
    "when": dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    "date keys": {dt.date(2024, 1, 1): 1, dt.date(2023, 1, 1): {"s", "t"}},
    "money": decimal.Decimal("1.0"),
    "id": uuid.UUID(int=1),
    "colour": Colour.RED,
    "colours": {Colour.RED: {"k", "l"}},
    "path": pathlib.PurePosixPath("a"),
    "bytes": b"\xff\x00",
    "text bytes": b"ab",
    "buffer": bytearray(b"\xff"),
    "nan": [float("nan"), float("inf"), -float("inf")],
    "tuple": (1, (2, 3)),
    "lone surrogate": "\udcff",
    "queue": collections.OrderedDict(b={"m", "n"}, a=1),
}


def _hashes() -> dict[str, str]:
    return {
        name: hashlib.sha256(arguments_text("tool", {"value": value}).encode()).hexdigest()
        for name, value in ARGUMENTS.items()
    }


def test_the_hashes_are_the_same_in_every_process():
    found = []
    for seed in ("0", "1", "2"):
        code = f"import sys, json; sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r}); "
        code += "import test_call_identity; print(json.dumps(test_call_identity._hashes()))"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout))
    assert found[0] == found[1] == found[2]
    assert found[0] == _hashes()
    assert len(set(found[0].values())) == len(ARGUMENTS)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": ["ä", None, True, 1.5]}, '{"value": {"a": ["ä", null, true, 1.5], "b": 1}}'),
        ({2: "b", 10: "a"}, '{"value": {"2": "b", "10": "a"}}'),
        ((1, 2), '{"value": [1, 2]}'),
        (dt.date(2024, 1, 1), '{"value": "2024-01-01"}'),
        (b"ab", '{"value": "ab"}'),
        (Point(), '{"value": {"data": "", "tags": [], "userId": 0, "x": 1}}'),
        (Colour.RED, '{"value": "red"}'),
        ({3, 1, 2}, '{"value": [1, 2, 3]}'),
    ],
)
def test_the_form_of_earlier_versions_is_kept(value, text):
    assert arguments_text("tool", {"value": value}) == text


def test_a_set_that_an_earlier_version_recorded_in_another_order_is_the_same():
    arguments = {"words": {"a", "b", "c"}, "point": Point(tags={"x", "y"}), "list": ["b", "a"]}
    point = '{"data": "", "tags": ["y", "x"], "userId": 0, "x": 1}'
    recorded = f'{{"list": ["b", "a"], "point": {point}, "words": ["c", "a", "b"]}}'
    assert earlier_text(recorded, arguments) == arguments_text("tool", arguments)
    assert earlier_text(recorded.replace('["b", "a"]', '["a", "b"]'), arguments) != arguments_text("tool", arguments)


def test_a_run_in_progress_continues_with_what_an_earlier_version_recorded(run, store, tools):
    @tools.tool("find", idempotent=True)
    async def find(words: set[str]) -> int:
        return len(words)

    async def step(ctx):
        if ctx.attempt == 1:
            text = '{"words": ["b", "c", "a"]}'
            store._file.db.execute(
                "UPDATE tool_calls SET arguments = ?, arguments_hash = ?",
                (text, hashlib.sha256(text.encode()).hexdigest()[:32]),
            )
        return await ctx.call_tool("find", words={"a", "b", "c"})

    assert run(step) == 3
    assert [call.tries for call in store.reader.tool_calls("r")] == [1]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (threading.Lock(), r"argument value cannot be written as JSON \(a lock is not JSON\)"),
        ({"a": [1, object()]}, r"argument value\['a'\]\[1\] cannot be written as JSON \(an object is not JSON\)"),
        (Order(parts=[object()]), r"argument value\.parts\[0\] cannot be written as JSON"),
        ({1: "a", "1": "b"}, "argument value cannot be written as JSON .two of its keys are the same"),
        ({(1, 2): 3}, "argument value cannot be written as JSON .a key is a tuple"),
    ],
)
def test_an_argument_that_cannot_be_written_is_refused_by_its_place(value, why):
    with pytest.raises(ToolFailed, match=f"cannot call tool: its {why}") as caught:
        arguments_text("tool", {"value": value})
    assert caught.value.error_category == "invalid_arguments"


# ---------------------------------------------------------------- how a call is written


def test_positional_arguments_are_those_of_the_signature(run, store, tools):
    @tools.tool("add", read_only=True)
    async def add(number: int, amount: int = 1) -> int:
        return number + amount

    async def step(ctx):
        calls = [
            ctx.call_tool("add", 1, 2),
            ctx.call_tool("add", 1, amount=2),
            ctx.call_tool("add", amount=2, number=1),
        ]
        return [await call for call in calls]

    assert run(step) == [3, 3, 3]
    assert len({call.arguments_hash for call in store.reader.tool_calls("r")}) == 1
    assert {call.arguments for call in store.reader.tool_calls("r")} == {'{"amount": 2, "number": 1}'}


def test_a_managed_function_records_the_same_however_it_is_called(run, store):
    @tool(idempotent=True)
    async def add(number: int, amount: int = 1) -> int:
        return number + amount

    async def step(ctx):
        return [await add(1, 2), await add(1, amount=2), await add(amount=2, number=1)]

    assert run(step) == [3, 3, 3]
    assert len({call.arguments_hash for call in store.reader.tool_calls("r")}) == 1


def test_functions_get_their_arguments_in_their_own_form(run, tools):
    @tools.tool("all", idempotent=True)
    async def everything(a, /, b, *rest, c=3, **more) -> list:
        return [a, b, list(rest), c, more]

    @tools.tool("odd", idempotent=True)
    async def odd(_private: int, model_config: int, json: int, copy: int = 4) -> list:
        return [_private, model_config, json, copy]

    async def step(ctx):
        return [
            await ctx.call_tool("all", 1, 2, 8, 9, c=0, d=5),
            await ctx.call_tool("all", a=1, b=2),
            await ctx.call_tool("all", 1, 2, name="x", self=7, key=8),
            await ctx.call_tool("odd", _private=1, model_config="2", json=3),
        ]

    assert run(step) == [
        [1, 2, [8, 9], 0, {"d": 5}],
        [1, 2, [], 3, {}],
        [1, 2, [], 3, {"name": "x", "self": 7, "key": 8}],
        [1, 2, 3, 4],
    ]


@pytest.mark.parametrize(
    ("args", "kwargs", "why"),
    [
        ((1, 2, 3), {}, r"3 arguments are given without a name, and it takes 2 without a name \(number, amount\)"),
        ((1,), {"number": 1}, "argument 'number' is given twice"),
        ((), {}, "argument 'number': Field required"),
        (("x",), {}, "argument 'number': Input should be a valid integer"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_the_tool_runs(run, tools, args, kwargs, why):
    ran = []

    @tools.tool("add", idempotent=True)
    async def add(number: int, amount: int = 1) -> None:
        ran.append(number)

    async def step(ctx):
        with pytest.raises(ToolFailed, match=f"cannot call add: {why}"):
            await ctx.call_tool("add", *args, **kwargs)

    run(step)
    assert ran == []


# ---------------------------------------------------------------- keys


def test_the_callers_key_is_the_key_also_of_a_tool_that_takes_anything(run, store, tools):
    @tools.tool("any", idempotent=True)
    async def anything(**given) -> dict:
        return given

    @tools.tool("charge", idempotent=True)
    async def charge(amount: int, idempotency_key: str) -> str:
        return idempotency_key

    async def step(ctx):
        return [
            await ctx.call_tool("any", idempotency_key="order-17", a=1),
            await ctx.call_tool("charge", 5, idempotency_key="order-18"),
            await ctx.call_tool("charge", 5, _key="order-19"),
            await ctx.call_tool("charge", 5),
            await ctx.call_tool("any", _arguments={"idempotency_key": "mine", "_key": 1}),
        ]

    assert run(step) == [
        {"a": 1},
        "order-18",
        "r/0/order-19",
        "r/0/charge/0",
        {"idempotency_key": "mine", "_key": 1},
    ]
    keys = [call.key for call in store.reader.tool_calls("r")]
    assert keys == ["order-17", "order-18", "order-19", "charge/0", "any/0"]
    assert store.reader.tool_calls("r")[1].arguments == '{"amount": 5}'


@pytest.mark.parametrize("key", ["", 17])
def test_a_key_is_a_string(run, tools, key):
    tools.tool("any", idempotent=True)(lambda: None)

    async def step(ctx):
        with pytest.raises(UsageError, match="idempotency_key is .* it must be a string that is not empty"):
            ctx.call_tool("any", idempotency_key=key)

    run(step)


def test_an_interrupted_call_is_looked_up_by_the_key_that_its_tool_got(store, clock, tools):
    seen = []

    def reconcile(key, arguments):
        seen.append((key, arguments))
        return Done("paid")

    @tools.tool("charge", reconcile=reconcile)
    async def charge(amount: int, idempotency_key: str) -> str:
        seen.append(idempotency_key)
        raise KeyboardInterrupt

    async def step(state: None, ctx: RunContext) -> Complete[str]:
        return Complete(await ctx.call_tool("charge", 5, idempotency_key="order-17"))

    runner = AgentRunner(step=step, store=store, tools=tools, clock=clock, name="agent")
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(runner.start(run_id="r"))
    assert asyncio.run(runner.resume(run_id="r")).result == "paid"
    assert seen == ["order-17", ("order-17", {"amount": 5})]


# ---------------------------------------------------------------- results

RESULTS: list[tuple[Any, Any, Any]] = [
    (bytes, b"\xff\xd8", b"\xff\xd8"),
    (float, float("inf"), float("inf")),
    (set[str], {"a", "b"}, {"a", "b"}),
    (tuple[int, ...], (1, 2), (1, 2)),
    (list[int], (1, 2), [1, 2]),
    (dict[int, str], {1: "a"}, {1: "a"}),
    (Point, Point(userId=3, data=b"\xff"), Point(userId=3, data=b"\xff")),
    (Point, {"userId": 3}, Point(userId=3)),
    (Order, Order(parts=[Point()]), Order(parts=[Point()])),
    (dt.datetime, dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.datetime(2024, 1, 1, tzinfo=dt.UTC)),
    (str, "\udcff", "\udcff"),
]


@pytest.mark.parametrize(("hint", "returned", "expected"), RESULTS)
def test_a_result_with_a_hint_is_the_same_in_every_attempt(run, store, hint, returned, expected):
    got = []

    async def give():
        return returned

    give.__annotations__["return"] = hint
    managed = tool(idempotent=True)(give)

    async def step(ctx):
        got.append(await managed())

    run(step)
    assert got == [expected, expected]
    assert [type(each) for each in got] == [type(expected)] * 2
    assert [call.tries for call in store.reader.tool_calls("r")] == [1]


ITSELF: list[Any] = []
ITSELF.append(ITSELF)


@dataclass
class Special(Order):
    more: int = 2


@pytest.mark.parametrize(
    ("hint", "returned", "why"),
    [
        (int, "x", "it ran, but its result does not fit its hint: .*valid integer"),
        (Order, Special(), "it ran, but its result does not fit its hint: .*more would be lost"),
        (Any, {1: "a", "1": "b"}, "it ran, but its result is not JSON .two keys of its dict are the same in JSON"),
        (dict[int, str], {1: "a", "1": "b"}, "it ran, but its result is not JSON .two keys of its dict are the same"),
        (Any, [{"x": float("nan")}], r"it ran, but its result is not JSON .\[0\]\['x'\] is NaN or infinite"),
        (Any, ITSELF, "it ran, but its result is not JSON .it is nested too deeply, or contains itself"),
    ],
)
def test_a_result_that_would_change_is_an_error_after_the_call(run, hint, returned, why):
    async def give():
        return returned

    give.__annotations__["return"] = hint
    managed = tool(idempotent=True)(give)

    async def step(ctx):
        with pytest.raises(ToolFailed, match=f"tool give failed: {why}") as caught:
            await managed()
        assert (caught.value.error_category, caught.value.retryable) == ("bad_result", False)

    run(step)


def test_a_result_type_that_can_never_be_stored_is_refused_when_the_tool_is_declared():
    with pytest.raises(UsageError, match="cannot store the result of tool 'rows': Iterator cannot be written as JSON"):

        @tool
        def rows() -> Iterator[int]:
            yield 1
