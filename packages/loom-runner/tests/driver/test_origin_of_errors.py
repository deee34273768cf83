"""An error is the engine's only if this store raised it; the same type out of a user's code is an
error of the step, or of the tool."""

import asyncio

import pytest
from loom_runner import AgentRunner, Complete, Continue, RetryPolicy, SQLiteStore, StoreError, ToolRegistry
from loom_runner.errors import LeaseLost, RunBusy, StoreBusy, StoreUnreadable

ERRORS = [
    StoreError("theirs"),
    StoreUnreadable("theirs"),
    LeaseLost("theirs"),
    RunBusy("theirs"),
    TimeoutError("theirs"),
    GeneratorExit("theirs"),
    StopAsyncIteration("theirs"),
    SystemExit("theirs"),
]
ON_A_THREAD = [*ERRORS, StopIteration("theirs"), KeyboardInterrupt("theirs")]


def runs(store, step, **how):
    runner = AgentRunner(step=step, store=store, retry=RetryPolicy(max_attempts=1), **how)
    result = asyncio.run(runner.start(run_id="r", initial_state=0))
    assert (result.status, store.reader.get_run("r").status, store.reader.get_run("r").owner) == (
        "failed",
        "failed",
        None,
    )
    assert [row.kind for row in store.reader.attempts("r")] == ["failed"]
    return result.error


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_an_error_out_of_an_async_step_fails_its_run(store, error):
    async def step(state, ctx):
        raise error

    assert "theirs" in runs(store, step).message


@pytest.mark.parametrize("error", ON_A_THREAD, ids=repr)
def test_an_error_out_of_a_sync_step_fails_its_run(store, error):
    def step(state, ctx):
        raise error

    assert "theirs" in runs(store, step).message


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_an_error_out_of_a_tool_is_recorded_as_its_end(store, error, is_async):
    tools = ToolRegistry()

    async def boom() -> str:
        raise error

    def sync_boom() -> str:
        raise error

    tools.tool("boom")(boom if is_async else sync_boom)

    async def step(state, ctx):
        return Complete(await ctx.call_tool("boom"))

    assert "theirs" in runs(store, step, tools=tools).message
    assert [call.status for call in store.reader.tool_calls("r")] == ["failed"]


def test_a_runner_inside_a_step_may_fail_with_errors_of_its_own_store(store, tmp_path):
    async def step(state, ctx):
        SQLiteStore(tmp_path)  # a directory

    error = runs(store, step)
    assert error.type == "StoreUnreadable"


def test_a_busy_store_of_the_step_is_tried_again(store, clock):
    async def step(state, ctx):
        if ctx.attempt == 0:
            raise StoreBusy("theirs")
        return Complete(ctx.attempt)

    runner = AgentRunner(step=step, store=store, clock=clock)
    assert asyncio.run(runner.start(run_id="r")).result == 1


def test_a_gate_may_fail_with_an_error_of_its_own_store(store):
    tools = ToolRegistry()
    tools.tool("push")(lambda: "pushed")

    def gate(call):
        raise StoreError("theirs")

    async def step(state, ctx):
        return Complete(await ctx.call_tool("push"))

    assert "theirs" in runs(store, step, tools=tools, gate=gate).message


@pytest.mark.parametrize("write", ["start_tool", "end_tool"])
def test_an_error_of_this_store_stops_the_run_also_if_the_step_catches_it(store, write):
    tools = ToolRegistry()
    tools.tool("push", idempotent=True)(lambda: "pushed")

    async def step(state, ctx):
        try:
            await ctx.call_tool("push")
        except Exception:  # noqa: BLE001
            return Continue(state + 1)
        return Complete(state)

    async def broken(*_):
        raise StoreBusy("the disk is full")

    runner = AgentRunner(step=step, store=store, tools=tools)
    healthy = getattr(store, write)
    setattr(store, write, broken)
    with pytest.raises(StoreBusy, match="the disk is full"):
        asyncio.run(runner.start(run_id="r", initial_state=0))
    record = store.reader.get_run("r")
    assert (record.status, record.step_index, record.owner) == ("paused", 0, None)
    setattr(store, write, healthy)
    assert asyncio.run(runner.resume(run_id="r")).result == 0


def test_a_run_that_could_not_be_released_is_released_when_it_is_resumed(store):
    async def step(state, ctx):
        return Complete(state)

    async def broken(*_):
        raise StoreBusy("the disk is full")

    runner = AgentRunner(step=step, store=store)
    healthy = store.commit_step, store.end_attempt
    store.commit_step = store.end_attempt = broken
    with pytest.raises(StoreBusy):
        asyncio.run(runner.start(run_id="r", initial_state=7))
    assert store.reader.get_run("r").status == "running"
    store.commit_step, store.end_attempt = healthy
    assert asyncio.run(runner.resume(run_id="r")).result == 7
    assert [lease.ended_as for lease in store.reader.leases("r")] == ["interrupted", "completed"]
    assert store.reader.get_run("r").crashes == 0
    assert store.reader.attempts("r") == []
