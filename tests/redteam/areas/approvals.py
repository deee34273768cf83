"""Decisions that must not count: of a requester, of one person twice, about arguments that nobody
was shown, of another product's command, written by SQL, with the decider's own settings.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loom_agents.serve import Caller
from loom_ops._approvals.people import People, Person
from loom_ops._errors import LoomOpsError
from loom_ops._interfaces.http import IncidentProduct
from loom_ops._site import load_site
from loom_runner import LocalEngine, RunnerError, Runs, SQLiteStore

from tests.redteam.area import Area
from tests.redteam.site import command_ran, loom, loom_ops, make_site

AREA = Area(
    "approvals",
    hole="""
replace('loom_ops._approvals.decisions', 'objection', lambda person, policy: None)
replace('loom_runner._control.decide', 'refuse_without_product', lambda *words: None)
replace('loom_runner._store.sqlite.approvals', '_why_not_for', lambda approval, call: None)
replace('loom_ops._team.team', 'approval_verifier', lambda *words, **more: None)
""",
)
ALL = ["read", "run", "approve"]


def waiting(folder: Path, requester: str = "token:eve", **more: Any) -> Path:
    """Start a run over HTTP's product as the person with a token; it waits for its approval."""
    site = make_site(folder, **more)

    async def start(product: IncidentProduct) -> None:
        caller = Caller(requester.removeprefix("token:"), frozenset(ALL))  # type: ignore[arg-type]  # scopes
        await product.start("x", {"incident": "fixit", "runbook": "fix"}, lambda event: None, caller)

    with product_of(site) as product:
        asyncio.run(start(product))
    return site


@contextmanager
def product_of(folder: Path) -> Iterator[IncidentProduct]:
    import os

    os.environ["LOOM_OPS_ALLOW_SHELL"] = "1"
    with SQLiteStore(folder / "ops.sqlite") as store:
        yield IncidentProduct(store, folder / "ops.sqlite", load_site(folder), "mock")


def decide(folder: Path, *identities: str, verdict: Any = "approve", arguments: Any = None) -> None:
    """Let people decide through the service of all interfaces, as far as it lets them."""
    with product_of(folder) as product:
        for identity in identities:
            service = product.decisions
            person = People.of(product.site).person(identity, identity.partition(":")[0])
            (request,) = service.requests("x") or [None]
            if request is None:
                return
            try:
                asyncio.run(service.decide(request, verdict, person, arguments=arguments))
            except RunnerError:
                continue


def resumed(folder: Path) -> str | None:
    with product_of(folder) as product:
        asyncio.run(product.resume("x", lambda event: None))
    return command_ran(folder)


@AREA.attempt("a requester approves the own request")
def _(folder: Path) -> str | None:
    site = waiting(folder / "s", "token:alice", count=1, not_requester=True)
    decide(site, "token:alice", "os:alice@h", "token:alice")
    return resumed(site)


@AREA.attempt("a requester approves through another face")
def _(folder: Path) -> str | None:
    people = '[people.alice]\nos = ["al"]\ntoken = ["alice"]\ntelegram = [7]\n'
    site = waiting(folder / "s", "token:alice", count=1, not_requester=True, settings=people)
    decide(site, "os:al@h", "telegram:7")
    return resumed(site)


@AREA.attempt("one person is counted twice through two faces")
def _(folder: Path) -> str | None:
    people = '[people.alice]\nos = ["al"]\ntoken = ["alice"]\ntelegram = [7]\n'
    site = waiting(folder / "s", settings=people)
    decide(site, "token:alice", "os:al@h", "telegram:7", "os:al@other")
    return resumed(site)


@AREA.attempt("one name is counted as a user and as a token")
def _(folder: Path) -> str | None:
    site = waiting(folder / "s")
    decide(site, "token:alice", "os:alice@h")
    return resumed(site)


@AREA.attempt("a token of another person's name, when the settings describe that person")
def _(folder: Path) -> str | None:
    people = '[people.alice]\nos = ["alice"]\n[people.bob]\nos = ["bob"]\n'
    site = waiting(folder / "s", count=1, settings=people)
    decide(site, "token:alice", "token:bob", "telegram:bob", "token:os:alice")
    return resumed(site)


@AREA.attempt("the decider's own settings")
def _(folder: Path) -> str | None:
    site = waiting(folder / "s", count=1)
    (site / "mine.toml").write_text(
        '[groups]\noncall = ["root", "mallory"]\n[people.alice]\nos = ["root", "mallory"]\n'
    )
    for words in ((), ("--config", "mine.toml")):
        loom_ops(site, "approve", "-r", "x", *words, environment={"USER": "alice", "LOGNAME": "alice"})
    return resumed(site)


