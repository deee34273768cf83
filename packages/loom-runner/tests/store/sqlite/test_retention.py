"""What retention deletes, what it keeps, and that the rest can be read as before."""

import json
import random
from dataclasses import replace

import pytest
from loom_runner import Runs, SQLiteStore, UsageError
from loom_runner._model.records import AttemptRecord, ErrorInfo, Owner
from loom_runner._model.retention import Every, Last, Latest, parse_keep
from loom_runner._model.writes import AttemptEnd, LeaseRequest, NewRun, StepCommit, ToolEnd, ToolStart
from loom_runner.errors import LeaseLost, StepPruned, UnknownRun, UnknownStep
from loom_runner.store import open_side_tables

ALICE = LeaseRequest(Owner("machine", 1, "born"), 15.0, "code-1", "agent.py:1")
BOB = LeaseRequest(Owner("machine", 2, "born"), 15.0, "code-2", "agent.py:2")
KEEPS = ["all", Latest, Last(7), Last(1000), Every(1), Every(10), Every(1000)]


def said(turns: int) -> list[str]:
    turn = ["".join(random.Random(number).choices("abcdefghijkl ", k=300)) for number in range(turns)]
    return [json.dumps({"turns": turn[: number + 1]}) for number in range(turns)]


def small(steps: int) -> list[str]:
    return [json.dumps({"n": number}) for number in range(steps)]


@pytest.fixture
def write(go):
    def write(store, states, run_id="r", ends="completed", **changes):
        async def main():
            claim = await store.create_run(NewRun(run_id, "step", '"input"', '"input"', 1), ALICE)
            for index, state in enumerate(states):
                step = StepCommit(index, "continue", "running", state, 1_000, 2_000, 1, **changes)
                if index == len(states) - 1 and ends:
                    step.status, step.lease_end = ends, "completed"
                await store.commit_step(claim, step)
            return claim

        return go(main())

    return write


def left(keep, count: int) -> list[int]:
    if keep == "all":
        return list(range(count))
    if isinstance(keep, Last):
        return list(range(max(0, count - keep.steps), count))
    return sorted({*range(0, count, keep.steps), count - 1})


@pytest.mark.parametrize("keep", KEEPS, ids=str)
@pytest.mark.parametrize("states", [small(60), said(60)], ids=["small", "growing"])
def test_pruning_leaves_the_steps_that_are_kept_as_they_were(store, write, go, keep, states):
    write(store, states)
    plan = store.reader.plan_prune(keep=keep)
    report = go(store.prune(keep=keep))
    assert plan.steps == report.steps == 60 - len(left(keep, 60))
    assert [(step.step_index, step.state) for step in store.reader.steps("r")] == [
        (n, states[n]) for n in left(keep, 60)
    ]
    assert store.reader.get_run("r").state == states[-1]
    assert store.reader.verify().problems == ()
    assert go(store.prune(keep=keep)).steps == 0


@pytest.mark.parametrize("keep", [Latest, Last(50), Every(50)], ids=str)
@pytest.mark.parametrize("states", [small(700), said(300)], ids=["small", "growing"])
def test_a_store_that_keeps_some_steps_deletes_the_others_while_the_run_continues(tmp_path, write, keep, states):
    with SQLiteStore(tmp_path / "a.sqlite", "process", keep=keep) as store:
        write(store, states, ends=None)
        kept = len(store.reader.steps("r", limit=2000, states=False))
        assert len(left(keep, len(states))) <= kept < len(left(keep, len(states))) + 130
        assert [step.state for step in store.reader.steps("r")] == [
            states[step.step_index] for step in store.reader.steps("r")
        ]
        write(store, states, "ended")
        steps = store.reader.steps("ended")
        assert [(step.step_index, step.state) for step in steps] == [(n, states[n]) for n in left(keep, len(states))]
        assert store.reader.verify().problems == ()


def test_a_store_takes_what_a_person_types(tmp_path, write):
    with SQLiteStore(tmp_path / "a.sqlite", "process", keep="last:2") as store:
        write(store, small(10))
        assert [step.step_index for step in store.reader.steps("r")] == [8, 9]
    with pytest.raises(UsageError, match="use all, latest, last:N or every:K"):
        SQLiteStore(tmp_path / "a.sqlite", keep="some")


def test_the_keep_of_a_commit_goes_before_the_stores(tmp_path, write):
    with SQLiteStore(tmp_path / "a.sqlite", "process", keep=Latest) as store:
        write(store, small(10), keep=Last(3))
        assert [step.step_index for step in store.reader.steps("r")] == [7, 8, 9]


