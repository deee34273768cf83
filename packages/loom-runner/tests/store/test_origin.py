"""Who made a database, and when that makes it foreign."""

import json
import os
import stat

import apsw
import pytest
from loom_runner import SQLiteStore
from loom_runner._store import origin
from loom_runner._store.origin import foreign_because, is_recorded, read_origin, record, records_problem
from loom_runner.store import open_side_tables


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state/loom/databases"


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / "runs.sqlite")
    SQLiteStore(path).close()
    return path


def of(path):
    db = apsw.Connection(str(path))
    found = read_origin(db)
    db.close()
    return found


def change(path, sql, *values):
    db = apsw.Connection(path)
    db.execute(sql, values)
    db.close()


def test_a_database_has_an_id_and_its_maker_for_good(path, tmp_path):
    first = of(path)
    assert len(first.database_id) == 32
    assert first.made_by == origin.this_user()
    with SQLiteStore(path) as store:
        assert store.reader.database_id == first.database_id
    SQLiteStore(tmp_path / "other.sqlite").close()
    assert of(tmp_path / "other.sqlite").database_id != first.database_id


def test_an_old_database_gets_an_id_and_no_maker_when_it_is_written_to(path):
    change(path, "DELETE FROM about WHERE name IN ('database_id', 'made_by')")
    with SQLiteStore(path, read_only=True) as store:
        assert store.reader.database_id == ""
    SQLiteStore(path).close()
    assert len(of(path).database_id) == 32
    assert of(path).made_by is None


@pytest.mark.parametrize("value", ["x", "[1]", "[[", "[" * 100_000, 7, b"\xff", "null", '["a", "b"]'])
def test_a_maker_that_is_not_readable_is_no_maker(path, value):
    change(path, "UPDATE about SET value = ? WHERE name = 'made_by'", value)
    change(path, "UPDATE about SET value = ? WHERE name = 'database_id'", "../../x")
    assert of(path) == origin.Origin("", None)


def test_a_database_of_another_user_is_foreign_until_it_is_recorded(path, state):
    uid, user = origin.this_user()
    assert foreign_because(path, of(path)) is None
    for maker in ([uid, user + "2"], [uid + 1, user]):
        change(path, "UPDATE about SET value = ? WHERE name = 'made_by'", json.dumps(maker))
        assert foreign_because(path, of(path)) == "another user made it"
    assert record(of(path).database_id, path)
    assert foreign_because(path, of(path)) is None
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    [entry] = state.iterdir()
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600


def test_a_database_in_a_git_work_tree_is_foreign_until_it_is_recorded(path, tmp_path):
    (tmp_path / ".git").mkdir()
    assert "git work tree" in foreign_because(path, of(path))
    record(of(path).database_id, path)
    assert foreign_because(path, of(path)) is None


def test_a_record_that_others_can_write_does_not_count(path, state):
    record(of(path).database_id, path)
    state.chmod(0o777)
    assert not is_recorded(of(path).database_id)


def test_without_a_place_for_records_only_makers_are_compared(path, tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert not record(of(path).database_id, path)
    assert foreign_because(path, of(path)) is None
    change(path, "UPDATE about SET value = '[99999, \"eve\"]' WHERE name = 'made_by'")
    assert foreign_because(path, of(path)) == "another user made it"


def test_what_keeps_records_from_being_written_is_named_with_what_to_do(tmp_path, monkeypatch):
    assert records_problem() is None
    setups = tmp_path / "state/loom/setups"
    setups.chmod(0o777)
    assert records_problem() == (
        f"{setups} belongs to another user, or others can write it. Change its owner, or chmod go-w it."
    )
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert "cannot be written. Set XDG_STATE_HOME to a folder that you can write." in records_problem()
    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.setenv("HOME", "nowhere")
    assert records_problem() == "there is no home folder. Set XDG_STATE_HOME to a folder of yours."


def test_new_files_are_for_their_owner_only(tmp_path):
    before = os.umask(0o022)
    try:
        store = SQLiteStore(tmp_path / "runs.sqlite")
        tables = open_side_tables(tmp_path / "notes.sqlite", "notes", ["CREATE TABLE note (x)"])
        with tables.transaction() as db:
            db.execute("INSERT INTO note VALUES (1)")
        found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.sqlite*")}
        tables.close()
        store.close()
    finally:
        os.umask(before)
    assert len(found) == 6
    assert set(found.values()) == {0o600}
