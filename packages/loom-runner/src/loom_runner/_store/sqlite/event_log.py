"""A durable, numbered log of what changes in a database, for clients that follow runs.

Theory of operation
-------------------
A client that follows a run over a network loses its connection now and then and wants to continue
exactly where it stopped. For that every event needs a number that never changes and only grows. The
rows of the store have none: they are updated in place, and several processes write them.

So the log is a table that the database fills by triggers, in the transaction of the change:
whichever process and version writes, and however that process ends. An entry holds the kind, the
number of the row and one word; everything else stays in the row. Entries are numbered in commit
order, because SQLite has one writer at a time: a client that has read up to a number never misses a
smaller one.

A database without a log pays nothing: the table and the triggers are created when a log is first
opened, and filled once from the existing rows, ordered by their times. A migration that rebuilds a
table drops its triggers; the next opening creates them again.
"""

# ruff: noqa: S608  (the f-strings join constants of this module; values always travel as parameters)
from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loom_runner._model.records import LoggedEvent
from loom_runner._store.address import sqlite_path
from loom_runner._store.sqlite.side_tables import SQLiteSideTables
from loom_runner._store.sqlite.store import SQLiteStore

if TYPE_CHECKING:
    from os import PathLike

    import apsw

__all__ = ["EventLog"]

_NOW_US: Final = "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"

_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS run_events (
        seq     INTEGER PRIMARY KEY AUTOINCREMENT,
        run_key INTEGER NOT NULL REFERENCES runs,
        kind    TEXT NOT NULL,
        ref     INTEGER,
        word    TEXT,
        at      INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS run_events_of_run ON run_events (run_key, seq);
"""

# name of the trigger: what fires it, and the kind, row and word of the entry
_EVENTS: Final[dict[str, tuple[str, str]]] = {
    "run_created": ("INSERT ON runs", "'run', NULL, new.status"),
    "run_changed": ("UPDATE OF status ON runs WHEN old.status IS NOT new.status", "'run', NULL, new.status"),
    "step_added": ("INSERT ON steps", "'step', new.step_index, new.outcome"),
    "attempt_added": ("INSERT ON attempts", "'attempt', new.step_index, new.kind"),
    "tool_added": ("INSERT ON tool_calls", "'tool', new.ordinal, new.status"),
    "tool_changed": (
        "UPDATE OF status, tries ON tool_calls WHEN old.status IS NOT new.status OR old.tries IS NOT new.tries",
        "'tool', new.ordinal, new.status",
    ),
    "approval_added": ("INSERT ON approvals", "'approval', new.number, new.status"),
    "approval_changed": (
        "UPDATE OF status, decided ON approvals WHEN old.status IS NOT new.status OR old.decided IS NOT new.decided",
        "'approval', new.number, new.status",
    ),
    "signal_added": ("INSERT ON signals", "'signal', new.signal_key, new.name"),
}

# The key of a deleted run may be used again; its entries must not become another run's.
_FORGET: Final = """
    CREATE TRIGGER IF NOT EXISTS log_run_deleted AFTER DELETE ON runs
    BEGIN DELETE FROM run_events WHERE run_key = old.run_key; END;
"""

# What happened before the log existed, ordered by time.
_EARLIER: Final = """
    INSERT INTO run_events (run_key, kind, ref, word, at)
    SELECT run_key, kind, ref, word, at FROM (
        SELECT run_key, 'run' AS kind, NULL AS ref, 'created' AS word, created_at AS at, 0 AS place FROM runs
        UNION ALL SELECT run_key, 'signal', signal_key, name, sent_at, 1 FROM signals
        UNION ALL SELECT run_key, 'tool', ordinal, 'started', started_at, 2 FROM tool_calls
        UNION ALL SELECT run_key, 'tool', ordinal, status, ended_at, 3 FROM tool_calls WHERE ended_at IS NOT NULL
        UNION ALL SELECT run_key, 'approval', number, status, requested_at, 4 FROM approvals
        UNION ALL SELECT run_key, 'attempt', step_index, kind, ended_at, 5 FROM attempts
        UNION ALL SELECT run_key, 'step', step_index, outcome, ended_at, 6 FROM steps
        UNION ALL SELECT run_key, 'run', NULL, status, updated_at, 7 FROM runs
    ) ORDER BY at, place, ref
"""


_TRIGGERS: Final = _FORGET + "".join(
    f"CREATE TRIGGER IF NOT EXISTS log_{name} AFTER {event} BEGIN"
    f" INSERT INTO run_events (run_key, kind, ref, word, at) VALUES (new.run_key, {entry}, {_NOW_US}); END;\n"
    for name, (event, entry) in _EVENTS.items()
)


def _create_and_fill(db: apsw.Connection) -> None:
    is_new = not db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'run_events'").get
    db.execute(_TABLE)
    if is_new:
        db.execute(_EARLIER)


_MIGRATIONS: Final = (_create_and_fill,)


class EventLog:
    """Read the log of one database; opening it creates the log if there is none. For one thread.

    Args:
        address: The database, as `open_store` takes it.

    Raises:
        StoreError: The database cannot be used.
    """

    def __init__(self, address: str | PathLike[str]) -> None:
        path = sqlite_path(address)
        SQLiteStore(path).close()  # creates or migrates the tables that have the triggers
        self._tables = SQLiteSideTables(path, "events", _MIGRATIONS, always=_TRIGGERS)
        self._seen: object = None

    def after(self, seq: int, *, run_id: str | None = None, limit: int = 500) -> list[LoggedEvent]:
        """Return up to `limit` entries after a number, in order: those of one run, or of all
        runs.
        """
        of_run = "" if run_id is None else "AND run_key = (SELECT run_key FROM runs WHERE run_id = :run)"
        sql = f"""SELECT seq, run_id, kind, ref, word, at FROM run_events JOIN runs USING (run_key)
            WHERE seq > :seq {of_run} ORDER BY seq LIMIT :limit"""
        return [LoggedEvent(*row) for row in self._tables.rows(sql, {"seq": seq, "run": run_id, "limit": limit})]

    def last(self) -> int:
        """Return the number of the latest entry of all runs, deleted ones included; 0 if there is
        none.
        """
        rows = self._tables.rows("SELECT seq FROM sqlite_sequence WHERE name = 'run_events'")
        return int(rows[0][0]) if rows else 0

    def has_changed(self) -> bool:
        """Return whether another connection has written to the database since the last call; reads
        no table.
        """
        before, self._seen = self._seen, self._tables.change_mark()
        return self._seen != before

    def close(self) -> None:
        """Close the database."""
        self._tables.close()
