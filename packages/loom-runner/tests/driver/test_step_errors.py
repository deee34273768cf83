"""Whatever a step or a tool raises is recorded, and only its run is affected."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from loom import tailrec
from loom_runner import (
    AgentRunner,
    Complete,
    RetryPolicy,
    SQLiteStore,
    Tool,
    ToolFailed,
    ToolRegistry,
    UsageError,
    Worker,
    tool,
)
from loom_runner._model.retry import is_transient, retry_after_s


class WithoutText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class NotAnException(BaseException):
    pass


def group(*errors):
    return ExceptionGroup("several", list(errors))


@pytest.fixture
def store():
    with SQLiteStore(":memory:") as store:
        yield store


def raised(store, error, *, where="step", **options):
    tools = ToolRegistry()

    @tools.tool("fail", idempotent=True)
    async def fail() -> None:
        raise error

    @tools.tool("fail_sync", idempotent=True)
    def fail_sync() -> None:
        raise error

    async def step(state, ctx):
        raise error

    def sync_step(state, ctx):
        raise error

    async def call(state, ctx):
        return Complete(await ctx.call_tool(where))

    function = {"step": step, "sync_step": sync_step}.get(where, call)
    runner = AgentRunner(step=function, store=store, tools=tools, **options)
    return asyncio.run(asyncio.wait_for(runner.start(run_id="r"), 30)), runner


@pytest.mark.parametrize("where", ["step", "sync_step", "fail", "fail_sync"])
@pytest.mark.parametrize(
    "error",
    [
        WithoutText(),
        NotAnException("x"),
        GeneratorExit(),
        asyncio.CancelledError("by itself"),
        SystemExit(0),
        ValueError("x\udc80\0y"),
        BaseExceptionGroup("several", [NotAnException("x"), ValueError("y")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_fails_its_run_and_is_named(store, error, where):
    result, runner = raised(store, error, where=where)
    assert result.status == "failed"
    assert runner.get("r")["status"] == "failed"
    names = f"{result.error.type} {result.error.message}"
    assert type(error).__name__ in names or where.startswith("fail"), names
    assert "failed  step 0: 1 attempt" in str(runner.explain_run("r"))


def test_a_very_long_message_is_cut(store):
    result, _ = raised(store, ValueError("x" * 20_000_000))
    assert len(result.error.message) < 20_000
    assert "19,9" in result.error.message and "characters omitted" in result.error.message


def test_a_group_names_its_members(store):
    result, _ = raised(store, group(ConnectionError("reset"), group(TimeoutError("slow"))), retry=RetryPolicy(1))
    assert result.error.message == "several: ConnectionError: reset; TimeoutError: slow"


def test_a_group_is_transient_if_all_its_members_are():
    assert is_transient(group(ConnectionError(), group(TimeoutError())))
    assert not is_transient(group(ConnectionError(), ValueError()))


def test_a_worker_goes_on_when_a_step_cancels_itself_or_raises_anything(store):
    async def step(state, ctx):
        if state == "cancel":
            task = asyncio.create_task(asyncio.sleep(60))
            task.cancel()
            await task
        if state == "raise":
            raise NotAnException("x")
        return Complete("done")

    runner = AgentRunner(step=step, store=store)

    async def main():
        for state in ("cancel", "raise", "good"):
            await runner.enqueue(run_id=state, initial_state=state)
        await asyncio.wait_for(Worker(runner).run(until_idle=True), 30)

    asyncio.run(main())
    assert {run["run_id"]: run["status"] for run in runner.list()} == {
        "cancel": "failed",
        "raise": "failed",
        "good": "completed",
    }
    assert "awaited a task that was cancelled" in runner.get("cancel")["error"]["message"]


@dataclass
class Envelope:
    is_error: bool
    content: list[dict[str, str]]


TEXTS = [{"type": "text", "text": "the index"}, {"type": "text", "text": "is down"}]


@pytest.mark.parametrize(
    "envelope",
    [
        {"is_error": True, "error": "the index is down", "retryable": False},
        {"isError": True, "content": TEXTS},
        Envelope(is_error=True, content=TEXTS),
    ],
)
def test_an_envelope_of_an_error_is_a_failure(store, envelope):
    result, calls, _ = with_envelopes(store, envelope)
    assert (result.status, [call["status"] for call in calls]) == ("failed", ["failed"])
    assert "tool search failed: the index is down" in result.error.message


def test_an_envelope_may_say_when_to_try_again(store, clock):
    busy = {"is_error": True, "error": "busy", "retry_after_s": 7}
    result, (call,), times = with_envelopes(store, busy, "found", clock=clock)
    assert (result.result, call["tries"]) == ("found", 2)
    assert times[1] - times[0] >= 7_000_000
    assert with_envelopes(store, busy | {"retryable": False}, "found", clock=clock)[0].status == "failed"
    assert with_envelopes(store, busy | {"retry_after_s": "soon"}, "found", clock=clock)[0].status == "failed"


def with_envelopes(store, *results, clock=None):
    """Run a step that calls a tool with these results; return the result, the calls and the
    times.
    """
    tools, left, times = ToolRegistry(), list(results), []

    @tools.tool("search", idempotent=True)
    async def search():
        times.append(clock.at_us if clock else 0)
        return left.pop(0)

    async def step(state, ctx):
        return Complete(await ctx.call_tool("search"))

    runner = AgentRunner(step=step, store=store, tools=tools, clock=clock)
    run_id = f"r{len(runner.list())}"
    result = asyncio.run(runner.start(run_id=run_id))
    return result, runner.tool_calls(run_id), times


# ------------------------------------------------------------------ when to retry


class Response:
    headers = {"Retry-After": "7"}


class TooMany(ConnectionError):
    response = Response()


class Dated(ConnectionError):
    headers = {"Retry-After": "Fri, 01 Mar 2024 12:00:30 GMT"}


class Past(ConnectionError):
    headers = {"Retry-After": "Fri, 01 Mar 2024 11:00:00 GMT"}


class Wrong(ConnectionError):
    headers = {"Retry-After": "soon GMT"}


class Refused(Exception):
    """An error of an HTTP client: nothing but its header says that a retry may help."""

    headers = {"retry-after": "20"}


NOON_US = int(datetime(2024, 3, 1, 12, tzinfo=UTC).timestamp()) * 1_000_000


class Later(ConnectionError):
    retry_after = timedelta(seconds=5)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (TooMany(), 7.0),
        (Later(), 5.0),
        (ToolFailed("busy", retryable=True, retry_after_s=9), 9.0),
        (group(TooMany(), Later()), 7.0),
        (ConnectionError(), None),
        (Dated(), 30.0),
        (Past(), 0.0),
        (Wrong(), None),
    ],
)
def test_the_time_that_a_server_asks_for_is_found(error, seconds):
    assert retry_after_s(error, NOON_US) == seconds


def test_a_tool_that_says_when_to_try_again_is_tried_again(store, clock):
    tools, times = ToolRegistry(), []

    @tools.tool("ask", idempotent=True)
    async def ask() -> str:
        times.append(clock.at_us)
        if len(times) == 1:
            raise ToolFailed("busy", retry_after_s=7)
        if len(times) == 2:
            raise Refused
        return "answer"

    async def step(state, ctx):
        return Complete(await ctx.call_tool("ask"))

    runner = AgentRunner(step=step, store=store, tools=tools, clock=clock)
    assert asyncio.run(runner.start(run_id="r")).result == "answer"
    assert times[1] - times[0] >= 7_000_000
    assert times[2] - times[1] >= 20_000_000


def test_a_tool_may_say_when_and_still_not_be_retried():
    assert not ToolFailed("busy", retryable=False, retry_after_s=7).retryable
    assert not ToolFailed("busy").retryable


def test_a_retry_waits_as_long_as_the_server_asks_for(store, clock):
    tools, times = ToolRegistry(), []

    @tools.tool("ask", idempotent=True)
    async def ask() -> str:
        times.append(clock.at_us)
        if len(times) == 1:
            raise TooMany
        return "answer"

    async def step(state, ctx):
        return Complete(await ctx.call_tool("ask"))

    runner = AgentRunner(step=step, store=store, tools=tools, clock=clock, retry=RetryPolicy(initial_s=0.5))
    assert asyncio.run(runner.start(run_id="r")).result == "answer"
    assert times[1] - times[0] >= 7_000_000


def test_a_tool_may_have_its_own_policy(store, clock):
    tools, tries = ToolRegistry(), []

    async def ask() -> str:
        tries.append(clock.at_us)
        raise ConnectionError("busy")

    tools.add(Tool(name="ask", function=ask, idempotent=True, retry=RetryPolicy(max_attempts=5, initial_s=1, jitter=0)))

    async def step(state, ctx):
        return Complete(await ctx.call_tool("ask"))

    runner = AgentRunner(step=step, store=store, tools=tools, clock=clock, retry=RetryPolicy(max_attempts=1))
    assert asyncio.run(runner.start(run_id="r")).status == "failed"
    assert [round((b - a) / 1_000_000) for a, b in zip(tries, tries[1:], strict=False)] == [1, 2, 4, 8]


def test_a_tool_of_a_loop_may_have_its_own_policy(store, clock):
    tries = []

    @tool(idempotent=True, retry=RetryPolicy(max_attempts=5, initial_s=1, jitter=0))
    async def ask() -> str:
        tries.append(clock.at_us)
        raise ConnectionError("busy")

    @tailrec
    async def loop(n: int) -> str:
        if n == 0:
            return await ask()
        return await loop(n - 1)

    runner = AgentRunner(loop=loop, store=store, clock=clock, retry=RetryPolicy(max_attempts=1))
    assert asyncio.run(runner.start(run_id="r", initial_state=1)).status == "failed"
    assert len(tries) == 5


def test_the_time_is_a_number_of_seconds():
    with pytest.raises(UsageError, match="retry_after_s"):
        ToolFailed("busy", retry_after_s="soon")
