"""How attempts end, what is committed of them, and which process may continue."""

import asyncio
import contextlib
import os
import threading
from dataclasses import dataclass, replace

import pytest
from loom_runner import (
    AgentRunner,
    Complete,
    Continue,
    Fail,
    RetryPolicy,
    RunBusy,
    RunContext,
    StoreError,
    ToolFailed,
    UnknownRun,
    UsageError,
    Wait,
)
from loom_runner._model.records import Owner
from loom_runner._model.writes import LeaseRequest
from loom_runner._program.running_run import Signal
from loom_runner.errors import LeaseLost, StateError

pytestmark = pytest.mark.interpreter

GONE = LeaseRequest(Owner("elsewhere", 77, "born"), 15.0, "code-0", "agent.py:1")


@dataclass(frozen=True)
class State:
    n: int = 0


async def count(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
    return Complete(state.n) if state.n == 3 else Continue(State(state.n + 1))


@pytest.fixture
def make(store, clock):
    def make(step=count, **options):
        return AgentRunner(step=step, store=store, clock=clock, **({"name": "agent"} | options))

    return make


def start(runner, **options):
    return asyncio.run(runner.start(**{"run_id": "r", "initial_state": State()} | options))


def resume(runner, **options):
    return asyncio.run(runner.resume(**{"run_id": "r"} | options))


def test_a_run_continues_to_its_result(make):
    result = start(make())
    assert (result.status, result.step_index, result.state, result.result, result.error) == (
        "completed",
        4,
        State(3),
        3,
        None,
    )


def test_max_steps_pauses_and_resume_continues_at_the_next_step(make, store):
    result = start(make(), max_steps=2)
    assert (result.status, result.step_index, result.state) == ("paused", 2, State(2))
    assert store.reader.get_run("r").owner is None
    result = resume(make(), max_steps=1)
    assert (result.status, result.step_index) == ("paused", 3)
    assert resume(make()).result == 3
    assert [lease.first_step for lease in store.reader.leases("r")] == [0, 2, 3]


def test_a_slice_that_ends_with_the_run_completes_it(make):
    assert start(make(), max_steps=4).status == "completed"


@pytest.mark.parametrize("wrong", [0, -1])
def test_an_absurd_slice_is_refused_and_nothing_is_written(make, store, wrong):
    with pytest.raises(UsageError, match="max_steps starts at 1"):
        start(make(), max_steps=wrong)
    assert store.reader.list_runs() == []


def test_starting_again_with_the_same_input_returns_the_stored_result(make):
    start(make())
    result = start(make())
    assert (result.was_stored, result.status, result.result) == (True, "completed", 3)


def test_starting_again_with_the_same_input_resumes_a_paused_run(make):
    start(make(), max_steps=1)
    assert start(make()).step_index == 4


def test_starting_again_with_another_input_is_an_error(make, store):
    start(make(), max_steps=1)
    with pytest.raises(UsageError, match="cannot start 'r': a run of this id exists in .*with another input"):
        start(make(), initial_state=State(1))
    assert store.reader.get_run("r").step_index == 1


def test_starting_again_under_another_program_is_an_error(make, store):
    async def other(state: State, ctx: RunContext) -> Complete[int]:
        return Complete(0)

    start(make(), max_steps=1)
    with pytest.raises(UsageError, match="has a run of this id of another program, 'agent'"):
        start(make(other, name="other"))


def test_resuming_an_unknown_run_lists_the_existing_ones(make):
    with pytest.raises(UnknownRun, match="cannot resume 'r': there is no such run in .*It holds no runs yet"):
        resume(make())
    start(make(), run_id="other")
    with pytest.raises(UnknownRun, match=r"Runs there: other \(loom-runner list\)"):
        resume(make())


@pytest.mark.parametrize("wrong", ["", "a\nb", "a#1", "x" * 201])
def test_a_run_id_can_be_printed_and_typed(make, wrong):
    with pytest.raises(UsageError, match="a run id has 1 to 200 printable characters"):
        start(make(), run_id=wrong)


def test_a_sync_step_runs_on_a_thread(make):
    def step(state: State, ctx: RunContext) -> Complete[str]:
        return Complete(threading.current_thread().name)

    assert start(make(step)).result == "loom-runner-call"


def test_a_step_may_take_its_state_only(make):
    async def step(state: State) -> Complete[int]:
        return Complete(state.n)

    assert start(make(step)).result == 0


# ---------------------------------------------------------------------- failures


@pytest.mark.parametrize(("returned", "named"), [(None, "None"), (State(1), "a State"), ({"n": 1}, "a dict")])
def test_a_step_that_returns_nonsense_fails_the_run_and_commits_nothing(make, store, returned, named):
    async def step(state: State, ctx: RunContext):
        return returned

    result = start(make(step))
    assert result.status == "failed"
    assert f"step returned {named}. Return Continue(state)" in result.error.message
    assert store.reader.steps("r") == []
    assert store.reader.get_run("r").state == '{"n":0}'


@pytest.mark.parametrize("bad", [{"n": 1}, State("x"), None, object()])
def test_a_state_that_cannot_be_stored_fails_the_run_and_commits_nothing(make, store, bad):
    async def step(state: State, ctx: RunContext) -> Continue[State]:
        return Continue(bad)

    result = start(make(step))
    assert (result.status, result.error.category, result.state) == ("failed", "state", State(0))
    assert "cannot store the state" in result.error.message
    assert store.reader.steps("r") == []


def test_an_initial_state_that_cannot_be_stored_is_an_error_and_makes_no_run(make, store):
    with pytest.raises(StateError, match="cannot store the state"):
        start(make(), initial_state={"n": 1})
    assert store.reader.list_runs() == []


def test_a_stored_state_that_the_code_cannot_read_is_an_error_that_changes_nothing(make, store):
    start(make(), max_steps=1)

    @dataclass(frozen=True)
    class Other:
        name: str

    async def step(state: Other, ctx: RunContext) -> Continue[Other]:
        return Continue(state)

    with pytest.raises(StateError, match="cannot read the state .*The code has changed") as caught:
        resume(make(step))
    assert (caught.value.raw, caught.value.run_id, caught.value.step_index) == ('{"n":1}', "r", 1)
    assert store.reader.get_run("r").status == "paused"
    assert resume(make()).result == 3


def test_an_error_of_the_code_fails_the_run_at_once_and_resume_tries_the_step_again(make, store):
    broken = [True]

    async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
        if state.n == 2 and broken:
            raise ValueError("not like this")
        return await count(state, ctx)

    result = start(make(step))
    assert (result.status, result.step_index, result.state) == ("failed", 2, State(2))
    assert (result.error.type, result.error.message) == ("ValueError", "not like this")
    assert result.error.where.startswith("test_driver.py:")
    assert "not like this" in result.error.traceback
    assert "_driver.py" not in result.error.traceback.replace("test_driver.py", "")
    assert start(make(step)).was_stored
    broken.clear()
    assert resume(make(step)).result == 3
    assert [(row.step_index, row.attempt) for row in store.reader.attempts("r")] == [(2, 0)]
    assert store.reader.steps("r", first=2, limit=1)[0].attempts == 2


def test_transient_errors_are_retried_with_growing_delays(make, store, clock):
    tries = []

    async def step(state: State, ctx: RunContext) -> Complete[int]:
        tries.append(ctx.attempt)
        if len(tries) < 3:
            raise ConnectionError("reset")
        return Complete(ctx.attempt)

    result = start(make(step, retry=RetryPolicy(max_attempts=3, initial_s=1, factor=10, jitter=0)))
    assert (result.status, result.result, tries) == ("completed", 2, [0, 1, 2])
    assert [round(wait, 3) for wait in clock.slept] == [1, 10]
    assert [row.retry_at - row.ended_at for row in store.reader.attempts("r")] == [1_000_000, 10_000_000]


def test_attempts_are_limited(make, store, clock):
    async def step(state: State, ctx: RunContext) -> Complete[int]:
        raise TimeoutError

    result = start(make(step, retry=RetryPolicy(max_attempts=2, initial_s=1)))
    assert (result.status, result.error.type, len(clock.slept), len(store.reader.attempts("r"))) == (
        "failed",
        "TimeoutError",
        1,
        2,
    )
    resume(make(step, retry=RetryPolicy(max_attempts=2)))
    assert [row.attempt for row in store.reader.attempts("r")] == [0, 1, 2, 3]


def test_a_retry_that_is_due_later_is_waited_for_by_the_process_that_takes_over(make, store, clock):
    async def step(state: State, ctx: RunContext) -> Complete[int]:
        if ctx.attempt == 0:
            raise TimeoutError
        return Complete(ctx.attempt)

    async def stop_while_it_waits():
        runner = make(step, retry=RetryPolicy(initial_s=100, max_s=100, jitter=0))

        async def sleep(seconds):
            raise asyncio.CancelledError

        clock.sleep = sleep
        with contextlib.suppress(asyncio.CancelledError):
            await runner.start(run_id="r", initial_state=State())
        del clock.sleep

    asyncio.run(stop_while_it_waits())
    assert store.reader.get_run("r").status == "paused"
    assert resume(make(step)).result == 1
    assert [round(wait) for wait in clock.slept] == [100]


def test_fail_ends_the_run_without_a_retry_and_keeps_the_state(make, store):
    async def step(state: State, ctx: RunContext) -> Continue[State] | Fail:
        return Continue(State(1)) if state.n == 0 else Fail("no money", error_category="billing")

    result = start(make(step))
    assert (result.status, result.state, result.error.message, result.error.category) == (
        "failed",
        State(1),
        "no money",
        "billing",
    )
    assert len(store.reader.attempts("r")) == 1


def test_a_result_of_another_type_is_refused(make):
    async def step(state: State, ctx: RunContext) -> Complete[int]:
        return Complete("text")

    result = start(make(step))
    assert (result.status, result.error.category) == ("failed", "state")


# ---------------------------------------------------------------------- waiting


async def ask(state: State, ctx: RunContext) -> Wait[State] | Complete[str]:
    if state.n == 0:
        return Wait(State(1), signal="answer", timeout_s=60)
    return Complete(ctx.signal.payload if ctx.signal else "nobody answered")


def test_a_run_waits_until_its_signal_comes(make, store):
    runner = make(ask)
    result = start(runner)
    assert (result.status, result.step_index, result.wait["signal"]) == ("waiting", 1, "answer")
    assert resume(runner).status == "waiting"
    assert len(store.reader.leases("r")) == 1
    asyncio.run(runner.signal(run_id="r", name="other", payload=1))
    assert resume(runner).status == "waiting"
    asyncio.run(runner.signal(run_id="r", name="answer", payload="42"))
    assert resume(runner).result == "42"
    assert [signal.taken_in_step for signal in store.reader.signals("r")] == [None, 1]


def test_a_wait_ends_when_its_time_is_over(make, clock):
    start(make(ask))
    clock.at_us += 61_000_000
    assert resume(make(ask)).result == "nobody answered"


def test_a_signal_that_came_early_is_taken_at_once(make):
    async def step(state: State, ctx: RunContext) -> Continue[State] | Wait[State] | Complete[Signal]:
        if state.n == 0:
            await runner.signal(run_id="r", name="answer", payload=[1])
            return Wait(State(1), signal="answer")
        return Complete(ctx.signal)

    runner = make(step)
    assert start(runner).result == Signal("answer", [1])


def test_a_step_that_took_a_signal_can_wait_for_the_next_of_the_same_name(make, store):
    async def step(state: State, ctx: RunContext) -> Wait[State]:
        return Wait(State(state.n + 1), signal="message")

    runner = make(step)
    start(runner)
    asyncio.run(runner.signal(run_id="r", name="message", payload=1))
    result = resume(runner)
    assert (result.status, result.step_index) == ("waiting", 2)


def test_a_signal_survives_a_failed_attempt(make, store):
    async def step(state: State, ctx: RunContext) -> Wait[State] | Complete[str]:
        if state.n == 1 and ctx.attempt == 0:
            raise TimeoutError
        return await ask(state, ctx)

    runner = make(step)
    start(runner)
    asyncio.run(runner.signal(run_id="r", name="answer", payload="42"))
    assert resume(runner).result == "42"


def test_a_signal_needs_a_run_that_can_take_it(make):
    runner = make()
    with pytest.raises(UnknownRun, match="cannot signal 'r'"):
        asyncio.run(runner.signal(run_id="r", name="x"))
    start(runner)
    with pytest.raises(UsageError, match="cannot signal 'r': it is completed, which takes no signals"):
        asyncio.run(runner.signal(run_id="r", name="x"))
    start(runner, run_id="s", max_steps=1)
    with pytest.raises(UsageError, match="'' is not a name"):
        asyncio.run(runner.signal(run_id="s", name=""))
    with pytest.raises(StateError, match="the payload of signal 'x'"):
        asyncio.run(runner.signal(run_id="s", name="x", payload=object()))


# ---------------------------------------------------------------------- leases


def test_a_run_that_a_live_process_holds_is_busy(make, store):
    start(make(), max_steps=1)
    asyncio.run(store.claim_run(store.reader.get_run("r"), GONE, take_over=False))
    with pytest.raises(RunBusy, match=r"cannot resume 'r': process 77 drives it \(its lease lasts 15 s more\)"):
        resume(make())


def test_a_run_that_another_process_changed_is_read_again_before_it_is_claimed(make, store):
    async def step(state: State, ctx: RunContext) -> Wait[State] | Complete[str]:
        return Wait(State(state.n + 1), signal="first" if state.n == 0 else "second")

    start(make(step))
    asyncio.run(make(step).signal(run_id="r", name="first"))
    claim = store.claim_run

    async def too_late(*args, **options):
        store.claim_run = claim
        await make(step).resume(run_id="r")
        return await claim(*args, **options)

    store.claim_run = too_late
    result = resume(make(step))
    assert (result.status, result.step_index, result.wait["signal"]) == ("waiting", 2, "second")
    assert len(store.reader.leases("r")) == 2


def test_a_run_that_others_are_forever_faster_with_is_busy(make, store):
    start(make(), max_steps=1)

    async def never(*args, **options):
        return None

    store.claim_run = never
    with pytest.raises(RunBusy):
        resume(make())


def test_the_same_run_twice_in_one_process_is_busy_too(make):
    async def step(state: State, ctx: RunContext) -> Complete[str]:
        with pytest.raises(RunBusy, match=f"process {os.getpid()} drives it"):
            await runner.resume(run_id="r")
        return Complete("alone")

    runner = make(step)
    assert start(runner).result == "alone"


def test_a_lease_that_ran_out_is_taken_over_and_the_old_holder_writes_nothing(make, store):
    async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
        if state.n == 1 and not taken:
            taken.append(await store.claim_run(store.reader.get_run("r"), GONE, take_over=True))
        return await count(state, ctx)

    taken = []
    with pytest.raises(LeaseLost, match="cannot write to 'r': another process took the run over"):
        start(make(step))
    run = store.reader.get_run("r")
    assert (run.step_index, run.fence, run.owner.pid) == (1, 2, 77)


def test_the_heartbeat_stops_a_step_whose_lease_is_lost(make, store):
    async def step(state: State, ctx: RunContext) -> Complete[int]:
        await store.claim_run(store.reader.get_run("r"), GONE, take_over=True)
        await asyncio.sleep(60)
        return Complete(0)

    with pytest.raises(LeaseLost, match="while step 0 ran"):
        start(make(step, lease_s=0.05))
    assert store.reader.steps("r") == []


def test_a_crashed_run_is_taken_over_at_once_on_the_same_machine_and_its_crash_is_counted(make, store):
    start(make(), max_steps=2)
    here = make()._driver._lease_request()
    dead = replace(here, owner=replace(here.owner, pid=here.owner.pid, process="another life"))
    asyncio.run(store.claim_run(store.reader.get_run("r"), dead, take_over=False))
    result = resume(make())
    assert result.result == 3
    assert [(row.kind, row.step_index) for row in store.reader.attempts("r")] == [("interrupted", 2)]
    assert store.reader.steps("r", first=2, limit=1)[0].attempts == 2


def test_a_step_that_crashes_its_process_repeatedly_is_parked(make, store):
    start(make(), max_steps=2)
    for _ in range(2):
        asyncio.run(store.claim_run(store.reader.get_run("r"), GONE, take_over=True))
    store._file.db.execute("UPDATE runs SET renewed_at = 0")
    result = resume(make(max_crashes=2))
    assert (result.status, result.error.message) == ("parked", "step 2 crashed its process 2 times")
    assert resume(make(max_crashes=2)).result == 3


def test_a_cancelled_run_is_left_to_be_resumed(make, store):
    async def main():
        entered = asyncio.Event()

        async def step(state: State, ctx: RunContext) -> Continue[State]:
            if state.n == 1:
                entered.set()
                await asyncio.sleep(60)
            return Continue(State(state.n + 1))

        task = asyncio.create_task(make(step).start(run_id="r", initial_state=State()))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    run = store.reader.get_run("r")
    assert (run.status, run.step_index, run.owner) == ("paused", 1, None)
    assert store.reader.leases("r")[0].ended_as == "interrupted"
    assert resume(make()).result == 3


def test_a_run_that_is_cancelled_twice_in_a_row_is_left_to_be_resumed_as_well(make, store):
    async def main(turns):
        entered = asyncio.Event()

        async def step(state: State, ctx: RunContext) -> Continue[State]:
            entered.set()
            await asyncio.sleep(60)
            return Continue(State(1))

        task = asyncio.create_task(make(step).start(run_id=f"r{turns}", initial_state=State()))
        await entered.wait()
        task.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for turns in range(4):
        asyncio.run(main(turns))
        assert store.reader.get_run(f"r{turns}").status == "paused"
        assert resume(make(), run_id=f"r{turns}").result == 3


def test_keyboard_interrupt_inside_a_step_leaves_the_run_to_be_resumed(make, store):
    async def step(state: State, ctx: RunContext) -> Continue[State]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(make(step))
    assert store.reader.get_run("r").status == "paused"
    assert store.reader.leases("r")[0].note == "stopped by a signal"


def test_a_step_that_exits_has_failed_and_does_not_end_the_command(make, store):
    async def step(state: State, ctx: RunContext) -> Continue[State]:
        raise SystemExit(3)

    result = start(make(step))
    assert (result.status, result.error.type, result.error.message) == ("failed", "SystemExit", "3")


def test_a_last_state_can_be_committed_with_the_result(make, store):
    async def step(state: State, ctx: RunContext) -> Complete[int]:
        return Complete(7, state=State(9))

    result = start(make(step))
    assert (result.result, result.state, store.reader.get_run("r").state) == (7, State(9), '{"n":9}')


@pytest.mark.parametrize("wrong", ["   ", "a\ud800"])
def test_names_that_cannot_be_typed_are_refused(make, wrong):
    with pytest.raises(UsageError, match="cannot start"):
        start(make(), run_id=wrong)
    with pytest.raises(UnknownRun):
        resume(make(), run_id=wrong)


def test_a_clock_that_is_set_back_makes_no_negative_durations(make, store, clock):
    async def step(state: State, ctx: RunContext) -> Complete[int]:
        clock.at_us -= 3_600_000_000
        if ctx.attempt == 0:
            raise TimeoutError
        return Complete(0)

    assert start(make(step)).status == "completed"
    (row,) = store.reader.steps("r")
    assert row.ended_at >= row.started_at
    (failed,) = store.reader.attempts("r")
    assert failed.ended_at >= failed.started_at


def test_a_step_that_never_waits_lets_the_event_loop_turn(make, clock):
    turned = []

    async def main():
        async def other():
            turned.append(True)

        async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[bool]:
            clock.at_us += 10_000
            if state.n == 0:
                tasks.append(asyncio.create_task(other()))
            return Continue(State(1)) if state.n == 0 else Complete(bool(turned))

        tasks = []
        return await make(step).start(run_id="r", initial_state=State())

    assert asyncio.run(main()).result is True


def test_a_store_that_fails_in_the_middle_gives_the_run_back(make, store):
    real = store.commit_step

    async def broken(claim, step):
        raise StoreError("cannot write: the disk is full")

    store.commit_step = broken
    with pytest.raises(StoreError, match="the disk is full"):
        start(make())
    store.commit_step = real
    assert store.reader.get_run("r").status == "paused"
    assert resume(make()).result == 3


def test_many_runs_are_driven_concurrently(make):
    async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
        await asyncio.sleep(0)
        return await count(state, ctx)

    async def main():
        runner = make(step)
        return await asyncio.gather(*(runner.start(run_id=f"r{n}", initial_state=State()) for n in range(20)))

    assert {result.result for result in asyncio.run(main())} == {3}


# ---------------------------------------------------------------------- what observers hear


def test_observers_get_events_and_one_that_raises_breaks_nothing(make, caplog):
    heard = []

    def broken(event):
        raise RuntimeError("observer")

    async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
        ctx.emit({"n": state.n})
        return await count(state, ctx)

    assert start(make(step, observers=[broken, heard.append]), max_steps=2).status == "paused"
    assert [event.kind for event in heard] == ["run_started"] + ["step_started", "emitted", "step_committed"] * 2 + [
        "run_ended"
    ]
    assert heard[2].data == {"event": {"n": 0}}
    assert (heard[3].data["outcome"], heard[3].step_index) == ("continue", 0)
    assert heard[-1].data == {"status": "paused", "reason": "max_steps 2"}
    assert [record.message for record in caplog.records] == ["an observer failed and is not called again"]


def test_the_log_of_a_step_carries_the_run(make, caplog):
    async def step(state: State, ctx: RunContext) -> Complete[str]:
        ctx.log.warning("hello")
        return Complete(ctx.idempotency_key)

    assert start(make(step)).result == "r/0"
    assert (caplog.records[0].run_id, caplog.records[0].step_index) == ("r", 0)


@pytest.mark.parametrize(
    "options",
    [{}, {"step": count, "loop": count}, {"step": count, "lease_s": 0}, {"step": count, "max_crashes": 0}],
)
def test_a_runner_with_invalid_arguments_is_refused(store, options):
    with pytest.raises(UsageError, match="cannot (define an agent|create an engine)"):
        AgentRunner(store=store, **options)


def test_a_tool_failure_that_is_worth_it_retries_the_step(make, clock):
    async def step(state: State, ctx: RunContext) -> Complete[int]:
        if ctx.attempt == 0:
            raise ToolFailed("busy", retryable=True, error_category="rate_limit")
        return Complete(ctx.attempt)

    assert start(make(step)).result == 1
