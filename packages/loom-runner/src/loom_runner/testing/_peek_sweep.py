"""The peek sweep: other SQLite libraries, in the process that drives runs and in another one, read,
write, back up and copy its database, while it is killed at random times.

What is counted:

* *lost*: a step that was acknowledged, and is not in the database or in a backup begun later;
* *damaged*: a database, or a backup, in which `verify` finds a problem;
* *silent*: a copy of the file without its log that lacks steps, and opens as if it were complete;
* *failed*: anything else that must not happen.

An operation that is refused by name (`AnotherSQLite`, `StoreUnlocked`) is no problem. They are
counted, as are those that succeeded, so that a sweep shows what it did.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import shutil
import sqlite3
import threading
import time
import traceback
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from loom_runner._engines.runner import AgentRunner
from loom_runner._model.outcomes import Complete, Continue
from loom_runner._store.open import open_side_tables
from loom_runner._store.sqlite.store import SQLiteStore
from loom_runner.errors import AnotherSQLite, RunnerError, StoreError, StoreUnlocked
from loom_runner.testing._crash import die
from loom_runner.testing._effects import EffectLog
from loom_runner.testing._kill_sweep import SweepReport, Trial, kill_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from loom_runner._model.events import RunEvent
    from loom_runner._program.context import RunContext

__all__ = ["PeekReport", "peek_sweep"]

_RUNS: Final = ("a", "b", "c")
_STEPS: Final = 600
_LONGEST_S: Final = 0.4
_DATABASE: Final = "runs.sqlite"
_NOTES: Final = "CREATE TABLE IF NOT EXISTS notes_of_others (x)"


@dataclass(slots=True)
class PeekReport(SweepReport):
    """What a peek sweep found and did.

    Attributes:
        peeks: How often each operation succeeded, or was refused.
    """

    kinds: ClassVar[Sequence[str]] = ("lost", "damaged", "silent", "failed")
    shows_doubts: ClassVar[bool] = False

    peeks: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        done = ", ".join(f"{count} {what}" for what, count in sorted(self.peeks.items()))
        return f"{SweepReport.__str__(self)}\n  {done}"


# ---------------------------------------------------------------------- peeking


class _Peeks:
    """The operations on the database of a folder, each chosen by its name."""

    def __init__(self, folder: Path, who: str, runner: AgentRunner | None) -> None:
        self._folder = folder
        self._path = folder / _DATABASE
        self._who = who
        self._runner = runner
        self._log = EffectLog(folder / "peeks.txt")
        self._copies = EffectLog(folder / "copies.txt")
        self._number = 0

    def once(self, what: str) -> None:
        """Do one operation, and write down how it ended."""
        try:
            getattr(self, what)()
            how = "done"
        except (AnotherSQLite, StoreUnlocked):
            how = "refused"
        except (sqlite3.Error, OSError):  # locked, or deleted by the end of the last process
            how = "failed"
        self._log.add(f"{self._who} {what} {how}")

    def connect(self) -> None:
        """Read with Python's sqlite3."""
        with closing(sqlite3.connect(self._path, timeout=1)) as db:
            db.execute("SELECT count(*), max(length(state)) FROM runs").fetchone()

    def connect_by_uri(self) -> None:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=1)) as db:
            db.execute("SELECT count(*) FROM steps").fetchone()

    def attach(self) -> None:
        """Read with Python's sqlite3, in a way that no hook sees."""
        with closing(sqlite3.connect(":memory:", timeout=1)) as db:
            db.execute("ATTACH ? AS theirs", (str(self._path),))
            db.execute("SELECT count(*) FROM theirs.runs").fetchone()

    def write(self) -> None:
        with closing(sqlite3.connect(self._path, timeout=1)) as db, db:
            db.execute("PRAGMA wal_autocheckpoint = 0")  # it would leave no mark, see `log_mark`
            db.execute("INSERT INTO notes_of_others VALUES (?)", (self._number,))

    def read_file(self) -> None:
        self._path.read_bytes()

    def read_log(self) -> None:
        Path(f"{self._path}-wal").read_bytes()

    def read_shared_memory(self) -> None:
        Path(f"{self._path}-shm").read_bytes()

    def copy_file(self) -> None:
        shutil.copy(self._path, self._begin("copy"))

    def back_up(self) -> None:
        target = self._begin("backup")
        part = target.with_suffix(".unfinished")
        if self._runner is not None:
            self._runner.backup(part)
        else:
            with closing(sqlite3.connect(self._path)) as source, closing(sqlite3.connect(part)) as copy:
                source.backup(copy)
        part.rename(target)

    def vacuum_into(self) -> None:
        target = self._begin("backup")
        part = target.with_suffix(".unfinished")
        with closing(sqlite3.connect(self._path, timeout=1)) as db:
            db.execute("VACUUM INTO ?", (str(part),))
        part.rename(target)

    def query(self) -> None:
        assert self._runner is not None
        self._runner.query("SELECT status, count(*) AS n FROM runs GROUP BY status")

    def _begin(self, kind: str) -> Path:
        """Write down what is acknowledged now, and return the file to write."""
        self._number += 1
        name = f"{kind} of {self._who} {os.getpid()} {self._number}.sqlite"
        self._copies.add(json.dumps({"kind": kind, "name": name, "steps": _acknowledged(self._folder)}))
        return self._folder / name


