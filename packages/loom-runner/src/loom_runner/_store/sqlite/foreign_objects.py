"""Objects in a database that are not of loom. Theory of operation:

A trigger, a view, a virtual table, a generated column or an expression in an index is a program
that SQLite executes while this package reads and writes. So before anything is done with a file,
each row of `sqlite_schema` is compared with the objects of this package and of the products
(`known_objects`), by a digest of the whole row: SQLite builds its schema from the text in the row,
so an object with an expected text *is* the expected object. Objects that are missing are not looked
for.

*Tables of users.* `open_side_tables` registers a group of tables: what its migrations create is
known in this process. Another process (`loom-runner list`) does not know them. It lets plain tables
and plain indexes through if the file lists such a group, because nothing in them is ever executed.

A connection is also told to trust nothing in the schema (`restrict`).
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.formatting import shorten
from loom_runner._store.sqlite.known_objects import DIGESTS
from loom_runner.errors import StoreForeign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import apsw

    from loom_runner._store.side_tables import Migration

__all__ = ["MAX_VALUE_BYTES", "check_objects", "object_digest", "register_group", "restrict"]

MAX_VALUE_BYTES: Final = 256_000_000
"""The largest text, BLOB or row that SQLite handles (`SQLITE_LIMIT_LENGTH`): four times the largest
state that a store accepts by default."""
_MAX_SQL_BYTES: Final = 1_000_000
_MAX_TRIGGER_DEPTH: Final = 10
_SCHEMA: Final = "SELECT type, name, tbl_name, sql FROM sqlite_schema"
_PRODUCT_GROUPS: Final = frozenset({"audit", "events", "memory", "serve_owners", "telegram"})
_PLAIN: Final = re.compile(
    r"CREATE (TABLE|(UNIQUE )?INDEX) (?!.*\b(CHECK|GENERATED|AS|WHERE|LIKE|GLOB)\b)", re.IGNORECASE
)
_PLAIN_INDEX: Final = re.compile(r"""CREATE (UNIQUE )?INDEX [^()]+ON [^()]+\([\w\s,"`]*\)$""", re.IGNORECASE)

_registered: Final[dict[str, tuple[Sequence[Migration], str, Mapping[str, Callable[..., Any]]]]] = {}
_of_groups: Final[dict[str, frozenset[str]]] = {}


def restrict(db: apsw.Connection) -> None:
    """Set what a connection refuses: functions with effects in the schema, writes to internals of
    SQLite, values that are too long, and pages that are malformed.
    """
    import apsw

    db.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    db.limit(apsw.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    db.limit(apsw.SQLITE_LIMIT_SQL_LENGTH, _MAX_SQL_BYTES)
    db.limit(apsw.SQLITE_LIMIT_TRIGGER_DEPTH, _MAX_TRIGGER_DEPTH)
    db.limit(apsw.SQLITE_LIMIT_ATTACHED, 1)  # VACUUM attaches one
    db.execute("PRAGMA cell_size_check = ON")


def register_group(
    name: str, migrations: Sequence[Migration], always: str, functions: Mapping[str, Callable[..., Any]]
) -> None:
    """Let this process know what the migrations of a group of side tables create."""
    if name not in _PRODUCT_GROUPS:
        _registered[name] = (migrations, always, functions)
        _of_groups.pop(name, None)


def check_objects(db: apsw.Connection, path: str) -> None:
    """Compare the objects of a database with those that are expected.

    Raises:
        StoreForeign: One of them is not of loom. The message names it.
    """
    unknown = [row for row in db.execute(_SCHEMA) if not _is_known(row)]
    if unknown:
        _refuse(db, path, unknown)


def object_digest(row: Sequence[Any]) -> str:
    """Return the digest of a row of `sqlite_schema`: type, name, table, SQL. White space in the SQL
    does not count.
    """
    kind, name, table, sql = row
    text = "\n".join((str(kind), str(name), str(table), " ".join(str(sql).split())))
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()


def _is_known(row: Sequence[Any]) -> bool:
    if row[3] is None:  # the index of a UNIQUE or PRIMARY KEY of a table
        return row[0] == "index" and str(row[1]).startswith("sqlite_autoindex_")
    return object_digest(row) in DIGESTS


def _refuse(db: apsw.Connection, path: str, unknown: list[tuple[Any, ...]]) -> None:
    mine = frozenset[str]().union(*map(_objects_of_group, _registered))
    has_group = _lists_a_group_of_users(db)
    tables = {row[2] for row in unknown if row[0] == "table"}
    for row in unknown:
        if object_digest(row) in mine or (has_group and row[2] in tables and _is_plain(row)):
            continue
        raise StoreForeign(f"cannot open {path}: {_described(row)}. Use a database that you made.")


def _described(row: Sequence[Any]) -> str:
    kind, name, table, sql = row
    if kind not in ("trigger", "view", "table", "index") or not isinstance(name, str):
        return f"its schema has an entry of the kind {shorten(repr(kind), 40)}, which SQLite does not write"
    shown = shorten(repr(name), 60)
    on = f" on {shorten(repr(table), 60)}" if kind in ("trigger", "index") else ""
    if kind in ("table", "index") and name in _names():
        return f"its {kind} {shown}{on} is not as loom makes it"
    if re.match(r"\s*CREATE\s+VIRTUAL", str(sql), re.IGNORECASE):
        kind = "virtual table"
    article = "an" if kind == "index" else "a"
    return f"it holds {article} {kind} {shown}{on} that is not of loom"


def _names() -> frozenset[str]:
    return frozenset(DIGESTS.values())


def _lists_a_group_of_users(db: apsw.Connection) -> bool:
    with suppress(Exception):  # a table of this name that is not the expected one
        return any(name not in _PRODUCT_GROUPS for (name,) in db.execute("SELECT name FROM side_tables"))
    return False


def _is_plain(row: Sequence[Any]) -> bool:
    """Return whether nothing in an object of a user is ever executed."""
    kind, _, _, sql = row
    text = " ".join(str(sql).split())
    if kind == "index":
        return _PLAIN_INDEX.match(text) is not None
    return kind == "table" and _PLAIN.match(text) is not None


def _objects_of_group(name: str) -> frozenset[str]:
    """Return the objects of a registered group, at each of its versions."""
    found = _of_groups.get(name)
    if found is None:
        found = _of_groups[name] = frozenset(_made_in_scratch(*_registered[name]))
    return found


def _made_in_scratch(
    migrations: Sequence[Migration], always: str, functions: Mapping[str, Callable[..., Any]]
) -> Iterator[str]:
    import apsw

    from loom_runner._store.sqlite.schema import MIGRATIONS

    db = apsw.Connection(":memory:")
    try:
        for migration in MIGRATIONS:
            db.execute(migration)
        for name, function in functions.items():
            db.create_scalar_function(name, function)
        for step in (*migrations, always):
            with suppress(Exception):  # a migration of the user's that needs more than tables
                _ = db.execute(step) if isinstance(step, str) else step(db)
            yield from map(object_digest, db.execute(_SCHEMA).fetchall())
    finally:
        db.close()
