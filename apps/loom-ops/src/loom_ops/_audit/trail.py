"""The audit trail: what was requested, decided and done, in an append-only table with the runs.

Theory of operation. The entries are a chain (see `chain`), so that a change is visible. They are
derived from committed rows of the runs (see `facts`), each under the name of its fact. A name is
written once: after a crash the same facts are derived again and nothing is recorded twice, so the
trail of an interrupted run reads like that of an undisturbed one. The head is printed at the end of
each command, sent with each notification, and appended to a file beside the database (see `heads`);
`verify(head)` then finds removed entries.

Triggers refuse UPDATE and DELETE: they prevent accidents, and the chain shows deliberate changes.
Not covered: a person who can change the file *and* every printed head.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from loom_runner.cli_base import write_error
from loom_runner.run_ids import descendant_prefix

from loom_ops._audit.chain import AuditEntry, AuditHead, ChainBreak, chain_breaks, entry_after, shown
from loom_ops._audit.database import begin_chain, database_id
from loom_ops._audit.heads import append_head, heads_file
from loom_ops._errors import AuditError
from loom_ops._tables import Tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import apsw

    from loom_ops._audit.chain import AuditFact

__all__ = ["AuditTrail", "append_facts", "open_trail"]

_CREATE: Final = """
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
"""
_MIGRATIONS: Final = (_CREATE, begin_chain)
_COLUMNS: Final = "number, source, run_id, at, kind, actor, content, previous, hash"
_INSERT: Final = f"INSERT INTO audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_NEWEST: Final = "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1"
_ALL: Final = f"SELECT {_COLUMNS} FROM audit ORDER BY number"  # noqa: S608 - made of constants
_NEWEST_OF_KIND: Final = f"""SELECT {_COLUMNS} FROM audit WHERE kind = ?
    ORDER BY number DESC LIMIT 1"""  # noqa: S608 - made of constants
_OF_SOURCE: Final = f"SELECT {_COLUMNS} FROM audit WHERE source = ?"  # noqa: S608 - made of constants
_TEXTS: Final = ("source", "run_id", "at", "kind", "actor", "content", "previous", "hash")
_CELLS: Final = ", ".join(f"typeof({name}), CAST({name} AS BLOB)" for name in _TEXTS)
_STORED: Final = f"SELECT typeof(number), number, {_CELLS} FROM audit ORDER BY number"  # noqa: S608 - made of constants
_OBJECTS: Final = """SELECT name, type, sql FROM sqlite_schema
    WHERE (tbl_name = 'audit' OR name IN ('audit', 'audit_of_run', 'audit_is_not_changed', 'audit_is_not_cut'))
    AND sql IS NOT NULL"""
_OF_RUN: Final = f"""SELECT {_COLUMNS} FROM audit
    WHERE run_id = ?1 OR substr(run_id, 1, length(?2)) = ?2
    ORDER BY number"""  # noqa: S608 - made of constants
_SOURCES: Final = "SELECT source FROM audit WHERE run_id = ?1 OR substr(run_id, 1, length(?2)) = ?2"


class AuditTrail:
    """The trail in one database.

    Args:
        read_only: Write nothing to it.

    Raises:
        AuditError: The database cannot be opened.
    """

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        self.path = path
        self._tables = Tables(
            path,
            "audit",
            "audit trail",
            _MIGRATIONS,
            error=AuditError,
            hint="The audit trail was not changed.",
            read_only=read_only,
        )

    def close(self) -> None:
        """Close the database. Closing twice is harmless."""
        self._tables.close()

    def append(self, facts: Sequence[AuditFact]) -> int:
        """Write the facts that are not recorded yet, in the given order; return their number.

        Durability: they are on disk when this returns, all or none.
        """
        with self._tables.transaction() as db:
            written = append_facts(db, facts)
        if written:
            self.keep_head()
        return written

    def keep_head(self) -> None:
        """Append the head to the file beside the database; print why when that is impossible."""
        head, file = self.head(), heads_file(self.path)
        if head is None or file is None:
            return
        try:
            append_head(file, head)
        except AuditError as exc:
            write_error(str(exc))

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

    def sources(self, run_id: str) -> set[str]:
        """Return the names of the facts of a run and its children that are recorded."""
        return {str(source) for (source,) in self._tables.rows(_SOURCES, (run_id, descendant_prefix(run_id)))}

    def newest(self, kind: str) -> AuditEntry | None:
        """Return the newest entry of a kind."""
        rows = self._tables.rows(_NEWEST_OF_KIND, (kind,))
        return AuditEntry(*rows[0]) if rows else None

    def find(self, source: str) -> AuditEntry | None:
        """Return the entry of a fact."""
        rows = self._tables.rows(_OF_SOURCE, (source,))
        return AuditEntry(*rows[0]) if rows else None

    def verify(self, *heads: AuditHead) -> list[ChainBreak]:
        """Verify the chain, without the rows that it speaks of; return every break.

        Args:
            heads: Heads that were printed earlier; their entries must still exist, unchanged.
        """
        return chain_breaks(self.stored(), *heads)

    def stored(self) -> Iterator[AuditEntry | ChainBreak]:
        """Yield each entry, or a break where a row is not one."""
        for number_type, number, *cells in self._tables.rows(_STORED):
            if number_type != "integer":
                yield ChainBreak(0, f"the number of an entry is {shown(number)}")
                continue
            values = dict(zip(_TEXTS, zip(cells[::2], cells[1::2], strict=True), strict=True))
            wrong = [f"{name} is {_what(kind, value)}" for name, (kind, value) in values.items() if _what(kind, value)]
            if wrong:
                yield ChainBreak(number, f"entry {number} cannot be read: {', '.join(wrong)}")
            else:
                yield AuditEntry(number, *(value.decode() for _, value in values.values()))

    def wrong_tables(self) -> list[ChainBreak]:
        """Return how the table of the entries differs from the one that was created."""
        import apsw

        expected = apsw.Connection(":memory:")
        expected.execute(_CREATE)
        wanted = {name: rest for name, *rest in expected.execute(_OBJECTS)}
        expected.close()
        found = {name: rest for name, *rest in self._tables.rows(_OBJECTS)}
        texts = []
        for name in sorted(wanted.keys() | found.keys()):
            if name not in found:
                texts.append(f"the {wanted[name][0]} {name!r} of the audit trail is missing")
            elif name not in wanted:
                texts.append(f"the {found[name][0]} {shown(name)} does not belong to the audit trail")
            elif found[name][0] != wanted[name][0]:
                texts.append(f"{name!r} is a {found[name][0]}, not the {wanted[name][0]} of the audit trail")
            elif str(found[name][1]).split() != str(wanted[name][1]).split():
                texts.append(f"the {wanted[name][0]} {name!r} of the audit trail was changed")
        return [ChainBreak(0, text) for text in texts]

    def database(self) -> str | None:
        """Return the id of the database."""
        return database_id(self._tables.rows)

    def deleted_at(self, run_id: str) -> int | None:
        """Return when retention deleted a run (microseconds since 1970); None when it did not."""
        rows = self._tables.rows("SELECT deleted_at FROM deleted_runs WHERE run_id = ?", (run_id,))
        return int(rows[0][0]) if rows else None


@contextmanager
def open_trail(path: Path | str, *, read_only: bool = False) -> Iterator[AuditTrail]:
    """Open the trail, and close it at the end.

    Args:
        read_only: Write nothing to it; the table may be missing.

    Raises:
        AuditError: The database cannot be opened.
    """
    with closing(AuditTrail(path, read_only=read_only)) as trail:
        yield trail


def append_facts(db: apsw.Connection, facts: Iterable[AuditFact]) -> int:
    """Write the facts that are not recorded yet, inside a transaction of the database of the runs.

    Call `keep_head` when it is committed.
    """
    written = 0
    newest = db.execute(_NEWEST).fetchone()
    head = AuditHead(*newest) if newest else None
    for fact in facts:
        if db.execute("SELECT 1 FROM audit WHERE source = ?", (fact.source,)).fetchone():
            continue
        entry = entry_after(head, fact)
        db.execute(_INSERT, entry.row)
        head = AuditHead(entry.number, entry.hash)
        written += 1
    return written


def _what(kind: str, value: bytes | None) -> str:
    """Return what a cell is, when it is not the text that it must be."""
    if kind != "text" or value is None:
        return kind
    try:
        value.decode()
    except UnicodeDecodeError:
        return "not UTF-8"
    return ""
