"""Databases of earlier formats: everything in them is still there, and their runs continue."""

import asyncio
import json

import apsw
import pytest
from loom_runner import AgentRunner, Complete, Continue, KeyRing, SQLiteStore, ToolRegistry
from loom_runner._store.sqlite.schema import APPLICATION_ID, CELLS, MIGRATIONS

tools = ToolRegistry()


@tools.tool("look", idempotent=True)
async def look(n: int) -> str:
    return f"found {n}"


async def step(state, ctx):
    if len(state["said"]) == 8:
        return Complete("done")
    said = await ctx.call_tool("look", n=len(state["said"]))
    return Continue({"said": [*state["said"], f"{said} " * 300]})


step.__qualname__ = "step"
STATES = [json.dumps({"said": [f"found {m} " * 300 for m in range(n + 1)]}) for n in range(5)]


def old_database(path, version):
    """A database as that version left it: a run of five steps, paused; one in doubt; one that is
    over.
    """
    db = apsw.Connection(str(path))
    db.pragma("auto_vacuum", 2)
    db.pragma("journal_mode", "wal")
    for migration in MIGRATIONS[:version]:
        db.execute(migration)
    db.pragma("user_version", version)
    db.pragma("application_id", APPLICATION_ID)
    first = json.dumps({"said": []})
    run = "INSERT INTO runs (run_key, run_id, status, program, step_index, fence, created_at, updated_at, input, state, wait, result) VALUES (?, ?, ?, 'step', ?, ?, 1, 1, ?, ?, ?, ?)"
    db.execute(run, (1, "going", "paused", 5, 1, first, STATES[4], None, None))
    db.execute(run, (2, "doubt", "waiting", 0, 1, first, first, '{"doubt": 6}', None))
    db.execute(run, (3, "over", "completed", 1, 1, "0", "0", None, '"result"'))
    for key in (1, 2, 3):
        db.execute(
            "INSERT INTO leases (run_key, fence, machine, pid, process, code, code_at, first_step, taken_at, ended_at,"
            " ended_as) VALUES (?, 1, 'm', 1, 'p', 'c', 'a:1', 0, 1, 2, 'paused')",
            (key,),
        )
    insert = "INSERT INTO steps (run_key, step_index, outcome, attempts, started_at, ended_at, fence, state) VALUES (?, ?, ?, 1, ?, ?, 1, ?)"
    for index, state in enumerate(STATES):
        db.execute(insert, (1, index, "continue", 100, 200 + index % 3, state))
    db.execute(insert, (3, 0, "complete", 100, 150, None))
    call = "INSERT INTO tool_calls (number, run_key, step_index, key, name, status, started_at, ended_at, fence, arguments_hash, arguments, result) VALUES (?, ?, ?, 'look/0', 'look', ?, 1, ?, 1, 'hash', '{}', ?)"
    for index in range(5):
        db.execute(call, (index + 1, 1, index, "done", 2, json.dumps(f"found {index}")))
    db.execute(call, (6, 2, 0, "in_doubt", None, None))
    db.execute("INSERT INTO attempts VALUES (1, 2, 0, 'failed', 1, 2, 3, 1, ?)", ('{"type": "E", "message": "m"}',))
    db.execute("INSERT INTO signals (run_key, name, payload, sent_at) VALUES (1, 'go', '1', 5)")
    if version >= 2:
        db.execute("INSERT INTO tool_tries VALUES (6, 1, 'started', 1, NULL, 1, NULL)")
        db.execute("UPDATE tool_calls SET tries = 2 WHERE number = 6")
    db.close()