def test_a_step_that_was_dropped_names_the_nearest_one_that_is_kept(store, write, go):
    write(store, small(100))
    go(store.prune(keep=Every(10)))
    for step, nearest in ((11, 10), (19, 20), (98, 99), (94, 90)):
        with pytest.raises(StepPruned, match=f"retention deleted it. The nearest step that is kept is {nearest}") as it:
            store.reader.state_after("r", step)
        assert it.value.nearest == nearest
    assert store.reader.state_after("r", 90) == '{"n": 90}'
    assert store.reader.state_after("r", -1) == '"input"'
    for step in (100, -2):
        with pytest.raises(UnknownStep, match="its steps are 0 to 99"):
            store.reader.state_after("r", step)
    with pytest.raises(UnknownRun):
        store.reader.state_after("nobody", 0)


def test_the_state_after_a_step_that_left_it_alone_is_the_one_before(store, write):
    write(store, ['{"n":0}', None])
    assert store.reader.state_after("r", 1) == '{"n":0}'


def test_the_calls_attempts_and_signals_of_dropped_steps_go_with_them(store, go):
    error = ErrorInfo("ValueError", "bad")

    async def main():
        claim = await store.create_run(NewRun("r", "step", "0", "0", 1), ALICE)
        for index in range(6):
            failed = AttemptRecord(index, 0, "failed", 1, 2, error, None, 1)
            await store.end_attempt(claim, AttemptEnd("running", 2, failed=failed))
            call = ToolStart(index, "look/0", "look", "{}", "hash", 1)
            await store.start_tool(claim, call)
            await store.restart_tool(claim, call)
            await store.end_tool(claim, index, "look/0", ToolEnd("done", 2, "1"))
            await store.send_signal("r", "go", str(index), 1)
            [signal] = store.reader.signals("r", name="go")
            step = StepCommit(index, "continue", "running", str(index), 1_000, 1_010, 1, signal_key=signal.key)
            await store.commit_step(claim, step)
        await store.send_signal("r", "go", "waiting", 1)

    go(main())
    assert go(store.prune(keep=Last(2))).steps == 4
    assert [step.step_index for step in store.reader.steps("r")] == [4, 5]
    assert [call.step_index for call in store.reader.tool_calls("r")] == [4, 5]
    assert [earlier.number for earlier in store.reader.tool_tries("r")] == [5, 6]
    assert [attempt.step_index for attempt in store.reader.attempts("r")] == [4, 5]
    assert [signal.payload for signal in store.reader.signals("r")] == ["4", "5", "waiting"]
    assert store._file.db.execute("SELECT count(*) FROM tool_tries").get == 2
    summary = store.reader.summary("r")
    assert (summary.tool_calls, summary.work_us, store.reader.get_run("r").step_index) == (2, 60, 6)
    assert store.reader.verify().problems == ()


def test_calls_are_numbered_on_when_all_of_them_were_dropped(store, write, go):
    claim = write(store, small(1), ends=None)

    def call(index):
        return ToolStart(index, "look/0", "look", "{}", "hash", 1)

    for index in (1, 2, 3):
        go(store.start_tool(claim, call(index)))
        go(store.end_tool(claim, index, "look/0", ToolEnd("done", 2, "1")))
        go(store.commit_step(claim, StepCommit(index, "continue", "running", "1", 1, 2, 1)))
    for index in (4, 5):
        go(store.commit_step(claim, StepCommit(index, "continue", "running", "1", 1, 2, 1)))
    go(store.prune(keep=Latest))
    go(store.start_tool(claim, call(6)))
    assert [call.number for call in store.reader.tool_calls("r")] == [3, 4]


def test_a_call_without_an_end_is_never_dropped(store, write, go):
    claim = write(store, small(3), ends=None)
    go(store.start_tool(claim, ToolStart(1, "look/0", "look", "{}", "hash", 1)))
    go(store.prune(keep=Latest))
    assert [call.step_index for call in store.reader.tool_calls("r")] == [1]


def test_runs_that_are_over_go_with_all_their_rows(store, write, go):
    write(store, small(3), "done")
    write(store, small(3), "paused", ends="paused")
    claim = write(store, small(3), "running", ends=None)
    go(store.start_tool(claim, ToolStart(3, "look/0", "look", "{}", "hash", 1)))
    assert store.reader.plan_prune().runs == 1
    report = go(store.prune())
    assert (report.runs, report.steps) == (1, 3)
    assert {run.run_id for run in store.reader.list_runs()} == {"paused", "running"}
    report = go(store.prune(statuses=("completed", "paused", "running")))  # one that is held does not go
    assert report.runs == 1
    assert [run.run_id for run in store.reader.list_runs()] == ["running"]
    db = store._file.db
    assert {key for (key,) in db.execute("SELECT run_key FROM leases UNION SELECT run_key FROM tool_calls")} == {
        claim.run_key
    }


