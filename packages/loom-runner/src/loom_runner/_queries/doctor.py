"""The checks of `doctor`: of a database, its machine and its runs, one line each."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from loom_runner._model.clock import to_iso
from loom_runner._model.formatting import counted, duration, plural, size
from loom_runner._model.run_filter import RunFilter
from loom_runner._queries.liveness import is_interrupted
from loom_runner._queries.search import each_running
from loom_runner._store.in_doubt import read_tool_calls
from loom_runner.run_ids import call_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loom_runner._model.records import RunRecord
    from loom_runner._model.statuses import Status
    from loom_runner._store.sqlite.reader import SQLiteReader

__all__ = ["Check", "examine"]

_SQLITE_WITHOUT_WAL_BUG: Final = (3, 51, 3)
_NETWORK_FILE_SYSTEMS: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph"})
_FEW_BYTES: Final = 100_000_000
_ROWS_READ_WHOLE: Final = 20_000
"""Up to this many runs and steps, all that is stored is decoded, in about two seconds."""
_SHOWN: Final = 3
_NEED_A_PERSON: Final[dict[Status, str]] = {
    "parked": "a step crashed its process repeatedly; see loom-runner explain",
    "failed": "see loom-runner explain; loom-runner resume runs the step again",
}


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
    yield _rows(reader, path, facts)
    yield _readers(facts)
    yield _disk_space(path, facts)
    yield _file_system(path)
    yield _clock(reader)
    running = list(each_running(reader))
    yield _holders(running)
    yield from _broken(reader, running)


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


def _rows(reader: SQLiteReader, path: str, facts: dict[str, Any]) -> Check:
    is_small = facts["runs"] + facts["steps"] <= _ROWS_READ_WHOLE
    report = reader.verify() if is_small else reader.verify_counts()
    if report.ok:
        how = "" if is_small else "; states and results were not decoded, loom-runner verify does that"
        return Check("rows", "ok", f"{path}: no damage in {counted(report.checked)}{how}")
    first = report.problems[0]
    return Check(
        "rows", "bad", f"{plural(len(report.problems), 'problem')}: {first.where}: {first.what}; loom-runner verify"
    )


def _readers(facts: dict[str, Any]) -> Check:
    mode = facts["mode"]
    if mode is None or not mode & 0o077:
        return Check("access", "ok", "only its owner can read and write the file")
    what = "change" if mode & 0o022 else "read"
    return Check("access", "warn", f"others can {what} the file ({mode:04o}): chmod 600 it, its -wal and its -shm")


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


def _clock(reader: SQLiteReader) -> Check:
    now = time.time_ns() // 1000
    latest = next(iter(reader.list_runs(limit=1)), None)
    if latest is not None and latest.updated_at > now + 60_000_000:
        ahead = duration(latest.updated_at - now)
        return Check("clock", "bad", f"{latest.run_id} was changed {ahead} in the future: set this machine's clock")
    return Check("clock", "ok", f"{to_iso(now)}; no row is from the future")


def _holders(running: list[RunRecord]) -> Check:
    held = [run for run in running if not is_interrupted(run)]
    if not held:
        return Check("leases", "ok", "no process drives a run")
    names = ", ".join(f"{run.run_id} (process {run.owner.pid if run.owner else '?'})" for run in held[:_SHOWN])
    more = ", ..." if len(held) > _SHOWN else ""
    return Check("leases", "ok", f"{plural(len(held), 'run')} held: {names}{more}")


def _broken(reader: SQLiteReader, running: list[RunRecord]) -> Iterator[Check]:
    """Check for runs that need a person or a worker."""
    lost = [run for run in running if is_interrupted(run)]
    yield _named("interrupted", len(lost), lost, "continue with loom-runner resume")
    counts = reader.counts()["runs"]
    for status, what in _NEED_A_PERSON.items():
        newest = reader.list_runs(limit=_SHOWN, which=RunFilter(statuses=(status,)))
        yield _named(status, counts.get(status, 0), newest, what)
    doubts = read_tool_calls(reader, in_doubt=True)
    names = ", ".join(call_id(call.run_id, call.number) for call in doubts[:_SHOWN])
    text = f"{plural(len(doubts), 'call')}: {names}; loom-runner doubts" if doubts else "none"
    yield Check("in doubt", "warn" if doubts else "ok", text)


def _named(name: str, count: int, runs: list[RunRecord], what: str) -> Check:
    if not count:
        return Check(name, "ok", "none")
    names = ", ".join(run.run_id for run in runs[:_SHOWN]) + (", ..." if count > _SHOWN else "")
    return Check(name, "warn", f"{plural(count, 'run')}: {names}; {what}")
