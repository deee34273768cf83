"""The rows of the undo log: what an agent changed, with what files were and became.

One SQLite file beside the run's database, readable by its owner only. Images are kept by their
content, once each, compressed. When the runner's database is encrypted (`KeyRing`), images and
answers are, too; names of files are not.
"""

import base64
import contextlib
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import apsw
from loom_runner import KeyRing, StoreError
from loom_runner.errors import StoreForeign
from loom_runner.run_ids import descendant_prefix
from loom_runner.store import check_database

from loom_agents._errors import AgentError, ToolError
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.undo.file_images import Image, missing_folders

Status = Literal["intended", "done", "failed", "undoing", "undone"]

_VERSION = 1
_SCHEMA = """
CREATE TABLE image (hash TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE change (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL, run TEXT NOT NULL, born TEXT NOT NULL, tool TEXT NOT NULL,
    root TEXT NOT NULL, at TEXT NOT NULL, status TEXT NOT NULL, answer TEXT NOT NULL, UNIQUE (key, born)
);
CREATE INDEX change_of_run ON change (run, number);
CREATE VIEW standing AS SELECT * FROM change WHERE status IN ('intended', 'done', 'undoing');
CREATE TABLE file (
    change INTEGER NOT NULL REFERENCES change, path TEXT NOT NULL, new_folders INTEGER NOT NULL,
    before TEXT, before_executable INTEGER NOT NULL, after TEXT, after_executable INTEGER NOT NULL,
    PRIMARY KEY (change, path)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class FileChange:
    """Hold the change of one file.

    Args:
        path: The path, relative to the workspace, without links.
        before: The file before the change; None for no file.
        after: The file after the change; None for no file.
        new_folders: The number of folders above it that are created with it.
    """

    path: str
    before: Image | None
    after: Image | None
    new_folders: int = 0

    @property
    def what(self) -> Literal["created", "changed", "deleted"]:
        """Return what happens to the file."""
        if self.before is None:
            return "created"
        return "deleted" if self.after is None else "changed"


@dataclass(frozen=True, slots=True)
class Change:
    """Hold one change as it is stored.

    Args:
        number: The number of the change in its database, from 1.
        run_id: The run that made it; empty outside a run.
        tool: The tool that made it.
        root: The workspace.
        at: The time, UTC, ISO 8601.
        status: How far it is.
        answer: The answer of the tool.
        files: The change of each file.
    """

    number: int
    key: str
    run_id: str
    tool: str
    root: str
    at: str
    status: Status
    answer: Mapping[str, Any]
    files: tuple[FileChange, ...]

    @property
    def touched(self) -> list[tuple[str, str]]:
        """Return each file with what happened to it: created, changed or deleted."""
        return [(file.path, file.what) for file in self.files]


@dataclass(frozen=True, slots=True)
class Plan:
    """Hold what a call will change, and what it will answer."""

    files: Sequence[FileChange]
    answer: Mapping[str, Any]


class ChangeRows:
    """Read and write the changes of all runs of one database.

    Args:
        path: The file; it is created with the first change.
        now: Returns the time, UTC.
        created_at: Returns when a run of this database was created; empty for an unknown one. A
            database that was created again may have a run of the same id, whose calls have the same
            keys; changes of the earlier run do not belong to it.
    """

    def __init__(self, path: Path, now: Callable[[], datetime], created_at: Callable[[str], str]) -> None:
        self.path = path
        self._now = now
        self._created_at = created_at
        self._keys = KeyRing.from_environment()

    def changed_paths(self, run_id: str) -> list[str]:
        """Return the files that a run and its children have changed and not undone, in order."""
        if not self.path.exists():
            return []
        with self._opened() as db:
            rows = db.execute(
                "SELECT DISTINCT path FROM file JOIN standing ON number = change"
                " WHERE (run = ?1 OR substr(run, 1, length(?2)) = ?2) AND born = born_of(run) ORDER BY path",
                (run_id, descendant_prefix(run_id)),
            )
            return [str(path) for (path,) in rows]

    def active(self, run_id: str, *, latest: int | None = None) -> list[Change]:
        """Read the changes of a run and its children that are not undone, the latest first.

        Args:
            run_id: the run.
            latest: at most so many.
        """
        if not self.path.exists():
            return []
        with self._opened() as db:
            rows = db.execute(
                "SELECT number, key, run, tool, root, at, status, answer FROM standing"
                " WHERE (run = ?1 OR substr(run, 1, length(?2)) = ?2) AND born = born_of(run)"
                " ORDER BY number DESC LIMIT ?3",
                (run_id, descendant_prefix(run_id), -1 if latest is None else latest),
            ).fetchall()
            return [self._change(db, row) for row in rows]

    @contextmanager
    def _opened(self) -> Iterator[apsw.Connection]:
        try:
            # It holds what files held, which others may not be allowed to read.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            db = apsw.Connection(str(self.path))
        except (apsw.Error, OSError) as exc:
            raise AgentError(f"cannot open {self.path}: {exc}. It keeps what undo needs.") from exc
        try:
            db.set_busy_timeout(30_000)
            check_database(db, str(self.path))
            db.pragma("synchronous", "FULL")
            version = db.pragma("user_version")
            if version > _VERSION:
                raise AgentError(
                    f"cannot open {self.path}: its format is {version} and this version knows {_VERSION}."
                    " Upgrade loom-agents."
                )
            if version < _VERSION:
                with db:
                    if db.pragma("user_version") < _VERSION:
                        db.execute(f"{_SCHEMA}; PRAGMA user_version = {_VERSION}")
            db.pragma("trusted_schema", 0)
            self._check_schema(db)
            db.create_scalar_function("born_of", lambda *run: self._created_at(str(run[0])), 1)
            yield db
        except (apsw.NotADBError, apsw.CorruptError) as exc:
            raise AgentError(
                f"cannot read {self.path}: it is damaged ({exc}). Move it away; undo forgets what was changed."
            ) from exc
        except StoreForeign as exc:
            raise AgentError(str(exc)) from exc
        except (StoreError, zlib.error, ValueError) as exc:
            raise AgentError(
                f"cannot read {self.path}: {exc}. Give the key that the database has (LOOM_RUNNER_KEY)."
            ) from exc
        except (apsw.FullError, apsw.IOError, apsw.BusyError, apsw.ReadOnlyError, apsw.CantOpenError) as exc:
            raise ToolError(f"cannot write down what is changed: {exc} ({self.path}).") from exc
        finally:
            db.close()

    def _check_schema(self, db: apsw.Connection) -> None:
        """Refuse a file with a trigger, or another object that is not ours: it could change the
        rows.
        """
        objects = "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'"
        found = set(db.execute(objects))
        with contextlib.closing(apsw.Connection(":memory:")) as ours:
            ours.execute(_SCHEMA)
            foreign = sorted(name for _, name, _ in found ^ set(ours.execute(objects)))
        if foreign:
            raise AgentError(
                f"cannot use {self.path}: {', '.join(map(str, foreign))} in it is not what this version creates."
                " Somebody else changed it; move it away (undo forgets what was changed)."
            )

    def find(self, key: str, run_id: str) -> Change | None:
        """Read the change of a call; None when there is none."""
        if not self.path.exists():
            return None
        with self._opened() as db:
            row = db.execute(
                "SELECT number, key, run, tool, root, at, status, answer FROM change WHERE key = ? AND born = ?",
                (key, self._created_at(run_id)),
            ).fetchone()
            return None if row is None else self._change(db, row)

    def intend(self, workspace: Workspace, key: str, run_id: str, tool: str, plan: Plan) -> Change:
        """Record what a call will change; an earlier try of it that failed is
        forgotten.
        """
        created_at = self._created_at(run_id)
        at = self._now().isoformat(timespec="microseconds").replace("+00:00", "Z")
        files = tuple(replace(file, new_folders=missing_folders(workspace, file.path)) for file in plan.files)
        with self._opened() as db, db:
            earlier = "SELECT number FROM change WHERE key = ? AND born = ?"
            for (old,) in db.execute(earlier, (key, created_at)).fetchall():
                db.execute("DELETE FROM file WHERE change = ?", (old,))
                db.execute("DELETE FROM change WHERE number = ?", (old,))
            db.execute(
                "INSERT INTO change (key, run, born, tool, root, at, status, answer)"
                " VALUES (?, ?, ?, ?, ?, ?, 'intended', ?)",
                (key, run_id, created_at, tool, str(workspace.root), at, self._sealed_text(plan.answer)),
            )
            number = db.last_insert_rowid()
            for file in files:
                images = (*self._keep(db, file.before), *self._keep(db, file.after))
                db.execute(
                    "INSERT INTO file VALUES (?, ?, ?, ?, ?, ?, ?)", (number, file.path, file.new_folders, *images)
                )
        return Change(number, key, run_id, tool, str(workspace.root), at, "intended", dict(plan.answer), files)

    def _keep(self, db: apsw.Connection, image: Image | None) -> tuple[str | None, int]:
        if image is None:
            return None, 0
        data, name = zlib.compress(image.data), image.hash
        if self._keys is not None:
            data, name = self._keys.seal(data), self._keys.address(image.data).hex()
        db.execute("INSERT OR IGNORE INTO image VALUES (?, ?)", (name, data))
        return name, int(image.executable)

    def _change(self, db: apsw.Connection, row: tuple[Any, ...]) -> Change:
        rows: list[Any] = db.execute(
            "SELECT path, before, before_executable, after, after_executable, new_folders FROM file WHERE change = ?",
            (row[0],),
        ).fetchall()
        files = tuple(
            FileChange(path, self._image(db, before, was), self._image(db, after, becomes), folders)
            for path, before, was, after, becomes, folders in rows
        )
        number, key, run_id, tool, root, at, status, answer = row
        return Change(number, key, run_id, tool, root, at, status, self._read_text(answer), files)

    def _image(self, db: apsw.Connection, name: str | None, executable: int) -> Image | None:
        if name is None:
            return None
        data = db.execute("SELECT data FROM image WHERE hash = ?", (name,)).get
        return Image(zlib.decompress(data if self._keys is None else self._keys.unseal(data)), bool(executable))

    def _sealed_text(self, answer: Mapping[str, Any]) -> str:
        text = json.dumps(answer, ensure_ascii=False)
        return text if self._keys is None else base64.b64encode(self._keys.seal(text.encode())).decode()

    def _read_text(self, stored: str) -> Any:
        return json.loads(stored if self._keys is None else self._keys.unseal(base64.b64decode(stored)))

    def mark(self, change: Change, status: Status) -> None:
        """Write down how far a change is."""
        with self._opened() as db, db:
            db.execute("UPDATE change SET status = ? WHERE number = ?", (status, change.number))
