"""Mistakes of a first day: the message says what is wrong and what to do."""

from __future__ import annotations

import asyncio
import gc
import threading
from dataclasses import dataclass

import pytest
from loom_runner import (
    AgentRunner,
    Child,
    Complete,
    Continue,
    Fail,
    RunContext,
    Sleep,
    Spawn,
    ToolRegistry,
    UsageError,
    tool,
)
from loom_runner.errors import RunnerError, StateEncodeError

tools = ToolRegistry()


@dataclass(frozen=True)
class State:
    n: int = 0


@tools.tool("add", idempotent=True)
async def add(n: int) -> int:
    return n + 1


@tool(idempotent=True)
async def fetch(page: int) -> int:
    return page


async def plain() -> int:
    return 1


def error_of(store, step, state=None, **options):
    runner = AgentRunner(step=step, store=store, tools=tools, **options)
    result = asyncio.run(runner.start(run_id="r", initial_state=state or {}))
    assert result.status == "failed"
    return str(result.error)


async def stores_a_call(state, ctx):
    return Complete({"x": ctx.call_tool("add", n=1)})


async def continues_with_a_call(state, ctx):
    return Continue(ctx.call_tool("add", n=1))


async def returns_a_call(state, ctx):
    return ctx.call_tool("add", n=1)


@pytest.mark.parametrize("step", [stores_a_call, continues_with_a_call, returns_a_call])
def test_a_call_without_await_is_named_wherever_its_coroutine_goes(store, step):
    error = error_of(store, step)
    assert "it calls add without await, so the call did not run. Write: await ctx.call_tool('add', ...)." in error


async def stores_a_tool(state, ctx):
    return Complete(fetch(1))


async def stores_a_coroutine(state, ctx):
    return Complete({"x": [plain()]})


async def returns_a_coroutine(state, ctx):
    return plain()


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize("step", [stores_a_tool, stores_a_coroutine, returns_a_coroutine])
def test_a_coroutine_without_await_is_told_to_be_awaited(store, step):
    error = error_of(store, step)
    assert ("Write: await fetch(...)." if step is stores_a_tool else "Write await before the call") in error
    assert "type hint" not in error
    gc.collect()  # the warning about the coroutine belongs to this test


@pytest.mark.parametrize("value", [threading.Lock(), object(), plain, State, (each for each in ())])
def test_what_no_hint_makes_storable_is_kept_outside(store, value):
    async def step(state, ctx):
        return Continue({"here": value})

    error = error_of(store, step)
    assert "here: " in error
    assert "Keep it outside of the state, and make it in the step" in error
    assert "type hint" not in error


def test_an_object_of_a_plain_class_is_told_to_be_a_dataclass(store):
    class Own:
        def __init__(self):
            self.n = 0

    async def step(state, ctx):
        return Continue(Own())

    assert "Make its class a dataclass and hint it. Or keep it outside of the state" in error_of(store, step)


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (lambda: Fail(ValueError("x")), "cannot fail: message is ValueError('x'). Pass a string."),
        (lambda: Fail("x", 3), "cannot fail: error_category is 3. Pass a string."),
        (
            lambda: Spawn({}, [("a", {})]),
            "cannot spawn ('a', {}): it is no Child. Pass Child(name, input, program=...).",
        ),
        (lambda: Spawn({}, {"a": {}}), "cannot spawn {'a': {}}: children is a list of Child(...)."),
        (lambda: Spawn({}, Child("a", program="p")), "children is a list of Child(...)."),
        (lambda: Spawn({}, "ab"), "cannot spawn 'ab': children is a list of Child(...)."),
        (lambda: Sleep({}, until="noon"), "cannot sleep until 'noon': it is a str. Pass a datetime with a time zone."),
    ],
)
def test_an_outcome_of_wrong_parts_is_an_error_of_the_step(store, outcome, why):
    async def step(state, ctx):
        return outcome()

    assert why in error_of(store, step)


@pytest.mark.parametrize("value", [(1, 2), {1}, State(), b"x"])
def test_what_a_hint_makes_storable_is_told_to_get_one(store, value):
    async def step(state, ctx):
        return Continue({"here": value})

    assert "Give it a type hint" in error_of(store, step)


def test_a_dict_for_a_class_is_told_to_be_an_object_of_it(store):
    async def step(state: State, ctx) -> Continue[State]:
        return Continue(state)

    runner = AgentRunner(step=step, store=store)
    with pytest.raises(StateEncodeError, match="it is a dict, and its type hint says State: pass a State"):
        asyncio.run(runner.start(run_id="r", initial_state={"n": 0}))
    with pytest.raises(StateEncodeError, match="it is the class State. Pass an object of it: State"):
        asyncio.run(runner.start(run_id="r", initial_state=State))


