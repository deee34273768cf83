import asyncio
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from loom_runner import AgentRunner, Complete, Continue, Runs, SQLiteStore
from loom_runner._store.sqlite import open_files
from loom_runner.errors import StoreReplaced, StoreUnreadable
from loom_runner.store import open_side_tables


async def count(state, ctx):
    return Continue(state + 1) if state < 5 else Complete(state)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.sqlite"


@pytest.fixture
def store(path):
    with SQLiteStore(path) as store:
        yield store


def drive(store, run_id="r"):
    return asyncio.run(AgentRunner(step=count, store=store).start(run_id=run_id, initial_state=0))


def delete_all(path):
    for name in ("", "-wal", "-shm"):
        Path(f"{path}{name}").unlink()


def replace_by_a_backup(path):
    shutil.copy(path, f"{path}.backup")
    Path(f"{path}.backup").replace(path)


def move(path):
    path.rename(f"{path}.old")


def delete_and_create_again(path):
    delete_all(path)
    code = "import sys; from loom_runner import SQLiteStore; SQLiteStore(sys.argv[1]).close()"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def remove_folder(path):
    shutil.rmtree(path.parent)


MISHAPS = {
    delete_all: "it was deleted or moved",
    Path.unlink: "it was deleted or moved",
    move: "it was deleted or moved",
    remove_folder: "it was deleted or moved",
    replace_by_a_backup: "it was replaced by another file",
    delete_and_create_again: "it was replaced by another file",
    lambda path: Path(f"{path}-wal").unlink(): "runs.sqlite-wal was deleted",
    lambda path: replace_by_a_backup(f"{path}-wal"): "runs.sqlite-wal was replaced by another file",
}


@pytest.mark.parametrize(("happens", "what"), MISHAPS.items(), ids=range(len(MISHAPS)))
def test_a_commit_is_not_acknowledged_after_the_file_was_lost_and_can_be_rescued(
    path, store, tmp_path_factory, happens, what
):
    assert drive(store, "before").status == "completed"
    acknowledged = []

    async def step(state, ctx):
        acknowledged.append(ctx.step_index)
        if state == 3:
            happens(path)
        return Continue(state + 1)

    with pytest.raises(StoreReplaced, match=what) as caught:
        asyncio.run(AgentRunner(step=step, store=store).start(run_id="r", initial_state=0))
    assert r"Runs(store).backup(PATH)" in str(caught.value)
    assert acknowledged == [0, 1, 2, 3]
    for again in (lambda: drive(store, "later"), lambda: store.renew([]), lambda: store._file.second()):
        with pytest.raises(StoreReplaced, match=what):
            again()
    rescued = tmp_path_factory.mktemp("rescued") / "rescued.sqlite"
    Runs(store).backup(rescued)
    with SQLiteStore(rescued) as copy:
        assert copy.reader.get_run("before").status == "completed"
        assert copy.reader.get_run("r").step_index == 4
        assert copy.reader.verify().ok


def an_older_backup(path, store):
    Runs(store).backup(f"{path}.backup")
    drive(store, "after the backup")
    store._file._mark._move_log()
    return Path(f"{path}.backup").read_bytes()


def another_database(path, store):
    other = path.parent / "other.sqlite"
    SQLiteStore(other).close()
    return other.read_bytes()


@pytest.mark.parametrize(
    "content", [an_older_backup, another_database, lambda *_: b"no database" * 999, lambda *_: b""]
)
@pytest.mark.parametrize("finds", ["commit", "heartbeat", "close"])
def test_a_file_that_is_overwritten_in_place_is_noticed_and_not_written_to(path, store, content, finds):
    assert drive(store, "before").status == "completed"
    restored = content(path, store)
    path.write_bytes(restored)  # cp
    if finds != "close":
        with pytest.raises(StoreReplaced, match="its content was overwritten .* copy the file there again"):
            drive(store, "later") if finds == "commit" else store.renew([])
        with pytest.raises(StoreReplaced):
            drive(store, "later still")
    store.close()
    assert path.read_bytes() == restored
    if finds == "close":
        return
    for name in ("-wal", "-shm"):  # as the message says
        Path(f"{path}{name}").unlink()
    path.write_bytes(restored)
    if content is an_older_backup:
        with SQLiteStore(path) as again:
            assert again.reader.verify().ok
            assert [run.run_id for run in again.reader.list_runs()] == ["before"]
            assert drive(again, "later").status == "completed"


def test_a_backup_with_which_the_log_agrees_changes_nothing(path, store):
    assert drive(store, "before").status == "completed"
    Runs(store).backup(f"{path}.backup")
    assert drive(store, "after the backup").status == "completed"
    path.write_bytes(Path(f"{path}.backup").read_bytes())
    assert drive(store, "later").status == "completed"
    store.close()
    with SQLiteStore(path) as again:
        assert again.reader.verify().ok
        assert len(again.reader.list_runs()) == 3


def test_a_log_that_another_process_moves_is_no_reason_to_stop(path, store):
    assert drive(store, "before").status == "completed"
    code = """
import asyncio, sys
from loom_runner import AgentRunner, Complete, SQLiteStore
async def step(state, ctx): return Complete(state)
with SQLiteStore(sys.argv[1]) as store:
    for number in range(5):
        asyncio.run(AgentRunner(step=step, store=store).start(run_id=f"other {number}"))
        store._file._mark._move_log()
"""
    for number in range(3):
        subprocess.run([sys.executable, "-c", code.replace("other", f"other {number}"), str(path)], check=True)
        assert drive(store, f"later {number}").status == "completed"
        store.renew([])


