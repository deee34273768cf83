"""What an agent changed in a workspace, so that every change happens once and can be taken back.

Theory of operation
-------------------
A change is the work of one tool call on one or more files, named by the call's idempotency key. It goes:

1. *plan*: read the files, work out what each shall be (nothing is written; a refusal ends here);
2. *intend*: store both images of every file and the tool's answer under the key, in one durable transaction;
3. *put*: bring each file from its image before to its image after (`_images.put`, atomic for each);
4. *close*: mark the change as done.

A process may die between any two of these. The same call, made again with the same key, finds the change: done, it
gives the stored answer and touches nothing; intended, every file is either as before or as after, and those that
are as before are put. So a call takes effect once, however often it is made. When a file is neither, somebody
changed it meanwhile: what was put is brought back, and the call fails and says so. A disk that is full ends the same
way. There is no state in which half of a change stays without a word.

*Undo* goes the same road backwards: marked first, then every file that is as after is brought back, then closed.
It refuses when a file is not as the change left it, unless it is forced; killed, it is done again.

*Where.* One SQLite file beside the run's database, `<database>-undo`; the tools do not see it. Images are kept by
their content, compressed, once each.

*Not covered.* Somebody who brings a file back by hand, between a kill and the next try, to exactly what it was before:
the change is made then. Extended attributes and hard links do not survive a change.
"""

import json
import os
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import apsw

from loom_agents._errors import AgentError, ToolError
from loom_agents._images import Image, missing_folders, put, remove_folders, take
from loom_agents._workspace import Workspace

Status = Literal["intended", "done", "failed", "undoing", "undone"]

_VERSION = 1
_SCHEMA = """
CREATE TABLE image (hash TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE change (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, run TEXT NOT NULL, tool TEXT NOT NULL, root TEXT NOT NULL,
    at TEXT NOT NULL, status TEXT NOT NULL, answer TEXT NOT NULL
);
CREATE INDEX change_of_run ON change (run, number);
CREATE VIEW standing AS SELECT * FROM change WHERE status IN ('intended', 'done', 'undoing');
CREATE TABLE file (
    change INTEGER NOT NULL REFERENCES change, path TEXT NOT NULL, new_folders INTEGER NOT NULL,
    before TEXT, before_executable INTEGER NOT NULL, after TEXT, after_executable INTEGER NOT NULL,
    PRIMARY KEY (change, path)
) WITHOUT ROWID;
"""

# One at a time in this process: two calls of one reply may want the same file, and the second must see the first.
_turn = threading.RLock()


@dataclass(frozen=True, slots=True)
class FileChange:
    """Hold what happens to one file.

    Args:
        path: relative, without links.
        before: what it was; None for no file.
        after: what it shall be; None for no file.
        new_folders: how many of the folders above it come with it.
    """

    path: str
    before: Image | None
    after: Image | None
    new_folders: int = 0

    @property
    def what(self) -> Literal["created", "changed", "deleted"]:
        """Say in one word what happens to it."""
        if self.before is None:
            return "created"
        return "deleted" if self.after is None else "changed"


