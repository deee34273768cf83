"""Group commit: one transaction for the writes of one turn of the loop, with separate results."""

import asyncio
import threading
from dataclasses import replace

import pytest
from loom_runner import AgentRunner, Complete, Continue, SQLiteStore, StoreError, ToolRegistry, UnknownRun
from loom_runner._model.records import Owner
from loom_runner._model.writes import LeaseRequest, NewRun, StepCommit, ToolEnd, ToolStart
from loom_runner.errors import LeaseLost, PayloadTooLarge, StateEncodeError, StoreBusy
from loom_runner.testing import FakeClock

pytestmark = pytest.mark.interpreter

ALICE = LeaseRequest(Owner("machine", 1, "born"), 15.0, "code-1", "agent.py:1")
BOB = LeaseRequest(Owner("machine", 2, "born"), 15.0, "code-2", "agent.py:2")
STEP = StepCommit(0, "continue", "running", '{"n":1}', 1_000, 2_000, 1)
LAST = replace(STEP, outcome="complete", status="completed", result="1", state=None, lease_end="completed")
CALL = ToolStart(0, "fetch/0", "fetch", "{}", "hash", 1_500)


def new(run_id: str) -> NewRun:
    return NewRun(run_id, "step", "0", "0", 1)


@pytest.fixture
def commits(store):
    """Count the transactions."""
    count = []
    store.on_commit(lambda: count.append(1))
    return count


async def hold(store, number=3):
    return [await store.create_run(new(f"r{index}"), ALICE) for index in range(number)]


def test_writes_of_one_turn_share_a_transaction(store, commits, go):
    async def main():
        claims = await hold(store)
        commits.clear()
        await asyncio.gather(*(store.commit_step(claim, STEP) for claim in claims))
        return claims

    claims = go(main())
    assert len(commits) == 1
    assert [store.reader.get_run(claim.run_id).step_index for claim in claims] == [1, 1, 1]


def test_a_run_alone_is_written_at_once_without_a_turn_of_the_loop(store, commits, go):
    async def main():
        [claim] = await hold(store, 1)
        writing = store.commit_step(claim, STEP)
        with pytest.raises(StopIteration):
            writing.send(None)

    go(main())
    assert store.reader.get_run("r0").step_index == 1


def test_runs_that_are_started_together_share_their_transactions_from_the_first_step_on(store, commits, go):
    async def step(state, ctx):
        return Complete(state) if state == 5 else Continue(state + 1)

    async def main():
        runner = AgentRunner(step=step, store=store, clock=FakeClock())  # so that no step takes long
        await asyncio.gather(*(runner.start(run_id=f"r{number}", initial_state=0) for number in range(20)))

    go(main())
    assert len(commits) == 7  # the start, and six steps; a step that never suspends would end its run first


def test_the_last_of_many_runs_is_alone_again(store, go):
    async def main():
        claims = await hold(store)
        await store.commit_step(claims[0], LAST)
        with pytest.raises(LeaseLost):
            await store.commit_step(replace(claims[1], fence=9), STEP)
        with pytest.raises(StopIteration):
            store.commit_step(claims[2], STEP).send(None)

    go(main())


def test_nothing_is_acknowledged_before_the_commit(store, go):
    async def main():
        claims = await hold(store)
        seen = []
        store.on_commit(lambda: seen.append([task.done() for task in tasks]))
        tasks = [asyncio.ensure_future(store.commit_step(claim, STEP)) for claim in claims]
        await asyncio.wait(tasks)
        return seen

    assert go(main()) == [[False, False, False]]


def test_a_lost_lease_does_not_undo_the_others(store, commits, go):
    async def main():
        claims = await hold(store)
        await store.claim_run(store.reader.get_run("r1"), BOB, take_over=True)
        commits.clear()
        return await asyncio.gather(*(store.commit_step(claim, STEP) for claim in claims), return_exceptions=True)

    assert [type(result) for result in go(main())] == [type(None), LeaseLost, type(None)]
    assert len(commits) == 1
    assert [store.reader.get_run(f"r{index}").step_index for index in range(3)] == [1, 0, 1]


