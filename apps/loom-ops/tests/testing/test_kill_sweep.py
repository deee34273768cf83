"""An incident whose processes are killed with SIGKILL and then resumed."""

import json
from pathlib import Path
from typing import Any

import pytest
from loom_ops.testing import __main__ as command
from loom_ops.testing._incident import WORK_POINTS, drill_of
from loom_ops.testing._sweep import IncidentTrial, OpsSweepReport, kill_once, sweep, undisturbed

pytestmark = [pytest.mark.slow, pytest.mark.uncovered]


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return undisturbed(tmp_path_factory.mktemp("sweep") / "undisturbed", "helps")


@pytest.mark.parametrize("point", [*WORK_POINTS, "start_tool.inside", "end_tool.before", "update_approval.after"])
def test_an_incident_killed_at_a_point_ends_like_an_undisturbed_one(
    tmp_path: Path, wanted: dict[str, Any], point: str
) -> None:
    was_killed, problems = kill_once(tmp_path / "x", wanted, point)
    assert was_killed and problems == []


def test_the_undisturbed_incident_ran_one_command(wanted: dict[str, Any]) -> None:
    assert wanted["commands"] == ["rollback api"]
    kinds = [json.loads(row)[0] for row in wanted["audit"]]
    assert kinds.count("command.started") == kinds.count("approval.decided") == kinds.count("run.asked") == 1


def test_a_short_sweep_of_both_kinds_finds_no_problem() -> None:
    report = sweep(6, seed=5)
    assert report.kills >= 6 and report.problems == [], report.problems


def test_it_finds_what_must_not_happen(tmp_path: Path, wanted: dict[str, Any]) -> None:
    trial = IncidentTrial(tmp_path, "helps")
    trial.work()
    file = drill_of(trial.folder).folder / "state.json"
    state = json.loads(file.read_text())
    file.write_text(json.dumps({**state, "commands": [[0.0, "rollback api"]]}))  # before any approval was requested
    trial.compare(trial.finish(), wanted)
    found = {problem.partition(":")[0] for problem in trial.problems}
    assert found == {"hidden", "unasked", "commands"}


def test_the_settings_of_the_one_who_resolves_change_nothing(tmp_path: Path, wanted: dict[str, Any]) -> None:
    trial = IncidentTrial(tmp_path, "helps")
    trial.work()
    trial.settle()
    assert trial.work("command.before")
    (trial.folder / "loom-ops.toml").write_text('[groups]\noperators = ["somebody-else"]\n')
    left = trial.finish()  # the members were bound when the approval was requested
    assert left["commands"] == wanted["commands"] and trial.problems == [] and trial.doubts == 1


def test_only_who_may_approve_a_command_may_decide(tmp_path: Path) -> None:
    trial = IncidentTrial(tmp_path, "helps")
    (trial.folder / "loom-ops.toml").write_text('[groups]\noperators = ["somebody-else"]\n')
    trial.work()
    (trial.folder / "loom-ops.toml").unlink()
    trial.settle()
    assert "ended with 5" in trial.problems[0] and "is not in the group 'operators'" in trial.problems[0]


def test_the_command_reports_its_findings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    broken = OpsSweepReport(3, problems=["audit: entry 3 is missing"])
    monkeypatch.setattr(command, "sweep", lambda number, **_: OpsSweepReport(3) if number == 1 else broken)
    monkeypatch.setattr("sys.argv", ["testing", "--number", "1", "--seed", "3"])
    assert command.main() == 0 and capsys.readouterr().out.startswith("seed 3: 0 kills in 0 incidents")
    monkeypatch.setattr("sys.argv", ["testing"])
    assert command.main() == 1 and "entry 3 is missing" in capsys.readouterr().out
