"""A session that edits, tests and commits is killed with SIGKILL during each of its tools."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from loom_agents._workspace import test_runner
from loom_agents._workspace.git import commit
from loom_agents._workspace.undo import change_log
from loom_agents._workspace.undo.change_rows import ChangeRows
from loom_agents.testing import __main__ as command
from loom_agents.testing._session import TOOL_POINTS, drive, make_workspace
from loom_agents.testing._sweep import AgentSweepReport, SessionTrial, kill_once, sweep, undisturbed

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not on this machine")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "template"
    make_workspace(folder)
    return folder


@pytest.fixture(scope="module")
def wanted(template: Path) -> dict[str, Any]:
    return undisturbed(template.parent / "undisturbed", template)


@pytest.mark.parametrize("point", [*TOOL_POINTS, "start_tool.inside", "end_tool.before", "commit_step.after"])
def test_killed_at_a_point_of_a_tool_it_leaves_what_an_undisturbed_one_leaves(
    tmp_path: Path, template: Path, wanted: dict[str, Any], point: str
) -> None:
    was_killed, problems = kill_once(tmp_path, template, wanted, point=point)
    assert was_killed
    assert problems == []


@pytest.fixture(scope="module")
def wanted_of_team(template: Path) -> dict[str, Any]:
    return undisturbed(template.parent / "team", template, "team")


@pytest.mark.parametrize(
    "point", ["file.renamed", "tests.running", "start_tool.after", "end_tool.inside", "tool.finished"]
)
def test_a_team_killed_at_a_point_leaves_what_an_undisturbed_one_leaves(
    tmp_path: Path, template: Path, wanted_of_team: dict[str, Any], point: str
) -> None:
    was_killed, problems = kill_once(tmp_path, template, wanted_of_team, point=point, kind="team")
    assert was_killed
    assert problems == []


def test_the_undisturbed_session_did_what_it_says(wanted: dict[str, Any]) -> None:
    assert wanted["files"]["app.py"][1] == "def add(a, b):\n    return a + b\n"
    assert wanted["files"]["docs/notes.md"][1] == "New.\n"
    assert [line.split()[0] for line in wanted["branch"][0].splitlines()] == ["Add", "first"]
    assert len(wanted["calls"]) == 8
    assert '"status": "passed"' in "".join(wanted["calls"])


def test_a_difference_is_found(tmp_path: Path, template: Path, wanted: dict[str, Any]) -> None:
    trial = SessionTrial(tmp_path, template)
    trial.process("change.put")
    (tmp_path / "workspace" / "left.tmp").write_text("x")
    trial.compare(trial.finish(), wanted)
    assert [problem.partition(":")[0] for problem in trial.problems] == ["workspace", "workspace"]
    (tmp_path / "effects.txt").write_text("k app.py\nk app.py\n")
    trial.finish()
    assert trial.problems[-1] == "repeated: k app.py was written 2 times"


@pytest.mark.slow
@pytest.mark.uncovered
def test_random_kills_lose_and_repeat_nothing() -> None:
    report = sweep(4, seed=7)
    assert report.problems == []
    assert report.kills >= 4
    assert str(report).endswith("0 workspace, 0 history, 0 repeated, 0 asked, 0 failed")


def test_the_command_ends_with_1_when_a_promise_was_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = iter([AgentSweepReport(5), AgentSweepReport(5, 1, 1, problems=["history: x"])])
    monkeypatch.setattr("sys.argv", ["testing", "--number", "1", "--seed", "5"])
    monkeypatch.setattr(command, "sweep", lambda number, *, seed, on_progress: next(reports))
    assert [command.main(), command.main()] == [0, 1]
    assert "1 history" in capsys.readouterr().out


class Killed(KeyboardInterrupt):
    """Stands for SIGKILL: nothing catches it."""


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process take the place of one that dies: what it plants is taken out again
    afterwards.
    """
    for place, name in (
        (ChangeRows, "intend"),
        (ChangeRows, "mark"),
        (change_log, "put"),
        (os, "rename"),
        (commit, "run_git"),
        (test_runner, "run_process"),
    ):
        monkeypatch.setattr(place, name, getattr(place, name))

    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (os.getpid(), signal.SIGKILL)
        raise Killed

    monkeypatch.setattr(os, "kill", kill)


@pytest.mark.parametrize("kind", ["alone", "team"])
def test_the_body_of_a_process_goes_on_until_it_ends_waits_or_dies(
    tmp_path: Path, template: Path, planted: None, kind: Any
) -> None:
    trial = SessionTrial(tmp_path, template, kind)
    if kind == "alone":  # a child's process cannot be played by an exception: its parent would clean up
        with pytest.raises(Killed):
            drive(str(tmp_path), kind, "tool.started", 1)
    for _ in range(3):
        drive(str(tmp_path), kind, None, 1)
        trial.decide()
    assert (tmp_path / "workspace" / "app.py").read_text() == "def add(a, b):\n    return a + b\n"
    left = trial.finish()
    assert (left["status"], trial.problems) == ("completed", [])
