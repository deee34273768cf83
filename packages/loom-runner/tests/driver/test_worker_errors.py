"""Nothing that a run or the database does ends a worker, or takes up its places."""

import asyncio
import logging
from datetime import timedelta

import pytest
from loom_runner import (
    AgentRunner,
    Complete,
    Continue,
    RetryPolicy,
    Sleep,
    SQLiteStore,
    ToolFailed,
    ToolRegistry,
    Wait,
    Worker,
)
from loom_runner._driver.store_trouble import may_pass
from loom_runner._model.waits import RetryWait
from loom_runner.errors import (
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreLocked,
    StoreReadOnly,
    StoreTooNew,
    StoreUnreadable,
)


async def simple(state, ctx):
    return Complete(ctx.run_id)


def enqueued(runner, *run_ids, state=None):
    async def main():
        for run_id in run_ids:
            await runner.enqueue(run_id=run_id, initial_state=state)

    asyncio.run(main())


def work(runner, clock, **how):
    async def main():
        return await Worker(runner, clock=clock, **how).run(until_idle=True)

    return asyncio.run(main())


def failing(store, name, error, times):
    """Let a method of the store fail some times."""
    healthy, left = getattr(store, name), [times]

    def fails():
        left[0] -= 1
        if left[0] >= 0:
            raise error("cannot use the file: for a while. Do nothing.")

    if asyncio.iscoroutinefunction(healthy):

        async def method(*args, **kwargs):
            fails()
            return await healthy(*args, **kwargs)
    else:

        def method(*args, **kwargs):
            fails()
            return healthy(*args, **kwargs)

    setattr(store, name, method)


PASSING = [StoreError, StoreBusy, StoreReadOnly]
USES = ["ready_runs", "holders", "change_mark", "get_run", "claim_run", "commit_step"]


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("error", PASSING)
@pytest.mark.parametrize("use", USES)
def test_a_worker_pauses_while_the_database_cannot_be_used(store, clock, caplog, use, error, times):
    caplog.set_level(logging.WARNING, "loom_runner")
    runner = AgentRunner(step=simple, store=store, clock=clock)
    enqueued(runner, "a", "b")
    failing(store, use, error, times)
    work(runner, clock)
    assert {run.status for run in store.reader.list_runs()} == {"completed"}
    texts = [record.getMessage() for record in caplog.records]
    pauses = [text for text in texts if text.startswith("the worker pauses and tries again: cannot use the file")]
    assert len(pauses) == 1
    assert "the worker can use the database again." in texts
    for run in store.reader.list_runs():
        assert run.crashes == 0
        assert {lease.ended_as for lease in store.reader.leases(run.run_id)} <= {"interrupted", "completed"}


def test_the_pauses_of_a_worker_double_up_to_a_minute(store, clock):
    runner = AgentRunner(step=simple, store=store, clock=clock)
    failing(store, "ready_runs", StoreBusy, 9)
    work(runner, clock, poll_s=1, max_poll_s=1)
    assert [round(slept) for slept in clock.slept[:9]] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_worker_until_idle_gives_up_after_a_while(store, clock):
    runner = AgentRunner(step=simple, store=store, clock=clock)
    failing(store, "ready_runs", StoreBusy, 10**6)
    with pytest.raises(StoreBusy):
        work(runner, clock)
    assert 300 < sum(clock.slept) < 500


@pytest.mark.parametrize("error", [StoreUnreadable, StoreTooNew, StoreLocked])
@pytest.mark.parametrize("use", USES)
def test_a_database_that_cannot_become_usable_ends_the_worker(store, clock, use, error):
    runner = AgentRunner(step=simple, store=store, clock=clock)
    enqueued(runner, "a")
    failing(store, use, error, 1)
    with pytest.raises(error):
        work(runner, clock)


def test_a_store_that_was_closed_ends_the_worker(tmp_path, clock):
    store = SQLiteStore(tmp_path / "closed.sqlite")
    runner = AgentRunner(step=simple, store=store, clock=clock)
    store.close()
    with pytest.raises(StoreUnreadable, match="the store was closed"):
        work(runner, clock)


