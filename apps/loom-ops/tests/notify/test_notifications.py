"""Notifications of a run, and errors of their delivery."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from loom_ops._notify import notifications
from loom_ops._notify.notifications import event_of, notify
from loom_ops._site import Site
from loom_runner import AgentRunner, Ask, Complete, RunContext, Runs, SQLiteStore, ToolRegistry

ARGV = ["rollback-service", "api"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    """A database with a run that waits for an approval."""
    with SQLiteStore(tmp_path / "ops.sqlite") as store:
        asyncio.run(runner(store).start(run_id="x", initial_state={}))
        yield store


def runner(store: SQLiteStore) -> AgentRunner:
    tools = ToolRegistry()

    @tools.tool("run_command", on_doubt="ask")
    async def run(id: str) -> dict[str, Any]:
        return {"outcome": "recovered", "why": "every check passes again"}

    async def step(state: dict[str, Any], ctx: RunContext) -> Complete[Any]:
        return Complete(await ctx.call_tool("run_command", id="a"))

    def gate(call: object) -> Ask:
        return Ask("it is slow", 60.0, 1, {"step": "rollback", "argv": ARGV})

    return AgentRunner(step=step, store=store, tools=tools, gate=gate)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, tmp_path / "rules.yaml", tmp_path / "runbooks", webhook="http://hooks.test/x")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any], str | None]]:
    """The calls of the webhook: address, event, secret."""
    calls: list[tuple[str, dict[str, Any], str | None]] = []

    async def send(url: str, event: dict[str, Any], *, secret: str | None) -> int:
        calls.append((url, event, secret))
        return 200

    monkeypatch.setattr(notifications, "send_webhook", send)
    return calls


def test_an_event_names_the_pending_approvals_and_the_audit_head(store: SQLiteStore) -> None:
    event = event_of(Runs(store), "x", "4:abc", Path("/somewhere/ops.sqlite"))
    assert event["event"] == "approval.requested" and event["status"] == "waiting" and event["audit_head"] == "4:abc"
    assert event["database"] == "ops.sqlite" and event["outcome"] is None
    (waiting,) = event["approvals"]
    assert (waiting["id"], waiting["step"], waiting["argv"], waiting["reason"]) == (
        "x#r1",
        "rollback",
        ARGV,
        "it is slow",
    )
    json.dumps(event)


def test_an_event_at_the_end_has_the_outcome(store: SQLiteStore) -> None:
    asyncio.run(runner(store).decide(run_id="x", number=1, how="approve", by="me"))
    asyncio.run(runner(store).resume(run_id="x"))
    event = event_of(Runs(store), "x", "none", Path("ops.sqlite"))
    assert event["event"] == "run.completed" and event["approvals"] == []
    assert (event["outcome"], event["why"]) == ("recovered", "every check passes again")


def test_the_webhook_is_signed_with_the_secret_of_the_variable(
    store: SQLiteStore, site: Site, sent: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    notify(site, Path("ops.sqlite"), Runs(store), "x", "none")
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    notify(replace(site, webhook_secret_env="HOOK_SECRET"), Path("ops.sqlite"), Runs(store), "x", "none")
    assert [(url, secret) for url, _, secret in sent] == [
        ("http://hooks.test/x", None),
        ("http://hooks.test/x", "s3cret"),
    ]


def test_nothing_is_sent_unsigned_when_the_secret_is_missing(
    store: SQLiteStore,
    site: Site,
    sent: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("HOOK_SECRET", raising=False)
    notify(replace(site, webhook_secret_env="HOOK_SECRET"), Path("ops.sqlite"), Runs(store), "x", "none")
    assert sent == [] and "cannot sign the notification: HOOK_SECRET is not set." in capsys.readouterr().err


def test_without_settings_nothing_is_sent_and_nothing_is_printed(
    store: SQLiteStore, site: Site, sent: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    notify(replace(site, webhook=None), Path("ops.sqlite"), Runs(store), "x", "none")
    assert sent == [] and capsys.readouterr().err == ""


def test_a_failed_delivery_is_printed_and_does_not_raise(
    store: SQLiteStore, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    notify(replace(site, webhook="http://127.0.0.1:1/?token=hunter2"), Path("ops.sqlite"), Runs(store), "x", "none")
    printed = capsys.readouterr().err
    assert printed.startswith("cannot notify 127.0.0.1:1") and "hunter2" not in printed
