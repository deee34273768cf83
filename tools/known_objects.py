"""Write `_store/sqlite/known_objects.py`: what loom and its products create in a database.

    python tools/known_objects.py          rewrites the module

A released object stays in the list: databases that have it must open. So the module is read, what
is made now is added, and nothing is removed.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import apsw
from loom_runner import Runs, SQLiteStore
from loom_runner._store.sqlite import file, side_tables
from loom_runner._store.sqlite.foreign_objects import object_digest
from loom_runner._store.sqlite.known_objects import DIGESTS
from loom_runner._store.sqlite.schema import MIGRATIONS

ROOT = Path(__file__).parents[1]
MODULE = ROOT / "packages/loom-runner/src/loom_runner/_store/sqlite/known_objects.py"
_HEAD = '''"""The objects that this package and the products create in a database: the digest of each, and its
name. See `foreign_objects`.

Made by `tools/known_objects.py`, which knows the products; `tests/test_known_objects.py` compares.
"""

from typing import Final

__all__ = ["DIGESTS"]

DIGESTS: Final[dict[str, str]] = {
'''
_SELECT = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL"


def made_now() -> dict[str, str]:
    """Return the objects that the present code creates, at each format: name by digest."""
    return {object_digest(row): row[1] for row in rows_now()}


def rows_now() -> set[tuple[Any, ...]]:
    """Return their rows in `sqlite_schema`."""
    found: set[tuple[Any, ...]] = set()

    def add(db: apsw.Connection) -> None:
        found.update(db.execute(_SELECT).fetchall())

    db = apsw.Connection(":memory:")
    for migration in MIGRATIONS:
        db.execute(migration)
        add(db)
    db.execute("ANALYZE")
    add(db)
    with tempfile.TemporaryDirectory() as folder:
        for file in _files_of_products(Path(folder)):
            other = apsw.Connection(str(file))
            add(other)
            other.close()
    return found


def _files_of_products(folder: Path) -> list[Path]:
    from datetime import UTC, datetime

    from loom_agents._serve.owners import Owners
    from loom_agents._workspace.undo.change_rows import ChangeRows
    from loom_ops._audit.trail import AuditTrail
    from loom_ops._interfaces.telegram.tables import TelegramTables
    from loom_ops._memory import open_memory
    from loom_runner._store.sqlite.event_log import EventLog

    runs, undo = folder / "runs.sqlite", folder / "runs.sqlite-undo"
    for product in (EventLog, AuditTrail, TelegramTables, open_memory):
        product(str(runs)).close()
    with SQLiteStore(runs) as store:
        Owners(str(runs), Runs(store)).close()
    with ChangeRows(undo, lambda: datetime.now(UTC), lambda run: run)._opened():  # noqa: SLF001  (makes its tables)
        pass
    return [runs, undo]


def main() -> None:
    """Rewrite the module."""
    for user in (file, side_tables):
        vars(user)["check_objects"] = lambda *_: None  # what is new is not known yet
    objects = sorted(((name, digest) for digest, name in ({**DIGESTS, **made_now()}).items()))
    MODULE.write_text(_HEAD + "".join(f'    "{digest}": "{name}",\n' for name, digest in objects) + "}\n")
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", str(MODULE)], check=True)


if __name__ == "__main__":
    main()
