"""Every point of the seam between driver and store, and of the agent's own code, killed with SIGKILL, for each policy."""

import pytest
from loom_runner import UsageError
from loom_runner._records import LeaseRequest, NewRun, Owner
from loom_runner.testing import CRASH_POINTS, EffectLog, crash_at, sweep
from loom_runner.testing._sweep import POINTS, SweepReport, kill_once

LEASE = LeaseRequest(Owner("m", 1, "b"), 15.0, "c", "a")
LATER = {"claim_run", "restart_tool"}
"""Writes that the first process of a run never makes."""


@pytest.mark.parametrize("policy", ["retry", "ask"])
@pytest.mark.parametrize("point", [point for point in POINTS if point.partition(".")[0] not in LATER])
def test_a_kill_at_this_point_loses_nothing_and_repeats_nothing(tmp_path, policy, point):
    was_killed, problems = kill_once(tmp_path, policy, point)
    assert was_killed
    assert problems == []


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
    assert len(wrapped.list_runs()) == 3


def test_an_unknown_point_is_refused(store):
    with pytest.raises(UsageError, match="cannot crash at 'lunch': the points are create_run.before, "):
        crash_at(store, "lunch")
    assert len(CRASH_POINTS) == 21
