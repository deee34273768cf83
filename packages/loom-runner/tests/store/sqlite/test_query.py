import asyncio
import threading

import pytest
from loom_runner import AgentRunner, Complete, Continue, KeyRing, Runs, SQLiteStore, UsageError
from loom_runner.errors import StoreError


async def count(state, ctx):
    return Continue(state + 1) if state < 5 else Complete(state)


@pytest.fixture(params=["file", "memory", "read-only"])
def runner(tmp_path, request):
    path = ":memory:" if request.param == "memory" else tmp_path / "runs.sqlite"
    runner = AgentRunner(step=count, store=SQLiteStore(path))
    for name in ("a", "b"):
        asyncio.run(runner.start(run_id=name, initial_state=0))
    if request.param == "read-only":
        runner.close()
        runner = AgentRunner(step=count, store=SQLiteStore(path, read_only=True))
    yield runner
    runner.close()


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT {} FROM c"


def test_rows_are_dicts_of_their_columns(runner):
    assert runner.query("SELECT run_id, status FROM runs ORDER BY run_id") == [
        {"run_id": "a", "status": "completed"},
        {"run_id": "b", "status": "completed"},
    ]
    assert Runs(runner.store).query("SELECT 1 AS one, NULL AS nil, 1.5 AS half, x'00ff' AS bytes") == [
        {"one": 1, "nil": None, "half": 1.5, "bytes": b"\0\xff"}
    ]
    assert runner.query("SELECT run_id FROM runs WHERE run_id = 'no'") == []
    assert runner.query("") == []


def test_parameters_are_values_and_never_sql(runner):
    assert runner.query("SELECT run_id FROM runs WHERE run_id = ?", ("a",)) == [{"run_id": "a"}]
    assert runner.query("SELECT run_id FROM runs WHERE run_id = :id", {"id": "b' OR 1"}) == []
    for wrong in ("a", b"a", 3, None):
        with pytest.raises(UsageError, match=r"they are a sequence for \?, or a dict"):
            runner.query("SELECT ?", wrong)
    with pytest.raises(UsageError, match="Incorrect number of bindings"):
        runner.query("SELECT ?")
    with pytest.raises(UsageError, match="cannot query: "):
        runner.query("SELECT ?", (object(),))


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM runs",
        "UPDATE runs SET status = 'failed'",
        "INSERT INTO about VALUES ('a', 1)",
        "DROP TABLE runs",
        "CREATE TABLE x (y)",
        "CREATE TEMP TABLE x (y)",
        "ATTACH 'other.sqlite' AS other",
        "VACUUM",
        "VACUUM INTO 'other.sqlite'",
        "BEGIN",
        "SAVEPOINT x",
        "REINDEX",
        "ANALYZE",
        "PRAGMA query_only = 0",
        "PRAGMA writable_schema = 1",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA journal_mode",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "PRAGMA user_version = 3",
        "WITH x AS (SELECT 1) DELETE FROM runs",
        "SELECT load_extension('x')",
        "EXPLAIN DELETE FROM runs",
    ],
)
def test_whatever_does_more_than_read_is_refused(runner, tmp_path, monkeypatch, sql):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UsageError, match=r"cannot query: .*(is not allowed, because a query only reads|not authorized)"
    ):
        runner.query(sql)
    assert not (tmp_path / "other.sqlite").exists()
    assert len(runner.list()) == 2


def test_the_schema_can_be_read(runner):
    assert {"name": "runs"} in runner.query("SELECT name FROM sqlite_schema")
    assert runner.query("PRAGMA table_info(runs)")[1]["name"] == "run_id"
    assert runner.query("SELECT name FROM pragma_table_info('runs') LIMIT 1") == [{"name": "run_key"}]
    assert runner.query("EXPLAIN QUERY PLAN SELECT * FROM runs")[0]["detail"] == "SCAN runs"


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("SELECT 1 AS a; SELECT 2 AS b", "it is more than one statement"),
        ("SELECT 1; DELETE FROM runs", "DELETE runs is not allowed"),
        ("SELEC", "syntax error"),
        ("SELECT nosuch FROM runs", "no such column: nosuch. .*sqlite_schema.* shows the tables"),
        ("SELECT run_id, run_id FROM runs", "two columns are named 'run_id'. Name one of them otherwise with AS"),
        (ENDLESS.format("x"), "there are more than 10,000 rows. Add LIMIT"),
        (3, "the SQL is a text, not int"),
    ],
)
def test_a_wrong_statement_is_an_error_of_one_line(runner, sql, what):
    with pytest.raises(UsageError, match=f"cannot query: .*{what}") as caught:
        runner.query(sql)
    assert "\n" not in str(caught.value)


def test_the_limits_are_checked(runner):
    with pytest.raises(UsageError, match=r"it took more than 0.05 s. Narrow it with WHERE"):
        runner.query(ENDLESS.format("count(*)"), timeout_s=0.05)
    assert len(runner.query(ENDLESS.format("x") + " LIMIT 3", limit=3)) == 3
    with pytest.raises(UsageError, match="more than 2 rows"):
        runner.query(ENDLESS.format("x"), limit=2)
    for name, wrong in (("limit", -1), ("limit", True), ("timeout_s", 0), ("timeout_s", "1"), ("timeout_s", True)):
        with pytest.raises(UsageError, match=f"cannot query with {name}="):
            runner.query("SELECT 1 AS x", **{name: wrong})


def test_a_step_may_ask_and_sees_what_is_committed(tmp_path):
    seen = []

    async def step(state, ctx):
        seen.append(Runs(store).query("SELECT step_index FROM runs")[0]["step_index"])
        return Continue(state + 1) if state < 3 else Complete(state)

    with SQLiteStore(tmp_path / "runs.sqlite") as store:
        asyncio.run(AgentRunner(step=step, store=store).start(run_id="r", initial_state=0))
    assert seen == [0, 1, 2, 3]


def test_a_thread_may_ask_while_a_transaction_is_open(tmp_path):
    with SQLiteStore(tmp_path / "runs.sqlite") as store, store._file.transaction as db:
        db.execute("INSERT INTO about VALUES ('x', 1)")
        found = []
        count = "SELECT count(*) AS n FROM about WHERE name = 'x'"
        thread = threading.Thread(target=lambda: found.extend(Runs(store).query(count)))
        thread.start()
        thread.join(20)
        assert found == [{"n": 0}]


def test_encrypted_values_stay_encrypted(tmp_path):
    with SQLiteStore(tmp_path / "runs.sqlite", keys=KeyRing({"k": b"0" * 32})) as store:
        asyncio.run(AgentRunner(step=count, store=store).start(run_id="r", initial_state=4))
        assert isinstance(Runs(store).query("SELECT state FROM runs")[0]["state"], bytes)


def test_another_kind_of_store_says_so():
    class Reader:
        description = "elsewhere"

        def list_runs(self):
            return []

    for ask in (lambda runs: runs.query("SELECT 1 AS x"), lambda runs: runs.backup("x")):
        with pytest.raises(UsageError, match=r"cannot (query|backup) elsewhere: only a SQLite store can"):
            ask(Runs(Reader()))


def test_a_closed_store_says_so(tmp_path):
    store = SQLiteStore(tmp_path / "runs.sqlite")
    store.close()
    with pytest.raises(StoreError, match="the store was closed"):
        Runs(store).query("SELECT 1 AS x")
