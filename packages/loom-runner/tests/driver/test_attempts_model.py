"""Random steps that change their state in place, make calls concurrently, fail and are cancelled at
a random await: what is committed, recorded and executed agrees with a simple model.

The model of a run: step N sees the numbers of the steps before it, each once, whatever its failed
attempts did to the object; a call is executed as often as the ledger says; a recorded result is
never produced again; nothing goes on when `start` or `resume` has returned.
"""

import asyncio
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loom_runner import AgentRunner, Complete, Continue, RetryPolicy, SQLiteStore, ToolFailed, ToolRegistry, UsageError
from loom_runner._model.waits import DecisionWait
from loom_runner.testing import FakeClock

CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "tool": st.sampled_from(["idempotent", "pay"]),
            "turns": st.integers(0, 4),  # awaits inside of the tool
            "failures": st.integers(0, 2),  # how often it fails before it succeeds
        }
    ),
    max_size=4,
)
STEPS = st.lists(
    st.fixed_dictionaries(
        {
            "calls": CALLS,
            "how": st.sampled_from(["gather", "group", "tasks", "in turn", "tolerant"]),
            "raises": st.integers(0, 2),  # in how many attempts the step itself fails at its end
        }
    ),
    min_size=1,
    max_size=3,
)
CANCELLATIONS = st.lists(st.integers(0, 40), max_size=4)


@dataclass
class World:
    """What happens outside of the database."""

    begun: Counter = field(default_factory=Counter)
    ended: Counter = field(default_factory=Counter)
    failures: Counter = field(default_factory=Counter)
    now: Counter = field(default_factory=Counter)
    twice: list = field(default_factory=list)
    seen: list = field(default_factory=list)


def made(store, steps, world):
    tools = ToolRegistry()

    async def effect(idempotency_key: str, turns: int, failures: int) -> str:
        key = idempotency_key
        world.begun[key] += 1
        world.now[key] += 1
        if world.now[key] > 1:
            world.twice.append(key)
        try:
            for _ in range(turns):
                await asyncio.sleep(0)
            if world.failures[key] < failures:
                world.failures[key] += 1
                raise ToolFailed("not yet", retryable=True)
            world.ended[key] += 1
            return key
        finally:
            world.now[key] -= 1

    tools.tool("idempotent", idempotent=True)(effect)
    tools.tool("pay")(effect)
    raised = Counter()

    async def step(state: dict, ctx) -> Continue[dict] | Complete[list]:
        number = ctx.step_index
        world.seen.append((number, list(state["seen"])))
        state["seen"].append(number)  # in place, also in attempts that fail
        if number == len(steps):
            return Complete(state["seen"])
        plan = steps[number]
        calls = [ctx.call_tool(call["tool"], turns=call["turns"], failures=call["failures"]) for call in plan["calls"]]
        match plan["how"]:
            case "gather":
                await asyncio.gather(*calls)
            case "tolerant":
                answers = await asyncio.gather(*calls, return_exceptions=True)
                for answer in answers:
                    if isinstance(answer, BaseException):
                        raise answer
            case "group":
                async with asyncio.TaskGroup() as group:
                    for call in calls:
                        group.create_task(call)
            case "tasks":
                tasks = [asyncio.ensure_future(call) for call in calls]
                for task in tasks:  # else a failure that nobody awaits is logged whenever it is collected
                    task.add_done_callback(lambda task: task.cancelled() or task.exception())
                for task in tasks:
                    await task
            case _:
                for nth, call in enumerate(calls):
                    try:
                        await call
                    except BaseException:
                        for other in calls[nth + 1 :]:
                            other.close()
                        raise
        if raised[number] < plan["raises"]:
            raised[number] += 1
            raise TimeoutError
        return Continue(state)

    policy = RetryPolicy(max_attempts=100, initial_s=0, jitter=0, should_retry=lambda _: True)
    return AgentRunner(step=step, store=store, tools=tools, clock=FakeClock(), retry=policy)


async def driven(runner, world, cancel_at):
    """Resume the run, and cancel that after some turns of the loop; nothing of it goes on then."""
    given_state = {"seen": []}
    task = asyncio.ensure_future(runner.start(run_id="r", initial_state=given_state))
    turns = 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
        if turns == cancel_at:
            task.cancel()
    await asyncio.wait([task])
    after = dict(world.begun), dict(world.ended)
    assert not +world.now, "a call is running after the attempt has ended"
    for _ in range(12):
        await asyncio.sleep(0)
    assert (dict(world.begun), dict(world.ended)) == after, "something happened after the attempt had ended"
    assert given_state == {"seen": []}, "the caller's object was changed"
    if not task.cancelled():
        task.result()


def decided(store, runner):
    """Let calls in doubt run again."""
    record = store.reader.get_run("r")
    if record is not None and record.status == "waiting" and isinstance(record.wait, DecisionWait):
        try:
            asyncio.run(runner.resolve(run_id="r", call=record.wait.doubt, how="retry"))
        except UsageError:
            return


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, cancellations=CANCELLATIONS)
def test_what_is_committed_recorded_and_executed_agrees_with_the_model(steps, cancellations):
    world, cancellations = World(), list(cancellations)
    with tempfile.TemporaryDirectory() as folder, SQLiteStore(Path(folder) / "runs.sqlite", "process") as store:
        runner = made(store, steps, world)
        done: dict[str, int] = {}
        for _ in range(200):
            asyncio.run(driven(runner, world, cancellations.pop() if cancellations else None))
            record = store.reader.get_run("r")
            for call in store.reader.tool_calls("r"):
                key = f"r/{call.step_index}/{call.key}"
                assert world.begun[key] <= call.tries, "executed more often than recorded"
                if call.status == "done":
                    assert world.ended[key] >= 1, "recorded without an effect"
                    assert world.begun[key] == done.setdefault(key, world.begun[key]), "a recorded call ran again"
            if record is not None and record.status == "completed":
                break
            assert record is None or record.owner is None, "the lease was not released"
            decided(store, runner)
        assert record is not None
        assert record.status == "completed", record
        assert runner.get("r")["result"] == list(range(len(steps) + 1))
        states = [step.state for step in store.reader.steps("r")][: len(steps)]
        assert states == [f'{{"seen":{list(range(n + 1))}}}'.replace(" ", "") for n in range(len(steps))]
        assert all(seen == list(range(number)) for number, seen in world.seen), "an attempt saw a change of another"
        assert world.twice == [], "a call ran twice at once"
        for call in store.reader.tool_calls("r"):
            key = f"r/{call.step_index}/{call.key}"
            assert call.status == "done", call
            assert world.ended[key] == 1 or call.name == "idempotent" or call.tries > 1
        assert store.reader.verify().ok
