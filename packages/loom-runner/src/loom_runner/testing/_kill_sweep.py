"""The frame of a kill sweep: kill the processes of runs at random points, finish each run, compare,
count.

A package gives a `Trial`, which knows how its run is driven and compared, and a `SweepReport` with
the kinds of what can go wrong; `kill_runs` does the rest, and `sweep_command` makes it a command.
Every process is forked from a clean server process and killed with SIGKILL.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import shutil
import sys
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from loom_runner.testing._crash import die
from loom_runner.testing._effects import memory_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from random import Random

__all__ = ["KillPoint", "SweepReport", "Trial", "kill_runs", "print_report", "sweep_command", "sweep_parser"]

_KILLED: Final = -9


class KillPoint:
    """Count how often each point is reached, and end the process as kill -9 does at one of them.

    Args:
        point: Where; None for nowhere.
        nth: At which time it is reached, from 1.
    """

    def __init__(self, point: str | None, nth: int = 1) -> None:
        self.point = point
        self.nth = nth
        self._hits: Counter[str] = Counter()

    def __call__(self, point: str) -> None:
        """Report that a point is reached."""
        self._hits[point] += 1
        if point == self.point and self._hits[point] == self.nth:
            die()


@dataclass(slots=True)
class SweepReport:
    """What a sweep found; `problems` is empty when every guarantee held.

    Attributes:
        kills: How many processes were killed.
        runs: How many runs were finished and compared.
        doubts: How many tool calls in doubt were resolved.
        problems: Each starts with one of `kinds` and a colon.
    """

    noun: ClassVar[str] = "runs"
    kinds: ClassVar[Sequence[str]] = ("lost", "repeated", "hidden")
    shows_doubts: ClassVar[bool] = True

    seed: int
    kills: int = 0
    runs: int = 0
    doubts: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        found = Counter(problem.partition(":")[0] for problem in self.problems)
        counts = ", ".join(f"{found[kind]} {kind}" for kind in self.kinds)
        doubts = f", {self.doubts} doubts" if self.shows_doubts else ""
        return f"seed {self.seed}: {self.kills} kills in {self.runs} {self.noun}{doubts}; {counts}"


class Trial(ABC):
    """One run, whose processes are killed, and which is then finished and compared.

    Args:
        folder: Where everything of the run is.

    Attributes:
        preload: The module that the server process imports before it forks.
        doubts: How many tool calls in doubt were resolved.
        problems: What went wrong, each with its kind in front.
    """

    preload: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.doubts = 0
        self.problems: list[str] = []

    @abstractmethod
    def kill(self, chance: Random) -> int:
        """Drive the run to a random point, then do what a person would do next; return how many
        processes died.
        """

    @abstractmethod
    def finish(self) -> Any:
        """Drive the run to its end without a kill, and compare it."""

    def run_process(
        self, target: Callable[..., None], *arguments: Any, name: str, exit_codes: Collection[int] = (0,)
    ) -> bool:
        """Run a function in a process of its own; return whether it was killed.

        Args:
            name: What it does, for the problem when it ends otherwise.
            exit_codes: How it may end.
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([self.preload])
        child = context.Process(target=target, args=arguments)
        # The child does not need the main program; importing it would take most of its time.
        program = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            child.start()
        finally:
            sys.modules["__main__"] = program
        child.join()
        code = child.exitcode
        child.close()
        if code != _KILLED and code not in exit_codes:
            self.problems.append(f"failed: {name} ended with {code}{self.output()}")
        return code == _KILLED

    def output(self) -> str:
        """Return what is known about a process that failed, for the problem."""
        return ""

    def compare(self, left: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
        """Record as problems what differs from a run that was not killed."""
        for name, value in expected.items():
            if left[name] != value:
                self.problems.append(f"{self.kind_of(name)}: {name} is {left[name]!r:.900}, not {value!r:.900}")

    def kind_of(self, name: str) -> str:
        """Return the kind of problem that a difference in this member is."""
        return name


def kill_runs(
    report: SweepReport,
    number: int,
    begin: Callable[[Path, Random], Trial],
    *,
    rounds: int = 6,
    report_every: int = 10,
    on_progress: Callable[[str], None] = lambda _: None,
) -> None:
    """Kill processes until `number` were killed or a problem is found, several in each run.

    Args:
        report: Its seed decides about everything that is random; the rest is filled in.
        number: How many processes to kill.
        begin: Makes the trial of a run, from an empty folder.
        rounds: How often a trial is killed at most.
        report_every: After how many runs `on_progress` is called with a line.
    """
    chance = random.Random(report.seed)  # noqa: S311  (spreads crashes, guards nothing)
    with tempfile.TemporaryDirectory(dir=memory_folder()) as name:
        while report.kills < number and not report.problems:
            folder = Path(name) / str(report.runs)
            folder.mkdir()
            trial = begin(folder, chance)
            for _ in range(chance.randint(1, rounds)):
                report.kills += trial.kill(chance)
            trial.finish()
            shutil.rmtree(folder)
            report.runs += 1
            report.doubts += trial.doubts
            report.problems += trial.problems
            if report.runs % report_every == 0:
                on_progress(str(report))


# ---------------------------------------------------------------------- the command


class Sweep(Protocol):
    """A function that sweeps."""

    def __call__(self, number: int, *, seed: int, on_progress: Callable[[str], None]) -> SweepReport: ...


def sweep_parser(module: str, description: str | None, *, number: int) -> argparse.ArgumentParser:
    """Make the parser of `python -m MODULE [--number N] [--seed N]`; without --seed one is chosen.

    Args:
        number: How many processes are killed by default.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--number", type=int, default=number, help=f"how many processes to kill ({number})")
    chosen = random.randrange(2**31)  # noqa: S311  (names the sweep)
    parser.add_argument("--seed", type=int, default=chosen, help="repeat an earlier sweep")
    return parser


def print_progress(line: str) -> None:
    """Write a line of progress to stderr."""
    print(line, file=sys.stderr)  # noqa: T201


def print_report(report: object, problems: Sequence[str]) -> int:
    """Print a report and its problems; return the exit code, 1 when there is a problem."""
    for line in (report, *(f"  {problem}" for problem in problems)):
        print(line)  # noqa: T201
    return 1 if problems else 0


def sweep_command(module: str, description: str | None, sweep: Sweep) -> int:
    """Run `python -m MODULE` of a package that only kills; return the exit code."""
    given = sweep_parser(module, description, number=200).parse_args()
    report = sweep(given.number, seed=given.seed, on_progress=print_progress)
    return print_report(report, report.problems)
