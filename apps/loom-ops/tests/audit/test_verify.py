"""The verification of a trail against the rows, the heads and the database, with real rows."""

import asyncio
from pathlib import Path
from typing import Any

import apsw
import pytest
from loom_ops._audit.chain import AuditFact, AuditHead, entry_after
from loom_ops._audit.facts import audit_facts, update_audit_trail
from loom_ops._audit.trail import _CREATE, AuditTrail, open_trail
from loom_ops._audit.verify import Verification, verify_trail
from loom_runner import AgentRunner, Ask, Complete, LocalEngine, RunContext, Runs, SQLiteStore, ToolRegistry
from loom_runner.store import open_side_tables

ARGV = ["rollback-service", "api"]


def runner_of(store: SQLiteStore, work: Any, **more: Any) -> AgentRunner:
    tools = ToolRegistry()

    @tools.tool("run_command", on_doubt="ask")
    async def run(id: str, argv: list[str]) -> dict[str, Any]:
        return await work()

    async def step(state: dict[str, Any], ctx: RunContext) -> Complete[Any]:
        return Complete(await ctx.call_tool("run_command", id="rollback", argv=ARGV))

    return AgentRunner(step=step, store=store, tools=tools, name="loom-ops/supervisor", **more)


async def done() -> dict[str, Any]:
    return {"ok": True, "text": "done", "exit_code": 0, "rule": "r:1"}


def start(runner: AgentRunner, run_id: str = "x") -> Any:
    request = {"requester": "alice", "incident": "slow", "source": "a.md", "text": "1. a", "inputs": {}}
    return runner.start(run_id=run_id, initial_state={"request": request})


