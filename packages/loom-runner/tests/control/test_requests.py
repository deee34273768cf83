"""Timers, and requests from outside: cancel, pause, drain, fork."""

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from loom_runner import AgentRunner, Complete, Continue, RunContext, Sleep, ToolRegistry, UnknownRun, UsageError, Wait
from loom_runner._control.fork import merged
from loom_runner._model.records import Owner
from loom_runner._model.writes import LeaseRequest
from loom_runner.errors import StateError


@dataclass(frozen=True)
class State:
    n: int = 0


async def count(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
    return Complete(state.n) if state.n == 3 else Continue(State(state.n + 1))


async def nap(state: State, ctx: RunContext) -> Sleep[State] | Complete[str]:
    return Sleep(State(1), delay_s=60) if state.n == 0 else Complete("awake")


@pytest.fixture
def make(store, clock):
    def make(step=count, **options):
        return AgentRunner(step=step, store=store, clock=clock, **({"name": "agent"} | options))

    return make


def start(runner, **options):
    return asyncio.run(runner.start(**{"run_id": "r", "initial_state": State()} | options))


def resume(runner, **options):
    return asyncio.run(runner.resume(**{"run_id": "r"} | options))


# ---------------------------------------------------------------------- timers


def test_a_sleeping_run_waits_and_continues_when_it_is_due(make, clock, store):
    result = start(make(nap))
    assert (result.status, result.wait["timer"], result.step_index) == ("waiting", True, 1)
    assert resume(make(nap)).status == "waiting"
    assert len(store.reader.leases("r")) == 1
    clock.at_us += 61_000_000
    assert resume(make(nap)).result == "awake"
    assert clock.slept == []


def test_a_timer_within_the_time_that_the_caller_gives_is_waited_for(make, clock):
    assert start(make(nap), wait_s=59).status == "waiting"
    assert clock.slept == []
    assert resume(make(nap), wait_s=60).result == "awake"
    assert [round(slept) for slept in clock.slept] == [60]


def test_the_time_that_the_caller_gives_is_for_all_timers_together(make, clock):
    async def naps(state: State, ctx: RunContext) -> Sleep[State]:
        return Sleep(State(state.n + 1), delay_s=60)

    result = start(make(naps), wait_s=150)
    assert (result.status, result.step_index) == ("waiting", 3)


def test_a_time_out_of_a_wait_is_waited_for_as_well(make):
    async def ask(state: State, ctx: RunContext) -> Wait[State] | Complete[str]:
        return Wait(State(1), signal="answer", timeout_s=5) if state.n == 0 else Complete(str(ctx.signal))

    assert start(make(ask), wait_s=10).result == "None"


def test_a_time_in_the_past_does_not_stop_the_run(make):
    async def late(state: State, ctx: RunContext) -> Sleep[State] | Complete[int]:
        return Sleep(State(1), until=datetime(1970, 1, 1, tzinfo=UTC)) if state.n == 0 else Complete(1)

    assert start(make(late)).result == 1


def test_a_time_of_day_is_waited_for(make, clock):
    due = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=clock.at_us, seconds=30)

    async def until(state: State, ctx: RunContext) -> Sleep[State] | Complete[int]:
        return Sleep(State(1), until=due) if state.n == 0 else Complete(1)

    assert start(make(until)).wait["until"] == due.isoformat(timespec="microseconds")
    assert resume(make(until), wait_s=31).result == 1


def test_a_clock_that_is_set_back_makes_a_timer_longer_and_never_shorter(make, clock):
    start(make(nap))
    clock.at_us -= 3_600_000_000
    assert resume(make(nap)).status == "waiting"
    clock.at_us += 3_700_000_000
    assert resume(make(nap)).result == "awake"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either delay_s= or until="),
        ({"delay_s": -1}, "from 0 to 100 years"),
        ({"delay_s": float("nan")}, "from 0 to 100 years"),
        ({"delay_s": 1e30}, "from 0 to 100 years"),
        ({"until": datetime(2030, 1, 1)}, "it has no time zone"),  # noqa: DTZ001  (that is the point)
    ],
)
def test_timers_that_make_no_sense_fail_the_step(make, options, message):
    async def step(state: State, ctx: RunContext) -> Sleep[State]:
        return Sleep(State(1), **options)

    result = start(make(step))
    assert result.status == "failed"
    assert message in result.error.message