def test_a_damaged_value_is_a_matter_of_one_run(store, clock, caplog):
    assert may_pass(StoreDamaged("x"))
    runner = AgentRunner(step=simple, store=store, clock=clock)
    enqueued(runner, "a", "b")

    healthy = store.claim_run

    async def claim(seen, lease, *, take_over):
        if seen.run_id == "a":
            raise StoreDamaged("cannot read the state of run 'a'")
        return await healthy(seen, lease, take_over=take_over)

    store.claim_run = claim
    work(runner, clock, concurrency=1)
    assert store.reader.get_run("b").status == "completed"
    assert "the worker cannot resume a: cannot read the state of run 'a'" in caplog.text


@pytest.mark.parametrize("error", [ValueError("odd"), SystemExit("odd"), asyncio.CancelledError("odd")], ids=repr)
def test_an_error_outside_of_the_steps_of_a_run_is_a_matter_of_that_run(store, clock, error, caplog):
    """For instance of a function that creates the agent of a child."""
    runner = AgentRunner(step=simple, store=store, clock=clock)
    enqueued(runner, "odd", "good")
    healthy = runner._driver.resume

    async def resume(run_id, *args, **kwargs):
        if run_id == "odd":
            raise error
        return await healthy(run_id, *args, **kwargs)

    runner._driver.resume = resume
    work(runner, clock, concurrency=1)
    assert store.reader.get_run("good").status == "completed"
    assert "the worker cannot resume odd: " in caplog.text


# ---------------------------------------------------------------------- places


@pytest.mark.parametrize(
    "wait",
    [
        ToolFailed("busy", retryable=True, retry_after_s=3600),
        ToolFailed("busy", retryable=True, retry_after_s=timedelta(hours=1)),
        "retry",
        "sleep",
        "wait",
    ],
    ids=str,
)
def test_a_run_that_waits_long_takes_up_no_place(store, clock, wait):
    tools = ToolRegistry()

    async def step(state, ctx):
        if ctx.run_id.startswith("good") or ctx.attempt or ctx.step_index:
            return Complete(ctx.attempt)
        if wait == "sleep":
            return Sleep(state, delay_s=3600)
        if wait == "wait":
            return Wait(state, signal="go", timeout_s=3600)
        raise TimeoutError if wait == "retry" else wait

    policy = RetryPolicy(initial_s=3600 if wait == "retry" else 0.5, max_s=3600, jitter=0)
    runner = AgentRunner(step=step, store=store, clock=clock, tools=tools, retry=policy)
    enqueued(runner, "slow1", "slow2", "good1", "good2")
    began = clock.at_us
    work(runner, clock, concurrency=1)
    assert clock.at_us - began < 60_000_000
    status = {run.run_id: run.status for run in store.reader.list_runs()}
    assert status == {"slow1": "waiting", "slow2": "waiting", "good1": "completed", "good2": "completed"}
    assert store.reader.get_run("slow1").owner is None
    clock.at_us += 3_700_000_000
    work(runner, clock, concurrency=1)
    assert {run.status for run in store.reader.list_runs()} == {"completed"}


def backing_off(store, clock, **how):
    async def step(state, ctx):
        if ctx.step_index == 0:
            return Wait(state, signal="go")
        if ctx.attempt < 2:
            raise TimeoutError("no answer")
        return Complete([ctx.attempt, ctx.signal.payload])

    policy = RetryPolicy(initial_s=600, max_s=600, jitter=0)
    runner = AgentRunner(step=step, store=store, clock=clock, retry=policy, **how)
    asyncio.run(runner.start(run_id="r"))
    asyncio.run(runner.signal(run_id="r", name="go", payload=5))
    work(runner, clock)
    return runner


def test_a_run_between_two_attempts_is_shown_as_waiting_for_the_next_one(store, clock):
    runner = backing_off(store, clock)
    record = store.reader.get_run("r")
    assert (record.status, record.wait.attempt, record.failures) == ("waiting", 1, 1)
    assert runner.get("r")["wait"] == record.wait.as_json()
    text = str(runner.explain_run("r"))
    assert "waits" in text
    assert "attempt 1 of step 1 at " in text
    assert "interrupted" not in text
    assert "disappeared" not in text
    assert store.reader.leases("r")[-1].ended_as == "waiting"
    assert store.reader.verify().ok


