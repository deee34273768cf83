import asyncio
import os
import stat
import threading
from pathlib import Path

import pytest
from loom_runner import AgentRunner, Complete, Continue, Runs, SQLiteStore, UsageError
from loom_runner._store.sqlite import backup
from loom_runner.errors import StoreUnreadable


async def count(state, ctx):
    return Continue(state + 1) if state < 5 else Complete(state)


@pytest.fixture(params=["file", ":memory:"])
def runner(tmp_path, request):
    runner = AgentRunner(
        step=count, store=SQLiteStore(":memory:" if request.param == ":memory:" else tmp_path / "runs.sqlite")
    )
    asyncio.run(runner.start(run_id="r", initial_state=0))
    yield runner
    runner.close()


def test_a_backup_is_a_complete_database_in_one_file(runner, tmp_path):
    target = tmp_path / "backup.sqlite"
    size = runner.backup(target)
    assert size == target.stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("backup")) == ["backup.sqlite"]
    with SQLiteStore(target) as copy:
        assert copy.reader.verify().ok
        again = AgentRunner(step=count, store=copy)
        assert again.get("r")["result"] == 5
        assert asyncio.run(again.start(run_id="new", initial_state=0)).status == "completed"
    assert len(runner.list()) == 1


def test_an_existing_file_is_not_overwritten(runner, tmp_path):
    target = tmp_path / "backup.sqlite"
    target.write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in (target, tmp_path / "dangling", tmp_path / "runs.sqlite"):
        if os.path.lexists(name):
            with pytest.raises(UsageError, match="the file exists, and is not overwritten. Name another file"):
                runner.backup(name)
    assert target.read_text() == "mine"


def test_a_file_that_appears_meanwhile_is_not_overwritten(runner, tmp_path, monkeypatch):
    target = tmp_path / "backup.sqlite"
    copy = backup._copy
    monkeypatch.setattr(backup, "_copy", lambda file, part: (copy(file, part), target.write_text("mine")))
    with pytest.raises(UsageError, match="backup.sqlite exists, and is not overwritten"):
        runner.backup(target)
    assert target.read_text() == "mine"
    assert list(tmp_path.glob("*.part*")) == []


def test_a_file_system_without_links_gets_a_renamed_file(runner, tmp_path, monkeypatch):
    def link(*_):
        raise OSError(1, "not permitted")

    monkeypatch.setattr(os, "link", link)
    assert runner.backup(tmp_path / "backup.sqlite") > 0
    assert list(tmp_path.glob("*.part*")) == []


def test_a_wrong_place_is_named(runner, tmp_path):
    with pytest.raises(UsageError, match="a backup is a file"):
        runner.backup(":memory:")
    with pytest.raises(UsageError, match="without a name"):
        runner.backup("")
    with pytest.raises(StoreUnreadable, match="there is no folder"):
        runner.backup(tmp_path / "nowhere" / "backup.sqlite")
    with pytest.raises(StoreUnreadable, match="is a directory"):
        runner.backup(tmp_path)


def test_a_failed_copy_leaves_nothing(runner, tmp_path, monkeypatch):
    def fail(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "_sync", fail)
    with pytest.raises(UsageError, match=r"cannot back up to .*: No space left on device"):
        runner.backup(tmp_path / "backup.sqlite")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("backup")]


def test_a_backup_is_private_whatever_the_database_is(tmp_path):
    with SQLiteStore(tmp_path / "runs.sqlite") as store:
        (tmp_path / "runs.sqlite").chmod(0o644)
        Runs(store).backup(f"sqlite:///{tmp_path}/backup.sqlite")
    assert stat.S_IMODE((tmp_path / "backup.sqlite").stat().st_mode) == 0o600


def test_a_backup_while_runs_are_driven_has_a_whole_number_of_steps(tmp_path):
    async def step(state, ctx):
        await asyncio.sleep(0)
        return Continue(state + 1) if state < 300 else Complete(state)

    sizes = []
    with SQLiteStore(tmp_path / "runs.sqlite", "process") as store:

        def save():
            for number in range(5):
                sizes.append(Runs(store).backup(tmp_path / f"backup {number}.sqlite"))

        thread = threading.Thread(target=save)
        thread.start()
        asyncio.run(AgentRunner(step=step, store=store).start(run_id="r", initial_state=0))
        thread.join()
    assert len(sizes) == 5
    for number in range(5):
        with SQLiteStore(tmp_path / f"backup {number}.sqlite") as copy:
            assert copy.reader.verify().ok
            assert copy.reader.facts()["copied_without_log"] is None


def test_a_backup_of_a_read_only_store(tmp_path):
    SQLiteStore(tmp_path / "runs.sqlite").close()
    with SQLiteStore(tmp_path / "runs.sqlite", read_only=True) as store:
        Runs(store).backup(tmp_path / "backup.sqlite")
    assert Path(tmp_path / "backup.sqlite").exists()