@pytest.mark.parametrize("wrong", [-1, float("nan")])
def test_an_absurd_time_to_wait_is_refused(make, store, wrong):
    with pytest.raises(UsageError, match="wait_s is .*from 0 to 100 years"):
        start(make(), wait_s=wrong)
    assert store.reader.list_runs() == []


# ---------------------------------------------------------------------- cancel


@pytest.mark.parametrize("status", ["paused", "waiting"])
def test_a_run_that_is_not_running_is_cancelled_at_once(make, store, status):
    start(make(nap if status == "waiting" else count), max_steps=1)
    assert store.reader.get_run("r").status == status
    assert asyncio.run(make().cancel(run_id="r", by="ann", note="not needed")) == ["r"]
    result = resume(make())
    assert (result.status, result.was_stored, result.error.message) == (
        "cancelled",
        True,
        "cancelled by ann: not needed",
    )


def test_the_running_step_is_stopped_and_nothing_of_it_is_committed(make, store):
    async def main():
        entered = asyncio.Event()

        async def step(state: State, ctx: RunContext) -> Continue[State]:
            if state.n == 1:
                entered.set()
                await asyncio.sleep(60)
            return Continue(State(state.n + 1))

        runner = make(step)
        task = asyncio.create_task(runner.start(run_id="r", initial_state=State()))
        await entered.wait()
        await runner.cancel(run_id="r")
        result = await task
        async with asyncio.timeout(5):  # the task is not left half cancelled
            await asyncio.sleep(0)
        return result, task.cancelling()

    result, cancelling = asyncio.run(main())
    assert (result.status, result.step_index, cancelling) == ("cancelled", 1, 0)
    assert len(store.reader.steps("r")) == 1
    assert store.reader.leases("r")[0].ended_as == "cancelled"


def test_another_process_sees_it_at_its_next_transition(make, store):
    async def step(state: State, ctx: RunContext) -> Continue[State]:
        if state.n == 2:
            await make(count).cancel(run_id="r", by="somebody else")
        return Continue(State(state.n + 1))

    result = start(make(step))
    assert (result.status, result.step_index) == ("cancelled", 2)


def test_another_process_sees_it_at_its_next_tool_call(make, store):
    tools, effects = ToolRegistry(), []

    @tools.tool("push")
    async def push() -> None:
        effects.append("pushed")

    async def step(state: State, ctx: RunContext) -> Complete[int]:
        await make(count).cancel(run_id="r")
        with contextlib.suppress(Exception):
            await ctx.call_tool("push")
        return Complete(1)

    assert start(make(step, tools=tools)).status == "cancelled"
    assert effects == []


def test_another_process_is_stopped_by_its_heartbeat(make, store):
    async def step(state: State, ctx: RunContext) -> Complete[int]:
        await make(count).cancel(run_id="r")
        await asyncio.sleep(60)
        return Complete(1)

    assert start(make(step, lease_s=0.05)).status == "cancelled"


def test_a_step_may_cancel_its_own_run(make):
    async def step(state: State, ctx: RunContext) -> Complete[int]:
        await runner.cancel(run_id="r")
        await asyncio.sleep(60)
        return Complete(1)

    runner = make(step)
    assert start(runner).status == "cancelled"


def test_an_ended_run_cannot_be_cancelled(make):
    start(make())
    with pytest.raises(UsageError, match="cannot cancel run 'r': it is completed, which allows: nothing"):
        asyncio.run(make().cancel(run_id="r"))
    with pytest.raises(UnknownRun, match="cannot cancel 'x'"):
        asyncio.run(make().cancel(run_id="x"))


# ---------------------------------------------------------------------- pause and drain


