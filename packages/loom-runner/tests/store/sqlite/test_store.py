"""The store's contract: facts are kept, and no process without the lease can change them."""

import asyncio
from dataclasses import replace

import pytest
from loom_runner import SQLiteStore, UnknownRun
from loom_runner._model.records import AttemptRecord, ErrorInfo, Owner
from loom_runner._model.writes import AttemptEnd, LeaseRequest, NewRun, StepCommit, ToolEnd, ToolStart
from loom_runner.errors import LeaseLost

ALICE = LeaseRequest(Owner("machine", 1, "born"), 15.0, "code-1", "agent.py:1")
BOB = LeaseRequest(Owner("machine", 2, "born"), 15.0, "code-2", "agent.py:2")
NEW = NewRun("r", "step", '{"n":0}', '{"n":0}', 1_000)
STEP = StepCommit(0, "continue", "running", '{"n":1}', 1_000, 2_000, 1)
CALL = ToolStart(0, "fetch/0", "fetch", '{"url": "x"}', "hash", 1_500)


def expire(store: SQLiteStore) -> None:
    """Let the lease run out without waiting for it."""
    store._file.db.execute("UPDATE runs SET renewed_at = renewed_at - 60000")


@pytest.fixture
def claim(store):
    return asyncio.run(store.create_run(NEW, ALICE))


def test_a_new_run_is_claimed_by_its_maker(store, claim):
    run = store.reader.get_run("r")
    assert (run.status, run.step_index, run.state, run.input, run.fence) == ("running", 0, '{"n":0}', '{"n":0}', 1)
    assert (run.owner, run.is_leased) == (ALICE.owner, True)
    assert 14 < run.lease_left_s <= 15
    assert [(lease.fence, lease.owner, lease.code, lease.ended_at) for lease in store.reader.leases("r")] == [
        (1, ALICE.owner, "code-1", None)
    ]


def test_an_id_is_taken_once(store, claim, go):
    assert go(store.create_run(replace(NEW, input='{"n":9}'), BOB)) is None
    assert store.reader.get_run("r").input == '{"n":0}'


def test_an_unknown_run_has_no_rows(store):
    assert store.reader.get_run("r") is None
    assert (
        store.reader.steps("r"),
        store.reader.attempts("r"),
        store.reader.tool_calls("r"),
        store.reader.leases("r"),
        store.reader.signals("r"),
    ) == (
        [],
        [],
        [],
        [],
        [],
    )


def test_a_step_moves_the_run_and_adds_its_row_in_one_transaction(store, claim, go):
    go(store.commit_step(claim, STEP))
    run = store.reader.get_run("r")
    assert (run.step_index, run.state, run.status, run.is_leased) == (1, '{"n":1}', "running", True)
    [step] = store.reader.steps("r")
    assert (step.step_index, step.outcome, step.state, step.attempts, step.fence) == (0, "continue", '{"n":1}', 1, 1)


def test_a_step_cannot_be_committed_twice(store, claim, go):
    go(store.commit_step(claim, STEP))
    with pytest.raises(LeaseLost):
        go(store.commit_step(claim, STEP))
    assert len(store.reader.steps("r")) == 1


def test_the_last_step_gives_the_lease_back(store, claim, go):
    done = replace(STEP, outcome="complete", status="completed", state=None, result="7", lease_end="completed")
    go(store.commit_step(claim, done))
    run = store.reader.get_run("r")
    assert (run.status, run.result, run.state, run.owner) == ("completed", "7", '{"n":0}', None)
    assert store.reader.leases("r")[0].ended_as == "completed"


def test_a_live_lease_cannot_be_claimed(store, claim, go):
    assert go(store.claim_run(store.reader.get_run("r"), BOB, take_over=False)) is None
    assert store.reader.get_run("r").owner == ALICE.owner


def test_a_lease_that_ran_out_is_taken_and_the_crash_is_on_record(store, claim, go):
    expire(store)
    second = go(store.claim_run(store.reader.get_run("r"), BOB, take_over=False))
    assert second.fence == 2
    run = store.reader.get_run("r")
    assert (run.owner, run.crashes, run.status) == (BOB.owner, 1, "running")
    [attempt] = store.reader.attempts("r")
    assert (attempt.kind, attempt.step_index, attempt.error.message) == ("interrupted", 0, "process 1 disappeared")
    assert [lease.ended_as for lease in store.reader.leases("r")] == ["lost", None]


def test_the_holder_that_is_known_to_be_gone_is_not_waited_for(store, claim, go):
    assert go(store.claim_run(store.reader.get_run("r"), BOB, take_over=True)).fence == 2


