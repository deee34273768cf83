"""An attempt ends when every call that it started has ended; nothing of it happens later."""

import asyncio
import contextlib
import gc

import pytest
from loom import tailrec
from loom_runner import AgentRunner, Complete, Continue, RetryPolicy, SQLiteStore, ToolRegistry, tool

RETRY = RetryPolicy(initial_s=0.001)


class Shop:
    """Tools whose effects are counted: `flaky` fails at first, the others take a moment."""

    def __init__(self, error: Exception | None = None) -> None:
        self.effects: list[str] = []
        self.running = self.most_running = 0
        self.tools = ToolRegistry()
        self.error = error
        self.released = asyncio.Event()
        self.tools.tool("flaky", idempotent=True)(self.flaky)
        self.tools.tool("ship")(self.ship)
        self.tools.tool("search", idempotent=True)(self.search)
        self.tools.tool("wait_forever")(self.wait_forever)

    async def flaky(self) -> str:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return "ok"

    async def ship(self) -> str:
        await asyncio.sleep(0.05)
        self.effects.append("shipped")
        return "parcel"

    async def search(self) -> str:
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await asyncio.sleep(0.05)
            self.effects.append("searched")
            return "found"
        finally:
            self.running -= 1

    async def wait_forever(self) -> None:
        await asyncio.Event().wait()


def run(step, shop, **options):
    """Run one run; return its result, its tool calls, and the runner."""

    async def main():
        runner = AgentRunner(step=step, store=SQLiteStore(":memory:"), tools=shop.tools, **options)
        result = await runner.start(run_id="r")
        seen = list(shop.effects)
        await asyncio.sleep(0.1)
        assert shop.effects == seen, "an effect came after the run had ended"
        return result, {call["name"]: call for call in runner.tool_calls("r")}, runner

    return asyncio.run(main())


async def by_gather(ctx, *names):
    return await asyncio.gather(*(ctx.call_tool(name) for name in names))


async def by_task_group(ctx, *names):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ctx.call_tool(name)) for name in names]
    return [task.result() for task in tasks]


async def by_tasks(ctx, *names):
    tasks = [asyncio.create_task(ctx.call_tool(name)) for name in names]
    return [await task for task in tasks]


@pytest.mark.parametrize("together", [by_gather, by_tasks])
def test_a_call_that_must_not_be_repeated_finishes_before_its_attempt_fails(together):
    async def step(state, ctx):
        return Complete(await together(ctx, "flaky", "ship"))

    shop = Shop(ValueError("card refused"))
    result, calls, runner = run(step, shop)
    assert (result.status, shop.effects) == ("failed", ["shipped"])
    assert (calls["ship"]["status"], calls["ship"]["result"], runner.doubts("r")) == ("done", "parcel", [])
    (attempt,) = runner.attempts("r")
    assert attempt["duration_ms"] >= calls["ship"]["duration_ms"] >= 50


@pytest.mark.parametrize("together", [by_gather, by_tasks])
def test_its_result_is_used_by_the_next_attempt(together):
    async def step(state, ctx):
        return Complete(await together(ctx, "flaky", "ship"))

    shop = Shop(ConnectionError("busy"))
    result, _, runner = run(step, shop, retry=RETRY)
    assert (result.status, result.result, shop.effects) == ("completed", ["ok", "parcel"], ["shipped"])
    assert len(runner.attempts("r")) == 2


@pytest.mark.parametrize("together", [by_gather, by_tasks, by_task_group])
def test_a_call_that_may_be_repeated_is_cancelled_and_never_runs_twice_at_once(together):
    async def step(state, ctx):
        return Complete(await together(ctx, "flaky", "search"))

    shop = Shop(ConnectionError("busy"))
    retry = RetryPolicy(initial_s=0.001, should_retry=lambda error: True)
    result, calls, _ = run(step, shop, retry=retry)
    assert (result.status, result.result, shop.effects) == ("completed", ["ok", "found"], ["searched"])
    assert (shop.most_running, calls["search"]["tries"], calls["search"]["status"]) == (1, 2, "done")


def test_a_cancelled_call_of_a_failed_run_is_recorded_as_cancelled():
    async def step(state, ctx):
        return Complete(await by_gather(ctx, "flaky", "search"))

    result, calls, runner = run(step, Shop(ValueError("no")))
    assert (result.status, calls["search"]["status"]) == ("failed", "failed")
    assert calls["search"]["error"]["category"] == "cancelled"
    assert runner.doubts("r") == []


