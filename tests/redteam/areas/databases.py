"""A database from elsewhere: what it holds, who made it, who can read what is made here."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import apsw
from loom_runner import Runs, SQLiteStore
from loom_runner.errors import StoreError
from loom_runner.store import open_side_tables

from tests.redteam.area import Area
from tests.redteam.site import command_ran, loom, loom_ops, make_site

AREA = Area(
    "databases",
    hole="replace('loom_runner._store.sqlite.foreign_objects', 'check_objects', lambda *words: None)",
)

_APPROVED = json.dumps([{"by": "alice", "how": "approve", "at": 1, "via": "cli", "note": ""}])
_SELF = f"UPDATE approvals SET status = 'approved', decided = 2, decisions = '{_APPROVED}' WHERE rowid = new.rowid;"
_OBJECTS = {
    "trigger that approves": f"CREATE TRIGGER t AFTER INSERT ON approvals BEGIN {_SELF} END",
    "trigger with the name of one of ours": f"CREATE TRIGGER log_run_created AFTER INSERT ON runs BEGIN {_SELF} END",
    "trigger on updates": "CREATE TRIGGER t AFTER UPDATE OF status ON runs BEGIN DELETE FROM approvals; END",
    "trigger that hides": "CREATE TRIGGER t BEFORE INSERT ON attempts BEGIN SELECT raise(IGNORE); END",
    "view": "CREATE VIEW v AS SELECT * FROM runs",
    "view for a table": "DROP TABLE signals; CREATE VIEW signals AS SELECT 1 AS signal_key",
    "view of the audit trail": "CREATE VIEW audit AS SELECT 1 AS number",
    "table": "CREATE TABLE extra (x)",
    "virtual table": "CREATE VIRTUAL TABLE words USING fts5 (text)",
    "shadow table": "CREATE TABLE memory_words_more (x)",
    "default": "ALTER TABLE approvals ADD COLUMN note DEFAULT 'approved'",
    "check": "DROP TABLE signals; CREATE TABLE signals (run_key, name CHECK (length(name)))",
    "generated column": "ALTER TABLE runs ADD COLUMN more AS (upper(state))",
    "index with an expression": "CREATE INDEX i ON runs (json_extract(state, '$.x'))",
    "partial index": "CREATE INDEX i ON runs (run_id) WHERE length(state) > 0",
    "trigger in a listed group": (
        "CREATE TABLE side_tables (name TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;"
        "INSERT INTO side_tables VALUES ('mine', 1); CREATE TABLE mine (x);"
        f"CREATE TRIGGER t AFTER INSERT ON approvals BEGIN {_SELF} END"
    ),
}


def _change(path: Path, sql: str) -> None:
    db = apsw.Connection(str(path))
    db.execute(sql)
    db.close()


def _through(path: Path) -> str | None:
    """Return which way of opening a database takes it."""
    ways: dict[str, Callable[[], object]] = {
        "store": lambda: SQLiteStore(path).close(),
        "read-only": lambda: SQLiteStore(path, read_only=True).close(),
        "side tables": lambda: open_side_tables(path, "audit", ["CREATE TABLE IF NOT EXISTS a (x)"]).close(),
        "backup": lambda: Runs(SQLiteStore(path, read_only=True)).backup(path.with_name("copy.sqlite")),
    }
    for name, way in ways.items():
        try:
            way()
        except StoreError:
            continue
        return f"opened: {name}"
    return None


@AREA.attempt_each("a database with", _OBJECTS.items())
def _(folder: Path, case: tuple[str, str]) -> str | None:
    path = folder / "runs.sqlite"
    SQLiteStore(path).close()
    _change(path, case[1])
    return _through(path)


@AREA.attempt_each("an empty database with", [item for item in _OBJECTS.items() if item[0] in ("view", "table")])
def _(folder: Path, case: tuple[str, str]) -> str | None:
    path = folder / "runs.sqlite"
    _change(path, "CREATE TABLE runs (x); PRAGMA application_id = 1282371437;" + case[1])
    return _through(path)


@AREA.attempt("a trigger that approves for alice and bob (loom-ops)")
def _(folder: Path) -> str | None:
    make_site(folder, count=2)
    loom_ops(folder, "supervise", "fixit", "--runbook", "fix", "--run-id", "old", "--mock-llm")
    _change(folder / "ops.sqlite", _OBJECTS["trigger that approves"])
    loom_ops(folder, "supervise", "fixit", "--runbook", "fix", "--run-id", "new", "--mock-llm")
    return command_ran(folder)


def _chat(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return loom(folder, "loom_run", *words)


def _shipped(folder: Path) -> Path:
    """Return a work tree that came with a database, made under another home."""
    maker, tree = folder / "maker", folder / "tree"
    maker.mkdir()
    tree.mkdir()
    script = {"format": "loom-script/1", "replies": [{"text": "a"}, {"text": "b"}]}
    (maker / "s.json").write_text(json.dumps(script))
    _chat(maker, "chat", "x", "--run-id", "demo", "--mock-llm=s.json")
    for file in maker.iterdir():
        (tree / file.name).write_bytes(file.read_bytes())
    (tree / ".git").mkdir()
    return tree


@AREA.attempt("a database that came with a repository is written to")
def _(folder: Path) -> str | None:
    tree = _shipped(folder)
    before = (tree / "runs.sqlite").read_bytes()
    for words in (("chat", "y", "--run-id", "demo", "--mock-llm=s.json"), ("resume", "demo"), ("undo", "demo")):
        ended = _chat(tree, *words)
        if ended.returncode == 0 or "--trust" not in ended.stderr:
            return f"{words[0]}: {ended.returncode} {ended.stderr[-200:]}"
    if (tree / "runs.sqlite").read_bytes() != before:
        return "the file was changed"
    listed = _chat(tree, "runs")
    return None if listed.returncode == 0 and "note: " in listed.stderr else f"runs: {listed.stderr[-200:]}"


@AREA.attempt("a database of another user is written to by loom-runner")
def _(folder: Path) -> str | None:
    path = folder / "runs.sqlite"
    SQLiteStore(path).close()
    _change(
        path,
        "UPDATE about SET value = '[4711, \"eve\"]' WHERE name = 'made_by';"
        "INSERT INTO runs (run_id, status, program, created_at, updated_at, input, state)"
        " VALUES ('r', 'waiting', 'loom-run/chat', 1, 1, '1', '1')",
    )
    ended = loom(folder, "loom_runner", "cancel", "r", "--db", "runs.sqlite")
    return None if ended.returncode and "another user made it" in ended.stderr else f"cancelled: {ended.stderr}"


@AREA.attempt("an extension or a file is reached by a query")
def _(folder: Path) -> str | None:
    with SQLiteStore(folder / "runs.sqlite") as store:
        for sql in (
            "SELECT load_extension('x')",
            "SELECT readfile('/etc/hostname')",
            "ATTACH 'x.sqlite' AS x",
            "PRAGMA trusted_schema = ON",
            "SELECT * FROM pragma_trusted_schema(1)",
            "SELECT writefile('x', 'y')",
        ):
            try:
                Runs(store).query(sql)
            except Exception as exc:  # noqa: BLE001 - whatever refuses it
                if "cannot query" in str(exc):
                    continue
            return sql
    return None


@AREA.attempt("what is made here is readable by others")
def _(folder: Path) -> str | None:
    before = os.umask(0)
    try:
        with SQLiteStore(folder / "runs.sqlite") as store:
            Runs(store).backup(folder / "backup.sqlite")
            open_side_tables(folder / "notes.sqlite", "notes", ["CREATE TABLE note (x)"]).close()
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    finally:
        os.umask(before)
    return next((f"{name}: {mode:o}" for name, mode in modes.items() if mode & 0o077), None)
