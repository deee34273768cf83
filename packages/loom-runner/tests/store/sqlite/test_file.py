import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import apsw
import pytest
from loom_runner import SQLiteStore, StoreError, UsageError
from loom_runner._store.sqlite.schema import APPLICATION_ID, MIGRATIONS
from loom_runner.errors import StoreReadOnly, StoreTooNew, StoreUnreadable


@pytest.mark.parametrize(("durability", "synchronous"), [("power", 2), ("process", 1)])
def test_a_new_file_is_created_in_wal_mode_with_the_promised_durability(tmp_path, durability, synchronous):
    with SQLiteStore(tmp_path / "a.sqlite", durability) as store:
        assert store.durability == durability
        assert store._file.db.pragma("synchronous") == synchronous
        assert store._file.db.pragma("journal_mode") == "wal"
        assert store._file.second().pragma("synchronous") == synchronous
    db = apsw.Connection(str(tmp_path / "a.sqlite"))
    assert db.pragma("user_version") == len(MIGRATIONS)
    assert db.pragma("application_id") == APPLICATION_ID
    assert db.pragma("auto_vacuum") == 2


def test_memory_makes_no_file_and_its_second_connection_sees_the_same_rows(tmp_path):
    for store in (SQLiteStore(":memory:"), SQLiteStore(tmp_path / "a.sqlite", "memory")):
        assert store.durability == "memory"
        store._file.db.execute("CREATE TABLE t (x)")
        assert store._file.second().execute("SELECT count(*) FROM t").get == 0
        store.close()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_durability_is_refused(tmp_path):
    with pytest.raises(UsageError, match="durability 'eternal': it is power, process or memory"):
        SQLiteStore(tmp_path / "a.sqlite", "eternal")


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(StoreUnreadable, match="it is a directory"):
        SQLiteStore(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(StoreUnreadable, match="there is no folder .*nowhere"):
        SQLiteStore(tmp_path / "nowhere" / "a.sqlite")


def test_a_file_that_is_not_a_database_is_refused_and_left_as_it_was(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 100)
    with pytest.raises(StoreUnreadable, match="it is not a SQLite database"):
        SQLiteStore(path)
    assert path.read_text() == "dear diary, " * 100


def test_another_programs_database_is_refused_and_left_as_it_was(tmp_path):
    path = tmp_path / "other.sqlite"
    apsw.Connection(str(path)).execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(StoreUnreadable, match="another program's database"):
        SQLiteStore(path)
    assert path.read_bytes() == before


def test_a_newer_database_is_refused_and_left_as_it_was(tmp_path):
    path = tmp_path / "runs.sqlite"
    SQLiteStore(path).close()
    db = apsw.Connection(str(path))
    db.pragma("user_version", len(MIGRATIONS) + 1)
    db.close()
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(StoreTooNew, match="Upgrade loom-runner"):
            SQLiteStore(path, read_only=read_only)
    assert path.read_bytes() == before


def test_a_database_of_the_format_before_is_upgraded_with_its_rows(tmp_path):
    path = tmp_path / "runs.sqlite"
    old = apsw.Connection(str(path))
    old.execute(MIGRATIONS[0])
    old.pragma("user_version", 1)
    old.pragma("application_id", APPLICATION_ID)
    old.execute(
        "INSERT INTO runs (run_id, status, program, created_at, updated_at, input, state)"
        " VALUES ('r', 'paused', 'step', 1, 1, '0', '0')"
    )
    old.close()
    with pytest.raises(
        StoreUnreadable,
        match=rf"its format is 1, and {len(MIGRATIONS)} is needed. Run or resume something with it once",
    ):
        SQLiteStore(path, read_only=True)
    with SQLiteStore(path) as store:
        assert store.reader.get_run("r").status == "paused"
        assert store.reader.tool_tries("r") == []
        assert store._file.db.pragma("user_version") == len(MIGRATIONS)


def test_a_damaged_database_is_named(tmp_path):
    path = tmp_path / "runs.sqlite"
    SQLiteStore(path).close()
    content = bytearray(path.read_bytes())
    content[4096:20480] = b"\xff" * (20480 - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"cannot (read|use|open) .*runs.sqlite"):
        SQLiteStore(path).reader.get_run("x")


def test_a_read_only_store_refuses_writes_and_a_missing_file(tmp_path):
    with pytest.raises(StoreUnreadable, match="there is no such file"):
        SQLiteStore(tmp_path / "a.sqlite", read_only=True)
    SQLiteStore(tmp_path / "a.sqlite").close()
    with SQLiteStore(tmp_path / "a.sqlite", read_only=True) as store:
        assert store.reader.list_runs() == []
        with pytest.raises(StoreReadOnly, match="cannot write to .*a.sqlite"), store._transaction as db:
            db.execute("DELETE FROM runs")


def test_an_empty_file_becomes_a_database(tmp_path):
    (tmp_path / "a.sqlite").touch()
    with SQLiteStore(tmp_path / "a.sqlite") as store:
        assert store.reader.list_runs() == []


def test_a_closed_store_raises_and_may_be_closed_twice(tmp_path):
    store = SQLiteStore(tmp_path / "a.sqlite")
    store.close()
    store.close()
    with pytest.raises(StoreError, match="the store was closed"):
        store.reader.list_runs()


AS_NOBODY = """
import os, sys
from loom_runner import SQLiteStore, RunnerError   # loaded while the environment can still be read
import apsw, loom_runner._store.sqlite.store, urllib.parse
os.setgid(65534); os.setuid(65534)
for read_only in (False, True):
    try:
        store = SQLiteStore(sys.argv[1], read_only=read_only)
        print(f"read {len(store.reader.list_runs())}")
    except RunnerError as exc:
        print(type(exc).__name__, exc)
"""


def test_a_file_that_may_not_be_written_is_refused_at_once_and_can_still_be_read():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        SQLiteStore(folder / "a.sqlite").close()
        (folder / "a.sqlite").chmod(0o444)
        folder.chmod(0o555)
        code = AS_NOBODY if os.geteuid() == 0 else AS_NOBODY.replace("os.setgid(65534); os.setuid(65534)", "")
        done = subprocess.run([sys.executable, "-c", code, name + "/a.sqlite"], capture_output=True, text=True)
        folder.chmod(0o755)
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    assert lines[0].startswith("StoreReadOnly cannot write to")
    assert lines[1] == "read 0"


OPEN = "import sys; from loom_runner import SQLiteStore; SQLiteStore(sys.argv[1]).close()"


def test_many_processes_may_make_the_same_database_at_once(tmp_path):
    path = tmp_path / "runs.sqlite"
    processes = [subprocess.Popen([sys.executable, "-c", OPEN, str(path)]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
    with SQLiteStore(path) as store:
        assert store._file.db.pragma("user_version") == len(MIGRATIONS)
        assert store._file.db.pragma("integrity_check") == "ok"


class WithAnotherCreator:
    """A connection; after it has read the application's id another process creates the database, if
    SQLite allows that.
    """

    def __init__(self, path: Path) -> None:
        self.db = apsw.Connection(str(path))
        self.path, self.has_raced = str(path), False

    def __getattr__(self, name):
        return getattr(self.db, name)

    def pragma(self, name, *value):
        found = self.db.pragma(name, *value)
        if name == "application_id" and not self.has_raced:
            self.has_raced = True
            other = apsw.Connection(self.path)
            with contextlib.suppress(apsw.BusyError), other:
                other.execute(MIGRATIONS[0])
                other.pragma("application_id", APPLICATION_ID)
                other.pragma("user_version", 1)
            other.close()
        return found


def test_a_file_is_judged_by_one_view_of_it_while_another_process_creates_it(tmp_path):
    with SQLiteStore(tmp_path / "own.sqlite") as store:
        db = WithAnotherCreator(tmp_path / "raced.sqlite")
        store._file._check_and_prepare(db)
        assert db.has_raced and db.pragma("user_version") == len(MIGRATIONS)
        db.close()


def test_a_copy_of_the_file_is_a_complete_database(tmp_path):
    SQLiteStore(tmp_path / "a.sqlite").close()
    shutil.copy(tmp_path / "a.sqlite", tmp_path / "b.sqlite")
    with SQLiteStore(tmp_path / "b.sqlite") as store:
        assert store.reader.list_runs() == []
