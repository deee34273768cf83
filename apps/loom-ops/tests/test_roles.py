"""The executor and the verifier over a made-up world: what they do, in which order, and what they take back."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loom_ops._checks import World
from loom_ops._executor import executor_step
from loom_ops._parse import parse_runbook
from loom_ops._rules import parse_rules
from loom_ops._secrets import Vault
from loom_ops._states import Executing, Request, Verifying
from loom_ops._tools import gate
from loom_ops._verifier import verifier_step
from loom_runner import AgentRunner, SQLiteStore, ToolRegistry

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


class Made:
    """A world in which checks answer as they are told, and commands only leave a note."""

    def __init__(self, tmp_path: Path, kind: str = "remedy") -> None:
        self.broken: Callable[[str, list[str]], bool] = lambda check, done: check == "fast"
        self.failing: set[str] = set()
        self.done: list[str] = []
        self.store = SQLiteStore(tmp_path / "ops.sqlite", durability="memory")
        self.request = Request("it", "me", "b.md", BOOK.format(kind=kind), {})
        self.world = World(tmp_path, RULES, Vault({}, tmp_path))
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

    async def execute(self, plan: tuple[str, ...] = PLAN, *, deny: str | None = None) -> dict[str, Any]:
        """Run an executor to its end; approve all that it asks, but deny one step."""

        async def wake(run_id: str, always: bool) -> None:
            pass

        runner = AgentRunner(
            step=executor_step(lambda run_id: self.stopped, wake),
            store=self.store,
            tools=self.tools(),
            state_type=Executing,
            gate=gate(self.world, requester="me"),
        )
        ended = await runner.start(run_id="x", initial_state=Executing(self.request, plan))
        while ended.status == "waiting":
            (asked,) = runner.approvals("x", pending_only=True)
            how = "deny" if asked["policy"]["step"] == deny else "approve"
            before = list(self.done)
            await runner.decide(run_id="x", number=asked["number"], how=how, by="me")
            assert self.done == before
            ended = await runner.resume(run_id="x")
        assert ended.status == "completed", ended.error
        self.store.close()
        return ended.result


def run(made: Made, **more: Any) -> tuple[str, list[str]]:
    result = asyncio.run(made.execute(**more))
    was_made = [
        report["id"] for report in result["steps"] if report["kind"] != "check" and report["status"] != "denied"
    ]
    assert was_made == made.done, "what is reported is what was done"
    return result["outcome"], made.done


def test_a_remedy_goes_on_until_it_helps_and_leaves_the_rest_out(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.broken = lambda check, done: check == "fast" and "two" not in done
    assert run(made) == ("recovered", ["one", "two"])


def test_a_remedy_for_nothing_is_not_made(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.broken = lambda check, done: False
    assert run(made) == ("nothing to do", [])


def test_a_remedy_that_does_not_help_is_taken_back_the_last_first(tmp_path: Path) -> None:
    assert run(Made(tmp_path)) == ("not recovered", ["one", "two", "three", "un-two", "un-one"])


def test_a_failed_step_takes_back_what_was_done_before_it(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.failing = {"two"}
    assert run(made) == ("failed", ["one", "two", "un-one"])


def test_a_denied_step_is_not_made_and_takes_back_what_was_done_before_it(tmp_path: Path) -> None:
    assert run(Made(tmp_path), deny="two") == ("denied", ["one", "un-one"])


def test_taking_back_goes_on_when_a_part_of_it_fails_or_is_denied(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.failing = {"un-two"}
    assert run(made) == ("not recovered", ["one", "two", "three", "un-two", "un-one"])
    (tmp_path / "b").mkdir()
    assert run(Made(tmp_path / "b"), deny="un-two") == ("not recovered", ["one", "two", "three", "un-one"])


def test_a_change_is_not_begun_when_something_is_broken(tmp_path: Path) -> None:
    assert run(Made(tmp_path, "change")) == ("not begun", [])


def test_a_change_that_breaks_something_is_taken_back(tmp_path: Path) -> None:
    made = Made(tmp_path, "change")
    made.broken = lambda check, done: check == "up" and "two" in done
    assert run(made) == ("failed", ["one", "two", "un-two", "un-one"])


def test_a_change_makes_every_step_while_all_is_well(tmp_path: Path) -> None:
    made = Made(tmp_path, "change")
    made.broken = lambda check, done: False
    assert run(made) == ("done", ["one", "two", "three"])


def test_the_word_of_the_verifier_turns_it_round(tmp_path: Path) -> None:
    made = Made(tmp_path)

    def broken(check: str, done: list[str]) -> bool:
        made.stopped = "one" in done
        return check == "fast"

    made.broken = broken
    assert run(made) == ("stopped", ["one", "un-one"])


def test_a_command_that_no_rule_allows_is_denied_before_anybody_is_asked(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.world = World(tmp_path, parse_rules("allow: [{argv: [two]}]", "rules"), made.world.vault)
    result = asyncio.run(made.execute())
    assert result["outcome"] == "denied" and "no rule in rules allows exactly one" in result["why"] and made.done == []


def test_an_item_of_plain_markdown_is_done_by_hand_and_approved(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.request = Request("it", "me", "b.md", "1. Call the provider.\n2. Write it down.\n", {})
    assert run(made, plan=("item-1", "item-2")) == ("done", ["item-1", "item-2"])


async def verify(made: Made, statuses: list[str], **more: Any) -> tuple[Any, list[str]]:
    """Run a verifier while its executor goes through these statuses."""
    asked: list[str] = []
    left = list(statuses)

    async def stop(run_id: str) -> None:
        asked.append(run_id)

    runner = AgentRunner(
        step=verifier_step(lambda run_id: left.pop(0) if len(left) > 1 else left[0], stop, round_s=0),
        store=made.store,
        tools=made.tools(),
        state_type=Verifying,
    )
    ended = await runner.start(run_id="v", initial_state=Verifying(made.request, "x"))
    made.store.close()
    return ended, asked


def test_the_verifier_says_how_it_stands_once_the_executor_has_ended(tmp_path: Path) -> None:
    ended, asked = asyncio.run(verify(Made(tmp_path), ["running", "running", "completed"]))
    assert ended.result["ok"] is False and ended.result["rounds"] == 3 and asked == []


def test_the_verifier_stops_an_executor_that_makes_it_worse(tmp_path: Path) -> None:
    made = Made(tmp_path)
    looks = iter([False, True, False, True, True, True, True])
    made.broken = lambda check, done: check == "up" and next(looks)
    ended, asked = asyncio.run(verify(made, ["running"] * 5 + ["completed"]))
    assert asked == ["x"] and ended.result["stopped"] and ended.result["rounds"] == 6


def test_the_verifier_does_not_stop_what_was_broken_from_the_beginning(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.broken = lambda check, done: True
    assert asyncio.run(verify(made, ["running"] * 4 + ["failed"]))[1] == []


def test_the_verifier_waits_while_the_executor_waits(tmp_path: Path) -> None:
    ended, _ = asyncio.run(verify(Made(tmp_path), ["waiting"]))
    assert ended.status == "waiting" and ended.wait["signal"] == "look"


@pytest.mark.parametrize("kind", ["remedy", "change"])
def test_the_made_up_runbook_is_one(kind: str) -> None:
    assert parse_runbook(BOOK.format(kind=kind), "b.md")[1] == []
