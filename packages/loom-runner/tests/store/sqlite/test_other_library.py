import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import apsw
import pytest
from loom_runner import AgentRunner, Complete, Continue, SQLiteStore
from loom_runner._store.sqlite import hold, other_library
from loom_runner._store.sqlite.open_files import OpenFile
from loom_runner.errors import AnotherSQLite, StoreUnlocked
from loom_runner.store import open_side_tables

pytestmark = pytest.mark.skipif(not hold.has_locks(), reason="locks of open file descriptions are of Linux")


async def count(state, ctx):
    return Continue(state + 1) if state < 5 else Complete(state)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SQLiteStore("runs.sqlite") as store:
        yield store


def drive(store, run_id="r"):
    return asyncio.run(AgentRunner(step=count, store=store).start(run_id=run_id, initial_state=0))


def attached(path):
    """A connection of another library that no audit event tells of."""
    db = sqlite3.connect(":memory:")
    db.execute("ATTACH ? AS theirs", (str(path),))
    db.execute("SELECT count(*) FROM theirs.runs").fetchall()
    return db


def names_of(folder):
    (folder / "link").symlink_to(folder / "runs.sqlite")
    os.link(folder / "runs.sqlite", folder / "hard link.sqlite")
    (folder / "sub").mkdir()
    return [
        "runs.sqlite",
        b"runs.sqlite",
        Path("runs.sqlite"),
        "./sub/../runs.sqlite",
        str(folder / "runs.sqlite"),
        "link",
        "hard link.sqlite",
        "file:runs.sqlite",
        "file:runs.sqlite?mode=ro",
        "file:hard%20link.sqlite?cache=private#x",
        f"file:{folder}/runs.sqlite",
        f"file://{folder}/runs.sqlite?immutable=0",
        f"file://localhost{folder}/runs.sqlite",
    ]


def test_a_connection_of_another_library_is_refused_by_whatever_name(store, tmp_path):
    for name in names_of(tmp_path):
        is_uri = isinstance(name, str) and name.startswith("file:")
        with pytest.raises(AnotherSQLite, match=r"cannot open .*runs.sqlite with Python's sqlite3: .*query\(sql\)"):
            sqlite3.connect(name, uri=is_uri)
    assert drive(store).status == "completed"


def test_the_connection_of_a_thread_is_refused_too(store):
    async def connect():
        await asyncio.to_thread(sqlite3.connect, "runs.sqlite")

    with pytest.raises(AnotherSQLite):
        asyncio.run(connect())


def test_other_files_and_connections_without_locks_are_allowed(store, tmp_path):
    for name in (
        ":memory:",
        "",
        "other.sqlite",
        "file:runs.sqlite?immutable=1",
        "file:runs.sqlite?mode=memory&cache=shared",
        "file:nowhere/runs.sqlite?mode=memory",
    ):
        sqlite3.connect(name, uri=name.startswith("file:")).close()
    assert drive(store).status == "completed"


def test_a_file_that_no_store_has_open_any_more_may_be_opened(store):
    store.close()
    db = sqlite3.connect("runs.sqlite")
    assert db.execute("SELECT count(*) FROM runs").fetchone() == (0,)
    db.close()


def test_a_file_is_refused_until_its_last_user_closes_it(store):
    with contextlib.closing(open_side_tables("runs.sqlite", "notes", ["CREATE TABLE notes (x)"])):
        store.close()
        with pytest.raises(AnotherSQLite):
            sqlite3.connect("runs.sqlite")
    sqlite3.connect("runs.sqlite").close()


@pytest.mark.parametrize("name", ["runs.sqlite-shm", b"runs.sqlite-shm", Path("runs.sqlite-shm")])
def test_opening_the_shared_memory_file_is_refused(store, name):
    with pytest.raises(AnotherSQLite, match=r"cannot open .*runs.sqlite-shm: .* Copy the database with .*backup"):
        open(name, "rb")  # noqa: PTH123, SIM115  (as users write it)
    with pytest.raises(AnotherSQLite):
        os.open(name, os.O_RDONLY)