def test_of_two_who_saw_the_same_row_one_gets_the_run(store, claim, go):
    expire(store)
    seen = store.reader.get_run("r")
    assert go(store.claim_run(seen, BOB, take_over=True)) is not None
    assert go(store.claim_run(seen, ALICE, take_over=True)) is None


@pytest.mark.parametrize("write", ["commit", "attempt", "start_tool", "restart_tool", "end_tool"])
def test_nothing_is_written_with_an_old_fence(store, claim, go, write):
    go(store.start_tool(claim, CALL))
    go(store.claim_run(store.reader.get_run("r"), BOB, take_over=True))
    before = [store._file.db.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES]
    writes = {
        "commit": lambda: store.commit_step(claim, STEP),
        "attempt": lambda: store.end_attempt(claim, AttemptEnd("failed", 9, lease_end="failed")),
        "start_tool": lambda: store.start_tool(claim, replace(CALL, key="other/0")),
        "restart_tool": lambda: store.restart_tool(claim, CALL),
        "end_tool": lambda: store.end_tool(claim, 0, "fetch/0", ToolEnd("done", 9, "1")),
    }
    with pytest.raises(LeaseLost, match="another process took the run over"):
        go(writes[write]())
    assert [store._file.db.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES] == before


TABLES = ("runs", "steps", "attempts", "tool_calls", "leases", "signals")


def test_the_heartbeat_renews_leases_and_returns_the_lost_ones(store, claim, go):
    expire(store)
    assert store.renew([claim]) == []
    assert store.reader.get_run("r").is_leased
    go(store.claim_run(store.reader.get_run("r"), BOB, take_over=True))
    assert store.renew([claim]) == [claim]
    store.close()
    assert store.renew([claim]) == []


def test_the_heartbeat_of_many_runs_is_one_transaction(store, go):
    claims = [go(store.create_run(replace(NEW, run_id=f"r{number}"), ALICE)) for number in range(20)]
    expire(store)
    store.renew(claims[:1])
    commits = []
    store._file.heartbeat().set_commit_hook(lambda: bool(commits.append(1)))
    assert store.renew([*claims, replace(claims[0], fence=9)]) == [replace(claims[0], fence=9)]
    assert len(commits) == 1
    assert all(run.is_leased for run in store.reader.list_runs())


def test_a_failed_attempt_is_a_row_and_is_counted(store, claim, go):
    error = ErrorInfo("TimeoutError", "slow", "transient", "agent.py:3", "...")
    failed = AttemptRecord(0, 0, "failed", 1_000, 2_000, error, 5_000, 1)
    go(store.end_attempt(claim, AttemptEnd("running", 2_000, failed=failed, due_at=5_000)))
    assert store.reader.attempts("r") == [failed]
    run = store.reader.get_run("r")
    assert (run.failures, run.due_at, run.status, run.is_leased) == (1, 5_000, "running", True)
    go(store.commit_step(claim, replace(STEP, attempts=2)))
    run = store.reader.get_run("r")
    assert (run.failures, run.due_at) == (0, None)


def test_the_end_of_a_run_by_failure_keeps_state_and_error(store, claim, go):
    error = ErrorInfo("ValueError", "bad")
    go(store.end_attempt(claim, AttemptEnd("failed", 2_000, error=error, lease_end="failed")))
    run = store.reader.get_run("r")
    assert (run.status, run.error, run.state, run.owner) == ("failed", error, '{"n":0}', None)
    go(store.claim_run(run, BOB, take_over=False))
    assert store.reader.get_run("r").error is None


def test_a_tool_call_is_new_once_and_found_after_that(store, claim, go):
    assert go(store.start_tool(claim, CALL)) is None
    found = go(store.start_tool(claim, replace(CALL, arguments="{}", arguments_hash="another")))
    assert (found.status, found.arguments, found.arguments_hash, found.tries) == ("started", '{"url": "x"}', "hash", 1)
    go(store.end_tool(claim, 0, "fetch/0", ToolEnd("done", 2_000, '"page"')))
    found = go(store.start_tool(claim, CALL))
    assert (found.status, found.result, found.is_in_doubt) == ("done", '"page"', False)


def test_an_earlier_try_of_a_call_is_kept_when_it_is_repeated(store, claim, go):
    go(store.start_tool(claim, CALL))
    second = go(store.claim_run(store.reader.get_run("r"), BOB, take_over=True))
    go(store.restart_tool(second, replace(CALL, at=9_000)))
    [call], [first] = store.reader.tool_calls("r"), store.reader.tool_tries("r")
    assert (call.tries, call.started_at, call.fence) == (2, 9_000, 2)
    assert (first.number, first.ordinal, first.status, first.started_at, first.ended_at, first.fence) == (
        call.number,
        1,
        "started",
        1_500,
        None,
        1,
    )


