"""Lists and polls of large databases: the right rows, in order, through an index."""

import itertools

import pytest
from loom_runner import Runs, SQLiteStore, UsageError
from loom_runner._model.run_filter import RunFilter
from loom_runner._model.statuses import MOVES

STATUSES = tuple(MOVES)
COLUMNS = "run_id, status, program, fence, created_at, updated_at, input, state, ready_at, renewed_at, lease_ms"


def fill(store, count):
    """Runs of all statuses and two programs, of which several have the same time."""
    rows = [
        (
            f"{('order', 'mail', 'order-x')[n % 3]}-{n}",
            STATUSES[n % len(STATUSES)],
            ("one", "two")[n % 5 == 0],
            1,
            n,
            1_000 + n * 7919 % 37,
            "{}",
            "{}",
            50 if n % 16 == 2 else None,
            0 if STATUSES[n % len(STATUSES)] == "running" else None,
            15_000,
        )
        for n in range(count)
    ]
    store._file.db.executemany(f"INSERT INTO runs ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def by_hand(store, which):
    """The same list without any index: all rows, filtered and sorted."""
    rows = store._file.db.execute("SELECT run_id, status, program, updated_at, run_key FROM runs").fetchall()
    found = [
        row
        for row in rows
        if (not which.statuses or row[1] in which.statuses)
        and which.program in (None, row[2])
        and row[0].startswith(which.prefix or "")
        and (which.text or "") in row[0]
    ]
    return [row[0] for row in sorted(found, key=lambda row: (row[3], row[4]), reverse=True)]


FILTERS = [
    RunFilter(statuses, program, prefix, text)
    for statuses, program, prefix, text in itertools.product(
        ((), ("failed",), ("running", "waiting")), (None, "two"), (None, "order-"), (None, "1")
    )
]


@pytest.mark.parametrize("few", [0, 20_000], ids=["in the order of the list", "by the ids"])
@pytest.mark.parametrize("which", FILTERS, ids=str)
def test_pages_hold_every_matching_run_once_newest_first(store, which, few, monkeypatch):
    monkeypatch.setattr("loom_runner._store.sqlite.runs._FEW", few)
    fill(store, 200)
    found, last = [], None
    while page := store.reader.list_runs(limit=7, after=last, which=which):
        found += [run.run_id for run in page]
        last = page[-1]
    assert found == by_hand(store, which)
    assert found


def plans(store, read):
    """The query plans of all statements that a call executes."""
    db, found = store._file.db, []

    def note(_, sql, bindings):
        statements.append((sql, bindings))
        return True

    statements: list = []
    db.exec_trace = note
    try:
        read()
    finally:
        db.exec_trace = None
    for sql, bindings in statements:
        found += [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", bindings)]
    return found


@pytest.mark.parametrize(
    "read",
    [
        lambda reader: reader.list_runs(),
        lambda reader: reader.list_runs(after=reader.list_runs(limit=1)[0]),
        lambda reader: reader.list_runs(which=RunFilter(("failed",))),
        lambda reader: reader.list_runs(which=RunFilter(program="one")),
        lambda reader: reader.list_runs(which=RunFilter(("failed",), "one")),
        lambda reader: reader.list_runs(which=RunFilter(prefix="mail-1")),
        lambda reader: reader.ready_runs(["one", "two"], 100),
        lambda reader: reader.holders(["one", "two"]),
        lambda reader: reader.counts(),
        lambda reader: reader.tool_calls("mail-1"),
        lambda reader: reader.tool_calls(open_only=True),
        lambda reader: reader.approvals("mail-1"),
        lambda reader: reader.approvals(pending_only=True),
    ],
)
def test_no_question_reads_the_whole_table_of_runs_or_calls(store, read):
    fill(store, 200)
    scans = [
        line
        for line in plans(store, lambda: read(store.reader))
        if line.startswith("SCAN") and "INDEX" not in line and not line.startswith(("SCAN json", "SCAN (", "SCAN 1"))
    ]
    assert not scans


def test_ready_runs_are_those_of_every_kind_the_longest_due_first(store):
    fill(store, 200)
    store._file.db.execute("UPDATE runs SET ready_at = NULL WHERE status NOT IN ('waiting', 'paused')")
    rows = store._file.db.execute(
        """SELECT run_id FROM runs WHERE program = 'one' AND (status IN ('created', 'running') OR ready_at <= 100)
           ORDER BY updated_at, run_key"""
    ).fetchall()
    expected = [run_id for (run_id,) in rows]
    assert [run.run_id for run in store.reader.ready_runs(["one"], 100, limit=1_000)] == expected
    assert [run.run_id for run in store.reader.ready_runs(["one", "one"], 100, limit=9)] == expected[:9]
    assert {status for status, _ in store.reader.statuses(expected).values()} == {"created", "running", "waiting"}


def test_a_search_by_shown_status_tells_a_live_run_from_an_interrupted_one(store):
    fill(store, 80)
    runs = Runs(store)
    names = set(by_hand(store, RunFilter(("running",))))
    assert {run["run_id"] for run in runs.list(status="interrupted")} == names
    assert runs.list(status="running") == []
    assert len(runs.list(status=["interrupted", "failed"])) == 20
    assert len(runs.list(status=["interrupted", "failed"], limit=3)) == 3
    assert runs.stats()["runs"] == {status: 10 for status in STATUSES if status != "running"} | {"interrupted": 10}
    with pytest.raises(UsageError, match="cannot list runs with status 'done': the statuses are created, "):
        runs.list(status="done")
    with pytest.raises(UsageError, match="prefix is 7"):
        runs.list(prefix=7)


def test_committing_a_step_writes_no_index_of_lists(store):
    """The partial indexes omit running runs; a commit that changed one would cost every step."""
    fill(store, 8)
    db = store._file.db
    program = [row[1] for row in db.execute("EXPLAIN UPDATE runs SET updated_at = 5, step_index = 9 WHERE run_key = 2")]
    assert program.count("IdxInsert") == 2, "by status and by program, each behind the test of its condition"
    before = db.execute("SELECT count(*) FROM runs INDEXED BY runs_by_status WHERE status <> 'running'").get
    db.execute("UPDATE runs SET updated_at = updated_at + 5 WHERE status = 'running'")
    assert db.execute("SELECT count(*) FROM runs INDEXED BY runs_by_status WHERE status <> 'running'").get == before


def test_a_large_database_is_examined_without_decoding_every_state(tmp_path, monkeypatch):
    from loom_runner._queries import doctor

    path = tmp_path / "runs.sqlite"
    with SQLiteStore(path, "process") as store:
        fill(store, 40)
        monkeypatch.setattr(doctor, "_ROWS_READ_WHOLE", 10)
        checks = {check.name: check for check in doctor.examine(store.reader, str(path))}
        assert checks["rows"].text.endswith("; states and results were not decoded, loom-runner verify does that")
        assert checks["failed"].text.startswith("5 runs: ")
        assert checks["interrupted"].text.startswith("5 runs: ")
        store._file.db.execute("UPDATE runs SET step_index = 3 WHERE run_id = 'mail-1'")
        checks = {check.name: check for check in doctor.examine(store.reader, str(path))}
        assert checks["rows"].verdict == "bad"
        assert "run mail-1: 3 steps were committed, 0 deleted by retention, and 0 are stored" in checks["rows"].text
