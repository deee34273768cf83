"""Each test forks in a process of its own: pytest's has threads."""

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no fork")

START = """
import asyncio, gc, multiprocessing, os, signal, sqlite3, sys, threading, time
from pathlib import Path
from loom_runner import AgentRunner, Complete, Continue, RunnerError, Runs, SQLiteStore
from loom_runner.store import open_side_tables

async def step(state, ctx):
    return Continue(state + 1) if state < 5 else Complete(os.getpid())

def runner_on(store):
    return AgentRunner(step=step, store=store)

def drive(runner, run_id):
    return asyncio.run(runner.start(run_id=run_id, initial_state=0))

def in_child(work):
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        try:
            work()
        except RunnerError as exc:
            print(type(exc).__name__, exc, flush=True)
        except BaseException as exc:
            print("WRONG", repr(exc), flush=True)
        sys.stdout.flush()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0

"""


def run(folder, code):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", START + textwrap.dedent(code)],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("address", ["runs.sqlite", ":memory:"])
def test_a_forked_process_refuses_the_store_and_what_stands_on_it(tmp_path, address):
    lines = run(
        tmp_path,
        f"""
        store = SQLiteStore({address!r})
        runner = runner_on(store)
        drive(runner, "before")
        store.renew([])
        print(os.getpid())
        for work in (
            lambda: drive(runner, "r"), lambda: runner.get("before"), lambda: asyncio.run(runner.resume(run_id="before")),
            lambda: runner.list(), lambda: runner.query("SELECT 1 AS x"), lambda: runner.backup("b.sqlite"),
            lambda: store.renew([]), lambda: store.change_mark(), lambda: store.vacuum(), lambda: runner.stats(),
            lambda: asyncio.run(runner.cancel(run_id="before")), lambda: list(runner.runs.explain("before").lines()),
            lambda: asyncio.run(store.prune()), lambda: store.reader.facts(),
        ):
            in_child(work)
        print("parent", drive(runner, "after").status, len(runner.list()))
        """,
    )
    pid, *refused, parent = lines
    assert parent == "parent completed 2"
    assert len(refused) == 14
    for line in refused:
        assert line.startswith(
            f"StoreForked cannot use {address}: this store was opened in process {pid}, from which"
        ), line
        assert line.endswith("Open it again in the forked process (for instance in gunicorn's post_fork).")


def test_side_tables_are_refused_as_well(tmp_path):
    lines = run(
        tmp_path,
        """
        notes = open_side_tables("notes.sqlite", "notes", ["CREATE TABLE notes (x)"])
        def write():
            with notes.transaction() as db:
                db.execute("INSERT INTO notes VALUES (1)")
        in_child(write)
        in_child(lambda: notes.rows("SELECT * FROM notes"))
        in_child(notes.close)
        write()
        print(notes.rows("SELECT count(*) FROM notes"))
        """,
    )
    assert [line.split()[0] for line in lines] == ["StoreForked", "StoreForked", "[(1,)]"]


@pytest.mark.parametrize(
    "ends",
    ["os._exit(0)", "sys.exit(0)", "runner.close(); sys.exit(0)", "del runner, store; gc.collect(); sys.exit(0)"],
)
def test_a_forked_process_that_ends_takes_nothing_from_the_parent(tmp_path, ends):
    lines = run(
        tmp_path,
        f"""
        store = SQLiteStore("runs.sqlite", "process")
        runner = runner_on(store)
        drive(runner, "before")
        if os.fork() == 0:
            {ends}
        os.wait()
        print(Path("runs.sqlite-wal").exists(), drive(runner, "after").status)
        import subprocess
        look = "import sqlite3; print(sqlite3.connect('runs.sqlite').execute('SELECT count(*) FROM runs').fetchone())"
        print(subprocess.run([sys.executable, "-c", look], capture_output=True, text=True).stdout.strip())
        runner.close()
        print(sorted(path.name for path in Path().iterdir()))
        """,
    )
    assert lines == ["True completed", "(2,)", "['runs.sqlite']"]


def test_a_child_that_outlives_the_parent_takes_nothing_from_the_next_process(tmp_path):
    """The child has connections of files that other processes have deleted and created again
    since.
    """
    lines = run(
        tmp_path,
        """
        store = SQLiteStore("runs.sqlite", "process")
        runner = runner_on(store)
        drive(runner, "before")
        waiting, go_on = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(go_on)
            os.read(waiting, 1)
            del runner, store
            gc.collect()
            sys.exit(0)
        runner.close()
        import subprocess
        code = "import asyncio, os, signal; from loom_runner import *\\nasync def step(s, c): return Continue(s + 1)\\n"
        code += "asyncio.run(AgentRunner(step=step, store=SQLiteStore('runs.sqlite')).start(run_id='r', initial_state=0,"
        code += " max_steps=9)); os.kill(os.getpid(), signal.SIGKILL)"
        assert subprocess.run([sys.executable, "-c", code]).returncode == -9
        os.write(go_on, b".")
        os.waitpid(pid, 0)
        print(SQLiteStore("runs.sqlite").reader.get_run("r").step_index)
        """,
    )
    assert lines == ["9"]


