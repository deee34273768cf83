import asyncio
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import apsw
import pytest
from loom_runner import AgentRunner, Complete, Continue, Runs, SQLiteStore, UnknownRun

DRIVE = """
import asyncio, os, signal, sys
from loom_runner import AgentRunner, Continue, SQLiteStore

async def step(state, ctx):
    return Continue(state + "x" * 100)

async def main():
    runner = AgentRunner(step=step, store=SQLiteStore("runs.sqlite"))
    await runner.start(run_id="r", initial_state="", max_steps=int(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    if sys.argv[2] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
WHAT = "it was copied without it while process {pid} used it, or the log was deleted"


class Driver:
    """Another process that drives a run, and ends when it is told."""

    def __init__(self, folder, steps=5, end="close"):
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVE, str(steps), end], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout.readline() == b"ready\n"
        self.pid = self.process.pid

    def end(self):
        self.process.communicate(b"\n")
        return self.process.returncode


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def copied(path, **options):
    with SQLiteStore(path, **options) as store:
        found = store.reader.facts()["copied_without_log"]
        return None if found is None else found.text


@pytest.mark.parametrize("steps", [1, 5, 600])
def test_a_copy_of_the_file_alone_is_named(folder, steps):
    driver = Driver(folder, steps)
    shutil.copy(folder / "runs.sqlite", folder / "copy.sqlite")
    driver.end()
    with SQLiteStore(folder / "copy.sqlite", read_only=True) as store:
        with pytest.raises(
            UnknownRun, match="there is no such run in .* The database is incomplete: its log .* is missing"
        ):
            Runs(store).get("other")
    for read_only in (True, False):
        assert WHAT.format(pid=driver.pid) in copied(folder / "copy.sqlite", read_only=read_only)
    assert copied(folder / "runs.sqlite") is None


def test_a_copy_of_all_files_is_complete(folder):
    driver = Driver(folder)
    (folder / "copy").mkdir()
    for name in ("runs.sqlite", "runs.sqlite-wal", "runs.sqlite-shm"):
        shutil.copy(folder / name, folder / "copy" / name)
    driver.end()
    with SQLiteStore(folder / "copy" / "runs.sqlite") as store:
        assert store.reader.get_run("r").step_index == 5
        assert store.reader.facts()["copied_without_log"] is None


def with_other_sqlite(statement):
    def copy(source, target):
        db = sqlite3.connect(source)
        db.execute(statement, (str(target),))
        db.close()

    return copy


with_vacuum = with_other_sqlite("VACUUM INTO ?")


def with_api(source, target):
    old, new = sqlite3.connect(source), sqlite3.connect(target)
    old.backup(new)
    old.close()
    new.close()


def with_backup(source, target):
    with SQLiteStore(source, read_only=True) as store:
        Runs(store).backup(target)


@pytest.mark.parametrize("copy", [with_api, with_vacuum, with_backup], ids=["api", "vacuum", "ours"])
def test_a_copy_that_sqlite_made_is_complete(folder, copy):
    driver = Driver(folder, 600)
    copy(folder / "runs.sqlite", folder / "copy.sqlite")
    driver.end()
    assert copied(folder / "copy.sqlite") is None
    with SQLiteStore(folder / "copy.sqlite") as store:
        assert store.reader.get_run("r").step_index == 600


def test_a_copy_after_a_clean_close_is_complete(folder):
    Driver(folder).end()
    shutil.copy(folder / "runs.sqlite", folder / "copy.sqlite")
    (folder / "runs.sqlite").rename(folder / "moved.sqlite")
    assert copied(folder / "copy.sqlite", read_only=True) is None
    assert copied(folder / "moved.sqlite") is None


def test_a_database_is_complete_after_kill_9(folder):
    driver = Driver(folder, end="kill")
    assert driver.end() == -signal.SIGKILL
    assert copied(folder / "runs.sqlite", read_only=True) is None
    assert copied(folder / "runs.sqlite") is None
    shutil.copy(folder / "runs.sqlite", folder / "copy.sqlite")
    assert copied(folder / "copy.sqlite") is None


def test_a_database_is_complete_after_kill_9_and_another_program(folder):
    assert Driver(folder, end="kill").end() == -signal.SIGKILL
    db = sqlite3.connect(folder / "runs.sqlite")
    db.execute("SELECT * FROM runs").fetchall()
    db.close()
    assert not (folder / "runs.sqlite-wal").exists()
    assert copied(folder / "runs.sqlite") is None


def test_a_log_that_was_deleted_is_named(folder):
    driver = Driver(folder, end="kill")
    driver.end()
    (folder / "runs.sqlite-wal").unlink()
    assert WHAT.format(pid=driver.pid) in copied(folder / "runs.sqlite")


def test_a_process_that_died_between_mark_and_deletion_lost_nothing(folder):
    SQLiteStore(folder / "runs.sqlite").close()
    code = """