def test_a_call_that_does_not_end_is_cancelled_after_its_timeout_and_in_doubt(monkeypatch):
    monkeypatch.setattr("loom_runner._program.attempt_calls._MAX_WAIT_S", 0.05)

    async def step(state, ctx):
        return Complete(await by_gather(ctx, "flaky", "wait_forever"))

    result, calls, runner = run(step, Shop(ValueError("no")))
    assert (result.status, calls["wait_forever"]["status"]) == ("failed", "in_doubt")
    assert [doubt["name"] for doubt in runner.doubts("r")] == ["wait_forever"]


def test_a_failed_attempt_starts_no_further_calls():
    async def step(state, ctx):
        async def two():
            await ctx.call_tool("ship")
            await ctx.call_tool("search")

        return Complete(await asyncio.gather(two(), ctx.call_tool("flaky")))

    _, calls, _ = run(step, Shop(ValueError("no")))
    assert set(calls) == {"flaky", "ship"}


def test_a_call_that_shares_the_key_of_a_cancelled_one_does_not_begin_after_the_attempt():
    async def step(state, ctx):
        shared = [ctx.call_tool("search", _key="one") for _ in range(2)]
        return Complete(await asyncio.gather(*shared, ctx.call_tool("flaky")))

    shop = Shop(ValueError("no"))
    result, calls, _ = run(step, shop)
    assert (result.status, shop.effects, calls["search"]["tries"]) == ("failed", [], 1)


def test_a_call_in_a_task_that_nobody_awaits_ends_before_the_step():
    async def step(state, ctx):
        shop.task = asyncio.create_task(ctx.call_tool("ship"))
        return Complete("done")

    shop = Shop()
    result, calls, _ = run(step, shop)
    assert (result.status, shop.effects, calls["ship"]["status"]) == ("completed", ["shipped"], "done")


@pytest.mark.parametrize("outcome", [Complete("done"), Continue({"n": 1})])
def test_a_call_without_await_fails_the_step_and_names_the_tool(outcome):
    async def step(state, ctx):
        ctx.call_tool("ship")
        return outcome

    shop = Shop()
    result, calls, _ = run(step, shop)
    assert (result.status, result.error.type, shop.effects, calls) == ("failed", "UsageError", [], {})
    assert "calls ship without await" in result.error.message
    assert "await ctx.call_tool('ship', ...)" in result.error.message


def takes_a_number(parcel):
    return 1 + parcel


@pytest.mark.parametrize(
    "use",
    [
        lambda ctx: Complete({"parcel": ctx.call_tool("ship")}),  # it cannot be stored
        lambda ctx: Continue({"parcel": ctx.call_tool("ship")}),
        lambda ctx: ctx.call_tool("ship"),  # it is no outcome
        lambda ctx: takes_a_number(ctx.call_tool("ship")),
        lambda ctx: ctx.call_tool("ship")["id"],
        lambda ctx: ctx.call_tool("ship").id,
        lambda ctx: asyncio.run(ctx.call_tool("ship")),
    ],
)
def test_a_step_that_uses_a_call_without_await_fails_and_names_the_tool(use):
    async def step(state, ctx):
        return use(ctx)

    shop = Shop()
    result, calls, _ = run(step, shop)
    assert (result.status, result.error.type, shop.effects, calls) == ("failed", "UsageError", [], {})
    assert "calls ship without await" in result.error.message


def test_a_call_without_await_as_an_argument_is_named():
    async def step(state, ctx):
        return Complete(await ctx.call_tool("double", n=ctx.call_tool("ship")))

    shop = Shop()
    shop.tools.tool("double", idempotent=True)(double)
    result, calls, _ = run(step, shop)
    assert (result.status, shop.effects, calls) == ("failed", [], {})
    assert "calls ship without await" in result.error.message


async def double(n: int) -> int:
    return 2 * n


def test_an_error_beside_a_call_that_was_not_yet_awaited_is_kept():
    async def step(state, ctx):
        calls = [ctx.call_tool("ship"), int("seven")]
        return Complete(await asyncio.gather(*calls))

    result, _, _ = run(step, Shop())
    assert result.error.type == "ValueError"


def test_a_tool_function_without_await_fails_the_step_and_names_the_tool():
    @tool
    async def pay() -> str:
        return "paid"

    async def step(state, ctx):
        pay()
        return Complete("done")

    result, calls, _ = run(step, Shop())
    assert (result.status, calls) == ("failed", {})
    assert "calls pay without await" in result.error.message
    assert "Write: await pay(...)." in result.error.message


