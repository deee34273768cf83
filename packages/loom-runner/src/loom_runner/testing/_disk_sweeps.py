"""The loss of power after every operation on the disk, and a disk that refuses every operation.

*Power.* The agent of the kill sweep runs on a `Disk`, alone and three at a time. Then, for every
operation on the disk, the files are reconstructed as they would be found if the power had failed
right after it, and compared with what had been acknowledged to the program by then:

* the database opens, and SQLite finds no damage in it;
* with `power`, every acknowledged step and tool result is stored, and every effect has a record;
* with `process`, and so after kill -9, the same holds if all writes survived; if not, the steps are
  a prefix;
* the run is resumed and reaches its result, and no recorded call is repeated.

*Faults.* The disk refuses the n-th write, sync or open, once or permanently. The command reports
this in one line and with its exit code, nothing acknowledged is missing, and when the disk works
again, `resume` reaches the result.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import apsw

from loom_runner._store.sqlite.log_mark import LogMark, remove_marks
from loom_runner._store.sqlite.store import SQLiteStore
from loom_runner.testing._disk import Disk, Fault, Platter, disk_under
from loom_runner.testing._effects import EffectLog, memory_folder
from loom_runner.testing._sweep_agent import RUN_ID, STEPS, State, build, receipt_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from loom_runner._engines.runner import AgentRunner
    from loom_runner._model.events import RunEvent
    from loom_runner._model.records import ToolRecord
    from loom_runner._model.results import RunResult
    from loom_runner._store.sqlite.file import Durability
    from loom_runner.testing._disk import Survives

__all__ = ["DiskReport", "fault_sweep", "power_sweep"]

_CHECKPOINT_PAGES: Final = 16
"""How often SQLite moves the write-ahead log into the file: often, because the runs are short and
moving is risky.
"""

_RUNS: Final = (RUN_ID, "left", "middle", "right")
"""One run alone, in two parts, then three concurrent ones, whose commits share transactions."""

_SURVIVES: Final[tuple[Survives, ...]] = ("synced", "all", "some")
_BULK_BYTES: Final = 3_000
"""The size of each receipt, so that states are stored as differences and payloads as blobs."""

_EXPECTED: Final = [receipt_of(n, part, _BULK_BYTES) for n in range(STEPS) for part in range(3)]


@dataclass(slots=True)
class DiskReport:
    """What a sweep found; `problems` is empty if every promise was kept."""

    what: str
    cases: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.what}: {self.cases} cases, {len(self.problems)} problems"


@dataclass(frozen=True, slots=True)
class _Acknowledged:
    """Something that was acknowledged to the program after `at` operations of the disk."""

    at: int
    kind: Literal["run", "step", "call", "started", "effect"]
    key: str


@dataclass(slots=True)
class _Witnessed:
    """What was acknowledged to the program, and after how many operations of the disk."""

    disk: Disk
    seen: list[_Acknowledged] = field(default_factory=list)

    def __call__(self, event: RunEvent) -> None:
        at = len(self.disk.ops)
        if event.kind == "run_started":
            self.seen.append(_Acknowledged(at, "run", event.run_id))
        elif event.kind == "step_committed":
            self.seen.append(_Acknowledged(at, "step", f"{event.run_id}/{event.step_index}"))
        elif event.kind in ("tool_started", "tool_finished"):
            kind: Literal["started", "call"] = "started" if event.kind == "tool_started" else "call"
            self.seen.append(_Acknowledged(at, kind, f"{event.run_id}/{event.step_index}/{event.data['key']}"))

    def effect(self, key: str) -> None:
        self.seen.append(_Acknowledged(len(self.disk.ops), "effect", key))

    def until(self, at: int, kind: str) -> list[str]:
        return [each.key for each in self.seen if each.kind == kind and each.at <= at]


def power_sweep(
    durability: Durability = "power",
    *,
    every: int = 1,
    seed: int = 1,
    on_progress: Callable[[str], None] = lambda _: None,
) -> DiskReport:
    """Simulate a loss of power after every `every`-th operation, in three ways each, and compare.

    Args:
        durability: The durability of the store.
        seed: Determines which of the writes that were not synced survive.
        on_progress: Called with a line of progress regularly.
    """
    report = DiskReport(f"power lost, durability {durability!r}, every {every}. operation, seed {seed}")
    chance = random.Random(seed)  # noqa: S311  (chooses what survives)
    with tempfile.TemporaryDirectory(dir=memory_folder()) as name:
        disk, witness = _one_run(Path(name), durability)
    platter = Platter()
    for at, op in enumerate(disk.ops, start=1):
        platter.apply(op)
        if at % every and at != len(disk.ops):
            continue
        for survives in _SURVIVES:
            with tempfile.TemporaryDirectory(dir=memory_folder()) as name:
                platter.write_to(Path(name), survives, chance)
                is_kept = durability == "power" or survives == "all"
                found = _after_power_loss(Path(name), witness, at, is_kept=is_kept)
            report.cases += 1
            report.problems += [f"after operation {at} ({op.kind} {op.name}), {survives}: {text}" for text in found]
        if at % (every * 50) == 0:
            on_progress(str(report))
    return report


def _one_run(folder: Path, durability: Durability) -> tuple[Disk, _Witnessed]:
    """Drive the runs of `_RUNS`, and record every operation."""
    with disk_under(folder) as disk, _often_checkpointed():
        witness = _Witnessed(disk)
        for max_steps in (2, None):
            runner = _agent(folder, durability, witness.effect, listen=witness)
            asyncio.run(runner.start(run_id=RUN_ID, initial_state=State(0, []), max_steps=max_steps))
            if max_steps is None:
                asyncio.run(_all_of(runner, _RUNS[1:]))
            runner.close()
    return disk, witness


async def _all_of(runner: AgentRunner, run_ids: Sequence[str]) -> list[RunResult]:
    starts = (runner.start(run_id=run_id, initial_state=State(0, [])) for run_id in run_ids)
    return list(await asyncio.gather(*starts))


def _agent(
    folder: Path,
    durability: Durability,
    effect: Callable[[str], None],
    listen: Callable[[RunEvent], None] | None = None,
) -> AgentRunner:
    return build(folder, "retry", durability=durability, effect=effect, listen=listen, bulk=_BULK_BYTES)


@contextlib.contextmanager
def _often_checkpointed() -> Iterator[None]:
    def set_up(db: apsw.Connection) -> None:
        db.wal_autocheckpoint(_CHECKPOINT_PAGES)

    apsw.connection_hooks.append(set_up)
    usual, LogMark.pages = LogMark.pages, _CHECKPOINT_PAGES
    try:
        yield
    finally:
        LogMark.pages = usual
        apsw.connection_hooks.remove(set_up)


def _after_power_loss(folder: Path, witness: _Witnessed, at: int, *, is_kept: bool) -> list[str]:
    """Open the files, compare them with what was acknowledged, and finish the runs; return the
    problems.
    """
    problems: list[str] = []
    path = folder / "runs.sqlite"
    try:
        if (whole := _integrity(path)) != "ok":
            return [f"damaged: {whole}"]
        with SQLiteStore(path, "process") as store:
            runs = {run.run_id for run in store.reader.list_runs()}
            steps = {run_id: [step.step_index for step in store.reader.steps(run_id)] for run_id in runs}
            calls = {_key(call): call for call in store.reader.tool_calls()}
    except Exception as exc:  # noqa: BLE001  (whatever it is, it is a finding)
        return [f"does not open: {type(exc).__name__}: {exc}"]
    problems += [
        f"torn: the steps of {name} are {some}" for name, some in steps.items() if some != list(range(len(some)))
    ]
    recorded = {key for key, call in calls.items() if call.status == "done"}
    if is_kept:
        there = {f"{name}/{number}" for name, some in steps.items() for number in some}
        problems += [f"lost: run {key}" for key in witness.until(at, "run") if key not in runs]
        problems += [f"lost: step {key}" for key in witness.until(at, "step") if key not in there]
        problems += [f"lost: the result of {key}" for key in witness.until(at, "call") if key not in recorded]
        problems += [f"hidden: the effect of {key}" for key in witness.until(at, "effect") if key not in calls]
    return problems + _resume_all(folder, recorded, _RUNS)


def _integrity(path: Path) -> str:
    """Return SQLite's check of the file, and mark the former holders of runs as gone."""
    db = apsw.Connection(str(path))
    with contextlib.closing(db):
        if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'leases'").get:
            db.execute("UPDATE leases SET process = 'gone'")
            remove_marks(db)  # as an opening of the store would, which comes first outside a sweep
        return str(db.pragma("integrity_check"))


