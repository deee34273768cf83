"""A simulated disk that can lose power, run full and fail, for any store that uses SQLite. Theory
of operation:

A `Disk` is a layer (an apsw VFS) between SQLite and the files of one folder. It records every
operation that changes a file, and may refuse one. From the record it can reconstruct the files as
they would be after a loss of power at any operation:

* The content at the last sync of a file is kept.
* Each later write may be kept or not, in any order, and the last one may be torn between sectors:
  `survives` selects none, all, or a random part of them.
* The creation or deletion of a file is certain when its folder was synced: when a journal is synced
  for the first time, and when SQLite deletes a file and requests the sync.

Not covered: a disk that reports a sync without doing it, a disk that loses synced sectors, and the
`-shm` file, which SQLite rebuilds after a loss of power.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import apsw

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

__all__ = ["Disk", "DiskOp", "Fault", "Platter", "disk_under"]

_SECTOR_BYTES: Final = 512
_JOURNALS: Final = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_SUPER_JOURNAL

Survives = Literal["synced", "all", "some"]
"""Which of the changes that were not synced are kept: none, all, or a random part."""


@dataclass(frozen=True, slots=True)
class DiskOp:
    """One change of a file. For `truncate`, `offset` is the new size."""

    kind: Literal["create", "write", "truncate", "sync", "delete"]
    name: str
    offset: int = 0
    data: bytes = b""
    syncs_folder: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """A refused operation.

    Args:
        kind: The operation: a `write` (or truncation), a `sync`, or the `open` of a file.
        nth: Which one, from 1.
        error: `full` (the disk is full) or `io` (the disk reports an error).
        is_lasting: All later operations of the kind are refused, too.
    """

    kind: Literal["write", "sync", "open"]
    nth: int
    error: Literal["full", "io"] = "io"
    is_lasting: bool = False


@dataclass(slots=True)
class Disk:
    """The operations on the files of one folder, in order, and the fault to simulate."""

    folder: Path
    fault: Fault | None = None
    ops: list[DiskOp] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    has_failed: bool = False

    def owns(self, path: str) -> bool:
        return Path(path).parent == self.folder

    def check(self, kind: str) -> None:
        """Count an operation before it happens; raise if it is to be refused."""
        count = self.seen[kind] = self.seen.get(kind, 0) + 1
        fault = self.fault
        if fault is None or fault.kind != kind or count < fault.nth or (count > fault.nth and not fault.is_lasting):
            return
        self.has_failed = True
        if kind == "open":
            raise apsw.CantOpenError("the disk refuses")
        raise apsw.FullError("no room") if fault.error == "full" else apsw.IOError("the disk refuses")


class Platter:
    """The certain and the possible content of a disk after some operations.

    Names point to files. Deleting and creating a name yields another file, and until the folder is
    synced the old one may be restored.
    """

    def __init__(self, folder: Path | None = None) -> None:
        paths = [] if folder is None else [path for path in folder.iterdir() if not path.name.endswith("-shm")]
        self._held = [path.read_bytes() for path in paths]
        self._pending: list[list[DiskOp]] = [[] for _ in paths]
        self._names = {path.name: number for number, path in enumerate(paths)}
        self._sure = dict(self._names)
        self._unsure: list[tuple[str, int | None]] = []

    def apply(self, op: DiskOp) -> None:
        """Apply one more operation."""
        match op.kind:
            case "create":
                self._unsure.append((op.name, len(self._held)))
                self._names[op.name] = len(self._held)
                self._held.append(b"")
                self._pending.append([])
            case "delete":
                self._unsure.append((op.name, None))
                self._names.pop(op.name, None)
            case "sync":
                file = self._names[op.name]
                self._held[file] = _changed(self._held[file], self._pending[file])
                self._pending[file] = []
            case _:
                self._pending[self._names[op.name]].append(op)
        if op.syncs_folder:
            self._sure = dict(self._names)
            self._unsure.clear()

    def write_to(self, folder: Path, survives: Survives, chance: random.Random) -> None:
        """Write the files as they would be after a loss of power now."""
        names = dict(self._sure)
        for name, file in self._unsure:
            if survives == "all" or (survives == "some" and chance.random() < 0.5):
                if file is None:
                    names.pop(name, None)
                else:
                    names[name] = file
        for name, file in names.items():
            later = self._pending[file]
            kept = {"synced": [], "all": later}.get(survives)
            (folder / name).write_bytes(_changed(self._held[file], _part_of(later, chance) if kept is None else kept))


def _changed(data: bytes, ops: list[DiskOp]) -> bytes:
    file = bytearray(data)
    for op in ops:
        if op.kind == "truncate":
            del file[op.offset :]
            file.extend(bytes(op.offset - len(file)))
        else:
            file.extend(bytes(max(0, op.offset - len(file))))
            file[op.offset : op.offset + len(op.data)] = op.data
    return bytes(file)


def _part_of(ops: list[DiskOp], chance: random.Random) -> list[DiskOp]:
    kept = [op for op in ops if chance.random() < 0.5]
    if kept and kept[-1].kind == "write" and chance.random() < 0.5:
        last = kept[-1]
        # Sectors are written atomically: cut at a sector of the file, not of the write.
        cut = chance.randrange(len(last.data) + 1)
        cut = max(0, (last.offset + cut) // _SECTOR_BYTES * _SECTOR_BYTES - last.offset)
        kept[-1] = DiskOp("write", last.name, last.offset, last.data[:cut])
    return kept


# ---------------------------------------------------------------------- the layer under SQLite


@contextmanager
def disk_under(folder: Path, fault: Fault | None = None) -> Iterator[Disk]:
    """Use a simulated disk for every SQLite database in `folder` that is opened in the block."""
    disk = Disk(folder.resolve(), fault)
    usual = apsw.vfs_names()[0]
    layer = _Layer(disk, usual)
    try:
        yield disk
    finally:
        apsw.set_default_vfs(usual)
        layer.unregister()


class _Layer(apsw.VFS):
    def __init__(self, disk: Disk, usual: str) -> None:
        self._disk = disk
        self._usual = usual
        super().__init__(f"loom-disk-{id(disk)}", usual, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  (apsw's name)
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if not path or not self._disk.owns(path):
            return apsw.VFSFile(self._usual, name, flags)
        self._disk.check("open")
        # The store makes the file empty before SQLite opens it, so that nobody else can read it.
        made = any(op.name == Path(path).name for op in self._disk.ops)
        is_new = not Path(path).exists() or (not made and Path(path).stat().st_size == 0)
        file = _LayerFile(self._disk, self._usual, name, flags, path)
        if is_new and Path(path).exists():
            self._disk.ops.append(DiskOp("create", Path(path).name))
        return file

    def xDelete(self, name: str, syncdir: bool) -> None:  # noqa: N802  (apsw's signature)
        super().xDelete(name, syncdir)
        if self._disk.owns(name):
            self._disk.ops.append(DiskOp("delete", Path(name).name, syncs_folder=bool(syncdir)))


class _LayerFile(apsw.VFSFile):
    def __init__(self, disk: Disk, usual: str, name: Any, flags: list[int], path: str) -> None:
        self._disk = disk
        self._name = Path(path).name
        self._syncs_folder = bool(flags[0] & _JOURNALS)
        super().__init__(usual, name, flags)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802  (apsw's name)
        self._disk.check("write")
        super().xWrite(data, offset)
        self._disk.ops.append(DiskOp("write", self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802  (apsw's name)
        self._disk.check("write")
        super().xTruncate(newsize)
        self._disk.ops.append(DiskOp("truncate", self._name, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802  (apsw's name)
        self._disk.check("sync")
        super().xSync(flags)
        self._disk.ops.append(DiskOp("sync", self._name, syncs_folder=self._syncs_folder))
        self._syncs_folder = False
