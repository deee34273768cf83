"""The audit trail: what was requested, decided and done, in an append-only table with the runs.

Theory of operation. The entries are a chain (see `chain`), so that a change is visible. They are
derived from committed rows of the runs (see `facts`), each under the name of its fact. A name is
written once: after a crash the same facts are derived again and nothing is recorded twice, so the
trail of an interrupted run reads like that of an undisturbed one. The head is printed at the end of
each command and sent with each notification; `verify(head)` then finds removed entries.

Triggers refuse UPDATE and DELETE: they prevent accidents, and the chain shows deliberate changes.
Not covered: a person who can change the file *and* every printed head.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from loom_runner.run_ids import descendant_prefix

from loom_ops._audit.chain import AuditEntry, AuditHead, chain_breaks, entry_after
from loom_ops._errors import AuditError
from loom_ops._tables import Tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import apsw

    from loom_ops._audit.chain import AuditFact, ChainBreak

__all__ = ["AuditTrail", "append_facts", "open_trail"]

_MIGRATIONS: Final = (
    """
CREATE TABLE IF NOT EXISTS audit (
    number   INTEGER PRIMARY KEY,
    source   TEXT NOT NULL UNIQUE,
    run_id   TEXT NOT NULL,
    at       TEXT NOT NULL,
    kind     TEXT NOT NULL,
    actor    TEXT NOT NULL,
    content  TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash     TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS audit_of_run ON audit (run_id, number);
CREATE TRIGGER IF NOT EXISTS audit_is_not_changed BEFORE UPDATE ON audit
    BEGIN SELECT raise(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER IF NOT EXISTS audit_is_not_cut BEFORE DELETE ON audit
    BEGIN SELECT raise(ABORT, 'the audit trail is append-only'); END;
""",
)
_COLUMNS: Final = "number, source, run_id, at, kind, actor, content, previous, hash"
_INSERT: Final = f"INSERT INTO audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_NEWEST: Final = "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1"
_ALL: Final = f"SELECT {_COLUMNS} FROM audit ORDER BY number"  # noqa: S608 - made of constants
_OF_RUN: Final = f"""SELECT {_COLUMNS} FROM audit
    WHERE run_id = ?1 OR substr(run_id, 1, length(?2)) = ?2
    ORDER BY number"""  # noqa: S608 - made of constants


class AuditTrail:
    """The trail in one database.

    Raises:
        AuditError: The database cannot be opened.
    """

    def __init__(self, path: Path | str) -> None:
        self._tables = Tables(
            path,
            "audit",
            "audit trail",
            _MIGRATIONS,
            error=AuditError,
            hint="The audit trail was not changed.",
        )

    def close(self) -> None:
        """Close the database. Closing twice is harmless."""
        self._tables.close()

    def append(self, facts: Sequence[AuditFact]) -> int:
        """Write the facts that are not recorded yet, in the given order; return their number.

        Durability: they are on disk when this returns, all or none.
        """
        with self._tables.transaction() as db:
            return append_facts(db, facts)

    def head(self) -> AuditHead | None:
        """Return number and hash of the newest entry; None when the trail is empty."""
        rows = self._tables.rows(_NEWEST)
        return AuditHead(*rows[0]) if rows else None

    def entries(self, run_id: str | None = None) -> list[AuditEntry]:
        """Read entries in order, of one run and its children or of all."""
        if run_id is None:
            rows = self._tables.rows(_ALL)
        else:
            rows = self._tables.rows(_OF_RUN, (run_id, descendant_prefix(run_id)))
        return [AuditEntry(*row) for row in rows]

    def verify(self, head: AuditHead | None = None) -> list[ChainBreak]:
        """Verify the whole chain; return every break.

        Args:
            head: A head that was printed earlier; its entry must still exist, unchanged.
        """
        return chain_breaks(self.entries(), head)


def append_facts(db: apsw.Connection, facts: Iterable[AuditFact]) -> int:
    """Write the facts that are not recorded yet, inside an open transaction; return their
    number. The table exists.
    """
    head, written = _head(db), 0
    for fact in facts:
        if db.execute("SELECT 1 FROM audit WHERE source = ?", (fact.source,)).fetchone():
            continue
        entry = entry_after(head, fact)
        db.execute(_INSERT, _row(entry))
        head = AuditHead(entry.number, entry.hash)
        written += 1
    return written


@contextmanager
def open_trail(path: Path | str) -> Iterator[AuditTrail]:
    """Open the trail, and close it at the end.

    Raises:
        AuditError: The database cannot be opened.
    """
    with closing(AuditTrail(path)) as trail:
        yield trail


def _head(db: apsw.Connection) -> AuditHead | None:
    row = db.execute(_NEWEST).fetchone()
    return AuditHead(*row) if row else None


def _row(entry: AuditEntry) -> tuple[int | str, ...]:
    return (
        entry.number,
        entry.source,
        entry.run_id,
        entry.at,
        entry.kind,
        entry.actor,
        entry.content,
        entry.previous,
        entry.hash,
    )
