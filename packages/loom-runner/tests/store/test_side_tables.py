"""Tables beside runs: one opener, numbered migrations."""

import asyncio
import stat
import subprocess
import sys
import threading

import apsw
import pytest
from loom_runner import AgentRunner, Complete, SQLiteStore, StoreError
from loom_runner.errors import StoreBusy, StoreTooNew, StoreUnreadable
from loom_runner.store import open_side_tables, open_store

pytestmark = pytest.mark.interpreter

ONE = "CREATE TABLE IF NOT EXISTS note (number INTEGER PRIMARY KEY, text TEXT NOT NULL)"
TWO = "ALTER TABLE note ADD COLUMN author TEXT NOT NULL DEFAULT 'nobody'"


def three(db):
    db.execute("UPDATE note SET author = upper(author)")


def opened(path, migrations=(ONE,), name="notes", **options):
    return open_side_tables(path, name, migrations, **options)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.sqlite"


def test_rows_are_written_and_read_beside_runs(path, store, go):
    async def step(state, ctx):
        return Complete(state)

    go(AgentRunner(step=step, store=store).start(run_id="r", initial_state=1))
    tables = opened(path)
    with tables.transaction() as db:
        db.execute("INSERT INTO note (text) VALUES (?)", ("a",))
    assert tables.rows("SELECT text FROM note WHERE text = :text", {"text": "a"}) == [("a",)]
    assert tables.rows("SELECT run_id FROM runs") == [("r",)]
    assert tables.address == str(path)
    tables.close()
    tables.close()
    assert store.reader.verify().ok
    with SQLiteStore(path, "process") as again:
        assert again.reader.get_run("r").status == "completed"


def test_tables_that_are_only_read_stay_as_they_are(path):
    opened(path).close()
    before = path.read_bytes()
    tables = opened(path, (ONE, TWO), read_only=True)
    assert tables.rows("SELECT * FROM note") == []
    with pytest.raises(StoreError, match="opened to be read only"), tables.transaction():
        pass
    tables.close()
    opened(path, name="others", read_only=True).close()
    assert path.read_bytes() == before
    with pytest.raises(StoreTooNew):
        opened(path, (), read_only=True)
    with pytest.raises(StoreUnreadable):
        opened(path.with_name("none.sqlite"), read_only=True)
    assert not path.with_name("none.sqlite").exists()


def test_runs_may_come_into_a_file_that_side_tables_created(path):
    tables = opened(path)
    with tables.transaction() as db:
        db.execute("INSERT INTO note (text) VALUES ('a')")
    with SQLiteStore(path, "process") as store:
        assert store.reader.list_runs() == []
        assert tables.rows("SELECT text FROM note") == [("a",)]
    tables.close()


def test_the_switch_to_a_log_waits_for_another_process_that_makes_it(path):
    other = apsw.Connection(str(path))
    other.execute(f"{ONE}; BEGIN IMMEDIATE; INSERT INTO note VALUES (1, 'x')")
    thread = threading.Thread(target=lambda: opened(path).close())
    thread.start()
    thread.join(0.1)
    other.execute("COMMIT")
    thread.join()
    assert other.execute("SELECT count(*) FROM note").get == 1
    assert other.execute("SELECT version FROM side_tables").get == 1
    other.close()


def test_each_migration_is_applied_once_in_order(path):
    opened(path).close()
    with pytest.raises(StoreError, match="no such column"):
        opened(path).rows("SELECT author FROM note")
    tables = opened(path, (ONE, TWO))
    with tables.transaction() as db:
        db.execute("INSERT INTO note (text, author) VALUES ('a', 'ann')")
    tables.close()
    for _ in range(2):
        tables = opened(path, (ONE, TWO, three, "UPDATE note SET author = author || '!'"))
        assert tables.rows("SELECT author FROM note") == [("ANN!",)]
        tables.close()


def test_names_are_counted_apart(path):
    opened(path, (ONE, TWO)).close()
    other = opened(path, ("CREATE TABLE other (x)",), name="others")
    assert other.rows("SELECT name, version FROM side_tables ORDER BY name") == [("notes", 2), ("others", 1)]


def test_tables_of_a_version_without_numbers_are_taken_as_they_are(path):
    db = apsw.Connection(str(path))
    db.execute(ONE)
    db.execute("INSERT INTO note (text) VALUES ('old')")
    db.close()
    tables = opened(path, (ONE, TWO))
    assert tables.rows("SELECT text, author FROM note") == [("old", "nobody")]


def test_a_migration_that_fails_leaves_everything_as_it_was(path):
    opened(path).close()

    def fails(db):
        db.execute(TWO)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        opened(path, (ONE, fails))
    tables = opened(path)
    assert [name for _, name, *_ in tables.rows("PRAGMA table_info(note)")] == ["number", "text"]
    assert tables.rows("SELECT version FROM side_tables") == [(1,)]