def test_only_runs_that_have_not_changed_for_long_go(store, write, go):
    write(store, small(1), "old")
    write(store, small(1), "new")
    store._file.db.execute("UPDATE runs SET updated_at = 9000 WHERE run_id = 'new'")
    assert go(store.prune(before_us=8_000)).runs == 1
    assert [run.run_id for run in store.reader.list_runs()] == ["new"]
    assert go(store.prune(run_id="nobody")).runs == 0
    assert go(store.prune(run_id="new")).runs == 1


def test_a_parent_goes_with_its_children_or_not_at_all(store, write, go):
    write(store, small(1), "parent")
    write(store, small(1), "child", ends=None)
    db = store._file.db
    db.execute("UPDATE runs SET parent_key = (SELECT run_key FROM runs WHERE run_id = 'parent') WHERE run_id = 'child'")
    assert go(store.prune()).runs == 0
    db.execute("UPDATE runs SET status = 'failed', renewed_at = NULL WHERE run_id = 'child'")
    assert go(store.prune()).runs == 2


def test_a_deleted_tree_is_noted_for_a_product_that_asks_for_it(tmp_path, write, go):
    path = tmp_path / "runs.sqlite"
    with SQLiteStore(path) as store:
        write(store, small(3), "before")
        go(store.prune())
        table = "CREATE TABLE deleted_runs (run_id TEXT PRIMARY KEY, deleted_at INTEGER NOT NULL)"
        open_side_tables(path, "product", (table,)).close()
        write(store, small(3), "r")
        go(store.prune(run_id="r"))
        assert [row["run_id"] for row in Runs(store).query("SELECT run_id FROM deleted_runs")] == ["r"]


def test_a_claim_on_a_run_that_was_dropped_never_fits_a_later_one(store, write, go):
    claim = write(store, small(1), "old")
    go(store.prune())
    later = write(store, small(1), "new", ends=None)
    assert later.run_key > claim.run_key
    with pytest.raises(LeaseLost):
        go(store.commit_step(claim, StepCommit(1, "continue", "running", "1", 1, 2, 1)))


def test_payloads_that_nothing_names_any_more_are_collected(store, write, go):
    large, shared = json.dumps("x" * 100_000), json.dumps("y" * 100_000)

    async def main():
        for run_id, payloads in (("one", (large, shared)), ("two", (shared,))):
            claim = await store.create_run(NewRun(run_id, "step", "0", "0", 1), ALICE)
            for number, payload in enumerate(payloads):
                call = ToolStart(0, f"look/{number}", "look", "{}", "hash", 1)
                await store.start_tool(claim, call)
                await store.end_tool(claim, 0, call.key, ToolEnd("done", 2, payload))
            step = StepCommit(0, "complete", "completed", None, 1, 2, 1, result="1", lease_end="completed")
            await store.commit_step(claim, step)

    go(main())
    assert store.reader.facts()["blobs"] == 2
    report = go(store.prune(run_id="one"))
    assert (report.runs, report.blobs, report.blob_bytes) == (1, 1, len(large))
    assert [call.result for call in store.reader.tool_calls("two")] == [shared]
    go(store.prune(run_id="two"))
    assert store.reader.facts()["blobs"] == 0


def test_pruning_survives_a_history_that_is_damaged(tmp_path, write, go):
    """A damaged state cannot be encoded again, and does not stop the run."""
    with SQLiteStore(tmp_path / "a.sqlite", "process", keep=Every(50)) as store:
        states = said(100)
        claim = write(store, states, ends=None)
        store._file.db.execute("UPDATE steps SET state = x'7a00' WHERE step_index = 60")
        for index in range(100, 140):
            go(store.commit_step(claim, StepCommit(index, "continue", "running", states[-1], 1, 2, 1)))
        assert store.reader.get_run("r").step_index == 140
        assert len(store.reader.steps("r", states=False)) == 140


def test_the_file_becomes_smaller_by_vacuum(store, write, go):
    write(store, [json.dumps(random.Random(n).randbytes(9_000).hex()) for n in range(60)])
    go(store.prune())
    assert store.vacuum() > 500_000
    assert store.reader.facts()["free_bytes"] == 0
    assert store.reader.verify().problems == ()


@pytest.mark.parametrize(
    ("text", "keep"),
    [("all", "all"), ("latest", Latest), ("Last:5", Last(5)), ("every:10", Every(10)), (" last:1 ", Last(1))],
)
def test_typed_input_is_parsed(text, keep):
    assert parse_keep(text) == keep
    assert parse_keep(str(keep)) == keep


@pytest.mark.parametrize("text", ["", "last", "last:", "last:0", "every:-1", "last:x", "latest:1", "all:1", "none"])
def test_requests_without_effect_are_refused(text):
    with pytest.raises(UsageError, match="cannot keep"):
        parse_keep(text)


@pytest.mark.parametrize("kind", [Last, Every])
def test_to_keep_nothing_is_refused(kind):
    with pytest.raises(UsageError, match="it is 1 or more"):
        kind(0)
    assert replace(kind(3)) == kind(3)
