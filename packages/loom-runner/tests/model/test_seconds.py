"""Lengths of time: seconds or a `timedelta` wherever a caller gives one; anything else is one
line.
"""

import asyncio
import datetime as dt
import math

import pytest
from loom_runner import (
    Agent,
    AgentRunner,
    Ask,
    Budget,
    LocalEngine,
    RetryPolicy,
    Sleep,
    SQLiteStore,
    Tool,
    ToolFailed,
    UsageError,
    Wait,
    Worker,
)
from loom_runner.errors import OutcomeError

MINUTE = dt.timedelta(minutes=1)
NAIVE = dt.datetime.fromisoformat("2024-01-01")


async def step(state, ctx):
    return Sleep(state, delay_s=MINUTE)


def started(wait_s, store):
    return asyncio.run(AgentRunner(step=step, store=store).start(run_id="r", wait_s=wait_s))


USES = {
    "sleep": lambda length, _: Sleep(0, delay_s=length).delay_s,
    "wait": lambda length, _: Wait(0, signal="x", timeout_s=length).timeout_s,
    "initial": lambda length, _: RetryPolicy(initial_s=length).delay_s(1, 0.0),
    "longest": lambda length, _: RetryPolicy(initial_s=100, max_s=length).delay_s(1, 0.0),
    "tool": lambda length, _: Tool(name="t", function=print, timeout_s=length).limit_s,
    "step": lambda length, _: Agent(step=step, step_timeout_s=length).step_timeout_s,
    "ask": lambda length, _: Ask(ttl_s=length).ttl_s,
    "budget": lambda length, _: Budget(time_s=length).as_json()["time_s"],
    "after": lambda length, _: ToolFailed("no", retry_after_s=length).retry_after_s,
    "lease": lambda length, store: LocalEngine(store, lease_s=length)._lease_s,
    "poll": lambda length, store: Worker(AgentRunner(step=step, store=store), poll_s=length, max_poll_s=99)._poll_s,
    "longest poll": lambda length, store: Worker(AgentRunner(step=step, store=store), max_poll_s=length)._max_poll_s,
    "grace": lambda length, store: Worker(AgentRunner(step=step, store=store), grace_s=length)._grace_s,
}


@pytest.fixture
def memory():
    with SQLiteStore(":memory:") as store:
        yield store


@pytest.mark.parametrize("use", USES)
def test_a_timedelta_is_a_number_of_seconds(use, memory):
    assert USES[use](MINUTE, memory) == USES[use](60, memory) == 60


BAD = [-1, math.nan, math.inf, "60", dt.timedelta(seconds=-1), dt.date(2024, 1, 1), True]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("bad", BAD, ids=repr)
def test_what_is_no_length_of_time_is_refused_in_one_line(use, bad, memory):
    with pytest.raises((UsageError, OutcomeError), match=r"^cannot [^\n]*$"):
        USES[use](bad, memory)


@pytest.mark.parametrize("bad", BAD, ids=repr)
def test_a_bad_wait_s_is_refused_before_a_run_is_created(bad, memory):
    with pytest.raises(UsageError, match=r"cannot start 'r': wait_s is [^\n]*$"):
        started(bad, memory)
    assert memory.reader.get_run("r") is None


def test_wait_s_may_be_a_timedelta(memory):
    assert started(dt.timedelta(seconds=1), memory).status == "waiting"


@pytest.mark.parametrize("until", ["2024-01-01", dt.date(2024, 1, 1), 1704067200, NAIVE], ids=repr)
def test_a_sleep_ends_at_a_datetime_with_a_time_zone(until):
    with pytest.raises(OutcomeError, match=r"^cannot sleep until [^\n]*time zone[^\n]*$"):
        Sleep(0, until=until)


@pytest.mark.parametrize("name", [("a", "b"), "", None, "a\nb"], ids=repr)
def test_a_wait_is_for_one_signal(name):
    with pytest.raises(OutcomeError, match=r"^cannot wait for signal [^\n]*$"):
        Wait(0, signal=name)
