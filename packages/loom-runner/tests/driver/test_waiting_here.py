"""`wait_s`: `start` and `resume` wait for what a run waits for, and notice it at once."""

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from loom_runner import (
    AgentRunner,
    Child,
    Complete,
    RunContext,
    Sleep,
    Spawn,
    SQLiteStore,
    ToolRegistry,
    Wait,
)


async def wait_step(state: dict, ctx: RunContext):
    if ctx.step_index == 0:
        return Wait(state, signal="go", timeout_s=state.get("timeout_s"))
    return Complete(ctx.signal.payload if ctx.signal else "timed out")


async def when_waiting(runner, run_id, act):
    """Start a run and act on it once it waits; fail if the wait is not over long before its
    time.
    """
    task = asyncio.ensure_future(runner.start(run_id=run_id, initial_state=runner.given, wait_s=3600))
    while (found := runner.store.reader.get_run(run_id)) is None or found.status != "waiting":
        await asyncio.sleep(0)
    for _ in range(20):  # the call is waiting by now
        await asyncio.sleep(0)
    assert not task.done()
    await act()
    return await asyncio.wait_for(task, 60)


def made(store, state, step=wait_step, **how):
    runner = AgentRunner(step=step, store=store, **how)
    runner.given = state
    return runner


@pytest.mark.parametrize("state", [{}, {"timeout_s": 3600}, {"timeout_s": 7200}])
def test_a_signal_ends_the_wait_of_start_with_and_without_a_timeout(store, state):
    runner = made(store, state)
    result = asyncio.run(when_waiting(runner, "r", lambda: runner.signal(run_id="r", name="go", payload=7)))
    assert (result.status, result.result) == ("completed", 7)


def test_a_signal_that_another_connection_sends_ends_the_wait(store, tmp_path):
    runner = made(store, {})
    with SQLiteStore(tmp_path / "runs.sqlite", "process") as other:
        sender = AgentRunner(step=wait_step, store=other)
        result = asyncio.run(when_waiting(runner, "r", lambda: sender.signal(run_id="r", name="go", payload=8)))
    assert (result.status, result.result) == ("completed", 8)


def test_a_cancellation_ends_the_wait(store):
    runner = made(store, {})
    result = asyncio.run(when_waiting(runner, "r", lambda: runner.cancel(run_id="r")))
    assert result.status == "cancelled"


def test_a_cancellation_ends_the_wait_for_a_timer(store):
    async def step(state: dict, ctx: RunContext):
        return Sleep(state, delay_s=600)

    runner = made(store, {}, step)
    result = asyncio.run(when_waiting(runner, "r", lambda: runner.cancel(run_id="r")))
    assert result.status == "cancelled"


def test_a_decision_ends_the_wait(store):
    tools = ToolRegistry()

    @tools.tool("push", needs_approval=True)
    async def push() -> str:
        return "pushed"

    async def step(state: dict, ctx: RunContext):
        return Complete(await ctx.call_tool("push"))

    runner = made(store, {}, step, tools=tools)
    decide = lambda: runner.decide(run_id="r", number=1, how="approve", by="ann")  # noqa: E731
    result = asyncio.run(when_waiting(runner, "r", decide))
    assert (result.status, result.result) == ("completed", "pushed")


def test_a_parent_waits_as_long_as_its_children_may(store):
    async def step(state: dict, ctx: RunContext):
        if ctx.step_index == 0:
            return Spawn(state, [Child("a", {}, program="wait")])
        return Complete(ctx.children["a"].result)

    runner = made(store, {}, step, children={"wait": AgentRunner(step=wait_step, store=store)})

    async def act():
        while (found := store.reader.get_run("r:sub:a")) is None or found.status != "waiting":
            await asyncio.sleep(0)
        await runner.signal(run_id="r:sub:a", name="go", payload=9)

    result = asyncio.run(when_waiting(runner, "r", act))
    assert (result.status, result.result) == ("completed", 9)


def test_the_wait_ends_after_wait_s_in_all(store, clock):
    async def step(state: dict, ctx: RunContext):
        if ctx.step_index == 0:
            return Spawn(state, [Child("a", {}, program="wait")])
        return Complete(None)

    child = AgentRunner(step=wait_step, store=store, clock=clock)
    runner = made(store, {}, step, clock=clock, children={"wait": child})
    assert asyncio.run(runner.start(run_id="r", initial_state={}, wait_s=timedelta(minutes=1))).status == "waiting"
    assert sum(clock.slept) < 61


def test_a_drained_runner_stops_waiting(store):
    runner = made(store, {})

    async def drain():
        runner.drain()

    assert asyncio.run(when_waiting(runner, "r", drain)).status == "waiting"


def test_nothing_is_waited_for_without_wait_s(store, clock):
    runner = made(store, {"timeout_s": 5}, clock=clock)
    assert asyncio.run(runner.start(run_id="r", initial_state={"timeout_s": 5})).status == "waiting"
    assert clock.slept == []


@pytest.mark.parametrize("month", [3, 10])
def test_a_sleep_until_a_local_time_ends_at_that_local_time_after_a_change_of_the_clocks(store, clock, month):
    berlin = ZoneInfo("Europe/Berlin")
    until = datetime(2024, month, 31 if month == 3 else 27, 9, 0, tzinfo=berlin)

    async def step(state: dict, ctx: RunContext):
        return Sleep(state, until=until)

    result = asyncio.run(AgentRunner(step=step, store=store, clock=clock).start(run_id="r", initial_state={}))
    due = datetime.fromisoformat(result.wait["until"])
    assert due.astimezone(berlin).hour == 9
    assert due.astimezone(UTC).hour == (7 if month == 3 else 8)
