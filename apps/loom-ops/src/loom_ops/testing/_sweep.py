"""The kill sweep: kill the processes of an incident at random points, resume as a person would.

Each incident is compared with one that was not killed:

* *audit*: who was asked, decided and did what (doubts apart), and that the chain is intact;
* *commands*: each ran once, in the same order;
* *unasked*: a command that ran before its approval;
* *hidden*: a command that ran, whose end is not recorded, and that is not in doubt;
* *stranded*: a run of the team that has not ended when the incident has, or an approval that was
  not used.
"""

from __future__ import annotations

import json
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from loom_runner import Runs, SQLiteStore
from loom_runner.run_ids import child_run_id
from loom_runner.testing import SweepReport, Trial, kill_runs, memory_folder

from loom_ops._audit.trail import open_trail
from loom_ops._runs import commands_in_doubt
from loom_ops.testing._incident import (
    BEGIN,
    DATABASE,
    DECISION_POINTS,
    OUTPUT,
    POINTS,
    RUN_ID,
    Kind,
    drill_of,
    drive,
    prepare,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence


__all__ = ["IncidentTrial", "OpsSweepReport", "kill_once", "sweep", "undisturbed"]

_EXECUTOR: Final = child_run_id(RUN_ID, "executor")


class OpsSweepReport(SweepReport):
    """What a sweep found; `problems` is empty when every guarantee held."""

    noun = "incidents"
    kinds = ("audit", "commands", "unasked", "hidden", "stranded", "failed")


class IncidentTrial(Trial):
    """One incident.

    Args:
        folder: Its folder, empty.
        kind: Whether the remedy helps; when it does not, it is rolled back.
        expected: The result of an incident that is not killed.
        points: Where it is killed.
    """

    preload = "loom_ops.testing._incident"

    def __init__(
        self,
        folder: Path,
        kind: Kind,
        *,
        expected: Mapping[str, Any] | None = None,
        points: Sequence[str] = POINTS,
    ) -> None:
        super().__init__(folder)
        self.expected = expected or {}
        self.points = points
        prepare(folder, kind)

    def process(self, words: Sequence[str], point: str | None = None, nth: int = 1) -> bool:
        """Run one command line in a separate process; return whether it was killed."""
        name = f"{' '.join(words)} at {point}"
        return self.run_process(drive, str(self.folder), words, point, nth, name=name, exit_codes=(0, 1, 3))

    def kill(self, chance: random.Random) -> int:
        """Drive the incident to a random point, then resolve and approve, up to another one."""
        kills = self.work(chance.choice(self.points), chance.randint(1, 3))
        return kills + self.settle(chance.choice(DECISION_POINTS))

    def work(self, point: str | None = None, nth: int = 1) -> bool:
        """Start or resume the incident; return whether the process was killed."""
        return self.process(BEGIN, point, nth)

    def settle(self, point: str | None = None, nth: int = 1) -> bool:
        """Resolve what is in doubt, and approve what waits; return whether a process was killed."""
        if not (self.folder / DATABASE).exists():
            return False
        self._wait_for_programs()
        with SQLiteStore(self.folder / DATABASE, "process") as store:
            runs = Runs(store)
            if store.reader.get_run(RUN_ID) is None:
                return False
            doubts = [call for run in self._team(runs) for call in commands_in_doubt(runs, run)]
            pending = runs.approvals(pending_only=True)
            self._find_hidden(runs, doubts)
        for call in doubts:
            how = "--done" if self._was_done(call["arguments"]["argv"]) else "--retry"
            number = call["id"].rpartition("#")[2]
            if self.process(("resolve", "-r", call["run_id"], "--call", number, how), point, nth):
                return True
            self.doubts += 1
        for asked in pending:
            if self.process(("approve", "-r", RUN_ID, "--number", str(asked["number"])), point, nth):
                return True
        return False

    def finish(self) -> dict[str, Any]:
        """Resume to the end without a kill, and compare; return the result that is compared."""
        for _ in range(20):
            self.settle()
            self.work()
            with SQLiteStore(self.folder / DATABASE, "process") as store:
                if Runs(store).get(RUN_ID)["status"] == "completed":
                    left = self._left(Runs(store))
                    self.compare(left, self.expected)
                    return left
            if self.problems:
                break
        self.problems.append(f"failed: the incident does not end{self.output()}")
        return {}

    def output(self) -> str:
        """Return the end of what the commands printed."""
        return f": {(self.folder / OUTPUT).read_text()[-1_500:]}"

    # ------------------------------------------------------------------ inside

    def _left(self, runs: Runs) -> dict[str, Any]:
        with open_trail(self.folder / DATABASE) as trail:
            entries = [entry.as_json() for entry in trail.entries()]
            self.problems += [f"audit: {found.text}" for found in trail.verify()]
        commands = drill_of(self.folder).commands
        approved = [row for row in entries if row["kind"] == "approval.decided" and row["content"]["how"] == "approve"]
        for at, words in commands:
            verb = words.partition(" ")[0]
            asked = [row for row in approved if row["content"]["step"] == verb]
            if not asked or datetime.fromisoformat(asked[0]["at"]).timestamp() > at:
                self.problems.append(f"unasked: {words}")
        self.problems += [
            f"stranded: {run} is {runs.get(run)['status']}"
            for run in self._team(runs)
            if runs.get(run)["status"] != "completed"
        ]
        self.problems += [
            f"stranded: {row['tool']} is {row['status']}" for row in runs.approvals() if row["status"] != "used"
        ]
        if not (self.folder / "postmortems" / f"{RUN_ID}.md").exists():
            self.problems.append("stranded: there is no postmortem")
        return {
            "audit": sorted(_summary(row) for row in entries if not _is_of_a_doubt(row)),
            "commands": [words for _, words in commands],
        }

    def _find_hidden(self, runs: Runs, doubts: list[dict[str, Any]]) -> None:
        if not any(run == _EXECUTOR for run in self._team(runs)):
            return
        ended = [
            call["arguments"]["argv"]
            for call in runs.tool_calls(_EXECUTOR)
            if call["status"] == "done" and "argv" in call["arguments"]
        ]
        known = [_verb(argv) for argv in (*ended, *(call["arguments"]["argv"] for call in doubts))]
        for _, words in drill_of(self.folder).commands:
            if words.partition(" ")[0] not in known:
                self.problems.append(f"hidden: {words}")

    def _was_done(self, argv: list[str]) -> bool:
        return any(words.partition(" ")[0] == _verb(argv) for _, words in drill_of(self.folder).commands)

    def _team(self, runs: Runs) -> list[str]:
        return [RUN_ID, *(child["run_id"] for child in runs.children(RUN_ID))]

    def _wait_for_programs(self) -> None:
        """Wait until no program of the drill runs: each ends soon after its runner was killed."""
        program = str(drill_of(self.folder).folder.resolve()).encode()
        began = time.monotonic()
        while True:
            lines = [_command_line(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
            left = [line for line in lines if program in line]
            if not left:
                return
            if time.monotonic() - began > 10:
                self.problems.append("failed: a program of the drill does not end")
                return
            time.sleep(0.005)


def _verb(argv: list[str]) -> str:
    return argv[0].removesuffix("-service")


def _is_of_a_doubt(row: dict[str, Any]) -> bool:
    """Return whether an undisturbed incident has no such entry: a doubt, its resolution, a
    repetition.
    """
    is_about_retry = row["content"].get("how") == "retry"
    is_repeated = row["kind"] == "command.started" and row["content"]["try"] > 1
    is_used_again = row["kind"] == "approval.used" and not row["source"].endswith("/used")
    return bool(row["kind"] in ("command.in_doubt", "call.resolved") or is_about_retry or is_repeated or is_used_again)


def _summary(row: dict[str, Any]) -> str:
    content = row["content"]
    names = ("step", "how", "status", "ok", "outcome", "verified", "steps", "argv", "runbook_sha256")
    return json.dumps([row["kind"], row["run_id"], row["actor"], {name: content.get(name) for name in names}])


def _command_line(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def kill_once(
    folder: Path, expected: dict[str, Any], point: str, *, nth: int = 1, kind: Kind = "helps"
) -> tuple[bool, list[str]]:
    """Kill one incident at one point, finish and compare it.

    Returns:
        Whether it was killed there, and the problems.
    """
    folder.mkdir()
    trial = IncidentTrial(folder, kind, expected=expected)
    was_killed = trial.work(point, nth) or trial.settle(point, nth) or trial.work(point, nth)
    trial.finish()
    return was_killed, trial.problems


def undisturbed(folder: Path, kind: Kind) -> dict[str, Any]:
    """Run an incident that is not killed; return the result that others are compared with."""
    folder.mkdir()
    trial = IncidentTrial(folder, kind)
    left = trial.finish()
    assert not trial.problems, trial.problems
    return left


def sweep(
    number: int, *, seed: int, points: Sequence[str] = POINTS, on_progress: Callable[[str], None] = lambda _: None
) -> OpsSweepReport:
    """Kill processes at random points, several in each incident, and compare each incident.

    Args:
        number: How many processes to kill.
        seed: The same seed kills at the same points.
        points: The points to choose from.
        on_progress: Called with a line of progress after every ten incidents.
    """
    report = OpsSweepReport(seed)
    kinds = get_args(Kind)
    with tempfile.TemporaryDirectory(dir=memory_folder()) as name:
        expected = {kind: undisturbed(Path(name) / kind, kind) for kind in kinds}

    def begin(folder: Path, chance: random.Random) -> Trial:
        kind = chance.choice(kinds)
        return IncidentTrial(folder, kind, expected=expected[kind], points=points)

    kill_runs(report, number, begin, on_progress=on_progress)
    return report
