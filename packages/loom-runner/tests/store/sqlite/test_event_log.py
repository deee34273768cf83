"""The event log: numbered by commits, filled by every writer, and complete after a reconnection."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import apsw
import pytest
from loom_runner import AgentRunner, Ask, Complete, Continue, SQLiteStore, ToolRegistry, Wait
from loom_runner._store.sqlite.event_log import EventLog
from loom_runner.errors import StoreUnreadable

tools = ToolRegistry()


@tools.tool("look", read_only=True)
def look() -> int:
    return 1


async def step(state, ctx):
    if state == 0:
        await ctx.call_tool("look")
        return Continue(1)
    if state == 1:
        return Wait(2, signal="go")
    return Complete("done")


def _agent(store: SQLiteStore, **settings) -> AgentRunner:
    return AgentRunner(step=step, store=store, tools=tools, **settings)


def _story(events) -> list[tuple[str, int | None, str]]:
    return [(event.kind, event.ref, event.word) for event in events]


WHOLE = [
    ("run", None, "running"),
    ("tool", 1, "started"),
    ("tool", 1, "done"),
    ("step", 0, "continue"),
    ("run", None, "waiting"),
    ("step", 1, "wait"),
    ("signal", 1, "go"),
    ("run", None, "running"),
    ("run", None, "completed"),
    ("step", 2, "complete"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.sqlite"


async def _run(runner: AgentRunner) -> None:
    await runner.start(run_id="r", initial_state=0)
    await runner.signal(run_id="r", name="go")
    await runner.resume(run_id="r")


def test_everything_that_happens_is_in_the_log_in_order(path: Path) -> None:
    store, log = SQLiteStore(path), EventLog(path)
    asyncio.run(_run(_agent(store)))
    events = log.after(0)
    assert _story(events) == WHOLE
    assert [event.seq for event in events] == sorted({event.seq for event in events})
    assert log.last() == events[-1].seq
    assert {event.run_id for event in events} == {"r"}
    store.close()
    log.close()


def test_reading_from_any_number_leaves_no_gap_and_repeats_nothing(path: Path) -> None:
    store, log = SQLiteStore(path), EventLog(path)
    asyncio.run(_run(_agent(store)))
    whole = log.after(0, run_id="r")
    for event in whole:
        assert [*log.after(0)[: whole.index(event) + 1], *log.after(event.seq)] == whole
    assert log.after(0, limit=3) == whole[:3]
    assert log.after(0, run_id="other") == []
    store.close()
    log.close()


def test_the_log_of_an_existing_database_begins_with_its_rows(path: Path) -> None:
    store = SQLiteStore(path)
    asyncio.run(_run(_agent(store)))
    log = EventLog(path)
    earlier = _story(log.after(0))
    assert [entry for entry in earlier if entry[0] in ("step", "tool", "signal")] == [
        entry for entry in WHOLE if entry[0] in ("step", "tool", "signal")
    ]
    assert (earlier[0], earlier[-1]) == (("run", None, "created"), ("run", None, "completed"))
    asyncio.run(_agent(store).start(run_id="s", initial_state=2))
    assert _story(log.after(len(earlier)))[-1] == ("step", 0, "complete")
    store.close()
    log.close()


def test_approvals_and_failed_attempts_are_compared(path: Path) -> None:
    store, log = SQLiteStore(path), EventLog(path)

    async def failing(state, ctx):
        await ctx.call_tool("look")
        raise ValueError("no")

    runner = AgentRunner(step=failing, store=store, tools=tools, gate=lambda call: Ask())

    async def work() -> None:
        await runner.start(run_id="r", initial_state=0)
        await runner.decide(run_id="r", number=1, how="approve", by="me")
        await runner.resume(run_id="r")

    asyncio.run(work())
    story = _story(log.after(0))
    assert [entry for entry in story if entry[0] == "approval"] == [
        ("approval", 1, "pending"),
        ("approval", 1, "approved"),
        ("approval", 1, "used"),
    ]
    assert [entry[0] for entry in story if entry[0] == "attempt"] == ["attempt"]
    assert ("run", None, "failed") in story
    store.close()
    log.close()


def test_writes_of_another_process_are_seen(path: Path) -> None:
    log = EventLog(path)
    assert log.has_changed()
    assert not log.has_changed()
    code = f"""
import asyncio
from loom_runner import AgentRunner, Complete, SQLiteStore
async def step(state, ctx): return Complete(1)
asyncio.run(AgentRunner(step=step, store=SQLiteStore({str(path)!r})).start(run_id="far", initial_state=0))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert log.has_changed()
    assert [event.word for event in log.after(0)] == ["running", "completed", "complete"]
    log.close()


def test_entries_go_with_their_run_and_numbers_are_never_given_again(path: Path) -> None:
    store, log = SQLiteStore(path), EventLog(path)
    runner = _agent(store)
    asyncio.run(runner.start(run_id="old", initial_state=2))
    last = log.last()
    db = apsw.Connection(str(path))
    for table in ("steps", "leases", "runs"):
        db.execute(f"DELETE FROM {table}")
    db.close()
    assert (log.after(0), log.last()) == ([], last)
    asyncio.run(runner.start(run_id="new", initial_state=2))
    assert {event.run_id for event in log.after(0)} == {"new"}
    assert min(event.seq for event in log.after(0)) > last
    store.close()
    log.close()


def test_a_lost_trigger_is_created_again(path: Path) -> None:
    EventLog(path).close()
    db = apsw.Connection(str(path))
    db.execute("DROP TRIGGER log_step_added")
    db.close()
    EventLog(path).close()
    db = apsw.Connection(str(path))
    assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'log_step_added'").get == 1
    db.close()


def test_another_programs_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("hello, this is no database at all" * 100)
    with pytest.raises(StoreUnreadable):
        EventLog(tmp_path / "x")