import os, signal, apsw
db = apsw.Connection("runs.sqlite")
db.execute("INSERT INTO about VALUES ('needs_log', ?)", (f'{{"at": 0, "pid": 1, "schema": {db.pragma("schema_version")}}}',))
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], cwd=folder)
    assert copied(folder / "runs.sqlite", read_only=True) is None
    assert copied(folder / "runs.sqlite") is None
    shutil.copy(folder / "runs.sqlite", folder / "copy.sqlite")
    assert copied(folder / "copy.sqlite") is None


@pytest.mark.parametrize("copy", [with_api, with_vacuum], ids=["api", "vacuum"])
def test_a_copy_that_sqlite_makes_between_mark_and_deletion_is_complete(folder, monkeypatch, copy):
    path, target = folder / "runs.sqlite", folder / "copy.sqlite"
    read = "import sys; sys.path.insert(0, sys.argv[1]); import test_log_mark as t; t.{}(*sys.argv[2:])"
    name = "with_api" if copy is with_api else "with_vacuum"
    with SQLiteStore(path) as store:
        monkeypatch.setattr(store._file._mark, "_clear", lambda: None)
        store._file.announce()
        here = str(Path(__file__).parent)
        subprocess.run([sys.executable, "-c", read.format(name), here, str(path), str(target)], check=True)
        assert store._file.db.execute("SELECT count(*) FROM about WHERE name = 'needs_log'").get == 1
        shutil.copy(path, folder / "file alone.sqlite")
    assert copied(target) is None
    assert "it was copied without it while process" in copied(folder / "file alone.sqlite")


def test_what_is_known_stays_known_after_runs_were_driven(folder, caplog):
    driver = Driver(folder)
    shutil.copy(folder / "runs.sqlite", folder / "copy.sqlite")
    driver.end()

    async def step(state, ctx):
        return Complete(state)

    with SQLiteStore(folder / "copy.sqlite") as store:
        asyncio.run(AgentRunner(step=step, store=store).start(run_id="new"))
    assert "copy.sqlite may lack steps: its log (the file with -wal) is missing" in caplog.text
    assert WHAT.format(pid=driver.pid) in copied(folder / "copy.sqlite")
    caplog.clear()
    with SQLiteStore(folder / "copy.sqlite") as store:
        asyncio.run(AgentRunner(step=step, store=store).start(run_id="newer"))
    assert caplog.text == ""


def test_the_log_is_moved_into_the_file_and_marked_again(tmp_path):
    path = tmp_path / "runs.sqlite"

    async def step(state, ctx):
        return Continue(state + 1) if state < 1500 else Complete(state)

    sizes = []
    with SQLiteStore(path, "process") as store:
        store.on_commit(lambda: sizes.append(Path(f"{path}-wal").stat().st_size))
        asyncio.run(AgentRunner(step=step, store=store).start(run_id="r", initial_state=0))
        shutil.copy(path, tmp_path / "copy.sqlite")
        assert store._file.db.pragma("synchronous") == 1
        assert store._file.db.execute("SELECT count(*) FROM about WHERE name = 'needs_log'").get == 0
    assert max(sizes) < 1100 * 4200
    assert len(sizes) == 1502  # the commits of this module are not those of a caller
    with SQLiteStore(tmp_path / "copy.sqlite", read_only=True) as copy:
        assert 0 < copy.reader.get_run("r").step_index < 1501
        assert copy.reader.facts()["copied_without_log"] is not None


def test_a_reader_that_keeps_the_log_does_not_stop_the_writer(tmp_path):
    path = tmp_path / "runs.sqlite"

    async def step(state, ctx):
        return Continue(state + 1) if state < 1500 else Complete(state)

    with SQLiteStore(path, "process") as store:
        reader = store._file.second(read_only=True)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM runs").fetchall()
        assert asyncio.run(AgentRunner(step=step, store=store).start(run_id="r", initial_state=0)).result == 1500
        reader.close()
    assert copied(path) is None


def test_a_writer_in_another_process_does_not_stop_the_mark_or_the_run(tmp_path):
    path = tmp_path / "runs.sqlite"
    with SQLiteStore(path) as store:
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE")
        store._file.announce()  # waits for nobody
        assert store._file._lock_wait.limit == store._file._lock_wait.patient
        assert store._file.db.pragma("synchronous") == 2
        other.execute("ROLLBACK")
        other.close()


def test_doctor_and_verify_name_the_copy(folder):
    driver = Driver(folder)
    shutil.copy(folder / "runs.sqlite", folder / "copy.sqlite")
    driver.end()
    command = [sys.executable, "-m", "loom_runner"]
    for name in ("doctor", "verify"):
        done = subprocess.run([*command, name, "--db", "copy.sqlite"], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 1
        assert WHAT.format(pid=driver.pid) in done.stdout
        assert json.loads(done.stdout)
    fine = subprocess.run([*command, "doctor", "--db", "runs.sqlite"], cwd=folder, capture_output=True, text=True)
    assert fine.returncode == 0, fine.stdout
