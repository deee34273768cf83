"""Decisions are about the final arguments, belong to the product whose policy is bound, and are
verified when they are used.
"""

import asyncio
import json
from dataclasses import dataclass

import apsw
import pytest
from loom_runner import (
    AgentRunner,
    Ask,
    Complete,
    LocalEngine,
    RunContext,
    SQLiteStore,
    ToolFailed,
    ToolRegistry,
    UsageError,
)
from loom_runner._cli.base import exit_code_of_status
from loom_runner.authority import Authority
from loom_runner.cli_base import ExitCode

POLICY = {"product": "loom-ops", "group": "oncall"}
OPS = Authority("loom-ops")


@dataclass(frozen=True)
class State:
    n: int = 0


async def step(state: State, ctx: RunContext) -> Complete[str]:
    try:
        return Complete(await ctx.call_tool("deploy", to="prod"))
    except ToolFailed as exc:
        return Complete(f"{exc.error_category}: {exc.message}")


class Site:
    """One run that waits for the approval of `deploy`."""

    def __init__(self, folder, *, needed=1, policy=None, verify=None, ttl_s=60.0):
        self.path = folder / "runs.sqlite"
        self.store = SQLiteStore(self.path)
        self.engine = LocalEngine(self.store)
        self.effects = []
        self.hang = False
        tools = ToolRegistry()

        @tools.tool("deploy", on_doubt="ask")
        async def deploy(to: str) -> str:
            self.effects.append(to)
            await asyncio.sleep(60 if self.hang else 0)
            return f"deployed to {to}"

        gate = lambda call: Ask("because", ttl_s, needed, policy or {})  # noqa: E731
        self.runner = AgentRunner(
            step=step, store=self.store, tools=tools, gate=gate, verify_approval=verify, name="agent"
        )
        asyncio.run(self.runner.start(run_id="r", initial_state=State()))

    def request(self):
        return self.runner.approvals("r")[0]

    def decide(self, by="ann", how="approve", **more):
        return asyncio.run(self.engine.decide(run_id="r", number=1, how=how, by=by, **more))

    def resolve(self, how, by="ann", **more):
        asyncio.run(self.engine.resolve(run_id="r", call=1, how=how, decided_by=by, **more))

    def resume(self):
        return asyncio.run(self.runner.resume(run_id="r"))

    def sql(self, statement, *values):
        db = apsw.Connection(str(self.path))  # Python's sqlite3 may not open what this process has open
        db.execute(statement, values)
        db.close()

    async def interrupt(self):
        self.hang = True
        task = asyncio.create_task(self.runner.resume(run_id="r"))
        while not self.effects:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self.hang = False


def forge(site, decisions):
    decided = (len(decisions), json.dumps(decisions))
    site.sql("UPDATE approvals SET status = 'approved', decided = ?, decisions = ?", *decided)
    site.sql("UPDATE runs SET ready_at = 0")


def by(name, **more):
    return {"by": name, "how": "approve", "at": 1, "via": "cli", "note": "", **more}


def test_a_decision_names_the_hash_of_what_it_is_about(tmp_path):
    site = Site(tmp_path)
    shown = site.request()["final_hash"]
    assert site.decide(shown=shown)["decisions"][0]["of"] == shown
    assert site.resume().result == "deployed to prod"


def test_a_decision_about_arguments_that_were_edited_since_is_refused(tmp_path):
    site = Site(tmp_path, needed=2)
    shown = site.request()["final_hash"]
    edited = site.decide("ann", "edit", arguments={"to": "staging"})
    assert edited["final_hash"] != shown and edited["approvals_missing"] == 2
    with pytest.raises(UsageError, match="it was edited since you saw it"):
        site.decide("bob", shown=shown)
    assert site.decide("bob", shown=edited["final_hash"])["approvals_missing"] == 1


def test_an_edit_back_to_the_first_arguments_is_a_new_proposal(tmp_path):
    site = Site(tmp_path, needed=2)
    first = site.request()["final_hash"]
    site.decide("ann", "edit", arguments={"to": "staging"})
    assert site.decide("bob", "edit", arguments={"to": "prod"})["final_hash"] != first


