"""The identity of the database that a trail belongs to, which the chain begins with.

The store of the runs keeps an id of the database. A database whose store has none yet gets one in
the table `audit_database`. A chain whose first entry names another id was copied from elsewhere.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, Final

from loom_ops._audit.chain import GENESIS_KIND, GENESIS_SOURCE, AuditFact, AuditHead, entry_after
from loom_ops._clock import now_iso

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import apsw

    from loom_ops._audit.chain import AuditEntry

__all__ = ["begin_chain", "database_id", "named_database"]

FORMAT: Final = 2
"""Of the entries from the one on that names the database. Earlier ones have format 1: the end of a
command had the time of its start, and tries were not told apart."""
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS audit_database (id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS deleted_runs (run_id TEXT PRIMARY KEY, deleted_at INTEGER NOT NULL);
"""
_NEWEST: Final = "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1"


def database_id(rows: Callable[..., Sequence[tuple[Any, ...]]]) -> str | None:
    """Return the id of a database; None when it has none.

    Args:
        rows: Returns the rows of a query.
    """
    for table, sql in (
        ("audit_database", "SELECT id FROM audit_database"),
        ("about", "SELECT value FROM about WHERE name = 'database_id'"),
    ):
        if rows("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,)):
            for (found,) in rows(sql):
                return str(found)
    return None


def begin_chain(db: apsw.Connection) -> None:
    """Write the entry that names the database, inside the transaction of a migration."""
    db.execute(_TABLES)
    name = database_id(lambda *query: db.execute(*query).fetchall())
    if name is None:
        name = uuid.uuid4().hex
        db.execute("INSERT INTO audit_database VALUES (?)", (name,))
    newest = db.execute(_NEWEST).fetchone()
    fact = AuditFact(GENESIS_SOURCE, "", now_iso(), GENESIS_KIND, "loom-ops", {"database": name, "format": FORMAT})
    entry = entry_after(AuditHead(*newest) if newest else None, fact)
    db.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", entry.row)


def named_database(entry: AuditEntry) -> str:
    """Return the id that the first entry names; empty when it names none."""
    try:
        content = json.loads(entry.content)
        return str(content["database"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