def test_a_forked_process_may_open_the_store_again(tmp_path):
    lines = run(
        tmp_path,
        """
        store = SQLiteStore("runs.sqlite", "process")
        runner = runner_on(store)
        drive(runner, "before")
        def work():
            with SQLiteStore("runs.sqlite", "process") as mine:
                os.write(1, f"{drive(runner_on(mine), str(os.getpid())).status}\\n".encode())
        pids = []
        for _ in range(4):
            pid = os.fork()
            if pid == 0:
                signal.alarm(60)
                work()
                sys.exit(0)
            pids.append(pid)
        drive(runner, "parent")
        print([os.waitpid(pid, 0)[1] for pid in pids])
        print(len(runner.list()), store.reader.verify().ok)
        """,
    )
    assert sorted(lines) == ["6 True", "[0, 0, 0, 0]", *["completed"] * 4]


def test_a_store_opened_in_a_child_loses_nothing_when_the_parent_closes(tmp_path):
    lines = run(
        tmp_path,
        """
        store = SQLiteStore("runs.sqlite", "process")
        waiting, go_on = os.pipe()
        ready, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            mine = runner_on(SQLiteStore("runs.sqlite", "process"))
            drive(mine, "first")
            os.write(tell, b".")
            os.read(waiting, 1)
            drive(mine, "second")
            os.kill(os.getpid(), signal.SIGKILL)
        os.read(ready, 1)
        store.close()
        print(Path("runs.sqlite-wal").exists())
        os.write(go_on, b".")
        os.waitpid(pid, 0)
        print(len(Runs(SQLiteStore("runs.sqlite")).list()))
        """,
    )
    assert lines == ["True", "2"]


def test_a_file_that_the_parent_has_closed_since_is_refused_in_the_child(tmp_path):
    lines = run(
        tmp_path,
        """
        store = SQLiteStore("runs.sqlite")
        waiting, go_on = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.read(waiting, 1)
            try:
                SQLiteStore("runs.sqlite")
            except RunnerError as exc:
                print(type(exc).__name__, exc, flush=True)
            os._exit(0)
        store.close()
        os.write(go_on, b".")
        os.waitpid(pid, 0)
        print(drive(runner_on(SQLiteStore("runs.sqlite")), "r").status)
        """,
    )
    assert lines[0].startswith("StoreForked cannot open ")
    assert "its parent had the file open and has closed it since" in lines[0]
    assert lines[1] == "completed"


def test_a_fork_waits_for_the_transaction_of_another_thread(tmp_path):
    lines = run(
        tmp_path,
        """
        store = SQLiteStore("runs.sqlite", "process")
        inside, done = threading.Event(), []
        def write():
            with store._file.transaction as db:
                db.execute("UPDATE about SET value = value")
                inside.set()
                time.sleep(0.2)
                done.append(1)
        thread = threading.Thread(target=write)
        thread.start()
        inside.wait()
        def work():
            print(len(done), drive(runner_on(SQLiteStore("runs.sqlite", "process")), "r").status)
        in_child(work)
        thread.join()
        print(drive(runner_on(store), "p").status)
        """,
    )
    assert lines == ["1 completed", "completed"]


def test_processes_that_multiprocessing_forks_are_unharmed(tmp_path):
    lines = run(
        tmp_path,
        """
        store = SQLiteStore("runs.sqlite", "process")
        runner = runner_on(store)
        drive(runner, "before")
        with multiprocessing.get_context("fork").Pool(3) as pool:
            print(sum(pool.map(abs, range(100))))
        print(drive(runner, "after").status)
        """,
    )
    assert lines == ["4950", "completed"]


def test_a_forked_process_may_use_another_library(tmp_path):
    lines = run(
        tmp_path,
        """
        store = SQLiteStore("runs.sqlite", "process")
        drive(runner_on(store), "r")
        in_child(lambda: print(sqlite3.connect("runs.sqlite").execute("SELECT count(*) FROM runs").fetchone()))
        print(drive(runner_on(store), "later").status)
        """,
    )
    assert lines == ["(1,)", "completed"]
