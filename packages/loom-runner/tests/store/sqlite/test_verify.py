"""`verify` finds all problems and no others; sums and facts are correct."""

import json
import random

import pytest
from loom_runner import AgentRunner, Complete, Continue, SQLiteStore, ToolRegistry, UnknownRun

tools = ToolRegistry()


@tools.tool("look", idempotent=True)
async def look(n: int) -> str:
    return f"{n} " * 40_000


@tools.tool("fail", idempotent=True)
async def fail() -> str:
    raise ValueError("no")


async def step(state, ctx):
    if ctx.step_index == 2:
        await ctx.call_tool("look", n=1)
    if ctx.step_index == 3:
        try:
            await ctx.call_tool("fail")
        except Exception:
            await ctx.call_tool("look", n=2)
    if ctx.step_index == 12:
        return Complete("done")
    return Continue({"said": [*state["said"], "".join(random.Random(ctx.step_index).choices("abcdefgh", k=1_500))]})


@pytest.fixture
def run(store, go):
    go(AgentRunner(step=step, store=store, tools=tools).start(run_id="r", initial_state={"said": []}))
    go(AgentRunner(step=step, store=store, tools=tools).start(run_id="s", initial_state={"said": []}))
    return store


def test_a_database_as_it_should_be_has_no_problem(run):
    report = run.reader.verify()
    assert report.problems == ()
    assert report.ok
    assert report.checked == {"databases": 1, "blobs": 2, "runs": 2, "steps": 26, "tool_calls": 6}
    assert run.reader.verify("r").checked == {"runs": 1, "steps": 13, "tool_calls": 3}
    with pytest.raises(UnknownRun, match="cannot verify 'x'"):
        run.reader.verify("x")


@pytest.mark.parametrize(
    ("sql", "where", "what"),
    [
        ("DELETE FROM steps WHERE step_index = 5", "run r", "13 steps were committed, 0 deleted by retention, and 12"),
        ("DELETE FROM steps WHERE step_index = 12", "run r", "and 12 are stored"),
        ("UPDATE steps SET state = CAST('{' AS TEXT) WHERE step_index = 1", "step 1 of run r", "Expecting"),
        ("UPDATE steps SET state = x'7a1234' WHERE step_index = 4", "step 4 of run r", "it is damaged"),
        ("UPDATE runs SET state = '{'", "run r", "Expecting"),
        ("UPDATE runs SET input = x'7a12'", "run r", "cannot read the input of run r"),
        ("UPDATE steps SET fence = 7 WHERE step_index = 3", "run r", "under lease 7, which is not recorded"),
        (
            "UPDATE tool_calls SET status = 'started' WHERE name = 'fail'",
            None,
            "its step is committed, and the call has",
        ),
        ("UPDATE tool_calls SET step_index = 99 WHERE name = 'fail'", None, "it is of step 99, and only 13 are"),
        ("UPDATE tool_calls SET result = NULL WHERE name = 'look'", None, "it is done and has no result"),
        ("UPDATE tool_calls SET tries = 3 WHERE name = 'fail'", None, "it was started 3 times, and 0 earlier tries"),
        ("UPDATE tool_calls SET error = x'7a00' WHERE name = 'fail'", None, "cannot read the error of tool call"),
        ("UPDATE blobs SET content = x'7a00'", "blob ", "it is damaged"),
        ("UPDATE blobs SET size_bytes = 3", "blob ", "its content is not what its hash says"),
    ],
)
def test_problems_are_found_and_named(run, sql, where, what):
    run._file.db.execute(sql)
    problems = run.reader.verify().problems
    assert any(what in problem.what and problem.where.startswith(where or "tool call ") for problem in problems), (
        problems
    )
    json.dumps(run.reader.verify().as_json())


def test_one_damaged_step_hides_no_other(run):
    pattern = [row[0] for row in run._file.db.execute("SELECT substr(hex(state), 1, 2) FROM steps WHERE run_key = 1")]
    keys = [index for index, kind in enumerate(pattern) if kind == "7A"]
    assert len(keys) >= 3, pattern
    run._file.db.execute(
        "UPDATE steps SET state = x'7a00' WHERE run_key = 1 AND step_index IN (?, ?)", (keys[0], keys[2])
    )
    broken = {problem.step_index for problem in run.reader.verify("r").problems}
    assert keys[0] in broken
    assert keys[2] in broken
    assert keys[1] not in broken


def test_a_damaged_file_is_reported(tmp_path, run):
    run.close()
    content = bytearray((tmp_path / "runs.sqlite").read_bytes())
    content[-3_000:-1_000] = b"\x55" * 2_000
    (tmp_path / "runs.sqlite").write_bytes(content)
    with SQLiteStore(tmp_path / "runs.sqlite", read_only=True) as store:
        assert not store.reader.verify().ok


def test_a_table_that_sqlite_cannot_read_is_a_problem_in_the_report(tmp_path, run):
    root = run._file.db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'steps'").get
    run.close()
    content = bytearray((tmp_path / "runs.sqlite").read_bytes())
    content[(root - 1) * 4096 : (root - 1) * 4096 + 64] = b"\x55" * 64
    (tmp_path / "runs.sqlite").write_bytes(content)
    with SQLiteStore(tmp_path / "runs.sqlite", read_only=True) as store:
        assert {problem.where for problem in store.reader.verify().problems} >= {"run number 1", "run number 2"}


def test_the_sums_of_a_run(run):
    summary = run.reader.summary("r")
    assert (summary.tool_calls, summary.tool_failed, summary.tool_repeated) == (3, 1, 0)
    assert (summary.tool_decided_by, summary.repeated_names) == ((), ())
    steps = run.reader.steps("r", states=False)
    assert summary.work_us == sum(step.ended_at - step.started_at for step in steps)
    assert summary.slowest_us == max(step.ended_at - step.started_at for step in steps)
    slowest = steps[summary.slowest_step]
    assert slowest.ended_at - slowest.started_at == summary.slowest_us
    with pytest.raises(UnknownRun):
        run.reader.summary("x")


def test_the_facts_of_a_database(run):
    facts = run.reader.facts()
    json.dumps(facts)
    assert (facts["runs"], facts["steps"], facts["blobs"], facts["is_encrypted"]) == (2, 26, 2, False)
    assert (facts["journal_mode"], facts["synchronous"], facts["durability"]) == ("wal", 1, "process")
    assert facts["size_bytes"] > 0
    assert facts["wal_bytes"] > 0
    assert SQLiteStore(":memory:").reader.facts()["wal_bytes"] == 0
