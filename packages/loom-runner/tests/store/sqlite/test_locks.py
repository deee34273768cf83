"""A database that another process has locked: the event loop goes on, and nothing is lost."""

import asyncio
import logging

import apsw
import pytest
from loom_runner import AgentRunner, Complete, Continue, SQLiteStore, ToolRegistry
from loom_runner._store.sqlite import group_commit, locks
from loom_runner._store.sqlite.locks import QUICK, LockWait
from loom_runner.errors import StoreBusy


class Locker:
    """Another connection, which locks the database."""

    def __init__(self, path):
        self.db = apsw.Connection(str(path))
        self.has_locked = False

    def lock(self):
        self.has_locked = True
        self.db.execute("BEGIN EXCLUSIVE")

    def unlock(self):
        self.db.execute("COMMIT")


@pytest.fixture
def locker(store, tmp_path):
    locker = Locker(tmp_path / "runs.sqlite")
    yield locker
    locker.db.close()


async def turns(count):
    """Let the loop go round: this returns only if nothing blocks it."""
    for _ in range(count):
        await asyncio.sleep(0.001)


def made(store, locker, *, where):
    """A run whose step, or tool, returns while another process has the database locked."""
    tools, effects = ToolRegistry(), []

    @tools.tool("pay")
    async def pay(n: int) -> int:
        effects.append(n)
        if where == "tool":
            locker.lock()
        return n

    async def step(state: int, ctx):
        if state == 2:
            return Complete(effects)
        await ctx.call_tool("pay", n=state)
        if where == "step" and not locker.has_locked:
            locker.lock()
        return Continue(state + 1)

    return AgentRunner(step=step, store=store, tools=tools), effects


@pytest.mark.parametrize("durability", ["process", "power"])
@pytest.mark.parametrize("where", ["tool", "step"])
@pytest.mark.parametrize("others", [0, 3])
def test_a_lock_while_a_run_is_held_loses_and_repeats_nothing(tmp_path, where, others, durability):
    with SQLiteStore(tmp_path / "runs.sqlite", durability) as store:
        locker = Locker(tmp_path / "runs.sqlite")

        async def quiet(state: int, ctx):
            await asyncio.sleep(0)
            return Complete(state) if state == 9 else Continue(state + 1)

        runner, effects = made(store, locker, where=where)
        neighbour = AgentRunner(step=quiet, store=store)

        async def main():
            task = asyncio.ensure_future(runner.start(run_id="r", initial_state=0))
            near = [asyncio.ensure_future(neighbour.start(run_id=f"n{n}", initial_state=0)) for n in range(others)]
            locks = 2 if where == "tool" else 1
            for _ in range(locks):
                while not locker.db.in_transaction:
                    await asyncio.sleep(0)
                await turns(50)
                assert not task.done()
                locker.unlock()
            await asyncio.gather(*near)
            return await task

        result = asyncio.run(main())
        assert (result.status, result.result) == ("completed", [0, 1])
        assert effects == [0, 1]
        assert [call.status for call in store.reader.tool_calls("r")] == ["done", "done"]
        assert [call.tries for call in store.reader.tool_calls("r")] == [1, 1]
        assert store.reader.attempts("r") == []
        locker.db.close()


def test_a_write_of_the_loop_waits_a_moment_and_others_wait_long(monkeypatch):
    slept = []
    monkeypatch.setattr(locks.time, "sleep", slept.append)
    wait = LockWait(30.0)
    wait.limit = QUICK
    while wait(len(slept)):
        pass
    assert sum(slept) == pytest.approx(0.003)
    slept.clear()
    wait.limit = wait.patient
    while wait(len(slept)):
        pass
    assert sum(slept) == pytest.approx(30, abs=0.2)


def test_a_request_that_no_run_depends_on_fails_after_a_while(store, locker, monkeypatch):
    monkeypatch.setattr(group_commit, "_MAX_WAIT_S", 0.05)

    async def step(state, ctx):
        return Complete(state)

    runner = AgentRunner(step=step, store=store)
    locker.lock()
    with pytest.raises(StoreBusy, match="another process kept it locked"):
        asyncio.run(runner.start(run_id="r"))
    locker.unlock()
    assert asyncio.run(runner.start(run_id="r")).status == "completed"


def test_a_plain_read_is_not_hindered_by_a_writer(store, locker):
    locker.lock()
    assert store.reader.list_runs() == []
    locker.unlock()


def test_a_run_that_is_cancelled_while_the_database_is_locked_ends_and_can_be_resumed(store, locker, monkeypatch):
    from loom_runner._driver import stepper

    monkeypatch.setattr(stepper, "_MAX_RELEASE_S", 0.05)
    runner, effects = made(store, locker, where="step")

    async def main():
        task = asyncio.ensure_future(runner.start(run_id="r", initial_state=0))
        while not locker.db.in_transaction:
            await asyncio.sleep(0)
        await turns(20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    locker.unlock()
    assert store.reader.get_run("r").step_index == 0
    store._file.db.execute("UPDATE leases SET process = 'gone' WHERE ended_at IS NULL")
    assert asyncio.run(runner.resume(run_id="r")).result == [0, 1]
    assert effects == [0, 1]


def test_a_long_lock_is_logged_once_at_its_begin_and_once_at_its_end(store, locker, monkeypatch, caplog):
    caplog.set_level(logging.WARNING, "loom_runner")
    monkeypatch.setattr(group_commit, "_REPORT_AFTER_S", 0.0)
    monkeypatch.setattr(group_commit, "_TRY_EVERY_S", 0.001)
    runner, _ = made(store, locker, where="step")

    async def main():
        task = asyncio.ensure_future(runner.start(run_id="r", initial_state=0))
        while not locker.db.in_transaction:
            await asyncio.sleep(0)
        await turns(30)
        locker.unlock()
        await task

    asyncio.run(main())
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 2
    assert texts[0].endswith("runs.sqlite is locked by another process; waiting until it can be written.")
    assert "can be written again, after" in texts[1]
