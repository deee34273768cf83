"""The kill sweep: the session is killed at random points until it is done, and compared with an undisturbed one.

What is compared, for every session:

* *workspace*: every file with its content and mode, and what the run's branch holds;
* *history*: the conversation, word for word, and the tool calls with their results;
* *repeated*: a file that the same call wrote twice, or a commit that was made twice;
* *asked*: more than one request for the one edit that a person had to allow.

Every process is forked from a clean server process and killed with SIGKILL.
"""

import asyncio
import json
import multiprocessing
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from loom_runner.testing import EffectLog

from loom_agents.testing._session import POINTS, RUN_ID, Kind, build, copy_workspace, drive, make_workspace


@dataclass(slots=True)
class AgentSweepReport:
    """What a sweep found; `problems` is empty when every promise held."""

    seed: int
    kills: int = 0
    sessions: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kinds = Counter(problem.partition(":")[0] for problem in self.problems)
        counts = ", ".join(f"{kinds[kind]} {kind}" for kind in ("workspace", "history", "repeated", "asked", "failed"))
        return f"seed {self.seed}: {self.kills} kills in {self.sessions} sessions; {counts}"


class Trial:
    """One session, killed as often as it is told to be, then finished.

    Args:
        folder: where it lives.
        template: the workspace to start from.
        kind: an agent alone, or a team.
    """

    def __init__(self, folder: Path, template: Path, kind: Kind = "alone") -> None:
        self.folder = folder
        self.kind: Kind = kind
        self.problems: list[str] = []
        copy_workspace(template, folder / "workspace")

    def process(self, point: str | None, nth: int = 1) -> bool:
        """Drive the session in a process of its own; True when it was killed."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["loom_agents.testing._session"])
        child = context.Process(target=drive, args=(str(self.folder), self.kind, point, nth))
        # The child needs nothing of the program that sweeps, and importing that again would cost most of its life.
        program = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            child.start()
        finally:
            sys.modules["__main__"] = program
        child.join()
        if child.exitcode not in (0, -9):
            self.problems.append(f"failed: the process at {point} ended with {child.exitcode}")
        was_killed = child.exitcode == -9
        child.close()
        return was_killed

    def decide(self) -> None:
        """Allow what waits for a word, as a person does."""
        if not (self.folder / "runs.sqlite").exists():
            return
        runner = build(self.folder, self.kind)
        for request in runner.approvals(pending_only=True):
            asyncio.run(runner.decide(run_id=request["run_id"], number=request["number"], how="approve", by="sweep"))
        runner.close()

    def finish(self) -> dict[str, Any]:
        """Drive the session to its end without a kill. Returns what it left."""
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
        return left

    def compare(self, left: dict[str, Any], wanted: dict[str, Any]) -> None:
        """Find out what is different from an undisturbed session."""
        for name, value in wanted.items():
            if left[name] != value:
                kind = "workspace" if name in {"files", "branch"} else "history"
                self.problems.append(f"{kind}: {name} is {left[name]!r:.600}, not {value!r:.600}")


def kill_once(
    folder: Path, template: Path, wanted: dict[str, Any], *, point: str, nth: int = 1, kind: Kind = "alone"
) -> tuple[bool, list[str]]:
    """Kill one session at one point, finish it and compare. Returns whether the point was reached, and the problems."""
    trial = Trial(folder, template, kind)
    was_killed = trial.process(point, nth)
    if not was_killed:  # the point may come after the approval
        trial.decide()
        was_killed = trial.process(point, nth)
    trial.compare(trial.finish(), wanted)
    return was_killed, trial.problems


def undisturbed(folder: Path, template: Path, kind: Kind = "alone") -> dict[str, Any]:
    """Run a session that nobody kills. Returns what it leaves."""
    folder.mkdir()
    trial = Trial(folder, template, kind)
    left = trial.finish()
    assert left["status"] == "completed", left
    assert not trial.problems, trial.problems
    return left


def sweep(
    number: int, *, seed: int, points: Sequence[str] = POINTS, tell: Callable[[str], None] = lambda _: None
) -> AgentSweepReport:
    """Kill processes at random points until `number` were killed, several in each session, and compare each session.

    Args:
        number: how many processes to kill.
        seed: the same seed kills at the same points.
        points: where.
        tell: called with a line of progress now and then.
    """
    chance = random.Random(seed)  # noqa: S311 - spreads crashes, guards nothing
    report = AgentSweepReport(seed)
    with tempfile.TemporaryDirectory() as name:
        make_workspace(Path(name) / "template")
        kinds: tuple[Kind, ...] = ("alone", "team")
        wanted = {kind: undisturbed(Path(name) / kind, Path(name) / "template", kind) for kind in kinds}
        while report.kills < number and not report.problems:
            folder = Path(name) / str(report.sessions)
            folder.mkdir()
            trial = Trial(folder, Path(name) / "template", chance.choice(kinds))
            for _ in range(chance.randint(1, 6)):
                report.kills += trial.process(chance.choice(points), chance.randint(1, 3))
                trial.decide()
            trial.compare(trial.finish(), wanted[trial.kind])
            report.sessions += 1
            report.problems += trial.problems
            if report.sessions % 10 == 0:
                tell(str(report))
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
    """The subject and the tree of every commit of the run's branch, and where the user's own branch stands."""
    shown = []
    for arguments in (("log", "--format=%s %T", f"loom/{RUN_ID}"), ("log", "--format=%s %T", "main"), ("status", "-s")):
        command = ["git", *arguments]
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
        shown.append(ended.stdout)
    return shown
