"""Budgets: spending is stored in the row, and a limit, also of time, pauses the run before its next
step.
"""

import asyncio
import threading
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from loom_runner import AgentRunner, Budget, Complete, Continue, RunContext, UsageError, Wait
from loom_runner._model.records import Spent


@dataclass(frozen=True)
class State:
    n: int = 0


async def spend(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
    ctx.budget.spend(tokens=10, cost_usd=0.25)
    return Complete(state.n) if state.n == 9 else Continue(State(state.n + 1))


@pytest.fixture
def make(store, clock):
    def make(step=spend, **options):
        return AgentRunner(step=step, store=store, clock=clock, **options)

    return make


def start(runner, **options):
    return asyncio.run(runner.start(**{"run_id": "r", "initial_state": State()} | options))


def resume(runner, **options):
    return asyncio.run(runner.resume(**{"run_id": "r"} | options))


@pytest.mark.parametrize(
    ("budget", "steps", "named"),
    [
        (Budget(steps=3), 3, "steps 3"),
        (Budget(tokens=25), 3, "tokens 25"),
        (Budget(cost_usd=1), 4, "cost_usd 1"),
        (Budget(steps=9, tokens=20, cost_usd=2), 2, "tokens 20"),
        (Budget(steps=0), 0, "steps 0"),
    ],
)
def test_a_run_pauses_when_a_limit_is_reached_and_continues_when_it_is_raised(make, store, budget, steps, named):
    result = start(make(), budget=budget)
    assert (result.status, result.step_index, result.error.category) == ("paused", steps, "limit")
    assert result.error.message == f"the budget of {named} is used up"
    leases = len(store.reader.leases("r"))
    assert resume(make()).error.category == "limit"
    assert len(store.reader.leases("r")) == leases
    assert resume(make(), budget=Budget(steps=100, tokens=1000, cost_usd=10)).result == 9


def test_raising_one_limit_keeps_the_others(make, store):
    start(make(), budget=Budget(steps=2, tokens=40))
    result = resume(make(), budget=Budget(steps=100))
    assert (result.step_index, result.error.message) == (4, "the budget of tokens 40 is used up")
    assert store.reader.get_run("r").budget == {"steps": 100, "tokens": 40}


def test_spending_is_recorded_also_without_a_limit(make, store):
    start(make(), max_steps=3)
    record = store.reader.get_run("r")
    assert (record.spent_tokens, record.spent_cost_usd) == (30, 0.75)


def test_failed_attempts_cost_as_well(make, store):
    async def step(state: State, ctx: RunContext) -> Complete[int]:
        ctx.budget.spend(tokens=10)
        if ctx.attempt == 0:
            raise TimeoutError
        if ctx.attempt == 1:
            raise ValueError
        return Complete(ctx.budget.spent.tokens)

    assert start(make(step)).status == "failed"
    assert store.reader.get_run("r").spent_tokens == 20
    assert resume(make(step)).result == 30


def test_a_run_that_completes_with_its_last_tokens_is_completed(make):
    assert start(make(), budget=Budget(tokens=100)).status == "completed"


def test_a_step_sees_what_remains(make):
    seen = []

    async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
        seen.append((ctx.budget.remaining.tokens, ctx.budget.remaining.steps))
        ctx.budget.spend(tokens=10)
        seen.append((ctx.budget.remaining.tokens, ctx.budget.remaining.cost_usd))
        return Complete(0) if state.n else Continue(State(1))

    start(make(step), budget=Budget(tokens=15, steps=5))
    assert seen == [(15, 5), (5, None), (5, 4), (0, None)]


def test_a_waiting_run_whose_budget_is_used_up_pauses_when_it_is_ready(make):
    async def step(state: State, ctx: RunContext) -> Wait[State] | Complete[int]:
        ctx.budget.spend(tokens=10)
        return Wait(State(1), signal="go") if state.n == 0 else Complete(1)

    runner = make(step)
    assert start(runner, budget=Budget(tokens=10)).status == "waiting"
    asyncio.run(runner.signal(run_id="r", name="go"))
    assert resume(runner).error.category == "limit"
    assert resume(runner, budget=Budget(tokens=100)).result == 1


def test_a_step_that_takes_too_long_is_stopped_and_tried_again(make, store):
    async def step(state: State, ctx: RunContext) -> Complete[bool]:
        if ctx.attempt == 0:
            await asyncio.sleep(60)
        return Complete(ctx.deadline > datetime(1970, 1, 1, tzinfo=UTC))

    result = start(make(step, step_timeout_s=0.02))
    assert result.result is True
    assert store.reader.attempts("r")[0].error.message == "step 0 took longer than 0.02 s"


def test_a_timeout_raised_by_the_step_is_its_own_error(make, store):
    async def step(state: State, ctx: RunContext) -> Complete[int]:
        raise TimeoutError("the model is slow")

    result = start(make(step, step_timeout_s=60))
    assert result.error.message == "the model is slow"


def test_the_time_of_a_budget_stops_the_step_and_pauses_the_run(make, store):
    async def step(state: State, ctx: RunContext) -> Complete[int]:
        if not is_quick:
            await asyncio.sleep(60)
        return Complete(1)

    is_quick = []
    result = start(make(step, step_timeout_s=30), budget=Budget(time_s=0.02))
    assert (result.status, result.error.message) == ("paused", "the budget of time_s 0.02 is used up")
    assert store.reader.steps("r") == []
    is_quick.append(True)
    assert resume(make(step), budget=Budget(time_s=100)).result == 1


def test_a_sync_step_that_takes_too_long_is_left_behind(make):
    release = threading.Event()

    def step(state: State, ctx: RunContext) -> Complete[int]:
        if ctx.attempt == 0:
            release.wait(5)
        return Complete(ctx.attempt)

    result = start(make(step, step_timeout_s=0.02))
    release.set()
    assert result.result == 1


def test_without_limits_there_is_no_deadline(make):
    async def step(state: State, ctx: RunContext) -> Complete[bool]:
        return Complete(ctx.deadline is None)

    assert start(make(step)).result is True


@pytest.mark.parametrize("wrong", [{"tokens": -1}, {"cost_usd": float("nan")}, {"steps": True}, {"time_s": "1"}])
def test_budgets_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UsageError, match="cannot use a budget of"):
        Budget(**wrong)


@pytest.mark.parametrize("wrong", [{"tokens": -1}, {"cost_usd": float("inf")}, {"cost_usd": -0.5}])
def test_amounts_that_make_no_sense_are_an_error_of_the_step(make, wrong):
    async def step(state: State, ctx: RunContext) -> Complete[int]:
        ctx.budget.spend(**wrong)
        return Complete(1)

    assert "amounts start at 0" in start(make(step)).error.message


def test_limits_are_capped_and_raised_one_by_one():
    assert Budget(steps=3, tokens=5).capped_by(Budget(tokens=2, time_s=1)) == Budget(steps=3, tokens=2, time_s=1)
    assert Budget(steps=3, tokens=5).raised_by(Budget(tokens=9)) == Budget(steps=3, tokens=9)
    assert Budget(tokens=5).less(Spent(tokens=7)) == Budget(tokens=0)
