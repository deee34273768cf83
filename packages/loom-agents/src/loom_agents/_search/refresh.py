"""Bring an index up to date with its files.

Files with the same size and modification time are not read; files that were read and have the same
content are not indexed again. Files are read outside of transactions and written in batches; the
row of a file is read again in the transaction, because another process may have been faster.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Final, NamedTuple

import apsw

from loom_agents._errors import SearchError, ToolError
from loom_agents._search.database import IndexDatabase
from loom_agents._search.files import Files, ListedFile
from loom_agents._search.read.chunk import Chunk, Sizes
from loom_agents._search.read.document import max_bytes, missing_for, read_document, reader_of
from loom_agents._search.read.outcome import Limits, Skipped
from loom_agents._search.results import IndexReport, SkippedFile
from loom_agents._search.versions import keep_version
from loom_agents._search.words import split_names

Progress = Callable[[int, int, str], None]

_TIME_STEP: Final = timedelta(minutes=1)
_BATCH_FILES: Final = 200
_BATCH_CHARACTERS: Final = 4_000_000
_SETTLED_NS: Final = 1_000_000_000  # a file may change again within its time stamp's resolution
_KNOWN: Final = "SELECT id, path, size_bytes, modified_ns, digest, skipped, read_again FROM loom_search_file"
_KNOWN_BELOW: Final = f"{_KNOWN} WHERE path = ? OR (path > ? AND path < ?)"  # 0 follows /
_PUT_FILE: Final = """
    INSERT INTO loom_search_file (path, size_bytes, modified_ns, digest, skipped, read_again) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (path) DO UPDATE SET size_bytes = excluded.size_bytes, modified_ns = excluded.modified_ns,
        digest = excluded.digest, skipped = excluded.skipped, read_again = excluded.read_again
    RETURNING id