@AREA.attempt("the commands of other products")
def _(folder: Path) -> str | None:
    site = waiting(folder / "s", count=1)
    named = ("--db", "ops.sqlite")
    loom(site, "loom_runner", "decide", "x:sub:executor#r1", "--approve", "--by", "alice", *named)
    loom(site, "loom_run", "approve", "x:sub:executor#r1", *named)
    with SQLiteStore(site / "ops.sqlite") as store:
        try:
            asyncio.run(LocalEngine(store).decide(run_id="x:sub:executor", number=1, how="approve", by="alice"))
        except RunnerError:
            pass
    return resumed(site)


@AREA.attempt("an edit while the runbook allows none")
def _(folder: Path) -> str | None:
    site = waiting(folder / "s")
    decide(site, "token:alice", verdict="edit", arguments=edited(site, ["evil", "web"]))
    decide(site, "token:bob", "token:alice")
    ran = resumed(site)
    return ran if ran is not None and "evil" in ran else None


@AREA.attempt_each(
    "an edit beyond the inputs", [["evil", "web"], ["good", "web", "-f"], ["good", "-f"], ["good", "db"]]
)
def _(folder: Path, argv: list[str]) -> str | None:
    site = editable(folder)
    decide(site, "token:alice", verdict="edit", arguments=edited(site, argv))
    decide(site, "token:bob", "token:carol")
    ran = resumed(site)
    return ran if ran is not None and " ".join(argv) in ran else None


@AREA.attempt("the person who edits is counted")
def _(folder: Path) -> str | None:
    site = editable(folder)
    decide(site, "token:alice", verdict="edit", arguments=edited(site, ["good", "web"]))
    decide(site, "token:alice", "token:bob")
    return resumed(site)


@AREA.attempt("an approval from before an edit is counted")
def _(folder: Path) -> str | None:
    site = editable(folder)
    decide(site, "token:bob")
    decide(site, "token:alice", verdict="edit", arguments=edited(site, ["good", "web"]))
    decide(site, "token:carol")
    return resumed(site)


@AREA.attempt("an approval of what was shown before an edit")
def _(folder: Path) -> str | None:
    site = editable(folder)
    with product_of(site) as product:
        (shown,) = product.decisions.requests("x")
    decide(site, "token:alice", verdict="edit", arguments=edited(site, ["good", "web"]))
    with product_of(site) as product:
        for name in ("bob", "carol"):
            person = Person(name, f"token:{name}", "http")
            try:
                asyncio.run(product.decisions.decide(shown, "approve", person))
            except RunnerError:
                continue
    words = ("--number", "1", "--hash", shown["final_hash"][:12])
    loom_ops(site, "approve", "-r", "x", *words)
    return resumed(site)


FORGED: dict[str, Callable[[dict[str, Any]], list[dict[str, Any]]]] = {
    "two people": lambda request: [by("alice"), by("bob")],
    "with the hash": lambda request: [by("alice", request["final_hash"]), by("bob", request["final_hash"])],
    "nobody": lambda request: [],
    "the gate": lambda request: [{**by("gate", request["final_hash"]), "via": "gate"}],
    "one person twice": lambda request: [by("alice", request["final_hash"])] * 2,
}


@AREA.attempt_each("decisions that SQL wrote", FORGED)
def _(folder: Path, name: str) -> str | None:
    site = waiting(folder / "s")
    with SQLiteStore(site / "ops.sqlite") as store:
        (request,) = Runs(store).approvals(pending_only=True)
    decisions = FORGED[name](dict(request))
    sql(
        site,
        "UPDATE approvals SET status = 'approved', decided = ?, decisions = ?",
        (len(decisions), json.dumps(decisions)),
    )
    sql(site, "UPDATE runs SET ready_at = 0 WHERE status = 'waiting'")
    for _ in range(3):  # no attempt may make the next one pass
        resumed(site)
    return command_ran(site)


CHANGES = {
    "the count": "UPDATE approvals SET needed = 1, status = 'approved'",
    "the members": 'UPDATE approvals SET policy = replace(policy, \'"members": [\', \'"members": ["eve", \')',
    "another product": "UPDATE approvals SET policy = replace(policy, '\"loom-ops\"', '\"\"')",
    "no policy": "UPDATE approvals SET policy = '{}', needed = 1",
    "other arguments": "UPDATE approvals SET edited = replace(arguments, '\"good\"', '\"evil\"')",
    "used": "UPDATE approvals SET status = 'used'",
}


