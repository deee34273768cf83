"""The decision service, which all interfaces use."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loom_ops._approvals.decisions import DecisionService
from loom_ops._approvals.people import Person
from loom_ops._approvals.signatures import objection_to_signature, sign_with_own_key, unsigned_decisions
from loom_ops._audit.private_keys import new_private_key, private_key_file
from loom_ops._audit.trail import open_trail
from loom_ops._audit.trusted_keys import trust_key
from loom_ops._errors import LoomOpsError
from loom_ops._site import Site
from loom_runner import (
    AgentRunner,
    Ask,
    Complete,
    LocalEngine,
    RunContext,
    RunnerError,
    SQLiteStore,
    ToolRegistry,
)
from loom_runner.authority import Authority
from loom_runner.cli_base import ExitCode

ALICE = Person("alice", "os:alice@here", "cli")
BOB = Person("bob", "token:bob", "http")
EVE = Person("eve", "token:eve", "telegram")


class WaitingRun:
    """A run that waits for the approval of one command."""

    def __init__(self, folder: Path, *, needed: int = 1, **policy: Any) -> None:
        self.database = folder / "ops.sqlite"
        self.store = SQLiteStore(self.database)
        self.started: list[str] = []
        self.block = False
        bound = {
            "product": "loom-ops",
            "group": "oncall",
            "members": ["alice", "bob"],
            "not_requester": False,
            "requester": "alice",
            "requester_identity": "os:alice@here",
            "people": {"identities": {}, "described": []},
            "step": "a",
            "argv": ["a"],
            **policy,
        }
        tools = ToolRegistry()

        @tools.tool("run_command", on_doubt="ask")
        async def run(id: str) -> dict[str, Any]:
            self.started.append(id)
            await asyncio.sleep(60 if self.block else 0)
            return {"ok": True, "text": "done"}

        async def step(state: dict[str, Any], ctx: RunContext) -> Complete[Any]:
            return Complete(await ctx.call_tool("run_command", id="a"))

        gate = lambda call: Ask("because", 60.0, needed, bound)  # noqa: E731
        self.runner = AgentRunner(step=step, store=self.store, tools=tools, gate=gate)
        site = Site(folder, folder / "rules", folder / "runbooks", groups={"oncall": ("eve",)})
        self.service = DecisionService(LocalEngine(self.store), site, self.database)
        asyncio.run(self.runner.start(run_id="x", initial_state={"request": {"text": ""}}))

    def decide(self, verdict: Any, person: Person, **more: Any) -> Any:
        request = self.service.find(verdict, "x", 1)
        return asyncio.run(self.service.decide(request, verdict, person, **more))

    def audit(self) -> list[tuple[str, str, dict[str, Any]]]:
        with open_trail(self.database) as trail:
            return [(entry.kind, entry.actor, json.loads(entry.content)) for entry in trail.entries()]

    async def interrupt(self) -> None:
        """Resume the run, and stop it while the command runs."""
        self.block = True
        task = asyncio.create_task(self.runner.resume(run_id="x"))
        while not self.started:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self.block = False


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[WaitingRun]:
    waiting = WaitingRun(tmp_path)
    yield waiting
    waiting.store.close()


def test_an_approval_is_written_recorded_and_names_the_run_to_resume(waiting: WaitingRun) -> None:
    decided = waiting.decide("approve", BOB, note="saw it")
    assert decided.request["status"] == "approved" and decided.run_id == "x" and waiting.started == []
    kind, actor, content = waiting.audit()[-1]
    assert (kind, actor) == ("approval.decided", "bob")
    assert (content["how"], content["via"], content["note"]) == ("approve", "http", "saw it")


def test_one_of_two_approvals_leaves_nothing_to_resume(tmp_path: Path) -> None:
    waiting = WaitingRun(tmp_path, needed=2)
    first = waiting.decide("approve", ALICE)
    assert first.request["status"] == "pending" and first.run_id is None
    assert waiting.audit()[-1][:2] == ("approval.decided", "alice"), "recorded before the second one"
    with pytest.raises(RunnerError, match="2 people are needed"):
        waiting.decide("approve", ALICE)
    assert waiting.decide("approve", BOB).run_id == "x"
    waiting.store.close()


def test_a_person_without_permission_is_refused_with_exit_code_5_and_recorded(waiting: WaitingRun) -> None:
    with pytest.raises(LoomOpsError, match="cannot approve x#r1: eve is not in the group 'oncall'") as caught:
        waiting.decide("approve", EVE)
    assert caught.value.exit_code == ExitCode.DENIED
    assert waiting.service.find("approve", "x", None)["decisions"] == []
    kind, actor, content = waiting.audit()[-1]
    assert (kind, actor, content["via"]) == ("approval.refused", "eve", "telegram")
    assert content["approval"] == 1 and "not in the group" in content["why"]


def test_each_refusal_is_recorded(waiting: WaitingRun) -> None:
    request = waiting.service.find("approve", "x", 1)
    assert waiting.service.refusal("approve", request, EVE) == waiting.service.refusal("edit", request, EVE) is not None
    assert waiting.service.refusal("approve", request, ALICE) is None
    assert [kind for kind, _, _ in waiting.audit()] == ["audit.started", *["approval.refused"] * 2]


def test_the_requester_is_refused_when_another_person_must_approve(tmp_path: Path) -> None:
    waiting = WaitingRun(tmp_path, not_requester=True)
    with pytest.raises(LoomOpsError, match="alice requested the run"):
        waiting.decide("approve", ALICE)
    assert waiting.decide("approve", BOB).run_id == "x"
    waiting.store.close()


def test_anybody_may_deny(waiting: WaitingRun) -> None:
    decided = waiting.decide("deny", EVE)
    assert decided.request["status"] == "denied" and decided.run_id == "x"
    assert waiting.audit()[-1][:2] == ("approval.decided", "eve")


def test_a_request_is_decided_only_once(waiting: WaitingRun) -> None:
    waiting.decide("deny", ALICE)
    with pytest.raises(RunnerError):
        waiting.decide("approve", BOB)
    assert [kind for kind, _, _ in waiting.audit()].count("approval.decided") == 1


def test_resolving_a_command_in_doubt_requires_the_permission_to_approve_it(waiting: WaitingRun) -> None:
    waiting.decide("approve", ALICE)
    asyncio.run(waiting.interrupt())
    with pytest.raises(LoomOpsError, match="cannot resolve x#1: eve is not in the group") as caught:
        asyncio.run(waiting.service.resolve("x", 1, "retry", EVE))
    assert caught.value.exit_code == ExitCode.DENIED and len(waiting.service.runs.doubts("x")) == 1
    assert asyncio.run(waiting.service.resolve("x", 1, "result", BOB)) == "x"
    assert waiting.service.runs.doubts("x") == []
    ended = asyncio.run(waiting.runner.resume(run_id="x"))
    assert ended.result == {"ok": True, "text": "bob confirmed that it was done"} and waiting.started == ["a"]
    kinds = [kind for kind, _, _ in waiting.audit()]
    assert kinds.count("approval.refused") == 1 and "command.ended" in kinds


@pytest.mark.parametrize(("how", "status", "started"), [("retry", "completed", ["a", "a"]), ("skip", "failed", ["a"])])
def test_a_command_in_doubt_runs_again_only_after_a_resolution(
    waiting: WaitingRun, how: Any, status: str, started: list[str]
) -> None:
    waiting.decide("approve", ALICE)
    asyncio.run(waiting.interrupt())
    assert asyncio.run(waiting.runner.resume(run_id="x")).status == "waiting" and waiting.started == ["a"]
    asyncio.run(waiting.service.resolve("x", 1, how, ALICE))
    assert asyncio.run(waiting.runner.resume(run_id="x")).status == status
    assert waiting.started == started


def test_unknown_runs_and_requests_are_refused(waiting: WaitingRun) -> None:
    with pytest.raises(RunnerError, match="no such run"):
        waiting.service.find("approve", "y", None)
    with pytest.raises(LoomOpsError, match="it has no request 7"):
        waiting.service.find("approve", "x", 7)


def test_a_decision_is_about_the_request_that_was_shown(tmp_path: Path) -> None:
    waiting = WaitingRun(tmp_path, needed=2)
    shown = waiting.service.find("approve", "x", 1)
    edit = waiting.runner.engine.decide(
        run_id="x", number=1, how="edit", by="alice", arguments={"id": "b"}, authority=Authority("loom-ops")
    )
    asyncio.run(edit)
    with pytest.raises(RunnerError, match="it was edited since you saw it"):
        asyncio.run(waiting.service.decide(shown, "approve", BOB))
    assert waiting.service.find("approve", "x", 1)["approvals_missing"] == 2
    waiting.store.close()


def test_a_repetition_needs_as_many_people_as_the_command(tmp_path: Path) -> None:
    waiting = WaitingRun(tmp_path, needed=2)
    waiting.decide("approve", ALICE)
    waiting.decide("approve", BOB)
    asyncio.run(waiting.interrupt())
    asyncio.run(waiting.service.resolve("x", 1, "retry", ALICE))
    assert asyncio.run(waiting.runner.resume(run_id="x")).status == "waiting" and waiting.started == ["a"]
    assert ("alice", "retry") in [(actor, content.get("how")) for _, actor, content in waiting.audit()]
    waiting.decide("approve", BOB)
    assert asyncio.run(waiting.runner.resume(run_id="x")).status == "completed" and waiting.started == ["a", "a"]
    waiting.store.close()


@pytest.fixture
def signing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WaitingRun]:
    """A run whose policy requires signatures; this process has a private key."""
    pytest.importorskip("cryptography", reason="the extra loom-ops[crypt] is not installed")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LOOM_OPS_KEY", raising=False)
    waiting = WaitingRun(tmp_path, sign="required")
    waiting.service = DecisionService(waiting.service.engine, waiting.service.site, waiting.database, sign_with_own_key)
    yield waiting
    waiting.store.close()


def test_a_signature_is_stored_with_the_decision_and_in_the_audit_trail(signing: WaitingRun, tmp_path: Path) -> None:
    public = new_private_key(private_key_file())
    trust_key(tmp_path, "alice", public)
    decided = signing.decide("approve", ALICE)
    signature = decided.request["decisions"][0]["signature"]
    assert signature.startswith(f"{public}:") and signing.audit()[-1][2]["signature"] == signature
    [decision] = decided.request["decisions"]
    assert objection_to_signature(signing.service.site, decided.request, decision) is None
    assert unsigned_decisions(signing.service.site, signing.service.runs) == []  # no program of loom-ops
    forged = {**decision, "by": "bob"}
    assert "does not trust for bob" in str(objection_to_signature(signing.service.site, decided.request, forged))


def test_nothing_is_decided_without_a_key_or_with_one_that_is_not_trusted(signing: WaitingRun) -> None:
    with pytest.raises(LoomOpsError, match="Make one with loom-ops keys new"):
        signing.decide("approve", ALICE)
    new_private_key(private_key_file())
    with pytest.raises(LoomOpsError, match="does not trust for alice"):
        signing.decide("approve", ALICE)
    assert signing.service.find("approve", "x", 1)["decisions"] == []


def test_an_interface_without_a_private_key_names_the_command_and_may_deny(signing: WaitingRun) -> None:
    service = DecisionService(signing.service.engine, signing.service.site, signing.database)
    request = service.find("approve", "x", 1)
    with pytest.raises(LoomOpsError, match="command line: loom-ops approve --run-id x"):
        asyncio.run(service.decide(request, "approve", BOB))
    assert asyncio.run(service.decide(request, "deny", BOB)).request["status"] == "denied"


def test_an_optional_signature_is_left_out_where_a_person_has_no_key(signing: WaitingRun, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    waiting = WaitingRun(tmp_path / "other", sign="optional")
    waiting.service = DecisionService(waiting.service.engine, waiting.service.site, waiting.database, sign_with_own_key)
    assert waiting.decide("approve", ALICE).request["decisions"][0]["signature"] == ""
    waiting.store.close()