def _key(call: ToolRecord) -> str:
    return f"{call.run_id}/{call.step_index}/{call.key}"


def _resume_all(folder: Path, recorded: set[str], run_ids: Sequence[str]) -> list[str]:
    """Start or resume the runs; return the problems."""
    made: list[str] = []
    try:
        runner = _agent(folder, "process", made.append)
        results = asyncio.run(_all_of(runner, run_ids))
        runner.close()
    except Exception as exc:  # noqa: BLE001  (whatever it is, it is a finding)
        return [f"does not resume: {type(exc).__name__}: {exc}"]
    problems = [f"repeated: {key}" for key in made if key in recorded]
    return problems + [
        f"does not end well: {result.run_id} {result.status}, {result.error or result.result}"
        for result in results
        if (result.status, result.result) != ("completed", _EXPECTED)
    ]


# ---------------------------------------------------------------------- a disk that refuses


def fault_sweep(*, every: int = 1, on_progress: Callable[[str], None] = lambda _: None) -> DiskReport:
    """Let the disk refuse every `every`-th write, sync and open, once and permanently, and
    compare.
    """
    report = DiskReport(f"disk refuses, every {every}. operation")
    with (
        tempfile.TemporaryDirectory(dir=memory_folder()) as name,
        disk_under(Path(name)) as disk,
        _often_checkpointed(),
    ):
        _command("run", Path(name))
    for kind, errors in (("write", ("full", "io")), ("sync", ("io",)), ("open", ("io",))):
        for nth in range(1, disk.seen[kind] + 1, 1 if kind == "open" else every):
            for error in errors:
                for is_lasting in (False, True):
                    fault = Fault(kind, nth, error, is_lasting)  # type: ignore[arg-type]  # literals of the loop above
                    with tempfile.TemporaryDirectory(dir=memory_folder()) as name:
                        found = _with_fault(Path(name), fault)
                    if found is None:  # the last operations of a run are sometimes fewer
                        continue
                    report.cases += 1
                    report.problems += [f"{fault}: {text}" for text in found]
        on_progress(str(report))
    return report