VERSIONS = [1, 2]


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_in_an_older_database_is_still_there(tmp_path, version):
    old_database(tmp_path / "runs.sqlite", version)
    with SQLiteStore(tmp_path / "runs.sqlite", "process") as store:
        assert store.reader.verify().problems == ()
        run = store.reader.get_run("going")
        assert (run.status, run.step_index, run.state, run.fence) == ("paused", 5, STATES[4], 1)
        assert [step.state for step in store.reader.steps("going")] == STATES
        assert [call.result for call in store.reader.tool_calls("going")] == [f'"found {index}"' for index in range(5)]
        assert [attempt.error.message for attempt in store.reader.attempts("going")] == ["m"]
        assert [signal.payload for signal in store.reader.signals("going")] == ["1"]
        assert [lease.ended_as for lease in store.reader.leases("going")] == ["paused"]
        assert store.reader.get_run("over").result == '"result"'
        [doubt] = store.reader.tool_calls("doubt")
        assert (doubt.is_in_doubt, len(store.reader.tool_tries("doubt"))) == (True, version - 1)
        summary = store.reader.summary("going")
        assert (summary.work_us, summary.slowest_step, summary.slowest_us) == (504, 2, 102)
        assert store.reader.facts()["format"] == len(MIGRATIONS)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_run_of_an_older_database_continues(tmp_path, version):
    old_database(tmp_path / "runs.sqlite", version)
    with SQLiteStore(tmp_path / "runs.sqlite", "process") as store:
        result = asyncio.run(
            AgentRunner(step=step, store=store, tools=tools, aliases=["a:step"]).resume(run_id="going")
        )
        assert (result.status, result.result, result.step_index) == ("completed", "done", 9)
        assert [step.state for step in store.reader.steps("going", limit=5)] == STATES
        assert store.reader.state_after("going", 7) == store.reader.get_run("going").state
        kinds = store._file.db.execute("SELECT substr(hex(state), 1, 2) FROM steps WHERE step_key > 1 << 32").fetchall()
        assert ("64",) in kinds, "the new states are differences"
        assert store.reader.verify().problems == ()


@pytest.mark.parametrize("version", VERSIONS)
def test_an_older_database_can_be_encrypted_and_pruned(tmp_path, version, go):
    path = tmp_path / "runs.sqlite"
    old_database(path, version)
    keys = KeyRing({"k1": b"1" * 32})
    SQLiteStore.rekey(path, keys)
    assert b"found" not in path.read_bytes()
    with SQLiteStore(path, "process", keys=keys) as store:
        assert [step.state for step in store.reader.steps("going")] == STATES
        assert go(store.prune()).runs == 1
        assert store.reader.verify().problems == ()


@pytest.mark.parametrize("version", VERSIONS)
def test_an_upgraded_format_equals_a_new_one(tmp_path, version):
    old_database(tmp_path / "old.sqlite", version)
    tables = []
    for name in ("old", "new"):
        with SQLiteStore(tmp_path / f"{name}.sqlite", "process") as store:
            tables.append(store._file.db.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall())
    assert tables[0] == tables[1]


def test_every_column_is_known_to_hold_what_users_wrote_or_not(store):
    """A new column of texts has to be put into `CELLS`, or here, among what is never encrypted."""
    open_texts = {
        "runs": {"run_id", "status", "program", "wait", "forked_from", "budget", "request"},
        "steps": {"outcome", "detail"},
        "attempts": {"kind"},
        "tool_calls": {"key", "name", "status", "decided_by"},
        "tool_tries": {"status"},
        "leases": {"machine", "process", "code", "code_at", "ended_as", "module"},
        "signals": {"name"},
        "approvals": {"key", "name", "status"},
        "blobs": {"hash"},
        "about": {"name", "value"},
    }
    found = store._file.db.execute(
        """SELECT m.name, c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c
           WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND c.type NOT IN ('INTEGER', 'REAL')"""
    ).fetchall()
    known = {(table, column) for table, columns in open_texts.items() for column in columns} | set(CELLS)
    assert set(found) <= known, set(found) - known
    assert known <= set(found), known - set(found)


def test_an_interrupted_run_of_an_older_database_is_ready(tmp_path):
    old_database(tmp_path / "runs.sqlite", 2)
    db = apsw.Connection(str(tmp_path / "runs.sqlite"))
    db.execute("UPDATE leases SET ended_as = 'interrupted' WHERE run_key = 1")
    db.close()
    with SQLiteStore(tmp_path / "runs.sqlite", "process") as store:
        assert [run.run_id for run in store.reader.ready_runs(["step"], 10)] == ["going"]