@dataclass(frozen=True, slots=True)
class Change:
    """Hold one change as it is stored.

    Args:
        number: counts the changes of a database, from 1.
        run_id: the run that made it; empty outside a run.
        tool: the tool that made it.
        root: the workspace.
        at: when, UTC, ISO 8601.
        status: how far it is.
        answer: what the tool answered.
        files: what happened to each file.
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
        """Name the files, and what happened to each: created, changed or deleted."""
        return [(file.path, file.what) for file in self.files]


@dataclass(frozen=True, slots=True)
class Plan:
    """Hold what a call wants to change, and what it will answer."""

    files: Sequence[FileChange]
    answer: Mapping[str, Any]


class ChangeLog:
    """Keep the changes of all runs of one database.

    Args:
        path: the file; it is made with the first change.
        now: tells the time, UTC.
    """

    def __init__(self, path: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.path = path
        self._now = now

    def make(self, workspace: Workspace, *, key: str, run_id: str, tool: str, plan: Callable[[], Plan]) -> Any:
        """Make a change once, whatever happened to earlier tries of the same key.

        Args:
            workspace: where.
            key: names the call; the same in every try.
            run_id: the run.
            tool: the tool.
            plan: says what to change; called when nothing is known about the key.

        Returns:
            The answer of the plan, or of the try that came through.

        Raises:
            ToolError: the plan refuses, or a file was changed by somebody else meanwhile; nothing is changed then.

        Durability: the change is on disk when this returns, and so is what undoes it.
        """
        with _turn:
            known = self._find(key)
            if known is None or known.status == "failed":
                known = self._intend(workspace, key, run_id, tool, plan())
            if known.status == "done":
                return dict(known.answer)
            if known.status != "intended":
                raise ToolError(f"cannot repeat {tool}: this change was made before and then taken back.")
            self._put(workspace, known)
            with suppress(ToolError):  # the files are as they shall be, and whoever looks at them sees it
                self._mark(known, "done")
            return dict(known.answer)

    def answer_of(self, key: str) -> dict[str, Any] | None:
        """Give the answer of a change that is done; None when it is not, or not known."""
        known = self._find(key)
        return dict(known.answer) if known is not None and known.status == "done" else None

    def changed_paths(self, run_id: str) -> list[str]:
        """Name the files that a run and its children have changed and not taken back, in order."""
        if not self.path.exists():
            return []
        with self._opened() as db:
            rows = db.execute(
                "SELECT DISTINCT path FROM file JOIN standing ON number = change"
                " WHERE run = ?1 OR substr(run, 1, length(?2)) = ?2 ORDER BY path",
                (run_id, f"{run_id}:sub:"),
            )
            return [str(path) for (path,) in rows]

    def standing(self, run_id: str, *, latest: int | None = None) -> list[Change]:
        """Read the changes of a run and its children that were not taken back, the latest first.

        Args:
            run_id: the run.
            latest: at most so many.
        """
        if not self.path.exists():
            return []
        with self._opened() as db:
            rows = db.execute(
                "SELECT number, key, run, tool, root, at, status, answer FROM standing"
                " WHERE run = ?1 OR substr(run, 1, length(?2)) = ?2 ORDER BY number DESC LIMIT ?3",
                (run_id, f"{run_id}:sub:", -1 if latest is None else latest),
            ).fetchall()
            return [self._change(db, row) for row in rows]

    def undo(self, run_id: str, *, every: bool = False, force: bool = False) -> list[Change]:
        """Take back the last change of a run, or all of them, the latest first.

        Args:
            run_id: the run; changes of its children count as its own.
            every: take back all.
            force: also when a file was changed since; what it holds now is lost then.

        Returns:
            What was taken back; empty when there is nothing.

        Raises:
            ToolError: a file is not as the change left it; nothing is taken back then.

        Durability: the files are on disk when this returns; killed in the middle, the same call goes on.
        """
        with _turn:
            wanted = self.standing(run_id, latest=None if every else 1)
            if not force:
                self._check_unchanged(wanted)
            for change in wanted:
                self._mark(change, "undoing")
                workspace = Workspace.at(Path(change.root))
                failed = self._restore(workspace, change.key, change.files)
                if failed is not None:
                    raise ToolError(
                        f"cannot undo change {change.number}: {failed}. Mend that, and undo again to go on."
                    )
                self._mark(change, "undone")
            return wanted

    # ------------------------------------------------------------------ the files

    def _put(self, workspace: Workspace, change: Change) -> None:
        """Bring all files to their images after; bring back what was put when that fails."""
        reached: list[FileChange] = []
        try:
            found = [(file, take(workspace, file.path)) for file in change.files]
            for file, now in found:
                if now == file.after:
                    reached.append(file)
            for file, now in found:
                if now not in (file.before, file.after):
                    raise ToolError(
                        f"cannot change {file.path!r}: somebody else changed it meanwhile. Nothing was"
                        " changed. Read it again."
                    )
            for file, now in found:
                if now != file.after:
                    put(workspace, file.path, file.after, key=change.key)
                    reached.append(file)
        except (OSError, ToolError) as exc:
            left = self._restore(workspace, change.key, reached)
            if left is not None:
                names = ", ".join(file.path for file in change.files)
                raise ToolError(
                    f"cannot change {names}: {exc}; and what was changed of it cannot be brought back"
                    f" ({left}). Tell the user: loom-run undo does it when that is mended."
                ) from exc
            self._mark(change, "failed")
            if isinstance(exc, ToolError):
                raise
            raise ToolError(f"cannot change the files: {exc.strerror or exc}. Nothing was changed.") from exc

    def _restore(self, workspace: Workspace, key: str, files: Sequence[FileChange]) -> str | None:
        """Bring files back to what they were before; what the system said when it refused."""
        try:
            for file in reversed(files):
                put(workspace, file.path, file.before, key=key)
                if file.before is None:
                    remove_folders(workspace, file.path, file.new_folders)
        except OSError as exc:
            return exc.strerror or str(exc)
        return None

    def _check_unchanged(self, changes: Sequence[Change]) -> None:
        """Walk backwards through what the files will be, and refuse where one is not as it was left."""
        now: dict[tuple[str, str], Image | None] = {}
        for change in changes:
            workspace = Workspace.at(Path(change.root))
            for file in change.files:
                place = (change.root, file.path)
                found = now[place] if place in now else take(workspace, file.path)
                if found not in (file.after, file.before):
                    raise ToolError(
                        f"cannot undo change {change.number} ({change.tool} {file.path}): the file was changed"
                        " since. Nothing was undone. Look at it; --force brings the old content back and drops what"
                        " is there now."
                    )
                now[place] = file.before

    # ------------------------------------------------------------------ the rows

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
            yield db
        except (apsw.NotADBError, apsw.CorruptError) as exc:
            raise AgentError(
                f"cannot read {self.path}: it is damaged ({exc}). Move it away; undo forgets what was changed."
            ) from exc
        except (apsw.FullError, apsw.IOError, apsw.BusyError, apsw.ReadOnlyError, apsw.CantOpenError) as exc:
            raise ToolError(f"cannot write down what is changed: {exc} ({self.path}).") from exc
        finally:
            db.close()

    def _find(self, key: str) -> Change | None:
        if not self.path.exists():
            return None
        with self._opened() as db:
            row = db.execute(
                "SELECT number, key, run, tool, root, at, status, answer FROM change WHERE key = ?", (key,)
            ).fetchone()
            return None if row is None else self._change(db, row)

    def _intend(self, workspace: Workspace, key: str, run_id: str, tool: str, plan: Plan) -> Change:
        at = self._now().isoformat(timespec="microseconds").replace("+00:00", "Z")
        files = tuple(replace(file, new_folders=missing_folders(workspace, file.path)) for file in plan.files)
        with self._opened() as db, db:
            db.execute("DELETE FROM file WHERE change = (SELECT number FROM change WHERE key = ?)", (key,))
            db.execute("DELETE FROM change WHERE key = ?", (key,))  # an earlier try that failed
            db.execute(
                "INSERT INTO change (key, run, tool, root, at, status, answer) VALUES (?, ?, ?, ?, ?, 'intended', ?)",
                (key, run_id, tool, str(workspace.root), at, json.dumps(plan.answer, ensure_ascii=False)),
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
        db.execute("INSERT OR IGNORE INTO image VALUES (?, ?)", (image.hash, zlib.compress(image.data)))
        return image.hash, int(image.executable)

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
        return Change(number, key, run_id, tool, root, at, status, json.loads(answer), files)

    def _image(self, db: apsw.Connection, name: str | None, executable: int) -> Image | None:
        if name is None:
            return None
        data = db.execute("SELECT data FROM image WHERE hash = ?", (name,)).get
        return Image(zlib.decompress(data), bool(executable))

    def _mark(self, change: Change, status: Status) -> None:
        with self._opened() as db, db:
            db.execute("UPDATE change SET status = ? WHERE number = ?", (status, change.number))