def test_one_person_who_decides_alone_edits_and_approves(tmp_path):
    site = Site(tmp_path)
    assert site.decide("ann", "edit", arguments={"to": "staging"})["status"] == "approved"
    assert site.resume().result == "deployed to staging"


def test_who_edits_under_a_policy_of_a_product_is_not_counted(tmp_path):
    site = Site(tmp_path, policy=POLICY)
    assert site.decide("ann", "edit", arguments={"to": "staging"}, authority=OPS)["status"] == "pending"
    with pytest.raises(UsageError, match="ann proposed these arguments"):
        site.decide("ann", authority=OPS)
    assert site.decide("bob", authority=OPS)["status"] == "approved"


def test_only_the_product_decides_about_its_requests(tmp_path):
    site = Site(tmp_path, policy=POLICY)
    for how in ("approve", "deny"):
        with pytest.raises(UsageError, match="only loom-ops may decide about it. See loom-ops approvals --run-id r"):
            site.decide(how=how)
    with pytest.raises(UsageError, match="policy of loom-ops"):
        site.decide(authority=Authority("loom-run"))
    assert site.decide(authority=OPS)["status"] == "approved"


def test_the_record_of_a_decision_is_in_its_transaction(tmp_path):
    def fail(connection, request):
        connection.execute("CREATE TABLE written AS SELECT 1")
        raise RuntimeError(request["status"])

    site = Site(tmp_path, policy=POLICY)
    with pytest.raises(RuntimeError, match="approved"):
        site.decide(authority=Authority("loom-ops", fail))
    assert site.request()["status"] == "pending"
    assert site.runner.query("SELECT name FROM sqlite_schema WHERE name = 'written'") == []


def test_a_signature_covers_what_was_decided(tmp_path):
    site = Site(tmp_path, policy=POLICY)
    sign = lambda parts: f"signed {parts['by']} {parts['of']}"  # noqa: E731
    decided = site.decide(authority=Authority("loom-ops", sign=sign))
    (decision,) = decided["decisions"]
    assert decision["signature"] == f"signed ann {decided['final_hash']}"
    assert sign(Authority.signed_parts("r", 1, decision)) == decision["signature"]


@pytest.mark.parametrize(
    ("forged", "why"),
    [
        ([by("ann"), by("bob")], "the decision of ann is not about this call"),
        ([], "0 of 2 people have approved it"),
        ("one person twice", "1 of 2 people have approved it"),
        ("hash of another call", "the decision of ann is not about this call"),
    ],
)
def test_a_decision_that_was_written_by_sql_stops_the_run(tmp_path, forged, why):
    site = Site(tmp_path, needed=2)
    if forged == "one person twice":
        forged = [by("ann", of=site.request()["final_hash"])] * 2
    elif forged == "hash of another call":
        forged = [by("ann", of="0" * 64), by("bob", of="0" * 64)]
    forge(site, forged)
    result = site.resume()
    assert (result.status, result.error.category) == ("failed", "tampered")
    assert why in result.error.message and "cancel the run" in result.error.message
    assert site.effects == []
    assert exit_code_of_status(result.status, result.error.category) == ExitCode.DENIED
    assert site.resume().status == "failed" and site.effects == []


@pytest.mark.parametrize(
    "change",
    [
        'UPDATE approvals SET edited = \'{"to":"evil"}\'',
        "UPDATE approvals SET needed = 1",
        'UPDATE approvals SET policy = \'{"product":"loom-ops","group":"all"}\'',
        "UPDATE approvals SET expires_at = expires_at + 1",
        "UPDATE approvals SET status = 'used'",
        "DELETE FROM approvals",
    ],
)
def test_a_request_that_was_changed_by_sql_does_not_start_its_call(tmp_path, change):
    site = Site(tmp_path, policy=POLICY, needed=2)
    site.decide("ann", authority=OPS)
    site.decide("bob", authority=OPS)
    site.sql(change)
    site.resume()
    assert site.effects == []


