"""A file that holds something that is not of loom is refused, by name, before anything happens."""

from pathlib import Path

import apsw
import pytest
from loom_runner import SQLiteStore
from loom_runner._store.sqlite.event_log import EventLog
from loom_runner._store.sqlite.foreign_objects import MAX_VALUE_BYTES
from loom_runner.errors import StoreForeign
from loom_runner.store import open_side_tables

RENAMED = (
    "PRAGMA legacy_alter_table = ON; ALTER TABLE approvals RENAME TO old; {}; DROP TABLE old;"
    "CREATE INDEX approvals_pending ON approvals (status) WHERE status = 'pending'"
)
FOREIGN = {
    "trigger": (
        "CREATE TRIGGER t AFTER INSERT ON approvals BEGIN UPDATE approvals SET status = 'approved'; END",
        "it holds a trigger 't' on 'approvals' that is not of loom",
    ),
    "temporary name": (
        "CREATE TRIGGER log_run_created AFTER INSERT ON runs BEGIN UPDATE runs SET status = 'completed'; END",
        "it holds a trigger 'log_run_created' on 'runs'",
    ),
    "view": ("CREATE VIEW v AS SELECT * FROM runs", "it holds a view 'v' that is not of loom"),
    "table": ("CREATE TABLE x (y)", "it holds a table 'x' that is not of loom"),
    "virtual table": (
        "CREATE VIRTUAL TABLE words USING fts5 (text)",
        "it holds a virtual table 'words' that is not of loom",
    ),
    "view in the place of a table": (
        "DROP TABLE signals; CREATE VIEW signals AS SELECT * FROM steps",
        "it holds a view 'signals'",
    ),
    "index": ("CREATE INDEX i ON runs (state)", "it holds an index 'i' on 'runs' that is not of loom"),
    "index with an expression": ("CREATE INDEX i ON runs (upper(state))", "it holds an index 'i' on 'runs'"),
    "table with a check": (
        "DROP TABLE signals; CREATE TABLE signals (run_key, name CHECK (length(name) < 9))",
        "its table 'signals' is not as loom makes it",
    ),
    "table with a default": (
        "ALTER TABLE approvals ADD COLUMN more DEFAULT 'approved'",
        "its table 'approvals' is not as loom makes it",
    ),
    "generated column": (
        "ALTER TABLE runs ADD COLUMN more AS (upper(state))",
        "its table 'runs' is not as loom makes it",
    ),
    "control characters": ('CREATE VIEW "v\x1b[2J\u202e" AS SELECT 1', r"it holds a view 'v\x1b[2J\u202e' that"),
}


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / "runs.sqlite")
    SQLiteStore(path).close()
    return path


def change(path, sql):
    db = apsw.Connection(path)
    db.execute(sql)
    db.close()


@pytest.mark.parametrize("case", FOREIGN)
@pytest.mark.parametrize(
    "opened",
    [
        SQLiteStore,
        lambda path: SQLiteStore(path, read_only=True),
        lambda path: open_side_tables(path, "audit", ["CREATE TABLE notes (x)"]),
        EventLog,
    ],
    ids=["store", "read-only", "side tables", "event log"],
)
def test_what_is_not_of_loom_is_refused_by_name(path, case, opened):
    sql, message = FOREIGN[case]
    change(path, sql)
    before = Path(path).read_bytes()
    with pytest.raises(StoreForeign) as caught:
        opened(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"cannot open {path}: ")
    assert "\n" not in str(caught.value)
    assert Path(path).read_bytes() == before


def test_a_file_that_is_not_of_loom_is_not_taken_over(tmp_path):
    path = str(tmp_path / "runs.sqlite")
    change(path, "CREATE TABLE side_tables (name TEXT); CREATE VIEW v AS SELECT 1")
    with pytest.raises(StoreForeign, match="its table 'side_tables' is not as"):
        SQLiteStore(path)


TRIGGER = "CREATE TRIGGER IF NOT EXISTS seen AFTER INSERT ON note BEGIN UPDATE note SET text = 'seen'; END"


def test_tables_of_a_user_are_known_to_every_process_and_their_triggers_to_the_one_that_registers_them(path):
    notes = ["CREATE TABLE note (text TEXT DEFAULT 'x')", "CREATE INDEX note_by_text ON note (text)"]
    open_side_tables(path, "my-notes", notes).close()
    SQLiteStore(path).close()
    open_side_tables(path, "my-notes", [*notes, TRIGGER]).close()
    SQLiteStore(path).close()
    open_side_tables(path, "my-notes-2", ["CREATE TABLE more (x)"], always=TRIGGER).close()
    change(path, "UPDATE side_tables SET name = 'of-another-process' WHERE name = 'my-notes'; DROP TRIGGER seen")
    change(path, TRIGGER.replace("seen", "unseen"))
    with pytest.raises(StoreForeign, match="trigger 'unseen' on 'note'"):
        SQLiteStore(path)
    change(path, "DROP TRIGGER unseen; CREATE INDEX computed ON note (upper(text))")
    with pytest.raises(StoreForeign, match="index 'computed' on 'note'"):
        SQLiteStore(path)
    change(path, "DROP INDEX computed; CREATE TABLE of_another (x, y); CREATE UNIQUE INDEX o ON of_another (x, y)")
    SQLiteStore(path).close()


def test_tables_of_a_user_add_nothing_to_the_tables_of_loom(path):
    open_side_tables(path, "my-notes", ["CREATE TABLE note (text TEXT)"]).close()
    change(path, "CREATE INDEX plain ON runs (state)")
    with pytest.raises(StoreForeign, match="index 'plain' on 'runs'"):
        SQLiteStore(path)


def test_statistics_of_the_planner_are_known(path):
    change(path, "ANALYZE")
    SQLiteStore(path).close()


def test_a_connection_trusts_nothing_in_the_schema(path):
    store = SQLiteStore(path)
    db = store._file.db
    assert db.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, -1) == 0
    assert db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, -1) == 1
    assert db.pragma("cell_size_check") == 1
    assert db.limit(apsw.SQLITE_LIMIT_LENGTH) == MAX_VALUE_BYTES
    with pytest.raises(apsw.TooBigError):
        db.execute("SELECT length(zeroblob(1000000000) || 'x')")
    store.close()