def test_a_call_of_a_function_instead_of_its_name_is_told_the_name():
    async def step(state, ctx):
        return Complete(await ctx.call_tool(shop.ship))

    shop = Shop()
    result, calls, _ = run(step, shop)
    assert (result.error.type, calls) == ("UsageError", {})
    assert "call_tool takes the name of a tool, for instance 'ship'" in result.error.message


def test_a_function_that_is_a_tool_may_be_called_by_call_tool():
    @tool(idempotent=True)
    async def pay() -> str:
        return "paid"

    async def step(state, ctx):
        return Complete(await ctx.call_tool(pay))

    result, calls, _ = run(step, Shop())
    assert (result.result, calls["pay"]["status"]) == ("paid", "done")


def test_a_sync_step_that_calls_a_tool_is_told_to_be_async():
    def step(state, ctx):
        ctx.call_tool("ship")
        return Complete("done")

    result, calls, _ = run(step, Shop())
    assert (result.status, calls) == ("failed", {})
    assert "Make the step async" in result.error.message


def test_a_loop_ends_its_calls_too():
    effects, errors = [], [ConnectionError("busy")]

    @tool(idempotent=True)
    async def flaky() -> str:
        if errors:
            raise errors.pop()
        return "ok"

    @tool(idempotent=True)
    async def slow() -> str:
        await asyncio.sleep(0.05)
        effects.append("slow")
        return "slow"

    @tailrec
    async def loop(n: int, found: list[str] | None = None) -> list[str]:
        if found is not None:
            return found
        return await loop(n, list(await asyncio.gather(flaky(), slow())))

    async def main():
        runner = AgentRunner(loop=loop, store=SQLiteStore(":memory:"), retry=RETRY)
        result = await runner.start(run_id="r", initial_state=1)
        await asyncio.sleep(0.1)
        return result

    assert (asyncio.run(main()).result, effects) == (["ok", "slow"], ["slow"])


def test_a_run_whose_task_is_cancelled_leaves_nothing_running():
    shop = Shop()

    async def step(state, ctx):
        shop.tasks = [asyncio.create_task(ctx.call_tool(name)) for name in ("search", "wait_forever")]
        await asyncio.sleep(60)
        return Complete(None)

    async def main():
        runner = AgentRunner(step=step, store=SQLiteStore(":memory:"), tools=shop.tools)
        task = asyncio.create_task(runner.start(run_id="r"))
        while not shop.running:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert all(task.done() for task in shop.tasks) and not shop.effects
        return runner.get("r")["status"], {call["name"]: call["status"] for call in runner.tool_calls("r")}

    status, calls = asyncio.run(main())
    assert (status, calls) == ("paused", {"search": "failed", "wait_forever": "in_doubt"})


def test_calls_that_had_not_begun_when_the_attempt_failed_end_quietly():
    async def helper(ctx):
        while True:
            with contextlib.suppress(Exception):
                await ctx.call_tool("ship")

    async def step(state, ctx):
        asyncio.create_task(ctx.call_tool("ship"))
        asyncio.create_task(helper(ctx))
        raise ValueError("no")

    shop, problems = Shop(), []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        runner = AgentRunner(step=step, store=SQLiteStore(":memory:"), tools=shop.tools)
        result = await runner.start(run_id="r")
        gc.collect()
        return result

    result = asyncio.run(main())
    assert (result.error.type, shop.effects, problems) == ("ValueError", [], [])


def test_a_call_that_must_not_be_repeated_finishes_although_a_task_group_cancels_it():
    async def step(state, ctx):
        return Complete(await by_task_group(ctx, "flaky", "ship"))

    shop = Shop(ValueError("card refused"))
    result, calls, runner = run(step, shop)
    assert (result.status, shop.effects) == ("failed", ["shipped"])
    assert (calls["ship"]["status"], calls["ship"]["result"], runner.doubts("r")) == ("done", "parcel", [])


def test_its_result_is_used_by_the_next_attempt_of_the_task_group():
    async def step(state, ctx):
        return Complete(await by_task_group(ctx, "flaky", "ship"))

    shop = Shop(ConnectionError("busy"))
    retry = RetryPolicy(initial_s=0.001, should_retry=lambda error: True)
    result, _, runner = run(step, shop, retry=retry)
    assert (result.status, result.result, shop.effects) == ("completed", ["ok", "parcel"], ["shipped"])
    assert len(runner.attempts("r")) == 2