@AREA.attempt_each("a request that SQL changed after one of two people approved", CHANGES)
def _(folder: Path, name: str) -> str | None:
    site = waiting(folder / "s")
    decide(site, "token:alice")
    sql(site, CHANGES[name])
    sql(site, "UPDATE runs SET ready_at = 0 WHERE status = 'waiting'")
    decide(site, "token:eve", "token:alice")
    return resumed(site)


@AREA.attempt("a trigger that approves")
def _(folder: Path) -> str | None:
    site = waiting(folder / "s")
    body = "UPDATE approvals SET status = 'approved', decided = 2"
    sql(site, f"CREATE TRIGGER t AFTER INSERT ON audit BEGIN {body}; END")
    try:
        decide(site, "token:eve", "token:alice")
        resumed(site)
        return resumed(site)
    except RunnerError:
        return None


@AREA.attempt_each("a call that SQL recorded as one to repeat", ["with its request", "without"])
def _(folder: Path, name: str) -> str | None:
    site = waiting(folder / "s")
    sql(
        site,
        """INSERT INTO tool_calls (run_key, ordinal, step_index, key, name, status, started_at, fence, arguments_hash,
           arguments) SELECT run_key, 9, step_index, key, name, 'retry', 1, 1, arguments_hash, arguments
           FROM approvals""",
    )
    sql(site, "UPDATE approvals SET status = 'used'" if name == "with its request" else "DELETE FROM approvals")
    sql(site, "UPDATE runs SET ready_at = 0 WHERE status = 'waiting'")
    return resumed(site)


@AREA.attempt("a step by hand outside the policy of its runbook")
def _(folder: Path) -> str | None:
    site = make_site(folder / "s")
    (site / "runbooks/fix.md").write_text(
        "---\nmatch: [fixit]\napprovals: {default: {group: oncall, count: 2, not_requester: true}}\n---\n1. Wipe it.\n"
    )
    loom_ops(site, "supervise", "fixit", "--runbook", "fix", "--run-id", "x", "--mock-llm")
    loom_ops(site, "approve", "-r", "x")
    decide(site, "token:eve", "token:alice")
    printed = loom_ops(site, "resume", "-r", "x", "--output", "text").stdout
    return "done by hand" if re.search(r"^x +done", printed, re.MULTILINE) else None


@AREA.attempt_each("a run id that poses", ["x:sub:executor", "x:sub", "x:rollback"])
def _(folder: Path, run_id: str) -> str | None:
    site = make_site(folder / "s")

    async def start(product: IncidentProduct) -> None:
        caller = Caller("eve", frozenset(ALL))  # type: ignore[arg-type]  # scopes
        await product.start(run_id, {"incident": "fixit", "runbook": "fix"}, lambda event: None, caller)

    with product_of(site) as product:
        try:
            asyncio.run(start(product))
        except (RunnerError, LoomOpsError):
            return None
        return f"created {run_id}" if product.store.reader.get_run(run_id) else None


def by(name: str, digest: str = "") -> dict[str, Any]:
    return {"by": name, "how": "approve", "at": 1, "via": "cli", "note": "", "of": digest}


def editable(folder: Path) -> Path:
    """Return a site whose runbook allows edits of inputs; bob and carol may approve, too."""
    site = make_site(folder / "s", group=["alice", "bob", "carol"])
    book = site / "runbooks/fix.md"
    book.write_text(book.read_text().replace("on_timeout: deny}", "on_timeout: deny, edits: inputs}"))

    async def start(product: IncidentProduct) -> None:
        caller = Caller("eve", frozenset(ALL))  # type: ignore[arg-type]  # scopes
        await product.start("x", {"incident": "fixit", "runbook": "fix"}, lambda event: None, caller)

    with product_of(site) as product:
        asyncio.run(start(product))
    return site


def edited(folder: Path, argv: list[str]) -> dict[str, Any]:
    with SQLiteStore(folder / "ops.sqlite") as store:
        (request,) = Runs(store).approvals(pending_only=True)
        return {**request["arguments"], "argv": argv}


def sql(folder: Path, statement: str, values: tuple[Any, ...] = ()) -> None:
    with sqlite3.connect(folder / "ops.sqlite") as connection:
        connection.execute(statement, values)
    connection.close()