def test_checks_of_several_threads_while_the_log_is_moved_find_nothing(path, store):
    assert drive(store, "before").status == "completed"
    file, stop, errors = store._file._open_file, threading.Event(), []

    def look():
        while not stop.is_set():
            try:
                file._database_ns = -1
                file.check_name()
            except StoreReplaced as exc:
                errors.append(exc)
                return

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(300):
        drive(store, f"r{number}")
        with store._file.lock:
            store._file._mark._move_log()
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_file_that_others_write_without_a_number_is_not_overwritten(path):
    with SQLiteStore(path) as store:
        file = store._file._open_file
        for number in range(3):
            code = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('pragma user_version = 6'); "
            subprocess.run(
                [sys.executable, "-c", code + "db.commit(); db.execute('pragma wal_checkpoint')", str(path)], check=True
            )
            file.check()
        assert drive(store, "r").status == "completed"


def test_the_heartbeat_finds_it_while_a_step_runs(path, store):
    assert drive(store).status == "completed"
    path.unlink()
    with pytest.raises(StoreReplaced):
        store.renew([])
    with pytest.raises(StoreReplaced):
        drive(store, "later")


def test_every_writer_of_a_lost_file_learns_of_it(path, store):
    notes = open_side_tables(path, "notes", ["CREATE TABLE notes (x)"])
    with notes.transaction() as db:
        db.execute("INSERT INTO notes VALUES (1)")
    path.unlink()
    with pytest.raises(StoreReplaced), notes.transaction() as db:
        db.execute("INSERT INTO notes VALUES (2)")
    with pytest.raises(StoreReplaced):
        drive(store)
    notes.close()


def test_a_folder_that_changes_all_the_time_is_no_reason_to_stop(path, store):
    async def step(state, ctx):
        (path.parent / f"effect {state}").touch()
        return Continue(state + 1) if state < 20 else Complete(state)

    assert asyncio.run(AgentRunner(step=step, store=store).start(run_id="r", initial_state=0)).status == "completed"


def test_a_change_in_the_same_tick_of_the_clock_is_not_missed(path, store):
    """The time of a folder has the resolution of the kernel's tick."""
    assert drive(store).status == "completed"
    file = store._file._open_file
    for _ in range(20):
        (path.parent / "other").touch()
        (path.parent / "other").unlink()
        file.check()
    path.unlink()
    with pytest.raises(StoreReplaced):
        file.check()


def test_in_a_quiet_folder_a_check_looks_at_the_folder_only(path, store, monkeypatch):
    assert drive(store).status == "completed"
    file = store._file._open_file
    os.utime(path.parent, ns=(0, 0))  # long ago
    file.check()
    monkeypatch.setattr(open_files, "file_key", lambda path: pytest.fail("looked at a file"))
    file.check()


def test_the_last_close_deletes_the_log_although_the_file_was_held(path):
    first, second = SQLiteStore(path), SQLiteStore(path)
    assert first._file._open_file is second._file._open_file
    drive(first)
    first.close()
    assert Path(f"{path}-wal").exists()
    second.close()
    assert [each.name for each in path.parent.iterdir()] == ["runs.sqlite"]


def test_a_closed_store_leaves_no_descriptor(path):
    SQLiteStore(path).close()
    before = list(Path("/dev/fd").iterdir())
    for _ in range(3):
        with SQLiteStore(path) as store:
            drive(store)
    assert len(list(Path("/dev/fd").iterdir())) == len(before)


@pytest.mark.parametrize("keep", ["", "keep.append(runner)"])
def test_a_store_that_is_not_closed_leaves_no_log_at_the_end_of_the_process(tmp_path, keep):
    code = f"""
import asyncio
from loom_runner import AgentRunner, Complete, SQLiteStore
keep = []
async def step(state, ctx):
    return Complete(1)
async def main():
    runner = AgentRunner(step=step, store=SQLiteStore("runs.sqlite"))
    {keep}
    await runner.start(run_id="r")
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["runs.sqlite"]


# ---------------------------------------------------------------------- the folder changes


def test_a_relative_path_is_resolved_when_the_store_is_opened(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    with SQLiteStore("runs.sqlite") as store:
        assert store.address == "runs.sqlite"
        monkeypatch.chdir(tmp_path / "sub")
        assert store.address == str(tmp_path / "runs.sqlite")
        assert store.description == "runs.sqlite"
        assert drive(store).status == "completed"
        store.renew([])
        assert Runs(store).query("SELECT run_id FROM runs") == [{"run_id": "r"}]
        assert Runs(store).backup("copy.sqlite") > 0
        notes = open_side_tables(store.address, "notes", ["CREATE TABLE notes (x)"])
        monkeypatch.chdir(tmp_path)
        assert notes.address == str(tmp_path / "runs.sqlite")
        notes.close()
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["copy.sqlite"]


def test_a_link_that_leads_elsewhere_now_is_a_replaced_file(tmp_path):
    link = tmp_path / "link.sqlite"
    link.symlink_to(tmp_path / "runs.sqlite")
    with SQLiteStore(link) as store:
        assert drive(store).status == "completed"
        link.unlink()
        link.symlink_to(tmp_path / "other.sqlite")
        assert store._file.second().execute("SELECT count(*) FROM runs").get == 1


def test_a_relative_path_in_a_deleted_folder_is_refused(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    with SQLiteStore(tmp_path / "runs.sqlite") as store:
        (tmp_path / "gone").rmdir()
        assert drive(store).status == "completed"
        assert store.address == str(tmp_path / "runs.sqlite")
    with pytest.raises(StoreUnreadable, match="the current folder was deleted"):
        SQLiteStore("runs.sqlite")