async def interrupt(runner: AgentRunner) -> None:
    task = asyncio.create_task(start(runner))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def verify(store: SQLiteStore, path: Path, *heads: AuditHead) -> Verification:
    with open_trail(path) as trail:
        return verify_trail(trail, Runs(store), *heads)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with one run that ended after two people had approved its command."""
    path = tmp_path / "ops.sqlite"
    with SQLiteStore(path) as store:
        runner = runner_of(store, done, gate=lambda call: Ask("slow", 60.0, 2, {"group": "oncall", "argv": ARGV}))
        asyncio.run(start(runner))
        for name in ("bob", "carol"):
            asyncio.run(runner.decide(run_id="x", number=1, how="approve", by=name, via="cli"))
        asyncio.run(runner.resume(run_id="x"))
        update_audit_trail(Runs(store), "x", path)
    return path


def test_an_undisturbed_trail_has_no_findings_and_no_notes(path: Path) -> None:
    with SQLiteStore(path) as store:
        found = verify(store, path)
    assert (found.findings, found.notes) == ([], [])
    assert found.head is not None and found.head.number == 9


def test_each_fact_has_its_own_time(path: Path) -> None:
    with SQLiteStore(path) as store:
        facts = {fact.kind: fact.at for fact in audit_facts(Runs(store), "x")}
        [call] = Runs(store).tool_calls("x")
    assert facts["command.started"] == call["started_at"] == facts["approval.used"]
    assert facts["command.ended"] == call["ended_at"] > call["started_at"]


def test_a_repeated_try_is_a_new_fact(tmp_path: Path) -> None:
    path = tmp_path / "ops.sqlite"
    with SQLiteStore(path) as store:
        asyncio.run(interrupt(runner_of(store, lambda: asyncio.sleep(60))))
        update_audit_trail(Runs(store), "x", path)
        asyncio.run(LocalEngine(store).resolve(run_id="x", call=1, how="retry", decided_by="bob"))
        asyncio.run(runner_of(store, done).resume(run_id="x"))
        update_audit_trail(Runs(store), "x", path)
        assert verify(store, path).findings == []
        facts = list(audit_facts(Runs(store), "x"))
    started = [(fact.content["try"], fact.at) for fact in facts if fact.kind == "command.started"]
    assert [number for number, _ in started] == [1, 2] and started[0][1] < started[1][1]
    assert [fact.content["try"] for fact in facts if fact.kind == "command.ended"] == [2]
    with open_trail(path) as trail:
        assert [entry.kind for entry in trail.entries()] == [
            "audit.started",
            "run.asked",
            "command.started",
            "command.in_doubt",
            "command.started",
            "command.ended",
            "run.ended",
        ]


@pytest.mark.parametrize("how", ["result", "skip"])
def test_a_resolution_has_its_person_and_the_time_of_the_decision(tmp_path: Path, how: Any) -> None:
    path = tmp_path / "ops.sqlite"
    with SQLiteStore(path) as store:
        asyncio.run(interrupt(runner_of(store, lambda: asyncio.sleep(60))))
        result = {"ok": True, "text": "confirmed"} if how == "result" else None
        asyncio.run(LocalEngine(store).resolve(run_id="x", call=1, how=how, result=result, decided_by="bob"))
        update_audit_trail(Runs(store), "x", path)
        [fact] = [fact for fact in audit_facts(Runs(store), "x") if fact.kind == "call.resolved"]
        assert (fact.actor, fact.content["how"]) == ("bob", how)
        assert fact.at == Runs(store).tool_calls("x")[0]["ended_at"]
        assert verify(store, path).findings == []


def test_a_chain_of_version_1_still_verifies_and_is_continued(path: Path) -> None:
    with SQLiteStore(path) as store:
        facts = list(audit_facts(Runs(store), "x"))
        old = [fact.earlier for fact in facts if fact.kind != "approval.used"]
        assert {fact.kind for fact in old if fact} >= {"approval.asked", "command.ended"}
        (path.parent / "ops.sqlite.audit-heads").unlink()
        _as_version_1(path, [fact for fact in old if fact])
        found = verify(store, path)
        assert found.findings == [] and "1 fact not recorded" in found.notes[-1]
        update_audit_trail(Runs(store), "x", path)
        assert (verify(store, path).findings, verify(store, path).notes) == ([], [])
    with open_trail(path) as trail:
        assert [entry.kind for entry in trail.entries()][-2:] == ["audit.started", "approval.used"]


def _as_version_1(path: Path, facts: list[AuditFact]) -> None:
    db = apsw.Connection(str(path))
    db.execute("DROP TABLE audit; DROP TABLE audit_database; DELETE FROM side_tables WHERE name = 'audit'")
    db.close()
    tables = open_side_tables(path, "audit", (_CREATE,))
    head = None
    with tables.transaction() as connection:
        for fact in facts:
            entry = entry_after(head, fact)
            connection.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", entry.row)
            head = AuditHead(entry.number, entry.hash)
    tables.close()


def test_a_fact_of_version_2_cannot_hide_behind_the_form_of_version_1(path: Path) -> None:
    with SQLiteStore(path) as store:
        [fact] = [fact for fact in audit_facts(Runs(store), "x") if fact.kind == "command.ended"]
        (path.parent / "ops.sqlite.audit-heads").unlink()
        with open_trail(path) as trail:
            kept = [entry for entry in trail.entries() if entry.source not in (fact.source, "x/ended/completed")]
        db = apsw.Connection(str(path))
        db.execute(f"DROP TRIGGER audit_is_not_cut; DELETE FROM audit WHERE number > {kept[-1].number}")
        db.close()
        assert fact.earlier is not None
        with open_trail(path) as trail:
            trail.append([fact.earlier])
        found = verify(store, path).findings
    assert f"entry {kept[-1].number + 1} (command.ended of x) differs from the rows: at, result_sha256, try" in found


def test_a_run_that_retention_deleted_is_a_note_and_one_that_is_gone_a_finding(path: Path) -> None:
    with SQLiteStore(path) as store:
        asyncio.run(store.prune())
        found = verify(store, path)
        assert found.findings == [] and found.notes == ["run x was deleted: 8 entries cannot be compared"]
    db = apsw.Connection(str(path))
    db.execute("DELETE FROM deleted_runs")
    db.close()
    with SQLiteStore(path) as store:
        [text] = verify(store, path).findings
    assert "entry 2 to 9 is gone" in text


def test_a_cut_tail_is_found_by_the_heads_beside_the_database(path: Path) -> None:
    db = apsw.Connection(str(path))
    trigger = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'audit_is_not_cut'").get
    db.execute(f"DROP TRIGGER audit_is_not_cut; DELETE FROM audit WHERE number > 6; {trigger}")
    db.close()
    with SQLiteStore(path) as store:
        assert verify(store, path).findings[0] == "the trail ends at entry 6, but entry 9 was printed"


def test_a_copy_without_its_heads_is_a_note(path: Path) -> None:
    (path.parent / "ops.sqlite.audit-heads").unlink()
    with SQLiteStore(path) as store:
        found = verify(store, path)
    assert found.findings == [] and "ops.sqlite.audit-heads is not beside the database" in found.notes[0]


def test_the_heads_are_private_and_one_line_for_each_update(path: Path) -> None:
    file = path.parent / "ops.sqlite.audit-heads"
    assert file.stat().st_mode & 0o777 == 0o600
    with open_trail(path) as trail:
        trail.append([AuditFact("x/r", "x", "2026-11-21T00:00:00Z", "approval.refused", "eve", {})])
        trail.append([AuditFact("x/r", "x", "2026-11-21T00:00:00Z", "approval.refused", "eve", {})])
        lines = file.read_text().splitlines()
        assert [line.partition(" ")[2].partition(":")[0] for line in lines] == ["9", "10"]
        assert lines[-1].endswith(str(trail.head()))


def test_heads_that_cannot_be_written_are_reported_and_nothing_is_lost(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = path.parent / "ops.sqlite.audit-heads"
    file.rename(path.parent / "elsewhere")
    file.symlink_to(path.parent / "elsewhere")
    before = (path.parent / "elsewhere").read_text()
    with open_trail(path) as trail:
        assert trail.append([AuditFact("x/r", "x", "2026-11-21T00:00:00Z", "approval.refused", "eve", {})]) == 1
    assert "cannot append the audit head 10:" in capsys.readouterr().err
    assert (path.parent / "elsewhere").read_text() == before


def test_a_chain_of_another_database_is_named(path: Path, tmp_path: Path) -> None:
    other = AuditTrail(tmp_path / "other.sqlite")
    other.append([AuditFact("x/r", "x", "2026-11-21T00:00:00Z", "approval.refused", "eve", {})])
    rows = [entry.row for entry in other.entries()]
    other.close()
    db = apsw.Connection(str(path))
    trigger = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'audit_is_not_cut'").get
    db.execute("DROP TRIGGER audit_is_not_cut; DELETE FROM audit")
    db.executemany("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    db.execute(trigger)
    db.close()
    with SQLiteStore(path) as store:
        found = verify(store, path).findings
    assert any("the trail is foreign" in text for text in found)


def test_facts_of_an_interrupted_run_are_a_note_until_they_are_recorded(tmp_path: Path) -> None:
    path = tmp_path / "ops.sqlite"
    with SQLiteStore(path) as store:
        asyncio.run(start(runner_of(store, done)))
        with open_trail(path):
            pass
        db = store._file.db  # the process dies before it records anything
        db.execute("UPDATE runs SET status = 'running'")
        assert verify(store, path).findings == []
        assert verify(store, path).notes[-1].startswith("run x: 3 facts not recorded")
        db.execute("UPDATE runs SET status = 'completed'")
        assert len(verify(store, path).findings) == 4