def test_the_next_attempt_finds_the_signal_and_the_count_of_attempts(store, clock):
    runner = backing_off(store, clock)
    assert work(runner, clock) == 0
    for _ in range(2):
        clock.at_us += 601_000_000
        work(runner, clock)
    assert store.reader.get_run("r").status == "completed"
    assert runner.get("r")["result"] == [2, 5]
    assert [(row.attempt, row.kind) for row in store.reader.attempts("r")] == [(0, "failed"), (1, "failed")]


def test_a_back_off_survives_a_crash_without_a_place(store, clock):
    """A process that died while it waited for the next attempt: the worker that takes over does not
    wait, too.
    """
    runner = backing_off(store, clock)
    record = store.reader.get_run("r")
    store._file.db.execute(
        "UPDATE runs SET status = 'running', renewed_at = 0, wait = ?, due_at = ?",
        ('{"signal": "go", "until": null}', record.due_at),
    )
    slept = len(clock.slept)
    work(runner, clock)
    record = store.reader.get_run("r")
    assert isinstance(record.wait, RetryWait)
    assert record.status == "waiting"
    assert max(clock.slept[slept:], default=0) < 60


def test_start_and_resume_wait_for_the_next_attempt_as_they_say(store, clock):
    runner = backing_off(store, clock)
    assert asyncio.run(runner.resume(run_id="r")).status == "waiting"
    assert asyncio.run(runner.resume(run_id="r", wait_s=2000)).status == "completed"


def test_a_step_that_cannot_be_cancelled_does_not_keep_a_worker_from_ending(store, clock, caplog, monkeypatch):
    from loom_runner._driver import worker as module

    monkeypatch.setattr(module, "_MAX_CANCEL_S", 0.01)
    ends = []

    async def step(state, ctx):
        while not ends:
            try:
                await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                continue
        return Continue(state)

    runner = AgentRunner(step=step, store=store, clock=clock)
    enqueued(runner, "r")

    async def main():
        worker = Worker(runner, clock=clock, grace_s=0.01)
        task = asyncio.ensure_future(worker.run())
        while store.reader.get_run("r").status != "running":
            await asyncio.sleep(0)
        worker.stop()
        await task
        ends.append(True)

    asyncio.run(main())
    assert "loom-runner r goes on, although it was cancelled" in caplog.text


DAMAGE = {
    "state": b"zgarbage",
    "input": b"\x00",
    "wait": "{not JSON",
    "error": "[]",
    "budget": "[1]",
    "forked_from": "{",
    "due_at": "abc",
    "spent_tokens": "abc",
    "fence": "abc",
    "run_id": b"\xff",
    "status": "unknown",
}


@pytest.mark.parametrize(("column", "value"), DAMAGE.items())
def test_a_row_that_cannot_be_read_does_not_keep_a_worker_from_others(store, clock, caplog, column, value):
    runner = AgentRunner(step=simple, store=store, clock=clock)
    enqueued(runner, "a", "b", "c")
    store._file.db.execute(f"UPDATE runs SET {column} = ? WHERE run_id = 'a'", (value,))  # noqa: S608
    work(runner, clock, concurrency=1)
    rows = store._file.db.execute("SELECT status FROM runs WHERE run_key > 1").fetchall()
    assert rows == [("completed",), ("completed",)]
    texts = [record.getMessage() for record in caplog.records]
    assert not [text for text in texts if "pauses" in text]


def test_a_run_that_is_claimed_and_then_cannot_be_resumed_is_skipped_for_a_while(store, clock, caplog):
    runner = AgentRunner(step=simple, store=store, clock=clock)
    enqueued(runner, "a")
    store._file.db.execute("UPDATE runs SET spent_tokens = 'abc', budget = '{\"tokens\": 5}'")
    before = clock.now_us()

    async def main():
        worker = Worker(runner, clock=clock)
        task = asyncio.create_task(worker.run())
        while clock.now_us() - before < 60_000_000:
            await asyncio.sleep(0)
        worker.stop()
        await task

    asyncio.run(main())
    (fence,) = store._file.db.execute("SELECT fence FROM runs").fetchone()
    assert 1 < fence < 12
