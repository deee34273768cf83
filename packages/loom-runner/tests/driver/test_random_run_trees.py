"""Random trees of runs, crashed at random writes and resumed until they end: nothing is lost or
left open.

A plan determines what each step does: continue, call tools, ask, wait, sleep, fail once, fail,
spawn. The same plan is driven by `start` with `max_steps`, and by workers, in turn; between two
rounds decisions are made, signals are sent and time passes.
"""

import asyncio
import logging
import random
from collections import Counter

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
    SQLiteStore,
    StoreError,
    ToolFailed,
    ToolRegistry,
    UsageError,
    Wait,
    Worker,
)
from loom_runner._control.decide import decide_approval
from loom_runner._control.resolve import resolve_call
from loom_runner._control.signals import send_signal
from loom_runner._driver.children import SETTLED
from loom_runner._model.waits import DecisionWait, SignalWait
from loom_runner.testing import FakeClock

WRITES = (
    "create_run",
    "claim_run",
    "commit_step",
    "end_attempt",
    "start_tool",
    "restart_tool",
    "end_tool",
    "update_approval",
)


class Died(StoreError):
    """The process is gone at this point."""


class Mortal:
    """A store whose process dies, once, before or after a random write; after that nothing is
    written any more.
    """

    def __init__(self, store, chance, rate):
        self._store, self._chance, self._rate = store, chance, rate
        self.is_dead = False

    def __getattr__(self, name):
        found = getattr(self._store, name)
        if name not in WRITES:
            return found

        async def write(*args, **kwargs):
            self._maybe_die()
            result = await found(*args, **kwargs)
            self._maybe_die()
            return result

        return write

    def _maybe_die(self):
        self.is_dead = self.is_dead or self._chance.random() < self._rate
        if self.is_dead:
            raise Died("the process is gone")


def planned(chance, depth=0):
    kinds = ["go", "go", "tool", "ask", "wait", "sleep", "retry", "spawn" if depth < 2 else "go"]
    plan = []
    for number in range(chance.randint(1, 4)):
        kind = chance.choice(kinds)
        if kind == "spawn":
            names = [f"k{number}{nth}" for nth in range(chance.randint(1, 3))]
            children = {name: planned(chance, depth + 1) for name in names}
            plan.append(["spawn", children, chance.choice(["all", "any", "all"])])
        else:
            plan.append([kind])
    return [*plan, ["fail"]] if chance.random() < 0.1 else plan


def made(store, clock, effects):
    tools = ToolRegistry()

    @tools.tool("effect", idempotent=True)
    async def effect(idempotency_key: str) -> str:
        await asyncio.sleep(0)
        effects[idempotency_key] += 1
        return idempotency_key

    @tools.tool("gated", needs_approval=True)
    async def gated() -> str:
        return "done"

    async def calls(ctx: RunContext, *names: str) -> None:
        for answer in await asyncio.gather(*(ctx.call_tool(name) for name in names), return_exceptions=True):
            if isinstance(answer, BaseException) and not isinstance(answer, ToolFailed):
                raise answer

    async def step(state: dict, ctx: RunContext):
        await asyncio.sleep(0)
        after = state | {"n": state["n"] + 1}
        match state["plan"][state["n"] :][:1]:
            case []:
                return Complete(state["n"])
            case [["tool"]]:
                await calls(ctx, "effect", "effect")
            case [["ask"]]:
                await calls(ctx, "gated", "effect", "gated")
            case [["wait"]]:
                return Wait(after, "news", 5)
            case [["sleep"]]:
                return Sleep(after, delay_s=3)
            case [["retry"]] if ctx.attempt == 0:
                raise TimeoutError
            case [["fail"]]:
                return Fail("planned")
            case [["spawn", children, until]]:
                spawned = [Child(name, {"plan": plan, "n": 0}, program="again") for name, plan in children.items()]
                return Spawn(after, spawned, until=until)
        return Continue(after)

    runner = AgentRunner(
        step=step, store=store, tools=tools, clock=clock, children={"again": lambda: runner}, max_crashes=10**6
    )
    return runner


async def driven(runner, plan, clock, chance):
    if chance.random() < 0.3:
        await Worker(runner, clock=clock, concurrency=3).run(until_idle=True)
    else:
        how = {"wait_s": chance.choice([0, 0, 10]), "max_steps": chance.choice([None, None, 1, 2])}
        await runner.start(run_id="r", initial_state={"plan": plan, "n": 0}, **how)


async def meanwhile(store, clock, chance):
    """Half of what is waited for comes."""
    for run in store.reader.list_runs(limit=1000):
        wait = run.wait if run.status == "waiting" and chance.random() < 0.5 else None
        if isinstance(wait, SignalWait):
            await send_signal(store, run.run_id, "news", 1, clock)
        if isinstance(wait, DecisionWait) and wait.doubt is not None:
            try:
                await resolve_call(store, run.run_id, wait.doubt, chance.choice(["retry", "skip"]), clock=clock)
            except UsageError:
                continue  # it is decided already
    for request in store.reader.approvals(pending_only=True):
        if chance.random() < 0.5:
            how = chance.choice(["approve", "deny"])
            await decide_approval(store, request.run_id, request.number, how, by="ann", clock=clock)
    if chance.random() < 0.4:
        clock.at_us += 10_000_000


@pytest.mark.parametrize("seed", range(12))
def test_a_random_family_ends_with_every_run_settled_and_every_effect_on_record(tmp_path, seed, caplog):
    caplog.set_level(logging.CRITICAL)
    chance, clock, effects = random.Random(seed), FakeClock(), Counter()
    plan, rate = planned(chance), chance.choice([0, 0.01, 0.03, 0.1])
    for number in range(400):
        with SQLiteStore(tmp_path / "runs.sqlite", "process") as store:
            mortal = Mortal(store, chance, rate if number < 100 else 0)
            try:
                asyncio.run(driven(made(mortal, clock, effects), plan, clock, chance))
            except Died:
                store._file.db.execute("UPDATE leases SET process = 'gone' WHERE ended_at IS NULL")
            asyncio.run(meanwhile(store, clock, chance))
            record = store.reader.get_run("r")
            if record is not None and record.status in SETTLED:
                break
    with SQLiteStore(tmp_path / "runs.sqlite", "process") as store:
        runs = store.reader.list_runs(limit=1000)
        top = store.reader.get_run("r")
        assert top.status in SETTLED, top
        assert store.reader.verify().ok
        for run in runs:
            steps = store.reader.steps(run.run_id, limit=1000)
            assert [step.step_index for step in steps] == list(range(run.step_index))
            assert top.status != "completed" or run.status in SETTLED, run
        tries = {f"{call.run_id}/{call.step_index}/{call.key}": call.tries for call in store.reader.tool_calls()}
        assert all(count <= tries[key] for key, count in effects.items())
        assert rate or set(effects.values()) <= {1}