def test_only_the_changes_of_a_failed_write_are_undone(tmp_path, go):
    with SQLiteStore(tmp_path / "a.sqlite", "process", max_payload_bytes=70_000) as store:

        async def main():
            claims = await hold(store)
            writes = [
                store.commit_step(claims[0], STEP),
                store.end_tool(claims[1], 0, "fetch/0", ToolEnd("done", 1, '"' + "x" * 80_000 + '"')),
                store.send_signal("nobody", "go", "1", 1),
                store.start_tool(claims[1], CALL),
                store.commit_step(claims[2], STEP),
            ]
            return await asyncio.gather(*writes, return_exceptions=True)

        results = go(main())
        kinds = [type(None), PayloadTooLarge, UnknownRun, type(None), type(None)]
        assert [type(result) for result in results] == kinds
        assert [store.reader.get_run(f"r{index}").step_index for index in range(3)] == [1, 0, 1]
        assert [call.status for call in store.reader.tool_calls()] == ["started"]


def test_of_a_write_that_fails_in_the_middle_nothing_stays(store, go):
    def half(db):
        db.execute("UPDATE runs SET program = 'half done'")
        db.execute("DELETE FROM leases")
        raise ZeroDivisionError

    async def main():
        claims = await hold(store)
        writes = [store.commit_step(claims[0], STEP), store._write(half), store.commit_step(claims[1], STEP)]
        return await asyncio.gather(*writes, return_exceptions=True)

    assert [type(result) for result in go(main())] == [type(None), ZeroDivisionError, type(None)]
    assert {run.program for run in store.reader.list_runs()} == {"step"}
    assert [len(store.reader.leases(f"r{index}")) for index in range(3)] == [1, 1, 1]
    assert [store.reader.get_run(f"r{index}").step_index for index in range(3)] == [1, 1, 0]


def test_when_the_commit_fails_every_write_of_the_group_fails_and_nothing_is_there(store, go):
    async def main():
        claims = await hold(store)
        store._file.db.set_commit_hook(lambda: True)  # SQLite then rolls back instead
        results = await asyncio.gather(*(store.commit_step(claim, STEP) for claim in claims), return_exceptions=True)
        store._file.db.set_commit_hook(None)
        assert all(isinstance(result, StoreError) for result in results), results
        assert len({id(result) for result in results}) == 3
        assert [store.reader.steps(claim.run_id) for claim in claims] == [[], [], []]
        await asyncio.gather(*(store.commit_step(claim, STEP) for claim in claims))

    go(main())


def test_when_sqlite_gives_up_the_transaction_every_write_of_the_group_fails(store, go):
    async def main():
        claims = await hold(store)
        db = store._file.db
        pages = db.pragma("page_count")
        db.pragma("max_page_count", pages)
        large = replace(STEP, state='"' + "0123456789abcdef" * 200 + '"')
        results = [None]
        while results == [None] * len(results):
            results = await asyncio.gather(
                *(store.commit_step(claim, replace(large, step_index=store.reader.get_run(claim.run_id).step_index))
                  for claim in claims), return_exceptions=True
            )  # fmt: skip
        assert {type(result) for result in results if result is not None} == {StoreBusy}
        committed = [store.reader.get_run(claim.run_id).step_index for claim in claims]
        assert committed == [len(store.reader.steps(claim.run_id)) for claim in claims]
        db.pragma("max_page_count", 1_000_000)
        await asyncio.gather(
            *(store.commit_step(claim, replace(large, step_index=index))
              for claim, index in zip(claims, committed, strict=True))
        )  # fmt: skip

    go(main())


