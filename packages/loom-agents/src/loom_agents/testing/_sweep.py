"""The kill sweep: the session is killed at random points until it is done, and compared with an
undisturbed one.

What is compared, for every session:

* *workspace*: every file with its content and mode, and what the run's branch holds;
* *history*: the conversation, word for word, and the tool calls with their results;
* *repeated*: a file that the same call wrote twice, or a commit that was made twice;
* *asked*: more than one request for the one edit that a person had to approve.
"""

import asyncio
import json
import random
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from loom_runner.testing import EffectLog, SweepReport, Trial, kill_runs, memory_folder

from loom_agents.testing._session import POINTS, RUN_ID, Kind, build, copy_workspace, drive, make_workspace


class AgentSweepReport(SweepReport):
    """What a sweep found; `problems` is empty when every guarantee held."""

    noun = "sessions"
    kinds = ("workspace", "history", "repeated", "asked", "failed")
    shows_doubts = False


class SessionTrial(Trial):
    """One session.

    Args:
        folder: Where it is.
        template: The workspace to start from.
        kind: An agent alone, or a team.
        expected: What a session that is not killed leaves.
        points: Where it is killed.
    """

    preload = "loom_agents.testing._session"

    def __init__(
        self,
        folder: Path,
        template: Path,
        kind: Kind = "alone",
        *,
        expected: Mapping[str, Any] | None = None,
        points: Sequence[str] = POINTS,
    ) -> None:
        super().__init__(folder)
        self.kind: Kind = kind
        self.expected = expected or {}
        self.points = points
        copy_workspace(template, folder / "workspace")

    def process(self, point: str | None, nth: int = 1) -> bool:
        """Drive the session in a separate process; return whether it was killed."""
        return self.run_process(drive, str(self.folder), self.kind, point, nth, name=f"the process at {point}")

    def kill(self, chance: random.Random) -> int:
        """Drive the session to a random point, then approve what waits."""
        was_killed = self.process(chance.choice(self.points), chance.randint(1, 3))
        self.decide()
        return was_killed

    def decide(self) -> None:
        """Approve what waits, as a person does."""
        if not (self.folder / "runs.sqlite").exists():
            return
        runner = build(self.folder, self.kind)
        for request in runner.approvals(pending_only=True):
            asyncio.run(runner.decide(run_id=request["run_id"], number=request["number"], how="approve", by="sweep"))
        runner.close()

    def finish(self) -> dict[str, Any]:
        """Drive the session to its end without a kill, and compare it. Returns what it leaves."""
        for _ in range(4):
            self.process(None)
            self.decide()
        runner = build(self.folder, self.kind)
        runs = sorted(run["run_id"] for run in runner.list())
        left = {
            "status": runner.get(RUN_ID)["status"],
            "history": _plain([[run, runner.get(run)["result"], runner.get(run)["state"]] for run in runs]),
            "calls": sorted(
                _plain([run, call["name"], call["arguments"], call["status"], call["result"]])
                for run in runs
                for call in runner.tool_calls(run)
            ),
            "files": _files(self.folder / "workspace"),
            "branch": _branch(self.folder / "workspace"),
        }
        requests = len(runner.approvals())
        runner.close()
        if requests != 1:
            self.problems.append(f"asked: {requests} times")
        for line, count in Counter(EffectLog(self.folder / "effects.txt").lines()).items():
            if count > 1:
                self.problems.append(f"repeated: {line} was written {count} times")
        self.compare(left, self.expected)
        return left

    def kind_of(self, name: str) -> str:
        """Return the kind of problem that a difference in this member is."""
        return "workspace" if name in {"files", "branch"} else "history"


def kill_once(
    folder: Path, template: Path, wanted: Mapping[str, Any], *, point: str, nth: int = 1, kind: Kind = "alone"
) -> tuple[bool, list[str]]:
    """Kill one session at one point, finish it and compare. Returns whether the point was reached,
    and the problems.
    """
    trial = SessionTrial(folder, template, kind, expected=wanted)
    was_killed = trial.process(point, nth)
    if not was_killed:  # the point may come after the approval
        trial.decide()
        was_killed = trial.process(point, nth)
    trial.finish()
    return was_killed, trial.problems


def undisturbed(folder: Path, template: Path, kind: Kind = "alone") -> dict[str, Any]:
    """Run a session that nobody kills. Returns what it leaves."""
    folder.mkdir()
    trial = SessionTrial(folder, template, kind)
    left = trial.finish()
    assert left["status"] == "completed", left
    assert not trial.problems, trial.problems
    return left


def sweep(
    number: int, *, seed: int, points: Sequence[str] = POINTS, on_progress: Callable[[str], None] = lambda _: None
) -> AgentSweepReport:
    """Kill processes at random points until `number` were killed, several in each session, and
    compare each session.

    Args:
        number: How many processes to kill.
        seed: The same seed kills at the same points.
        points: Where.
        on_progress: Called with a line of progress after every ten sessions.
    """
    report = AgentSweepReport(seed)
    kinds = get_args(Kind)
    with tempfile.TemporaryDirectory(dir=memory_folder()) as name:
        template = Path(name) / "template"
        make_workspace(template)
        expected = {kind: undisturbed(Path(name) / kind, template, kind) for kind in kinds}

        def begin(folder: Path, chance: random.Random) -> Trial:
            kind = chance.choice(kinds)
            return SessionTrial(folder, template, kind, expected=expected[kind], points=points)

        kill_runs(report, number, begin, on_progress=on_progress)
    return report


def _plain(value: Any) -> str:
    """Write a value down without what is different in every session: names of commits."""
    return re.sub(r"\b[0-9a-f]{40}\b", "COMMIT", json.dumps(value, sort_keys=True))


def _files(folder: Path) -> dict[str, Any]:
    found = [path for path in sorted(folder.rglob("*")) if ".git" not in path.relative_to(folder).parts]
    return {
        str(path.relative_to(folder)): "folder" if path.is_dir() else (oct(path.stat().st_mode), path.read_text())
        for path in found
    }


def _branch(folder: Path) -> list[str]:
    """The subject and the tree of every commit of the run's branch, and where the user's own branch
    stands.
    """
    shown = []
    for arguments in (("log", "--format=%s %T", f"loom/{RUN_ID}"), ("log", "--format=%s %T", "main"), ("status", "-s")):
        command = ["git", *arguments]
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
        shown.append(ended.stdout)
    return shown
