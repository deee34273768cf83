"""Executor and verifier with faked tools: what they do, in which order, what they undo."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loom_ops._approvals.binding import PolicyBinding
from loom_ops._approvals.gate import approval_gate
from loom_ops._commands.context import ExecutionContext
from loom_ops._commands.rules_file import parse_rules
from loom_ops._commands.secrets import Vault
from loom_ops._runbook.parse import parse_runbook
from loom_ops._site import Site
from loom_ops._team.executor import executor_step
from loom_ops._team.states import ExecutorState, RunRequest, VerifierState
from loom_ops._team.verifier import verifier_step
from loom_runner import AgentRunner, Authority, SQLiteStore, ToolRegistry

BOOK = """\
---
kind: {kind}
approvals: {{default: {{ttl: 30m}}}}
---
```check id=up
kind: tcp
host: h
port: 1
```
```check id=fast
kind: tcp
host: h
port: 2
```
```run id=one undo=un-one timeout=1m
argv: [one]
```
```run id=two undo=un-two timeout=1m
argv: [two]
```
```run id=three undo=none timeout=1m
argv: [three]
```
```run id=un-one undo=none timeout=1m
argv: [un-one]
```
```run id=un-two undo=none timeout=1m
argv: [un-two]
```
"""
RULES = parse_rules(
    "allow: [{argv: [one]}, {argv: [two]}, {argv: [three]}, {argv: [un-one]}, {argv: [un-two]}]", "rules"
)
PLAN = ("up", "fast", "one", "two", "three")


class FakeSite:
    """Tools whose checks return what a test sets, and whose commands are only recorded."""

    def __init__(self, tmp_path: Path, kind: str = "remedy") -> None:
        self.broken: Callable[[str, list[str]], bool] = lambda check, done: check == "fast"
        self.failing: set[str] = set()
        self.done: list[str] = []
        self.store = SQLiteStore(tmp_path / "ops.sqlite", durability="memory")
        self.request = RunRequest("it", "me", "b.md", BOOK.format(kind=kind), {})
        self.context = ExecutionContext(tmp_path, RULES, Vault({}, tmp_path))
        self.stopped = False

    def tools(self) -> ToolRegistry:
        tools = ToolRegistry()

        @tools.tool("check", read_only=True)
        async def check(id: str, **more: Any) -> dict[str, Any]:
            ok = not self.broken(id, self.done)
            return {"id": id, "ok": ok, "text": "fine" if ok else "bad", "value": None, "expect": None}

        @tools.tool("run_command", on_doubt="ask")
        async def run(id: str, argv: list[str], **more: Any) -> dict[str, Any]:
            self.done.append(argv[0])
            ok = id not in self.failing
            return {"ok": ok, "text": f"{id} {'done' if ok else 'failed'}", "exit_code": 0 if ok else 1}

        @tools.tool("do_by_hand", idempotent=True)
        async def by_hand(id: str, text: str) -> dict[str, Any]:
            self.done.append(id)
            return {"ok": True, "text": text}

        return tools

    async def execute(
        self, plan: tuple[str, ...] = PLAN, *, deny: str | None = None, state: ExecutorState | None = None
    ) -> dict[str, Any]:
        """Run an executor to its end; approve every request except that of one step."""

        async def wake(run_id: str, always: bool) -> None:
            pass

        folder = self.context.workspace
        site = Site(folder, folder / "rules", folder / "runbooks")
        binding = PolicyBinding(site, folder / "ops.sqlite", "me")
        runner = AgentRunner(
            step=executor_step(lambda run_id: self.stopped, wake),
            store=self.store,
            tools=self.tools(),
            state_type=ExecutorState,
            gate=approval_gate(self.context, binding, by_hand=self.request.runbook.by_hand_policy),
        )
        ended = await runner.start(run_id="x", initial_state=state or ExecutorState(self.request, plan))
        while ended.status == "waiting":
            (request,) = runner.approvals("x", pending_only=True)
            how = "deny" if request["policy"]["step"] == deny else "approve"
            before = list(self.done)
            await runner.engine.decide(
                run_id="x", number=request["number"], how=how, by="me", authority=Authority("loom-ops")
            )
            assert self.done == before
            ended = await runner.resume(run_id="x")
        assert ended.status == "completed", ended.error
        self.store.close()
        return ended.result


def run(site: FakeSite, **more: Any) -> tuple[str, list[str]]:
    result = asyncio.run(site.execute(**more))
    was_run = [report["id"] for report in result["steps"] if report["kind"] != "check" and report["status"] != "denied"]
    assert was_run == site.done, "what is reported is what was done"
    return result["outcome"], site.done


def test_a_remedy_continues_until_it_helps_and_skips_the_rest(tmp_path: Path) -> None:
    site = FakeSite(tmp_path)
    site.broken = lambda check, done: check == "fast" and "two" not in done
    assert run(site) == ("recovered", ["one", "two"])


def test_a_remedy_is_not_run_when_every_check_passes(tmp_path: Path) -> None:
    site = FakeSite(tmp_path)
    site.broken = lambda check, done: False
    assert run(site) == ("nothing_to_do", [])


def test_a_remedy_that_does_not_help_is_undone_the_last_step_first(tmp_path: Path) -> None:
    assert run(FakeSite(tmp_path)) == ("not_recovered", ["one", "two", "three", "un-two", "un-one"])


def test_a_failed_step_rolls_back_the_steps_before_it(tmp_path: Path) -> None:
    site = FakeSite(tmp_path)
    site.failing = {"two"}
    assert run(site) == ("failed", ["one", "two", "un-one"])


def test_a_denied_step_is_not_run_and_rolls_back_the_steps_before_it(tmp_path: Path) -> None:
    assert run(FakeSite(tmp_path), deny="two") == ("denied", ["one", "un-one"])


def test_a_rollback_continues_when_an_undo_step_fails_or_is_denied(tmp_path: Path) -> None:
    site = FakeSite(tmp_path)
    site.failing = {"un-two"}
    assert run(site) == ("not_recovered", ["one", "two", "three", "un-two", "un-one"])
    (tmp_path / "b").mkdir()
    assert run(FakeSite(tmp_path / "b"), deny="un-two") == ("not_recovered", ["one", "two", "three", "un-one"])


@pytest.mark.parametrize(
    ("failing", "deny", "outcome", "why", "done"),
    [
        (set(), None, "rolled_back", "a rollback was requested", ["un-two", "un-one"]),
        ({"un-two"}, None, "failed", "un-two: un-two failed", ["un-two", "un-one"]),
        (set(), "un-one", "denied", "un-one: the call was denied", ["un-two"]),
    ],
)
def test_a_rollback_ends_as_rolled_back_only_when_every_undo_step_was_done(
    tmp_path: Path, failing: set[str], deny: str | None, outcome: str, why: str, done: list[str]
) -> None:
    site = FakeSite(tmp_path)
    site.failing = failing
    reports = [{"id": "one", "ok": True}, {"id": "two", "ok": True}]
    state = ExecutorState.for_rollback(site.request, reports)
    result = asyncio.run(site.execute(deny=deny, state=state))
    assert (result["outcome"], result["why"], site.done) == (outcome, why, done)


def test_a_change_is_not_started_when_a_check_fails(tmp_path: Path) -> None:
    assert run(FakeSite(tmp_path, "change")) == ("not_started", [])


def test_a_change_that_breaks_something_is_rolled_back(tmp_path: Path) -> None:
    site = FakeSite(tmp_path, "change")
    site.broken = lambda check, done: check == "up" and "two" in done
    assert run(site) == ("failed", ["one", "two", "un-two", "un-one"])


def test_a_change_runs_every_step_while_every_check_passes(tmp_path: Path) -> None:
    site = FakeSite(tmp_path, "change")
    site.broken = lambda check, done: False
    assert run(site) == ("done", ["one", "two", "three"])


def test_the_stop_signal_of_the_verifier_starts_the_rollback(tmp_path: Path) -> None:
    site = FakeSite(tmp_path)

    def broken(check: str, done: list[str]) -> bool:
        site.stopped = "one" in done
        return check == "fast"

    site.broken = broken
    assert run(site) == ("stopped", ["one", "un-one"])


def test_a_command_that_no_rule_allows_is_denied_without_a_request(tmp_path: Path) -> None:
    site = FakeSite(tmp_path)
    site.context = ExecutionContext(tmp_path, parse_rules("allow: [{argv: [two]}]", "rules"), site.context.vault)
    result = asyncio.run(site.execute())
    assert result["outcome"] == "denied" and "no rule in rules allows exactly one" in result["why"] and site.done == []


def test_an_item_of_plain_markdown_is_done_by_hand_and_approved(tmp_path: Path) -> None:
    site = FakeSite(tmp_path)
    site.request = RunRequest("it", "me", "b.md", "1. Call the provider.\n2. Write it down.\n", {})
    assert run(site, plan=("item-1", "item-2")) == ("done", ["item-1", "item-2"])


async def verify(site: FakeSite, statuses: list[str], **more: Any) -> tuple[Any, list[str]]:
    """Run a verifier while its executor goes through these statuses."""
    signalled: list[str] = []
    left = list(statuses)

    async def stop(run_id: str) -> None:
        signalled.append(run_id)

    runner = AgentRunner(
        step=verifier_step(lambda run_id: left.pop(0) if len(left) > 1 else left[0], stop, round_s=0),
        store=site.store,
        tools=site.tools(),
        state_type=VerifierState,
    )
    ended = await runner.start(run_id="v", initial_state=VerifierState(site.request, "x"))
    site.store.close()
    return ended, signalled


def test_the_verifier_reports_the_checks_once_the_executor_has_ended(tmp_path: Path) -> None:
    ended, signalled = asyncio.run(verify(FakeSite(tmp_path), ["running", "running", "completed"]))
    assert ended.result["ok"] is False and ended.result["rounds"] == 3 and signalled == []


def test_the_verifier_stops_an_executor_that_makes_it_worse(tmp_path: Path) -> None:
    site = FakeSite(tmp_path)
    looks = iter([False, True, False, True, True, True, True])
    site.broken = lambda check, done: check == "up" and next(looks)
    ended, signalled = asyncio.run(verify(site, ["running"] * 5 + ["completed"]))
    assert signalled == ["x"] and ended.result["stopped"] and ended.result["rounds"] == 6


def test_the_verifier_ignores_checks_that_failed_from_the_beginning(tmp_path: Path) -> None:
    site = FakeSite(tmp_path)
    site.broken = lambda check, done: True
    assert asyncio.run(verify(site, ["running"] * 4 + ["failed"]))[1] == []


def test_the_verifier_waits_while_the_executor_waits(tmp_path: Path) -> None:
    ended, _ = asyncio.run(verify(FakeSite(tmp_path), ["waiting"]))
    assert ended.status == "waiting" and ended.wait["signal"] == "look"


@pytest.mark.parametrize("kind", ["remedy", "change"])
def test_the_runbook_of_these_tests_is_valid(kind: str) -> None:
    assert parse_runbook(BOOK.format(kind=kind), "b.md")[1] == []