def test_a_started_call_is_in_doubt_when_its_process_no_longer_holds_the_run(store, claim, go):
    go(store.start_tool(claim, CALL))
    [call] = store.reader.tool_calls("r", open_only=True)
    assert (call.is_live, call.is_in_doubt, call.owner) == (True, False, ALICE.owner)
    go(store.claim_run(store.reader.get_run("r"), BOB, take_over=True))
    [doubt] = store.reader.tool_calls("r", open_only=True)
    assert doubt.is_in_doubt
    assert store.reader.tool_calls(open_only=True) == [doubt]
    go(store.end_tool(replace(claim, fence=2), 0, "fetch/0", ToolEnd("done", 9, "1")))
    assert store.reader.tool_calls(open_only=True) == []


def test_of_two_answers_about_the_same_doubt_the_first_counts(store, claim, go):
    go(store.start_tool(claim, CALL))
    [seen] = store.reader.tool_calls("r")
    assert go(store.decide_tool(seen, ToolEnd("done", 3_000, "1"), "ann")) is True
    assert go(store.decide_tool(seen, ToolEnd("retry", None), "bob")) is False
    [call] = store.reader.tool_calls("r")
    assert (call.status, call.result, call.decided_by) == ("done", "1", "ann")


def test_a_decided_call_cannot_be_ended_by_the_process_that_seemed_to_be_gone(store, claim, go):
    go(store.start_tool(claim, CALL))
    go(store.decide_tool(store.reader.tool_calls("r")[0], ToolEnd("done", 3_000, "1"), "ann"))
    with pytest.raises(LeaseLost):
        go(store.end_tool(claim, 0, "fetch/0", ToolEnd("done", 4_000, "2")))
    assert store.reader.tool_calls("r")[0].result == "1"


def test_signals_are_kept_in_order_and_taken_by_a_step(store, claim, go):
    for payload in ("1", "2"):
        go(store.send_signal("r", "go", payload, 1_000))
    go(store.send_signal("r", "stop", "3", 1_000))
    first = store.reader.signals("r", name="go")[0]
    assert first.payload == "1"
    go(store.commit_step(claim, replace(STEP, signal_key=first.key)))
    assert [signal.payload for signal in store.reader.signals("r", name="go")] == ["2"]
    assert [signal.taken_in_step for signal in store.reader.signals("r")] == [0, None, None]


def test_a_signal_needs_a_run(store, go):
    with pytest.raises(UnknownRun, match="cannot signal 'nope': there is no such run in"):
        go(store.send_signal("nope", "go", "1", 1))


def test_runs_are_listed_latest_first_and_by_pages(store, go):
    for number in range(5):
        go(store.create_run(replace(NEW, run_id=f"r{number}", at=number), ALICE))
    assert [run.run_id for run in store.reader.list_runs(limit=2)] == ["r4", "r3"]
    page = store.reader.list_runs(limit=2)
    assert [run.run_id for run in store.reader.list_runs(limit=9, after=page[-1])] == ["r2", "r1", "r0"]


def test_steps_are_read_by_pages(store, claim, go):
    for index in range(5):
        go(store.commit_step(claim, replace(STEP, step_index=index)))
    assert [step.step_index for step in store.reader.steps("r", first=1, limit=3)] == [1, 2, 3]


def test_an_error_inside_a_transaction_leaves_nothing_and_the_store_usable(store, claim, go):
    with pytest.raises(ZeroDivisionError), store._transaction as db:
        db.execute("DELETE FROM runs")
        1 / 0
    assert store.reader.get_run("r") is not None
    go(store.commit_step(claim, STEP))


def test_a_late_record_of_a_call_does_not_revive_a_released_lease(store, go):
    from loom_runner._model.records import Owner
    from loom_runner._model.writes import AttemptEnd, LeaseRequest, NewRun, ToolEnd, ToolStart
    from loom_runner.errors import LeaseLost

    async def main():
        lease = LeaseRequest(Owner("machine", 1, "born"), 15.0, "code", "agent.py:1")
        claim = await store.create_run(NewRun("r", "step", "0", "0", 1), lease)
        await store.start_tool(claim, ToolStart(0, "fetch/0", "fetch", "{}", "hash", 2))
        await store.end_attempt(claim, AttemptEnd("paused", 3, lease_end="interrupted", note="stopped"))
        with pytest.raises(LeaseLost):
            await store.end_tool(claim, 0, "fetch/0", ToolEnd("done", 4, result="1"))

    go(main())
    assert store.reader.get_run("r").owner is None
