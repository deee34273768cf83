"""Every attempt begins with the committed state, whatever earlier attempts did to their objects."""

import asyncio
from dataclasses import dataclass, field

import pytest
from loom import tailrec
from loom_runner import AgentRunner, Complete, Continue, RetryPolicy, RunContext, SQLiteStore, ToolRegistry
from pydantic import BaseModel

RETRY = RetryPolicy(initial_s=0.001, max_attempts=4)


@dataclass
class Order:
    items: list[str] = field(default_factory=list)


class Model(BaseModel):
    items: list[str] = []


@pytest.fixture
def store():
    with SQLiteStore(":memory:") as store:
        yield store


def start(runner, initial):
    return asyncio.run(runner.start(run_id="r", initial_state=initial))


@pytest.mark.parametrize("kind", [Order, Model, dict])
def test_a_retry_does_not_see_what_a_failed_attempt_changed_in_place(store, kind):
    seen = []

    async def step(state, ctx: RunContext):
        items = state["items"] if kind is dict else state.items
        seen.append(list(items))
        items.append(f"charged in step {ctx.step_index}")
        if ctx.attempt < 2:
            raise ConnectionError("try again")
        return Continue(state) if ctx.step_index == 0 else Complete(items)

    initial = {"items": []} if kind is dict else kind()
    runner = AgentRunner(
        step=step, store=store, retry=RETRY, **({} if kind is dict else {"state_type": kind, "name": "order"})
    )
    result = start(runner, initial)
    assert seen == [[]] * 3 + [["charged in step 0"]] * 3
    assert result.result == ["charged in step 0", "charged in step 1"]
    assert [row["state"] for row in runner.history("r")][0] == {"items": ["charged in step 0"]}


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_failed_run_returns_and_keeps_the_committed_state(store, attempts):
    async def step(state: Order, ctx: RunContext) -> Complete[None]:
        state.items.append("not committed")
        raise ConnectionError("try again")

    retry = RetryPolicy(initial_s=0.001, max_attempts=attempts)
    result = start(AgentRunner(step=step, store=store, retry=retry), Order(["given"]))
    assert (result.status, result.state) == ("failed", Order(["given"]))


def test_the_object_that_a_caller_gave_is_not_the_one_that_a_run_changes(store):
    async def step(state: Order, ctx: RunContext) -> Complete[list[str]]:
        state.items.append(ctx.run_id)
        return Complete(state.items)

    runner, given = AgentRunner(step=step, store=store), Order()
    for run_id in ("a", "b"):
        result = asyncio.run(runner.start(run_id=run_id, initial_state=given))
        assert result.result == [run_id]
    assert given == Order()


def test_the_arguments_of_a_loop_are_read_anew(store):
    seen = []

    @tailrec
    async def charge(items: list[str], left: int) -> list[str]:
        seen.append(list(items))
        items.append("charged")
        if len(seen) % 3:
            raise ConnectionError("try again")
        if left == 0:
            return items
        return await charge(items, left - 1)

    runner = AgentRunner(loop=charge, store=store, retry=RETRY)
    result = start(runner, {"items": [], "left": 1})
    assert (result.status, result.result) == ("completed", ["charged", "charged"])
    assert seen == [[]] * 3 + [["charged"]] * 3


def test_a_retry_calls_its_tools_with_the_same_arguments(store):
    tools, calls = ToolRegistry(), []

    @tools.tool("ask", read_only=True)
    async def ask(messages: list[str]) -> str:
        calls.append(messages)
        return "answer"

    @tools.tool("save", idempotent=True)
    async def save(text: str) -> str:
        if len(calls) and not saved:
            saved.append(text)
            raise ConnectionError("the network")
        return text

    saved: list[str] = []

    async def step(state, ctx):
        state["messages"].append("user: hello")
        answer = await ctx.call_tool("ask", messages=state["messages"])
        return Complete(await ctx.call_tool("save", text=answer))

    result = start(AgentRunner(step=step, store=store, tools=tools, retry=RETRY), {"messages": []})
    assert (result.status, result.result, calls) == ("completed", "answer", [["user: hello"]])