def test_a_running_run_pauses_after_its_step_and_continues_later(make, store):
    async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
        if state.n == 1 and ctx.run_id == "r" and not asked:
            asked.append(await make(count).pause(run_id="r"))
        return await count(state, ctx)

    asked = []
    result = start(make(step))
    assert (result.status, result.step_index, asked) == ("paused", 2, [["r"]])
    assert (store.reader.leases("r")[0].ended_as, store.reader.leases("r")[0].note) == (
        "paused",
        "a pause was requested",
    )
    assert resume(make(step)).result == 3


def test_a_run_that_ends_with_the_step_is_not_paused(make, store):
    async def step(state: State, ctx: RunContext) -> Complete[int]:
        await make(count).pause(run_id="r")
        return Complete(1)

    assert start(make(step)).result == 1
    assert store.reader.get_run("r").request is None


def test_a_run_that_waits_cannot_be_paused(make):
    start(make(nap))
    with pytest.raises(UsageError, match="cannot pause run 'r': it is waiting, which allows: resume, cancel"):
        asyncio.run(make().pause(run_id="r"))


def test_a_runner_that_drains_leaves_its_runs_after_their_steps(make, store):
    async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
        if state.n == 1:
            runner.drain()
        return await count(state, ctx)

    runner = make(step)
    result = start(runner)
    assert (result.status, result.step_index, store.reader.leases("r")[0].ended_as) == ("paused", 2, "interrupted")
    assert resume(make(count)).result == 3


# ---------------------------------------------------------------------- fork


@dataclass(frozen=True)
class Note:
    words: list[str]
    mood: str | None = "calm"


async def write(state: Note, ctx: RunContext) -> Continue[Note] | Complete[list[str]]:
    if len(state.words) == 3:
        return Complete(state.words)
    return Continue(Note([*state.words, f"word {len(state.words)}"], state.mood))


@pytest.fixture
def notes(store, clock):
    runner = AgentRunner(step=write, store=store, clock=clock)
    asyncio.run(runner.start(run_id="r", initial_state=Note([])))
    return runner


def test_a_fork_continues_from_the_checkpoint_after_a_step(notes, store):
    new = asyncio.run(notes.fork(run_id="r", step=0))
    assert new == "r-fork-1"
    record = store.reader.get_run(new)
    assert (record.status, record.step_index, record.forked_from) == ("created", 1, {"run_id": "r", "step_index": 0})
    result = asyncio.run(notes.resume(run_id=new))
    assert (result.result, result.step_index) == (["word 0", "word 1", "word 2"], 4)
    assert [step.step_index for step in store.reader.steps(new)] == [1, 2, 3]
    assert asyncio.run(notes.fork(run_id="r", step=0)) == "r-fork-2"


def test_a_patch_changes_the_state_of_a_fork(notes):
    new = asyncio.run(notes.fork(run_id="r", step=1, new_run_id="other", patch={"words": ["x"], "mood": "loud"}))
    assert asyncio.run(notes.resume(run_id=new)).state == Note(["x", "word 1", "word 2"], "loud")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"step": 4}, UsageError, "cannot fork 'r' after step 4: there is no such committed step. The last one is 3"),
        ({"step": -1}, UsageError, "there is no such committed step"),
        ({"step": 3}, UsageError, "that step ended the run. Fork after step 2"),
        ({"step": 1, "new_run_id": "r"}, UsageError, "the name is taken"),
        ({"step": 1, "new_run_id": " "}, UsageError, "cannot fork to ' '"),
        ({"step": 1, "patch": {"words": 3}}, StateError, r"patched state does not fit its type \(words: .*\). Correct"),
        ({"step": 1, "patch": [1]}, StateError, "does not fit its type"),
        ({"step": 1, "patch": {"wrods": []}}, StateError, "wrods is stored, and the type has no such field"),
        ({"run_id": "x", "step": 1}, UnknownRun, "cannot fork 'x'"),
    ],
)
def test_forks_that_make_no_sense_are_refused_and_make_nothing(notes, store, options, error, message):
    with pytest.raises(error, match=message):
        asyncio.run(notes.fork(**{"run_id": "r"} | options))
    assert len(store.reader.list_runs()) == 1