def test_the_database_and_its_log_may_be_read_and_nothing_is_lost(store, tmp_path):
    assert drive(store, "first").status == "completed"
    for name in ("runs.sqlite", "runs.sqlite-wal"):
        assert Path(name).read_bytes()
    assert drive(store, "second").status == "completed"
    Path("x-shm").write_bytes(b"")
    look = "import sqlite3; print(sqlite3.connect('runs.sqlite').execute('SELECT count(*) FROM runs').fetchone()[0])"
    done = subprocess.run([sys.executable, "-c", look], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "2\n", done.stderr


def test_a_store_is_refused_while_another_library_has_the_file_open(tmp_path):
    path = tmp_path / "runs.sqlite"
    SQLiteStore(path).close()
    db = sqlite3.connect(path)
    for uses in (lambda: None, lambda: db.execute("SELECT * FROM runs").fetchall()):
        uses()
        for opens in (SQLiteStore, lambda path: open_side_tables(path, "notes", [])):
            with pytest.raises(AnotherSQLite, match="another SQLite library .* has it open in this process"):
                opens(path)
    db.close()
    with SQLiteStore(path) as store:
        assert drive(store).status == "completed"


def test_a_reader_of_another_library_is_found_as_well(tmp_path):
    path = tmp_path / "runs.sqlite"
    SQLiteStore(path).close()
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    db.execute("SELECT * FROM runs").fetchall()
    with pytest.raises(AnotherSQLite):
        SQLiteStore(path)
    db.close()


def test_a_connection_of_apsw_is_the_same_library(store):
    db = apsw.Connection("runs.sqlite")
    assert db.execute("SELECT count(*) FROM runs").get == 0
    store.close()
    with SQLiteStore("runs.sqlite") as again:
        assert drive(again).status == "completed"
        assert db.execute("SELECT count(*) FROM runs").get == 1
        db.close()
        assert drive(again, "r2").status == "completed"


def test_what_another_library_released_is_found_at_the_next_commit(store):
    assert drive(store).status == "completed"
    attached("runs.sqlite").close()
    with pytest.raises(StoreUnlocked, match="another SQLite library in this process opened and closed it"):
        drive(store, "later")
    with pytest.raises(StoreUnlocked):
        drive(store, "later still")


def test_another_library_that_stays_is_found_by_the_heartbeat(store):
    db = attached("runs.sqlite")
    with pytest.raises(StoreUnlocked, match="another SQLite library has it open in this process"):
        store.renew([])
    db.close()


PEEK_AND_DIE = """
import asyncio, os, signal, sqlite3
from loom_runner import AgentRunner, Continue, SQLiteStore

async def step(state, ctx):
    if state == 10:
        db = sqlite3.connect(":memory:")
        db.execute("ATTACH 'runs.sqlite' AS theirs")
        db.execute("SELECT count(*) FROM theirs.runs").fetchall()
        db.close()
    return Continue(state + 1)

store = SQLiteStore("runs.sqlite", "process")
store._file._open_file._canary = b""  # what it would detect must not be lost either
asyncio.run(AgentRunner(step=step, store=store).start(run_id="r", initial_state=0, max_steps=20))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_close_of_another_library_deletes_no_log(tmp_path):
    done = subprocess.run([sys.executable, "-c", PEEK_AND_DIE], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    with SQLiteStore(tmp_path / "runs.sqlite") as store:
        assert store.reader.get_run("r").step_index == 20


def test_the_hook_never_fails_and_ignores_everything_else(store):
    for event, target in (("open", 3), ("open", None), ("open", object()), ("import", "x"), ("sqlite3.connect", 3)):
        other_library._audit(event, (target,))
    other_library._audit("open", ("no\0such-shm",))
    other_library._audit("sqlite3.connect", ("no\0such",))
    with pytest.raises(AnotherSQLite):
        other_library._audit("sqlite3.connect", ("runs.sqlite",))


def test_without_such_locks_nothing_is_held_and_the_file_is_still_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(hold, "has_locks", lambda: False)
    with SQLiteStore(tmp_path / "runs.sqlite") as store:
        file = store._file._open_file
        assert isinstance(file, OpenFile)
        assert not file.is_held
        assert drive(store).status == "completed"
        with pytest.raises(AnotherSQLite):
            sqlite3.connect(tmp_path / "runs.sqlite")
    assert [path.name for path in tmp_path.iterdir()] == ["runs.sqlite"]