_EVERYWHERE: Final = (
    "connect",
    "connect_by_uri",
    "read_file",
    "read_log",
    "copy_file",
    "back_up",
    "write",
    "vacuum_into",
)
_INSIDE: Final = (*_EVERYWHERE, "read_shared_memory", "query")
_OUTSIDE: Final = (*_EVERYWHERE, "read_shared_memory", "attach")


def _acknowledged(folder: Path) -> dict[str, int]:
    """Return how many steps of each run were acknowledged."""
    steps: dict[str, int] = {}
    for line in EffectLog(folder / "acknowledged.txt").lines():
        run_id, _, count = line.rpartition(" ")
        if count.isdecimal():  # not the last line, half written by a killed process
            steps[run_id] = max(steps.get(run_id, 0), int(count))
    return steps


def _peek_on(peeks: _Peeks, chance: random.Random, names: Sequence[str]) -> None:
    while True:
        peeks.once(chance.choice(names))
        time.sleep(chance.random() * 0.004)


# ---------------------------------------------------------------------- the processes


def _outside(folder: str, seed: int) -> None:
    """Peek from a process that drives nothing, until it is killed. The main function of a
    process.
    """
    _peek_on(_Peeks(Path(folder), "outside", None), random.Random(seed), _OUTSIDE)  # noqa: S311  (spreads peeks)


def _drive(folder: str, seed: int, dies_after_s: float | None, peeks_by_attaching: bool) -> None:
    """Drive the runs to their ends, while threads peek. The main function of a process."""
    chance = random.Random(seed)  # noqa: S311
    acknowledged = EffectLog(Path(folder) / "acknowledged.txt")

    async def step(_: dict[str, Any], ctx: RunContext) -> Continue[Any] | Complete[int]:
        await asyncio.sleep(0)
        if ctx.step_index == _STEPS - 1:
            return Complete(_STEPS)
        return Continue({"n": ctx.step_index, "text": f"{ctx.step_index} " * 60})

    def note(event: RunEvent) -> None:
        if event.kind == "step_committed":
            acknowledged.add(f"{event.run_id} {(event.step_index or 0) + 1}")

    store = SQLiteStore(Path(folder) / _DATABASE, chance.choice(("power", "process")))
    runner = AgentRunner(step=step, store=store, observers=[note], lease_s=0.3)
    if dies_after_s is not None:
        names = (*_INSIDE, "attach") if peeks_by_attaching else _INSIDE
        for who in ("inside", "thread"):
            peeks = _Peeks(Path(folder), who, runner)
            arguments = (peeks, random.Random(chance.random()), names)  # noqa: S311
            threading.Thread(target=_peek_on, args=arguments, daemon=True).start()
        threading.Timer(dies_after_s, die).start()
    try:
        asyncio.run(_drive_all(runner))
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        os._exit(1)  # at once: the timer would kill this process, and hide the error
    if dies_after_s is not None:
        die()
    runner.close()