def test_a_recorded_call_without_its_request_does_not_start_where_a_verifier_is_set(tmp_path):
    site = Site(tmp_path, verify=lambda db, request: None)
    site.sql(
        """INSERT INTO tool_calls (run_key, ordinal, step_index, key, name, status, started_at, fence, arguments_hash,
           arguments) SELECT run_key, 1, step_index, key, name, 'retry', 1, 1, arguments_hash, arguments FROM approvals"""
    )
    site.sql("DELETE FROM approvals")
    result = site.resume()
    assert result.status == "waiting" or result.error.category == "tampered"
    assert site.effects == []


def test_a_verifier_reads_the_transaction_that_starts_the_call_and_can_stop_it(tmp_path):
    seen = []

    def verify(connection, request):
        seen.append(connection.execute("SELECT status FROM tool_calls").fetchall())
        return None if request["decisions"][0]["by"] == "ann" else "it is not signed"

    site = Site(tmp_path, verify=verify)
    site.decide("bob")
    result = site.resume()
    assert result.error.category == "tampered" and "it is not signed" in result.error.message
    assert set(map(tuple, seen)) == {(("started",),)} and site.effects == []
    assert site.runner.tool_calls("r") == []


def in_doubt(tmp_path, *, needed):
    site = Site(tmp_path, needed=needed, policy=POLICY, verify=lambda db, request: None)
    for name in ("ann", "bob")[:needed]:
        site.decide(name, authority=OPS)
    asyncio.run(site.interrupt())
    assert site.resume().status == "waiting" and site.effects == ["prod"]
    return site


def test_a_call_in_doubt_is_resolved_only_by_the_product(tmp_path):
    site = in_doubt(tmp_path, needed=1)
    for how in ("retry", "skip", "result"):
        with pytest.raises(UsageError, match="only loom-ops may decide"):
            site.resolve(how)
    site.resolve("skip", authority=OPS)
    assert site.resume().result.startswith("skipped") and site.effects == ["prod"]


def test_a_call_in_doubt_is_repeated_only_after_as_many_approvals(tmp_path):
    site = in_doubt(tmp_path, needed=2)
    site.resolve("retry", "ann", authority=OPS)
    request = site.request()
    assert (request["status"], request["approvals_missing"]) == ("pending", 1)
    assert site.resume().status == "waiting" and site.effects == ["prod"]
    with pytest.raises(UsageError, match="ann has decided already"):
        site.decide("ann", authority=OPS)
    with pytest.raises(UsageError, match="its request r#r1 is pending"):
        site.resolve("retry", "bob", authority=OPS)
    assert site.decide("bob", authority=OPS)["status"] == "approved"
    assert site.resume().result == "deployed to prod" and site.effects == ["prod", "prod"]
    assert site.runner.tool_calls("r")[0]["decided_by"] == "ann, bob"


def test_a_repetition_cannot_be_edited(tmp_path):
    site = in_doubt(tmp_path, needed=2)
    site.resolve("retry", "ann", authority=OPS)
    with pytest.raises(UsageError, match="had started with these arguments"):
        site.decide("bob", "edit", arguments={"where": "test"}, authority=OPS)
    assert site.request()["status"] == "pending" and site.request()["edited_arguments"] is None


def test_a_denied_repetition_leaves_the_call_in_doubt(tmp_path):
    site = in_doubt(tmp_path, needed=2)
    site.resolve("retry", "ann", authority=OPS)
    site.resume()
    assert site.decide("eve", "deny", authority=OPS)["status"] == "used"
    assert site.resume().status == "waiting" and len(site.runner.doubts("r")) == 1
    site.resolve("result", result="it was done", authority=OPS)
    assert site.resume().result == "it was done" and site.effects == ["prod"]


def test_a_repetition_that_was_written_by_sql_does_not_start(tmp_path):
    site = in_doubt(tmp_path, needed=2)
    site.sql("UPDATE tool_calls SET status = 'retry'")
    result = site.resume()
    assert result.status == "waiting" or result.error.category == "tampered"
    assert site.effects == ["prod"]
