"""The facts derived from rows, with the real rows of a small run."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from loom_ops._audit.facts import audit_facts, update_audit_trail
from loom_ops._audit.trail import open_trail
from loom_ops._audit.verify import verify_trail
from loom_ops._cli.timeline import timeline_lines
from loom_runner import AgentRunner, Ask, Complete, LocalEngine, RunContext, Runs, SQLiteStore, ToolRegistry

pytestmark = pytest.mark.interpreter

ARGV = ["rollback-service", "api"]


def runner_of(store: SQLiteStore, work: Any, **more: Any) -> AgentRunner:
    """Return a runner whose only step runs one command."""
    tools = ToolRegistry()

    @tools.tool("run_command", on_doubt="ask")
    async def run(id: str, argv: list[str]) -> dict[str, Any]:
        return await work()

    async def step(state: dict[str, Any], ctx: RunContext) -> Complete[Any]:
        return Complete(await ctx.call_tool("run_command", id="rollback", argv=ARGV))

    return AgentRunner(step=step, store=store, tools=tools, **more)


def start(runner: AgentRunner) -> Any:
    request = {"requester": "alice", "incident": "slow", "source": "a.md", "text": "1. a", "inputs": {}}
    return runner.start(run_id="x", initial_state={"request": request})


async def interrupt(runner: AgentRunner) -> None:
    """Start the run, and cancel it while the command runs."""
    task = asyncio.create_task(start(runner))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_command_in_doubt_is_recorded_with_its_start_and_without_an_end(tmp_path: Path) -> None:
    with SQLiteStore(tmp_path / "ops.sqlite") as store:
        asyncio.run(interrupt(runner_of(store, lambda: asyncio.sleep(60))))
        runs = Runs(store)
        assert [call["name"] for call in runs.doubts("x")] == ["run_command"]
        update_audit_trail(runs, "x", tmp_path / "ops.sqlite")
        update_audit_trail(runs, "x", tmp_path / "ops.sqlite")
    with open_trail(tmp_path / "ops.sqlite") as trail:
        entries = list(trail.entries())
    assert [entry.kind for entry in entries] == ["audit.started", "run.asked", "command.started", "command.in_doubt"]
    assert entries[1].actor == "alice"
    assert json.loads(entries[3].content) == {"step": "rollback", "argv": ARGV}


def test_a_resolution_is_recorded_with_its_person(tmp_path: Path) -> None:
    async def never() -> dict[str, Any]:
        raise AssertionError("a command in doubt is not repeated")

    with SQLiteStore(tmp_path / "ops.sqlite") as store:
        asyncio.run(interrupt(runner_of(store, lambda: asyncio.sleep(60))))
        result = {"ok": True, "text": "confirmed"}
        asyncio.run(LocalEngine(store).resolve(run_id="x", call=1, how="result", result=result, decided_by="bob"))
        ended = asyncio.run(runner_of(store, never).resume(run_id="x"))
        assert ended.status == "completed" and ended.result == result
        facts = {fact.kind: fact.content for fact in audit_facts(Runs(store), "x")}
    assert facts["command.ended"]["decided_by"] == "bob" and facts["command.ended"]["ok"] is True


def test_every_decision_is_recorded_with_who_how_and_why(tmp_path: Path) -> None:
    async def done() -> dict[str, Any]:
        return {"ok": True, "text": "done", "exit_code": 0}

    policy = {"group": "oncall", "step": "rollback", "argv": ARGV}
    with SQLiteStore(tmp_path / "ops.sqlite") as store:
        runner = runner_of(store, done, gate=lambda call: Ask("it is slow", 60.0, 2, policy))
        asyncio.run(start(runner))
        for name in ("bob", "carol"):
            asyncio.run(runner.decide(run_id="x", number=1, how="approve", by=name, via="cli", note=f"by {name}"))
        asyncio.run(runner.resume(run_id="x"))
        facts = list(audit_facts(Runs(store), "x"))
    assert [(fact.kind, fact.actor) for fact in facts] == [
        ("run.asked", "alice"),
        ("approval.requested", "executor"),
        ("approval.decided", "bob"),
        ("approval.decided", "carol"),
        ("approval.used", "supervisor"),
        ("command.started", "supervisor"),
        ("command.ended", "supervisor"),
        ("run.ended", "supervisor"),
    ]
    request, first, second = (fact.content for fact in facts[1:4])
    assert request["needed"] == 2 and request["group"] == "oncall" and request["argv"] == ARGV
    assert (first["how"], first["via"], first["note"]) == ("approve", "cli", "by bob") and second["note"] == "by carol"
    assert len({fact.source for fact in facts}) == len(facts)


def test_each_decision_is_recorded_with_the_arguments_that_it_is_about(tmp_path: Path) -> None:
    async def done() -> dict[str, Any]:
        return {"ok": True, "text": "done", "exit_code": 0}

    def decide(by: str, how: str, word: str = "") -> None:
        arguments = {"id": "rollback", "argv": ["rollback-service", word]} if word else None
        asyncio.run(runner.decide(run_id="x", number=1, how=how, by=by, via="cli", arguments=arguments))  # type: ignore[arg-type]  # one of three words
        update_audit_trail(Runs(store), "x", tmp_path / "ops.sqlite")

    policy = {"group": "oncall", "step": "rollback", "argv": ARGV}
    with SQLiteStore(tmp_path / "ops.sqlite") as store, open_trail(tmp_path / "ops.sqlite") as trail:
        runner = runner_of(store, done, gate=lambda call: Ask("it is slow", 60.0, 2, policy))
        asyncio.run(start(runner))
        decide("bob", "approve")
        decide("carol", "edit", "web")
        decide("dave", "approve")
        decide("carol", "edit", "worker")
        decide("dave", "approve")
        decide("erin", "approve")
        asyncio.run(runner.resume(run_id="x"))
        lines = list(timeline_lines(Runs(store), "x"))
        update_audit_trail(Runs(store), "x", tmp_path / "ops.sqlite")
        entries = [(entry.kind, entry.actor, json.loads(entry.content)) for entry in trail.entries()]
        assert not any("differs" in text for text in verify_trail(trail, Runs(store)).findings)
    assert [(actor, content["argv"][1]) for kind, actor, content in entries if kind.startswith("approval.")] == [
        ("executor", "api"),
        ("bob", "api"),
        ("carol", "web"),
        ("dave", "web"),
        ("carol", "worker"),
        ("dave", "worker"),
        ("erin", "worker"),
        ("supervisor", "worker"),
    ]
    shown = [line.partition("  ")[2].partition("  ")[2] for line in lines]
    assert "edited by carol (cli): rollback-service worker instead of rollback-service api" in shown
    assert "approved by erin (cli): rollback-service worker" in shown