@pytest.mark.parametrize("number", [1, 3])
def test_an_error_keeps_its_name_whether_its_write_is_alone_in_its_group_or_not(tmp_path, go, number):
    """The error has its own cause, which is not what the caller should see."""
    with SQLiteStore(tmp_path / "a.sqlite", "power") as store:

        async def main():
            claims = await hold(store, number)
            calls = (store.start_tool(claim, replace(CALL, arguments='"\udcff"')) for claim in claims)
            return await asyncio.gather(*calls, return_exceptions=True)

        assert [type(result) for result in go(main())] == [StateEncodeError] * number


def test_a_commit_whose_task_is_cancelled_in_the_queue_is_written(store, go):
    async def main():
        claims = await hold(store)
        tasks = [asyncio.ensure_future(store.commit_step(claim, LAST)) for claim in claims]
        await asyncio.sleep(0)  # they are queued, and not written
        assert store.reader.get_run("r0").step_index == 0
        tasks[0].cancel()
        await asyncio.wait(tasks)
        return [task.cancelled() for task in tasks]

    assert go(main()) == [True, False, False]
    assert [store.reader.get_run(f"r{index}").status for index in range(3)] == ["completed"] * 3


def test_a_tool_call_whose_task_is_cancelled_in_the_queue_was_never_started(store, go):
    async def main():
        claims = await hold(store)
        tasks = [asyncio.ensure_future(store.start_tool(claim, CALL)) for claim in claims]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.wait(tasks)

    go(main())
    assert [call.run_id for call in store.reader.tool_calls()] == ["r1", "r2"]


def test_a_group_of_thousands_is_cut_into_several_transactions(store, commits, go):
    async def main():
        claims = await asyncio.gather(*(store.create_run(new(f"r{index}"), ALICE) for index in range(600)))
        commits.clear()
        await asyncio.gather(*(store.commit_step(claim, STEP) for claim in claims))

    go(main())
    assert len(commits) == 3
    assert len(store.reader.list_runs(limit=1000)) == 600
    assert all(run.step_index == 1 for run in store.reader.list_runs(limit=1000))


def test_loops_of_several_threads_write_to_one_store(store):
    def drive(name):
        async def main():
            claims = [await store.create_run(new(f"{name}{index}"), ALICE) for index in range(5)]
            for number in range(20):
                await asyncio.gather(*(store.commit_step(claim, replace(STEP, step_index=number)) for claim in claims))

        asyncio.run(main())

    threads = [threading.Thread(target=drive, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {(run.run_id, run.step_index) for run in store.reader.list_runs()} == {
        (f"{name}{index}", 20) for name in "abc" for index in range(5)
    }


def test_parallel_calls_of_one_run_share_their_syncs_with_power_durability(tmp_path, go):
    tools = ToolRegistry()

    @tools.tool("look", idempotent=True)
    async def look(n: int) -> int:
        return n

    async def step(state, ctx):
        if state == 1:
            return Complete(1)
        found = await asyncio.gather(*(ctx.call_tool("look", n=n) for n in range(10)))
        assert found == list(range(10))
        return Continue(1)

    with SQLiteStore(tmp_path / "a.sqlite", "power") as store:
        count = []
        store.on_commit(lambda: count.append(1))
        go(AgentRunner(step=step, store=store, tools=tools).start(run_id="r", initial_state=0))
        assert len(store.reader.tool_calls("r")) == 10
        assert len(count) < 10


def test_many_runs_at_once_end_as_they_would_alone(store, go):
    async def step(state, ctx):
        return Complete(state) if state >= ctx.step_index + 7 or ctx.step_index == 5 else Continue(state + 1)

    async def main():
        runner = AgentRunner(step=step, store=store)
        return await asyncio.gather(
            *(runner.start(run_id=f"r{index}", initial_state=index) for index in range(40)),
        )

    results = go(main())
    assert [(result.status, result.result) for result in results] == [
        ("completed", index if index >= 7 else index + 5) for index in range(40)
    ]
    assert all(len(store.reader.steps(f"r{index}")) == (1 if index >= 7 else 6) for index in range(40))
