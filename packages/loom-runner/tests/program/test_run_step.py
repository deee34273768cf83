"""`run_step`, as every engine calls it. Here the engine is a few lines and stores nothing."""

import asyncio

import pytest
from loom_runner import Complete, RunContext, ToolRegistry
from loom_runner._model.budget import Budget, Meter
from loom_runner._model.clock import SystemClock
from loom_runner._model.events import Observers
from loom_runner._program.run_step import StepLimits, run_step
from loom_runner._program.running_run import RunningRun
from loom_runner._program.step_program import StepProgram
from loom_runner._program.tool_calls import StepSuspended
from loom_runner.errors import BudgetTimeUsedUp, LeaseLost

pytestmark = pytest.mark.interpreter


class Calls:
    """The tool calls of an engine without a store."""

    def __init__(self, suspends=()):
        self.made = []
        self.suspends = suspends

    async def call(self, tool, arguments, *, step_index, attempt, key, execute):
        if tool.name in self.suspends:
            raise StepSuspended(pending=(7,))
        self.made.append((step_index, attempt, key, dict(arguments)))
        return await execute(None)


tools = ToolRegistry()


@tools.tool("double")
async def double(n: int) -> int:
    return 2 * n


def drive(step, *, calls=None, limits=None, before=None):
    async def main():
        run = RunningRun(
            "r", calls or Calls(), tools, Observers(), SystemClock(), asyncio.get_running_loop(), Meter(Budget())
        )
        context = RunContext(run, 4, 1, None)
        if before is not None:
            before(context)
        return await run_step(StepProgram(step), 20, context, *([] if limits is None else [limits]))

    return asyncio.run(main())


def test_a_step_runs_with_calls_of_the_engines_own():
    async def step(state: int, ctx: RunContext) -> Complete[int]:
        return Complete(await ctx.call_tool("double", n=state) + ctx.step_index)

    calls = Calls()
    advance = drive(step, calls=calls)
    assert (advance.outcome, advance.result, advance.result_text) == ("complete", 44, "44")
    assert calls.made == [(4, 1, "double/0", {"n": 20})]


def test_a_call_that_nobody_awaits_is_waited_for():
    async def starts(state: int, ctx: RunContext) -> Complete[str]:
        background.append(asyncio.ensure_future(ctx.call_tool("double", n=1)))
        await asyncio.sleep(0)
        return Complete("done")

    background, calls = [], Calls()
    assert drive(starts, calls=calls).result == "done"
    assert len(calls.made) == 1
    assert background[0].done()


def test_a_call_that_needs_a_person_ends_the_step_even_when_the_step_swallows_it():
    async def swallows(state: int, ctx: RunContext) -> Complete[str]:
        try:
            await ctx.call_tool("double", n=1)
        except BaseException:  # noqa: BLE001
            return Complete("went on")
        return Complete("never")

    with pytest.raises(StepSuspended) as caught:
        drive(swallows, calls=Calls(suspends=["double"]))
    assert caught.value.pending == (7,)


def test_a_stopped_context_wins_over_what_the_step_does():
    lost = LeaseLost("lost")

    async def fails(state: int, ctx: RunContext) -> Complete[str]:
        raise ValueError("of the step")

    async def returns(state: int, ctx: RunContext) -> Complete[str]:
        return Complete("done")

    for step in (fails, returns):
        with pytest.raises(LeaseLost):
            drive(step, before=lambda context: context.stop(lost))


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), KeyboardInterrupt()])
def test_errors_of_the_step_are_raised(error):
    async def fails(state: int, ctx: RunContext) -> Complete[str]:
        raise error

    with pytest.raises(type(error)):
        drive(fails)


def test_ctrl_c_is_not_hidden_by_a_lost_lease():
    async def fails(state: int, ctx: RunContext) -> Complete[str]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive(fails, before=lambda context: context.stop(LeaseLost("lost")))


def test_a_step_is_stopped_by_its_time_out_or_by_the_budget_whichever_is_shorter():
    async def sleeps(state: int, ctx: RunContext) -> Complete[str]:
        assert ctx.deadline is not None
        await asyncio.sleep(60)
        return Complete("never")

    with pytest.raises(TimeoutError, match=r"step 4 took longer than 0.01 s"):
        drive(sleeps, limits=StepLimits(timeout_s=0.01, budget_s=50, budget_time_s=60))
    with pytest.raises(BudgetTimeUsedUp) as caught:
        drive(sleeps, limits=StepLimits(timeout_s=50, budget_s=0.01, budget_time_s=60))
    assert caught.value.limit == "time_s 60"


def test_a_timeout_raised_by_the_step_is_not_the_limits():
    async def raises(state: int, ctx: RunContext) -> Complete[str]:
        raise TimeoutError("of a library")

    with pytest.raises(TimeoutError, match="of a library"):
        drive(raises, limits=StepLimits(timeout_s=60))