async def with_timeout(call):
    try:
        async with asyncio.timeout(0.001):
            return await call
    except TimeoutError:
        return "late"


def test_a_call_that_a_timeout_of_the_step_cancels_ends_before_the_step_is_committed():
    async def step(state, ctx):
        return Complete(await with_timeout(ctx.call_tool("ship")))

    shop = Shop()
    result, calls, runner = run(step, shop)
    assert (result.result, shop.effects, calls["ship"]["status"]) == ("late", ["shipped"], "done")
    assert runner.doubts("r") == []


def test_a_second_call_with_its_key_waits_for_the_call_that_a_timeout_has_cancelled():
    async def step(state, ctx):
        first = await with_timeout(ctx.call_tool("ship", _key="one"))
        return Complete([first, await ctx.call_tool("ship", _key="one")])

    shop = Shop()
    result, calls, _ = run(step, shop)
    assert (result.status, result.result, shop.effects) == ("completed", ["late", "parcel"], ["shipped"])
    assert calls["ship"]["tries"] == 1


def test_a_cancelled_call_that_goes_on_for_too_long_is_in_doubt(monkeypatch):
    monkeypatch.setattr("loom_runner._program.attempt_calls._MAX_WAIT_S", 0.05)

    async def step(state, ctx):
        return Complete(await with_timeout(ctx.call_tool("wait_forever")))

    result, calls, _ = run(step, Shop())
    assert (result.result, calls["wait_forever"]["status"]) == ("late", "in_doubt")


def test_the_timeout_of_a_tool_ends_its_call_that_goes_on():
    async def step(state, ctx):
        return Complete(await with_timeout(ctx.call_tool("slow")))

    shop = Shop()
    shop.tools.tool("slow", timeout_s=0.05)(shop.wait_forever)
    result, calls, runner = run(step, shop)
    assert (result.result, calls["slow"]["status"], calls["slow"]["error"]["category"]) == ("late", "failed", "timeout")


@pytest.mark.parametrize("options", [{"read_only": True}, {"on_doubt": "retry"}])
def test_a_call_that_may_be_repeated_is_cancelled_by_the_timeout_of_a_step(options):
    async def step(state, ctx):
        return Complete(await with_timeout(ctx.call_tool("look")))

    shop = Shop()
    shop.tools.tool("look", **options)(shop.search)
    result, _, _ = run(step, shop)
    assert (result.result, shop.effects, shop.running) == ("late", [], 0)


def test_a_cancelled_call_that_goes_on_and_fails_is_recorded_as_failed():
    async def step(state, ctx):
        return Complete(await with_timeout(ctx.call_tool("refuse")))

    async def refuse():
        await asyncio.sleep(0.05)
        raise SystemExit("no")

    shop = Shop()
    shop.tools.tool("refuse")(refuse)
    result, calls, _ = run(step, shop)
    assert (result.result, calls["refuse"]["status"], calls["refuse"]["error"]["type"]) == (
        "late",
        "failed",
        "SystemExit",
    )


@pytest.mark.parametrize("together", [by_task_group, by_gather, by_tasks])
def test_a_run_that_is_stopped_stops_the_calls_that_must_not_be_repeated(together):
    shop = Shop()

    async def step(state, ctx):
        return Complete(await together(ctx, "search", "wait_forever"))

    async def main():
        runner = AgentRunner(step=step, store=SQLiteStore(":memory:"), tools=shop.tools)
        task = asyncio.create_task(runner.start(run_id="r"))
        while not shop.running:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()} and not shop.effects
        return runner.get("r")["status"], {call["name"]: call["status"] for call in runner.tool_calls("r")}

    assert asyncio.run(main()) == ("paused", {"search": "failed", "wait_forever": "in_doubt"})


@pytest.mark.parametrize("together", [by_task_group, by_gather, by_tasks])
def test_a_run_that_is_stopped_while_a_failed_attempt_waits_for_a_call_leaves_nothing_running(together):
    shop = Shop(ValueError("card refused"))

    async def step(state, ctx):
        return Complete(await together(ctx, "flaky", "wait_forever"))

    async def main():
        runner = AgentRunner(step=step, store=SQLiteStore(":memory:"), tools=shop.tools)
        task = asyncio.create_task(runner.start(run_id="r"))
        while shop.error is not None:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return runner.get("r")["status"], {call["name"]: call["status"] for call in runner.tool_calls("r")}

    assert asyncio.run(main()) == ("paused", {"flaky": "failed", "wait_forever": "in_doubt"})