def _with_fault(folder: Path, fault: Fault) -> list[str] | None:
    """Run the agent on a disk with a fault, then without; return the problems, None if the fault
    was not reached.
    """
    with disk_under(folder, fault) as disk, _often_checkpointed():
        code, out, err = _command("run", folder)
    if not disk.has_failed:
        return None
    problems = []
    if code not in (0, 8) or (code == 8 and out) or "internal error" in err or "Traceback" in err:
        problems.append(f"ended with {code}: {out}{err}")
    if code == 8 and (err.count("\n") != 1 or not err.startswith("cannot ")):
        problems.append(f"not one clear line: {err}")
    if (whole := _integrity(folder / "runs.sqlite")) != "ok":
        return [*problems, f"damaged: {whole}"]
    steps, recorded = _stored(folder)
    for line in EffectLog(folder / "acknowledged.txt").lines():
        kind, name = line.split()[:2]
        if name not in (steps if kind == "step" else recorded):
            problems.append(f"lost: {line}")
    return problems + _resume_all(folder, recorded, [RUN_ID])


def _stored(folder: Path) -> tuple[set[str], set[str]]:
    """Return the names of the recorded steps, and the keys of the recorded calls."""
    with SQLiteStore(folder / "runs.sqlite", "process") as store:
        calls = store.reader.tool_calls(RUN_ID)
        done = {_key(call) for call in calls if call.status == "done"}
        return {f"{RUN_ID}/{step.step_index}" for step in store.reader.steps(RUN_ID)}, done


def _command(verb: str, folder: Path) -> tuple[int, str, str]:
    """Run the command in this process; return its exit code, stdout and stderr."""
    from loom_runner._cli.base import run_command
    from loom_runner._cli.main import main_group

    out, err = io.StringIO(), io.StringIO()
    module = "loom_runner.testing._sweep_agent"
    arguments = [verb, module, "--run-id", RUN_ID, "--db", str(folder / "runs.sqlite"), "--output", "json"]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            run_command(main_group, arguments, name="loom-runner")
    except SystemExit as exit_:
        return int(exit_.code or 0), out.getvalue(), err.getvalue()
