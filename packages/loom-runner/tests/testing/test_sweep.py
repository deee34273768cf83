"""Every crash point of driver and store, and of the agent, killed with SIGKILL, for each policy."""

import asyncio
import multiprocessing
from dataclasses import replace

import pytest
from loom_runner import AgentRunner, RunContext, SQLiteStore, UsageError, Wait
from loom_runner._model.records import ErrorInfo, Owner
from loom_runner._model.writes import LeaseRequest, NewRun
from loom_runner.testing import CRASH_POINTS, EffectLog, crash_at, sweep
from loom_runner.testing._sweep import POINTS, SweepReport, kill_once

LEASE = LeaseRequest(Owner("m", 1, "b"), 15.0, "c", "a")
LATER = ("claim_run", "restart_tool")
"""Writes that the first process of a run never makes."""

FIRST = [point for point in POINTS if not point.startswith(LATER)]
OF_TOOLS = [point for point in FIRST if point.startswith(("start_tool", "end_tool", "tool."))]
"""Where the policy of a tool makes a difference."""


OF_FAMILIES = [point for point in POINTS if point.startswith(("create_run", "claim_run", "commit_step"))]
"""Where it makes a difference that there are children."""


@pytest.mark.parametrize(
    ("policy", "point"),
    [("retry", point) for point in FIRST]
    + [(policy, point) for policy in ("ask", "fail", "reconcile", "approve") for point in OF_TOOLS]
    + [("spawn", point) for point in OF_FAMILIES],
)
def test_a_kill_at_this_point_loses_nothing_and_repeats_nothing(tmp_path, policy, point):
    was_killed, problems = kill_once(tmp_path, policy, point)
    assert was_killed
    assert problems == []


@pytest.mark.parametrize("policy", ["retry", "reconcile"])
@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith(LATER)])
def test_a_kill_of_the_one_who_takes_over_loses_nothing_and_repeats_nothing(tmp_path, policy, point):
    if (policy, point.partition(".")[0]) == ("reconcile", "restart_tool"):
        first = "tool.before_effect"  # it had no effect, so it is repeated
    else:
        first = "tool.after_effect"
    was_killed, problems = kill_once(tmp_path, policy, first, point)
    assert was_killed
    assert problems == []


@pytest.mark.parametrize("when", ["before", "inside", "after"])
@pytest.mark.parametrize("write", ["send_signal", "cancel_runs", "request_pause"])
def test_a_kill_during_a_request_from_outside_leaves_the_write_complete_or_undone(tmp_path, write, when, go):
    path = tmp_path / "runs.sqlite"
    with SQLiteStore(path, "process") as store:
        go(AgentRunner(step=waits, store=store).start(run_id="r", initial_state=0))
        before = store.reader.get_run("r"), store.reader.signals("r")
    context = multiprocessing.get_context("fork")
    child = context.Process(target=look_after, args=(str(path), write, f"{write}.{when}"))
    child.start()
    child.join()
    assert child.exitcode == -9
    with SQLiteStore(path, "process") as store:
        after = store.reader.get_run("r"), store.reader.signals("r")
        if when != "after":
            assert replace(after[0], lease_left_s=0) == replace(before[0], lease_left_s=0)
            assert after[1] == before[1]
        else:
            assert write == "request_pause" or after != before
        assert store._file.db.pragma("integrity_check") == "ok"


async def waits(state: int, ctx: RunContext) -> Wait[int]:
    return Wait(state, signal="go")


def look_after(path, write, point):
    store = crash_at(SQLiteStore(path, "process"), point)
    work = {
        "send_signal": lambda: store.send_signal("r", "go", "1", 1),
        "cancel_runs": lambda: store.cancel_runs("r", ["waiting"], ErrorInfo("Cancelled", "by a test"), 1),
        "request_pause": lambda: store.request_pause("r", 1),
    }
    asyncio.run(work[write]())


@pytest.mark.slow
@pytest.mark.uncovered
def test_random_kills_also_of_those_who_take_over_lose_nothing_and_repeat_nothing():
    report = sweep(25, seed=11)
    assert report.problems == []
    assert report.kills >= 25
    assert str(report).startswith(f"seed 11: {report.kills} kills in {report.runs} runs, ")


def test_the_report_counts_what_went_wrong():
    report = SweepReport(3, 9, 4, 2, ["lost: a", "lost: b", "hidden: c"])
    assert str(report) == "seed 3: 9 kills in 4 runs, 2 doubts; 2 lost, 0 repeated, 1 hidden"


def test_a_sweep_over_a_store_that_forgets_finds_it(tmp_path):
    was_killed, problems = kill_once(tmp_path, "ask", "end_tool.after")
    assert (was_killed, problems) == (True, [])
    EffectLog(tmp_path / "effects.txt").add("sweep/0/charge/0")
    from loom_runner.testing._sweep import _Trial

    trial = _Trial(tmp_path, "ask")
    trial.finish()
    assert trial.problems == ["repeated: sweep/0/charge/0 happened 2 times in 1 tries"]


def test_points_are_reached_in_order_and_counted(store, go):
    reached = []
    wrapped = crash_at(store, "create_run.inside", nth=2, crash=lambda: reached.append(True))
    for run_id in ("a", "b", "c"):
        go(wrapped.create_run(NewRun(run_id, "step", "{}", "{}", 1), LEASE))
    assert reached == [True]
    assert len(wrapped.reader.list_runs()) == 3


def test_an_unknown_point_is_refused(store):
    with pytest.raises(UsageError, match="cannot crash at 'lunch': the points are create_run.before, "):
        crash_at(store, "lunch")
    assert len(CRASH_POINTS) == 45
