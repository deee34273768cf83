"""The checks of `doctor`: of a database, its machine and its runs, one line each."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from loom_runner._model.clock import to_iso
from loom_runner._model.formatting import counted, duration, plural, size
from loom_runner._model.processes import is_gone
from loom_runner._store.in_doubt import read_tool_calls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loom_runner._model.records import RunRecord
    from loom_runner._store.sqlite.reader import SQLiteReader

__all__ = ["Check", "examine"]

_SQLITE_WITHOUT_WAL_BUG: Final = (3, 51, 3)
_NETWORK_FILE_SYSTEMS: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph"})
_FEW_BYTES: Final = 100_000_000
_PAGE_RUNS: Final = 50
"""Runs per page. Each row contains the run's state."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. `bad` needs attention; `warn` may need it."""

    name: str
    verdict: Literal["ok", "warn", "bad"]
    text: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def examine(reader: SQLiteReader, path: str) -> Iterator[Check]:
    """Check a database: its file, its machine and its runs.

    Args:
        reader: The reader of a store that was opened in the same way as for driving runs, so that
            it has the same durability.
        path: Its file.
    """
    facts = reader.facts()
    yield _sqlite(facts)
    yield Check("format", "ok", f"{facts['format']}, the newest that this version knows")
    yield Check(
        "durability",
        "ok",
        f"{facts['durability']} (read back: journal_mode {facts['journal_mode']}, synchronous {facts['synchronous']})",
    )
    yield Check(
        "keys", "ok", f"encrypted, with {', '.join(facts['key_ids'])}" if facts["is_encrypted"] else "not encrypted"
    )
    yield _copy(facts)
    yield _rows(reader, path)
    yield _disk_space(path, facts)
    yield _file_system(path)
    runs = list(_each_run(reader))
    yield _clock(runs)
    yield _holders(runs)
    yield from _broken(reader, runs)


def _sqlite(facts: dict[str, Any]) -> Check:
    version = str(facts["sqlite_version"])
    if tuple(int(part) for part in version.split(".")) < _SQLITE_WITHOUT_WAL_BUG:
        return Check("sqlite", "bad", f"{version} can damage a database with several writers; upgrade apsw")
    return Check("sqlite", "ok", f"{version}, through apsw")


def _copy(facts: dict[str, Any]) -> Check:
    copied = facts["copied_without_log"]
    if copied is None:
        return Check("copy", "ok", "the file is not a copy without its log")
    text = f"{copied.text}; copy with loom-runner backup"
    return Check("copy", "warn", f"{text}; runs were driven since") if copied.was_driven else Check("copy", "bad", text)


def _rows(reader: SQLiteReader, path: str) -> Check:
    report = reader.verify()
    if report.ok:
        return Check("rows", "ok", f"{path}: no damage in {counted(report.checked)}")
    first = report.problems[0]
    return Check(
        "rows", "bad", f"{plural(len(report.problems), 'problem')}: {first.where}: {first.what}; loom-runner verify"
    )


def _disk_space(path: str, facts: dict[str, Any]) -> Check:
    free = shutil.disk_usage(Path(path).resolve().parent).free
    text = f"{size(facts['size_bytes'])}, of it free {size(facts['free_bytes'])}; log {size(facts['wal_bytes'])}; "
    text += f"free on the disk {size(free)}"
    if free < _FEW_BYTES:
        return Check("room", "warn", f"{text}: free some disk space")
    if facts["free_bytes"] > 0.5 * facts["size_bytes"] > _FEW_BYTES / 10:
        return Check("room", "warn", f"{text}: loom-runner prune --vacuum returns it to the file system")
    return Check("room", "ok", text)


def _file_system(path: str) -> Check:
    kind = _kind_of(Path(path).resolve())
    if kind is None:
        return Check("file system", "ok", "not known on this system")
    if kind in _NETWORK_FILE_SYSTEMS:
        return Check(
            "file system", "bad", f"{kind}: locks of a network file system cannot be trusted; use a local disk"
        )
    return Check("file system", "ok", kind)


def _kind_of(path: Path) -> str | None:
    """Return the type of the file system of a path, by its longest mount point; None if it is
    unknown.
    """
    try:
        lines = Path("/proc/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    found: tuple[int, str | None] = (0, None)
    for line in lines:
        _, point, kind, *_ = line.split()
        point = point.replace("\\040", " ")
        if path.is_relative_to(point) and len(point) > found[0]:
            found = (len(point), kind)
    return found[1]


@dataclass(frozen=True, slots=True)
class _Run:
    """The facts about a run that are checked."""

    run_id: str
    status: str
    updated_at: int
    holder: int | None
    """The live process that drives it."""


def _each_run(reader: SQLiteReader) -> Iterator[_Run]:
    last: RunRecord | None = None
    while page := reader.list_runs(limit=_PAGE_RUNS, after=last):
        for run in page:
            is_held = run.is_leased and run.owner is not None and not is_gone(run.owner)
            holder = run.owner.pid if is_held and run.owner is not None else None
            yield _Run(run.run_id, run.status, run.updated_at, holder)
        last = page[-1]


def _clock(runs: list[_Run]) -> Check:
    now = time.time_ns() // 1000
    latest = max(runs, key=lambda run: run.updated_at, default=None)
    if latest is not None and latest.updated_at > now + 60_000_000:
        ahead = duration(latest.updated_at - now)
        return Check("clock", "bad", f"{latest.run_id} was changed {ahead} in the future: set this machine's clock")
    return Check("clock", "ok", f"{to_iso(now)}; no row is from the future")


def _holders(runs: list[_Run]) -> Check:
    held = [run for run in runs if run.status == "running" and run.holder is not None]
    if not held:
        return Check("leases", "ok", "no process drives a run")
    names = ", ".join(f"{run.run_id} (process {run.holder})" for run in held[:3])
    return Check("leases", "ok", f"{plural(len(held), 'run')} held: {names}{', ...' if len(held) > 3 else ''}")


def _broken(reader: SQLiteReader, runs: list[_Run]) -> Iterator[Check]:
    """Check for runs that need a person or a worker."""
    lost = [run for run in runs if run.status == "running" and run.holder is None]
    yield _named("interrupted", lost, "continue with loom-runner resume")
    parked = [run for run in runs if run.status == "parked"]
    yield _named("parked", parked, "a step crashed its process repeatedly; see loom-runner explain")
    failed = [run for run in runs if run.status == "failed"]
    yield _named("failed", failed, "see loom-runner explain; loom-runner resume runs the step again")
    doubts = read_tool_calls(reader, in_doubt=True)
    names = ", ".join(f"{call.run_id}#{call.number}" for call in doubts[:3])
    text = f"{plural(len(doubts), 'call')}: {names}; loom-runner doubts" if doubts else "none"
    yield Check("in doubt", "warn" if doubts else "ok", text)


def _named(name: str, runs: list[_Run], what: str) -> Check:
    if not runs:
        return Check(name, "ok", "none")
    names = ", ".join(run.run_id for run in runs[:3]) + (", ..." if len(runs) > 3 else "")
    return Check(name, "warn", f"{plural(len(runs), 'run')}: {names}; {what}")