async def _drive_all(runner: AgentRunner) -> None:
    with suppress(StoreUnlocked):  # loud, before anything more is acknowledged
        await asyncio.gather(*(runner.start(run_id=run_id, initial_state={}, wait_s=60) for run_id in _RUNS))


class _PeekTrial(Trial):
    """One database, whose runs are driven by processes that are killed."""

    preload = "loom_runner.testing._preload"

    def __init__(self, folder: Path, peeks: Counter[str]) -> None:
        super().__init__(folder)
        self._peeks = peeks
        SQLiteStore(folder / _DATABASE).close()  # before another program creates a database of its own
        open_side_tables(folder / _DATABASE, "notes_of_others", [_NOTES]).close()  # an unknown table is refused

    def kill(self, chance: random.Random) -> int:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([self.preload])
        outside = context.Process(target=_outside, args=(str(self.folder), chance.randrange(1 << 30)), daemon=True)
        outside.start()
        try:
            was_killed = self.run_process(
                _drive,
                str(self.folder),
                chance.randrange(1 << 30),
                chance.uniform(0.02, _LONGEST_S),
                chance.random() < 0.2,
                name="a process that drives",
            )
        finally:
            outside.kill()
            outside.join()
            outside.close()
        self.compare_files()
        return was_killed

    def finish(self) -> None:
        self.run_process(_drive, str(self.folder), 0, None, False, name="the last process")
        self.compare_files()
        self._peeks.update(EffectLog(self.folder / "peeks.txt").lines())
        if not self.problems:
            with SQLiteStore(self.folder / _DATABASE, read_only=True) as store:
                for run_id in _RUNS:
                    run = store.reader.get_run(run_id)
                    if run is None or run.status != "completed":
                        self.problems.append(f"failed: {run_id} is {None if run is None else run.status}")

    def compare_files(self) -> None:
        """Compare the database, and all copies made since the last time, with what was
        acknowledged.
        """
        self.problems += self._problems(_DATABASE, _acknowledged(self.folder))
        for line in EffectLog(self.folder / "copies.txt").lines():
            with suppress(ValueError):  # half written by a killed process
                made = json.loads(line)
                if (self.folder / made["name"]).exists():
                    check = self._problems if made["kind"] == "backup" else self._silent
                    self.problems += check(made["name"], made["steps"])
                    (self.folder / made["name"]).unlink()

    def _problems(self, name: str, steps: dict[str, int]) -> Iterator[str]:
        try:
            with SQLiteStore(self.folder / name) as store:
                for problem in store.reader.verify().problems:
                    yield f"damaged: {name}: {problem.where}: {problem.what}"
                for run_id, count in steps.items():
                    run = store.reader.get_run(run_id)
                    if run is None or run.step_index < count:
                        yield f"lost: {name}: {count} steps of {run_id}, found {run and run.step_index}"
        except RunnerError as exc:
            yield f"damaged: {name}: {exc}"

    def _silent(self, name: str, steps: dict[str, int]) -> Iterator[str]:
        with suppress(StoreError), SQLiteStore(self.folder / name, read_only=True) as store:
            found = {run_id: store.reader.get_run(run_id) for run_id in steps}
            lacks = [run_id for run_id, run in found.items() if run is None or run.step_index < steps[run_id]]
            if lacks and store.reader.copied_without_log is None:
                yield f"silent: {name} lacks steps of {', '.join(lacks)}"


def peek_sweep(number: int, *, seed: int, on_progress: Callable[[str], None] = lambda _: None) -> PeekReport:
    """Kill processes at random times until `number` were killed, while others use their database.

    Args:
        number: How many processes to kill.
        seed: The same seed chooses the same operations; what they meet is up to the system.
        on_progress: Called with a line of progress after every 10 databases.
    """
    report = PeekReport(seed)

    def begin(folder: Path, _chance: random.Random) -> Trial:
        return _PeekTrial(folder, report.peeks)

    kill_runs(report, number, begin, report_every=10, on_progress=on_progress)
    return report
