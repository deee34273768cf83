from pathlib import Path
from typing import Any

import apsw
import pytest
from loom_ops._errors import AuditError, LoomOpsError
from loom_ops._tables import Tables

ONE = "CREATE TABLE IF NOT EXISTS notes (text TEXT NOT NULL);"
TWO = "CREATE INDEX notes_by_text ON notes (text);"
BROKEN = "CREATE TABLE half (x); CREATE TABLE half (x);"


def opened(path: Path, *migrations: str, **more: Any) -> Tables:
    return Tables(path, "notes", "notes", migrations or [ONE], **more)


def add(tables: Tables, text: str | None) -> None:
    with tables.transaction() as db:
        db.execute("INSERT INTO notes VALUES (?)", (text,))


def texts(tables: Tables) -> list[str]:
    return [text for (text,) in tables.rows("SELECT text FROM notes ORDER BY rowid")]


def test_tables_are_created_once_and_keep_their_rows(tmp_path: Path) -> None:
    for text in ("a", "b"):
        tables = opened(tmp_path / "x.sqlite")
        add(tables, text)
        tables.close()
        tables.close()
    assert texts(opened(tmp_path / "x.sqlite", ONE, TWO)) == ["a", "b"]


def test_a_failed_migration_leaves_nothing_and_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="cannot open the notes in .*: .*half.* Sorry."):
        opened(tmp_path / "x.sqlite", ONE, BROKEN, error=AuditError, hint="Sorry.")
    db = apsw.Connection(str(tmp_path / "x.sqlite"))
    assert db.execute("SELECT name FROM sqlite_schema").fetchall() == []


def test_a_transaction_that_raises_writes_nothing(tmp_path: Path) -> None:
    tables = opened(tmp_path / "x.sqlite")
    with pytest.raises(ValueError, match="no"), tables.transaction() as db:
        db.execute("INSERT INTO notes VALUES ('a')")
        raise ValueError("no")
    add(tables, "b")
    assert texts(tables) == ["b"]


def test_an_error_of_sqlite_is_reported_in_one_line_with_the_verb(tmp_path: Path) -> None:
    tables = opened(tmp_path / "x.sqlite")
    with pytest.raises(LoomOpsError, match="cannot write the notes in .*x.sqlite: .*NOT NULL"):
        add(tables, None)
    with pytest.raises(LoomOpsError, match="cannot read the notes"):
        tables.rows("SELECT * FROM nothing")
    with pytest.raises(LoomOpsError, match="cannot open the notes in .*: it is a directory"):
        opened(tmp_path)