def test_tables_of_a_later_version_are_refused(path):
    opened(path, (ONE, TWO)).close()
    with pytest.raises(StoreTooNew, match=r"its notes tables have format 2, .* up to 1. Upgrade the program"):
        opened(path)


def test_an_exception_rolls_a_transaction_back(path):
    tables = opened(path)
    with pytest.raises(KeyError), tables.transaction() as db:
        db.execute("INSERT INTO note (text) VALUES ('a')")
        raise KeyError
    assert tables.rows("SELECT * FROM note") == []
    with tables.transaction() as db:
        db.execute("INSERT INTO note (text) VALUES ('b')")
    assert tables.rows("SELECT text FROM note") == [("b",)]


def test_functions_of_the_program_may_be_used_in_sql(path):
    tables = opened(path, functions={"twice": lambda text: text * 2})
    assert tables.rows("SELECT twice('ab')") == [("abab",)]


def test_sql_of_every_opening_creates_its_objects_again(path):
    trigger = "CREATE TRIGGER IF NOT EXISTS t AFTER INSERT ON note BEGIN UPDATE note SET text = 'seen'; END"
    for _ in range(2):
        tables = opened(path, always=trigger)
        with tables.transaction() as db:
            db.execute("INSERT INTO note (text) VALUES ('a')")
            db.execute("DROP TRIGGER t")
        assert tables.rows("SELECT DISTINCT text FROM note") == [("seen",)]
        tables.close()


def test_a_private_file_can_be_read_by_its_owner_only(tmp_path):
    opened(tmp_path / "undo", is_private=True).close()
    assert stat.S_IMODE((tmp_path / "undo").stat().st_mode) == 0o600


def test_a_change_by_another_connection_is_seen(path):
    one, two = opened(path), opened(path)
    mark = one.change_mark()
    assert one.change_mark() == mark
    with two.transaction() as db:
        db.execute("INSERT INTO note (text) VALUES ('a')")
    assert one.change_mark() != mark


def test_two_processes_that_open_at_once_migrate_once(path):
    script = (
        "import sys; from loom_runner.store import open_side_tables\n"
        "one = 'CREATE TABLE IF NOT EXISTS note (n)'\n"
        "tables = open_side_tables(sys.argv[1], 'notes', [one, 'INSERT INTO note VALUES (1)'])\n"
        "print(tables.rows('SELECT count(*) FROM note')[0][0])"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert [process.communicate()[0] for process in started] == ["1\n"] * 4


def test_a_writer_waits_for_another_one(path):
    one, two = opened(path), opened(path)
    begun, done = threading.Event(), []

    def write():
        with two.transaction() as db:
            db.execute("INSERT INTO note (text) VALUES ('b')")
        done.append(True)

    with one.transaction() as db:
        db.execute("INSERT INTO note (text) VALUES ('a')")
        thread = threading.Thread(target=lambda: (begun.set(), write()))
        thread.start()
        begun.wait()
        assert not done
    thread.join()
    assert [text for (text,) in one.rows("SELECT text FROM note ORDER BY number")] == ["a", "b"]


# ----------------------------------------------------------- bad input (addresses: test_address.py)


@pytest.mark.parametrize("open_it", [open_store, opened])
def test_a_folder_and_a_folder_that_is_not_there_are_refused(open_it, tmp_path):
    with pytest.raises(StoreUnreadable, match="is a directory"):
        open_it(tmp_path)
    with pytest.raises(StoreUnreadable, match="there is no folder"):
        open_it(tmp_path / "no" / "runs.sqlite")


@pytest.mark.parametrize("open_it", [open_store, opened])
def test_a_file_that_is_not_a_database_is_refused(open_it, path):
    path.write_text("This is certainly not a database, whatever its name says. " * 20)
    with pytest.raises(StoreUnreadable, match="not a SQLite database"):
        open_it(path)


def test_a_locked_database_is_busy(path, monkeypatch):
    monkeypatch.setattr("loom_runner._store.sqlite.side_tables._WAIT_FOR_WRITERS_MS", 10)
    tables = opened(path)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy, match="another process kept it locked"), tables.transaction():
        pass


def test_a_waiter_hears_of_a_change_by_another_process_and_of_none(path, go):
    with SQLiteStore(path, "process") as one, SQLiteStore(path, "process") as two:

        async def step(state, ctx):
            return Complete(state)

        async def main():
            mark = one.change_mark()
            assert not await one.wait_for_change(mark, 0)
            waiting = asyncio.ensure_future(one.wait_for_change(mark, 30))
            await asyncio.sleep(0)
            assert not waiting.done()
            await AgentRunner(step=step, store=two).start(run_id="r", initial_state=1)
            return await waiting, await one.wait_for_change(mark, 0)

        assert go(main()) == (True, True)
        mark = two.change_mark()
        go(AgentRunner(step=step, store=two).start(run_id="s", initial_state=1))
        assert two.change_mark() != mark  # also of its own