"""
_PUT_META: Final = "INSERT INTO loom_search_meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"


class _Known(NamedTuple):
    """What the index knows about a file."""

    id: int
    path: str
    size_bytes: int
    modified_ns: int
    digest: bytes | None
    skipped: str | None
    read_again: bool

    def is_current(self, file: ListedFile) -> bool:
        same = self.modified_ns == file.modified_ns and self.size_bytes == file.size_bytes
        return same and not self.read_again


@dataclass(frozen=True, slots=True)
class _Reading:
    """A file that was read: its chunks, or why it is skipped."""

    file: ListedFile
    digest: bytes | None
    content: list[Chunk] | Skipped | None  # None: the content is the known one
    read_again: bool

    def is_known(self, row: _Known | None) -> bool:
        """Report whether the file was skipped before, for the same reason, and looks the same."""
        if row is None or not isinstance(self.content, Skipped) or row.skipped != self.content.why:
            return False
        same = (row.size_bytes, row.modified_ns) == (self.file.size_bytes, self.file.modified_ns)
        return same and row.read_again == self.read_again


@dataclass(slots=True)
class _Counts:
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: int = 0
    ignored: int = 0
    skipped: list[SkippedFile] = field(default_factory=list)


class Refresher:
    """Update one index from its files.

    Args:
        files: The files to index.
        origin: Identifies the folder: the times of files in another folder say nothing about these.
    """

    def __init__(self, database: IndexDatabase, files: Files, origin: str, sizes: Sizes, limits: Limits) -> None:
        self._database = database
        self._files = files
        self._origin = origin
        self._sizes = sizes
        self._limits = limits

    def refresh(self, progress: Progress | None, paths: Iterable[str] | None, *, force: bool) -> IndexReport:
        """Update the index, or the part of it below these paths."""
        rebuilt = self._adopt_settings()
        counts = _Counts()
        below = None if paths is None else [self.relative(path) for path in paths]
        known = self._known(below)
        gone = dict(known)
        todo: list[ListedFile] = []
        for file in self._listed(below):
            row = gone.pop(file.path, None)
            if row is not None and row.is_current(file) and not force:
                counts.unchanged += row.skipped is None
            elif reader_of(file.path) is not None:
                todo.append(file)
            else:
                if row is not None:
                    gone[file.path] = row  # another version of this package has read files of this kind
                counts.ignored += 1
                if below is not None and file.path in below:
                    counts.skipped.append(SkippedFile(file.path, "files of this kind are not read"))
        self._remove(list(gone.values()), counts)
        for readings in self._batches(todo, known, progress, force=force):
            self._write(readings, counts)
        if below is None:
            self._note_time()
        counts.skipped += skipped_files(self._database, below)
        return IndexReport(
            tuple(counts.added),
            tuple(counts.changed),
            tuple(counts.removed),
            counts.unchanged,
            tuple(counts.skipped),
            counts.ignored,
            rebuilt,
        )

    def _note_time(self) -> None:
        """Store that everything was refreshed now; once a minute, because writing waits for
        others.
        """
        now = datetime.now(UTC)
        stored = self._database.value("SELECT value FROM loom_search_meta WHERE key = 'refreshed_at'")
        if stored is None or abs(now - datetime.fromisoformat(stored)) > _TIME_STEP:
            with self._database.transaction() as db:
                db.execute(_PUT_META, ("refreshed_at", now.isoformat().replace("+00:00", "Z")))

    def _listed(self, below: list[str] | None) -> Iterator[ListedFile]:
        if below is None:
            return self._files.walk()
        return iter({file.path: file for path in below for file in self._files.walk(path)}.values())

    def relative(self, path: str) -> str:
        """Return a path relative to the root, in the form of a listing."""
        asked = PurePosixPath(path)
        if asked.is_absolute() and asked.is_relative_to(self._origin):
            asked = asked.relative_to(self._origin)
        return str(asked)

    def _adopt_settings(self) -> str | None:
        """Store the settings of this index; forget what was made with others and say so."""
        settings = {"origin": self._origin, "chunks": f"{self._sizes.chunk}/{self._sizes.overlap}"}
        stored: dict[str, str] = dict(self._database.rows("SELECT key, value FROM loom_search_meta"))
        if all(stored.get(key) == value for key, value in settings.items()):
            return None
        why = None
        with self._database.transaction() as db:
            if stored.get("chunks", settings["chunks"]) != settings["chunks"]:
                why = f"the sizes of chunks changed from {stored['chunks']} to {settings['chunks']}"
                db.execute("UPDATE loom_search_file SET digest = NULL, read_again = 1")
            if stored.get("origin", self._origin) != self._origin:
                why = why or f"the folder changed from {stored['origin']} to {self._origin}"
                db.execute("UPDATE loom_search_file SET read_again = 1")
            db.executemany(_PUT_META, settings.items())
        return why

    def _known(self, below: list[str] | None) -> dict[str, _Known]:
        if below is None:
            return {row.path: row for row in map(_Known._make, self._database.rows(_KNOWN))}
        if "." in below:
            return self._known(None)
        rows = (row for path in below for row in self._database.rows(_KNOWN_BELOW, (path, f"{path}/", f"{path}0")))
        return {row.path: row for row in map(_Known._make, rows)}

    def _remove(self, rows: list[_Known], counts: _Counts) -> None:
        while batch := rows[:_BATCH_FILES]:
            del rows[:_BATCH_FILES]
            with self._database.transaction() as db:
                for row in batch:
                    keep_version(db, row.path, row.id, ())
                    _drop_chunks(db, row.id)
                    db.execute("DELETE FROM loom_search_file WHERE id = ?", (row.id,))
            counts.removed += [row.path for row in batch if row.skipped is None]

    # ------------------------------------------------------------------ reading

    def _batches(
        self, todo: list[ListedFile], known: dict[str, _Known], progress: Progress | None, *, force: bool
    ) -> Iterator[list[_Reading]]:
        batch: list[_Reading] = []
        size = 0
        for number, file in enumerate(todo, start=1):
            reading = self._read(file, known.get(file.path), force=force)
            if not reading.is_known(known.get(file.path)):
                batch.append(reading)
            if isinstance(reading.content, list):
                size += sum(len(chunk.text) for chunk in reading.content)
            if len(batch) >= _BATCH_FILES or size > _BATCH_CHARACTERS:
                yield batch
                batch, size = [], 0
            if progress is not None:
                progress(number, len(todo), file.path)
        if batch:
            yield batch

    def _read(self, file: ListedFile, known: _Known | None, *, force: bool) -> _Reading:
        reader = reader_of(file.path)
        assert reader is not None
        limit = max_bytes(reader, self._limits)
        if file.size_bytes > limit:
            why = f"it is larger than {limit:,} bytes"
            return _Reading(file, None, Skipped(why), read_again=False)
        missing = missing_for(reader)
        if missing is not None:
            return _Reading(file, None, missing, read_again=True)
        try:
            with self._files.open(file.path) as handle:
                data = handle.read(limit)
        except ToolError as exc:
            return _Reading(file, None, Skipped(_reason(exc)), read_again=True)
        except OSError as exc:
            return _Reading(file, None, Skipped(exc.strerror or str(exc)), read_again=True)
        digest = hashlib.blake2b(data, digest_size=16).digest()
        is_recent = time.time_ns() - file.modified_ns < _SETTLED_NS
        if known is not None and known.digest == digest and not force:
            return _Reading(file, digest, None, is_recent)
        content = read_document(reader, data, self._sizes, self._limits)
        if isinstance(content, Skipped) and content.read_again:
            return _Reading(file, None, content, read_again=True)
        return _Reading(file, digest, content, is_recent)

    # ------------------------------------------------------------------ writing

    def _write(self, readings: list[_Reading], counts: _Counts) -> None:
        added: list[str] = []
        changed: list[str] = []
        removed: list[str] = []
        unchanged = 0
        with self._database.transaction() as db:
            for reading in readings:
                file, content = reading.file, reading.content
                row = db.execute("SELECT id, digest, skipped FROM loom_search_file WHERE path = ?", (file.path,)).get
                number, digest, skipped = row or (0, None, None)
                if content is None and digest != reading.digest:
                    continue  # another process has indexed another content; the next refresh compares
                if content is None:
                    db.execute(
                        "UPDATE loom_search_file SET size_bytes = ?, modified_ns = ?, read_again = ? WHERE id = ?",
                        (file.size_bytes, file.modified_ns, reading.read_again, number),
                    )
                    unchanged += skipped is None
                    continue
                why = content.why if isinstance(content, Skipped) else None
                if isinstance(content, list):
                    keep_version(db, file.path, number, content)
                _drop_chunks(db, number)
                values = (file.path, file.size_bytes, file.modified_ns, reading.digest, why, reading.read_again)
                number = db.execute(_PUT_FILE, values).get
                if isinstance(content, list):
                    _add_chunks(db, number, file.path, content)
                    (changed if row and skipped is None else added).append(file.path)
                elif row and skipped is None:
                    removed.append(file.path)
        counts.added += added
        counts.changed += changed
        counts.removed += removed
        counts.unchanged += unchanged


def skipped_files(database: IndexDatabase, below: list[str] | None = None) -> list[SkippedFile]:
    """Return the files that are not in the index, with the reasons."""
    query = "SELECT path, skipped FROM loom_search_file WHERE skipped IS NOT NULL ORDER BY path"
    return [SkippedFile(path, why) for path, why in database.rows(query) if below is None or _is_below(path, below)]


def _is_below(path: str, below: list[str]) -> bool:
    return any(folder in (".", path) or path.startswith(f"{folder}/") for folder in below)


def _drop_chunks(db: apsw.Connection, file: int) -> None:
    for (chunk,) in db.execute("SELECT id FROM loom_search_chunk WHERE file = ?", (file,)).fetchall():
        db.execute("DELETE FROM loom_search_words WHERE rowid = ?", (chunk,))
        db.execute("DELETE FROM loom_search_vector WHERE chunk = ?", (chunk,))
    db.execute("DELETE FROM loom_search_chunk WHERE file = ?", (file,))


def _add_chunks(db: apsw.Connection, file: int, path: str, content: list[Chunk]) -> None:
    last = db.execute("SELECT max(id) FROM loom_search_chunk").get or 0
    numbers = range(last + 1, last + 1 + len(content))
    db.executemany(
        "INSERT INTO loom_search_chunk (id, file, line, is_source) VALUES (?, ?, ?, ?)",
        ((number, file, chunk.line, chunk.is_source) for number, chunk in zip(numbers, content, strict=True)),
    )
    db.executemany(
        "INSERT INTO loom_search_words (rowid, heading, path, names, text) VALUES (?, ?, ?, ?, ?)",
        (
            (number, chunk.heading, path, split_names(f"{path}\n{chunk.heading}\n{chunk.text}"), chunk.text)
            for number, chunk in zip(numbers, content, strict=True)
        ),
    )


def _reason(exc: ToolError) -> str:
    if isinstance(exc, SearchError):
        raise exc
    return str(exc).partition(": ")[2].rstrip(".") or str(exc)