def test_a_text_for_a_number_is_told_to_be_one(store):
    async def step(state: State, ctx) -> Continue[State]:
        return Continue(State("1"))  # type: ignore[arg-type]

    error = error_of(store, step, State())
    assert (
        "n is a str, and would come back as an int, 1. Pass an int, as its type hint says, or hint it as str." in error
    )


def test_a_run_without_its_initial_state_is_told_where_it_comes_from(store):
    async def step(state: State, ctx) -> Continue[State]:
        return Continue(state)

    runner = AgentRunner(step=step, store=store)
    with pytest.raises(StateEncodeError, match=r"there is no initial state.* Pass initial_state=.*initial_state\(\)"):
        asyncio.run(runner.start(run_id="r"))


async def swapped(ctx, state):
    return Complete(1)


async def swapped_by_hint(run: RunContext, state: State):
    return Complete(1)


async def generates(state, ctx):
    yield Complete(1)


def generates_sync(state, ctx):
    yield Complete(1)


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (swapped, r"its first parameter is the context, 'ctx'. Write: step\(state, ctx\)"),
        (swapped_by_hint, r"its first parameter is the context, 'run'. Write: step\(state, ctx\)"),
        (generates, "it is a generator. Return the outcome instead of yield"),
        (generates_sync, "it is a generator. Return the outcome instead of yield"),
    ],
)
def test_a_function_that_is_no_step_is_refused_when_it_is_declared(store, step, why):
    with pytest.raises(UsageError, match=why):
        AgentRunner(step=step, store=store)


def test_a_state_may_be_a_context_of_the_users(store):
    async def step(context: State, ctx: RunContext) -> Complete[int]:
        return Complete(context.n)

    runner = AgentRunner(step=step, store=store)
    assert asyncio.run(runner.start(run_id="r", initial_state=State(3))).result == 3


def test_a_class_of_outcomes_is_told_to_be_called(store):
    async def step(state, ctx):
        return Complete

    assert "step returned the class Complete. Return Continue(state)" in error_of(store, step)


def step(state, ctx):
    return Complete(1)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"tools": [add]}, r"tools is \[.*Pass a ToolRegistry"),
        ({"retry": 3}, r"retry is 3. Pass a RetryPolicy, for instance RetryPolicy\(max_attempts=3\)"),
        ({"state_version": "2"}, "state_version is '2'. Pass a whole number from 1"),
        ({"upcasters": [add]}, r"upcasters is \[.*Pass a dict"),
        ({"upcasters": {1: add}}, "state_version=1 .*Pass state_version=2"),
        ({"gate": "ask"}, "gate is 'ask'. Pass a function"),
    ],
)
def test_an_argument_of_a_wrong_type_is_refused(store, options, why):
    with pytest.raises(UsageError, match=why):
        AgentRunner(step=step, store=store, **options)


def test_a_decorator_of_tools_without_its_call_is_refused():
    with pytest.raises(UsageError, match=r"cannot declare tool 'add': .*Write @tools.tool\(\"add\"\)"):
        ToolRegistry().tool(add)


def test_a_tool_is_called_by_its_name(store):
    async def step(state, ctx):
        return Complete(await ctx.call_tool(add, n=1))

    assert "cannot call <function add" in error_of(store, step)
    assert "call_tool takes the name of a tool" in error_of(store, step)


def test_wrong_arguments_of_a_tool_are_told_the_right_ones(store):
    async def step(state, ctx):
        return Complete(await ctx.call_tool("add", number=1))

    assert "'number': Extra inputs are not permitted. It takes n. (" in error_of(store, step)


def test_a_tool_without_a_registry_is_told_to_get_one(store):
    async def step(state, ctx):
        return Complete(await ctx.call_tool("fetch", page=1))

    runner = AgentRunner(step=step, store=store)
    result = asyncio.run(runner.start(run_id="r", initial_state={}))
    assert "Tools: none. Pass the registry, tools=..., to Agent or AgentRunner." in str(result.error)


def test_an_observer_is_a_function(store):
    with pytest.raises(UsageError, match="cannot observe: 3 is not a function"):
        AgentRunner(step=step, store=store).observe(3)


def test_a_runner_lists_like_runs(store):
    runner = AgentRunner(step=step, store=store)
    for name in ("a-1", "a-2", "b-1"):
        asyncio.run(runner.start(run_id=name, initial_state={}))
    assert [each["run_id"] for each in runner.list(prefix="a-", status="completed")] == ["a-2", "a-1"]
    assert [each["run_id"] for each in runner.list(prefix="a-", after="a-2", agent=runner.agent.name)] == ["a-1"]
    with pytest.raises(RunnerError, match="cannot list runs with status 'done'"):
        runner.list(status="done")