def test_a_fork_after_a_wait_waits_as_well(make, store):
    async def ask(state: State, ctx: RunContext) -> Wait[State] | Complete[str]:
        return Wait(State(1), signal="answer") if state.n == 0 else Complete(ctx.signal.payload)

    runner = make(ask)
    start(runner)
    new = asyncio.run(runner.fork(run_id="r", step=0))
    assert asyncio.run(runner.resume(run_id=new)).wait == {"signal": "answer", "until": None}
    asyncio.run(runner.signal(run_id=new, name="answer", payload="other"))
    assert asyncio.run(runner.resume(run_id=new)).result == "other"
    assert store.reader.get_run("r").status == "waiting"


@pytest.mark.parametrize(
    ("target", "patch", "after"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [1]}, {"a": [2]}, {"a": [2]}),
        ([1], {"a": 1}, {"a": 1}),
        ({"a": 1}, "x", "x"),
        ({}, {"a": {"b": None}}, {"a": {}}),
    ],
)
def test_a_merge_patch(target, patch, after):
    assert merged(target, patch) == after


def test_runs_are_counted_by_status(make):
    start(make())
    start(make(nap), run_id="s")
    assert make().stats()["runs"] == {"completed": 1, "waiting": 1}


# ---------------------------------------------------------------------- retention and verification


def test_a_fork_from_a_pruned_step_names_the_nearest_one(store, clock):
    runner = AgentRunner(step=count, store=store, clock=clock, keep="last:1")
    start(runner)
    with pytest.raises(UsageError, match="step 0"):
        asyncio.run(runner.fork(run_id="r", step=0))
    assert [step["step_index"] for step in runner.history("r")] == [3]


@pytest.mark.parametrize("wrong", ["some", "last:0"])
def test_a_retention_that_makes_no_sense_is_refused(make, wrong):
    with pytest.raises(UsageError, match="cannot keep"):
        make(keep=wrong)


def test_every_checkpoint_is_checked_against_the_types_of_the_code(notes, store, clock):
    assert notes.verify_run("r") == {"ok": True, "checked": 5, "problems": []}

    async def step(state: State, ctx: RunContext) -> Complete[int]:
        return Complete(1)

    other = AgentRunner(step=step, store=store, clock=clock, state_type=list[int])
    report = other.verify_run("r")
    assert (report["ok"], [problem["step_index"] for problem in report["problems"]]) == (False, [None, None, 0, 1, 2])
    assert "does not fit its type" in report["problems"][0]["problem"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signal": ""}, "signal ''"),
        ({"signal": "a\nb"}, "a name has printable characters"),
        ({"signal": "go", "timeout_s": -1}, "from 0 to 100 years"),
        ({"signal": "go", "timeout_s": float("inf")}, "from 0 to 100 years"),
    ],
)
def test_waits_that_make_no_sense_fail_the_step(make, options, message):
    async def step(state: State, ctx: RunContext) -> Wait[State]:
        return Wait(State(1), **options)

    result = start(make(step))
    assert result.status == "failed"
    assert message in result.error.message


def test_a_pause_that_a_dead_process_did_not_hear_is_heard_by_the_next(make, store):
    start(make(), max_steps=1)
    gone = LeaseRequest(Owner("elsewhere", 77, "born"), 15.0, "code", "agent.py:1")
    asyncio.run(store.claim_run(store.reader.get_run("r"), gone, take_over=False))
    asyncio.run(make().pause(run_id="r"))
    store._file.db.execute("UPDATE runs SET renewed_at = 0")
    assert resume(make()).step_index == 2
    assert resume(make()).result == 3


def test_cancelling_a_run_ends_its_requests_for_approval(make, store):
    tools = ToolRegistry()

    @tools.tool("push", needs_approval=True)
    async def push() -> None: ...

    async def step(state: State, ctx: RunContext) -> Complete[None]:
        return Complete(await ctx.call_tool("push"))

    runner = make(step, tools=tools)
    start(runner)
    asyncio.run(runner.cancel(run_id="r"))
    assert runner.approvals(pending_only=True) == []
    with pytest.raises(UsageError, match="it is expired already"):
        asyncio.run(runner.decide(run_id="r", number=1, how="approve", by="ann"))
