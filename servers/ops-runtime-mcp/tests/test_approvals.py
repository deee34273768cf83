"""Who approves, and what a client cannot do about it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from loom_agents import mcp_server
from loom_ops.api import Operations
from loom_runner import Runs, SQLiteStore
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitResult, InputRequiredResult
from ops_runtime_mcp import build_server

ALL = ("read", "run", "approve")


@pytest.fixture
def as_token(site: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the calls that follow come from the owner of a token."""
    callers: list[mcp_server.Person] = []
    proven = mcp_server.caller_of
    monkeypatch.setattr(mcp_server, "caller_of", lambda context: callers[-1] if callers else proven(context))
    site.server = build_server(site.settings)

    def become(name: str, *scopes: str) -> None:
        callers.append(mcp_server.Person("token", name, frozenset(scopes or ALL)))  # type: ignore[arg-type]  # known

    return become


def kinds(site: Any) -> list[tuple[str, str]]:
    """Kind and actor of the audit entries."""
    from loom_ops._audit.trail import open_trail

    with open_trail(site.db, read_only=True) as trail:
        return [(entry.kind, entry.actor) for entry in trail.entries()]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_clients_user_is_asked_and_the_decision_is_recorded(site: Any, answers: Any, mode: str) -> None:
    ask = answers()
    run = site.step("fix", elicitation_callback=ask, mode=mode)
    assert run["status"] == "done" and site.ran == ["fix api"]
    assert len(ask.asked) == 1 and "fix api" in ask.asked[0] and "Undo: unfix api" in ask.asked[0]
    (timeline,) = [
        each for each in site.get("explain_run", {"run_id": run["run_id"]})["timeline"] if "approved" in each
    ]
    assert "(mcp), 'as asked': fix api" in timeline
    site.loom_ops("audit", "verify")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_who_does_not_decide_leaves_it_pending(site: Any, answers: Any, mode: str) -> None:
    for ask in (answers("later"), answers(action="decline"), answers(action="cancel"), answers("nonsense")):
        assert site.step("fix", elicitation_callback=ask, mode=mode)["status"] == "pending_approval"
        assert len(ask.asked) == 1
    assert site.step("fix", elicitation_callback=answers("deny"), mode=mode)["status"] == "denied"
    assert site.ran == []


def test_a_requester_does_not_approve_the_own_request(site: Any, answers: Any) -> None:
    ask = answers()
    run = site.step("guarded", elicitation_callback=ask)
    assert ask.asked == [] and run["status"] == "pending_approval" and site.ran == []
    (waiting,) = run["approvals"]
    assert not waiting["you_may_approve"] and "requested the run, and another person must" in waiting["why_not"]
    assert any("must approve (bob):" in line for line in run["next"])
    site.loom_ops("approve", "-r", run["run_id"], code=5)


def test_nobody_decides_by_sending_an_answer_that_was_not_asked_for(site: Any) -> None:
    """Neither with an invented state, nor with the state of another step."""
    answer = {"approval": ElicitResult(action="accept", content={"decision": "approve"})}

    async def work(client: Any) -> list[str]:
        results = []
        for state in (None, json.dumps({"run_id": "x", "number": 1, "hash": "0" * 64})):
            try:
                found = await client.session.call_tool(
                    "execute_runbook_step", site.words("guarded"), input_responses=answer, request_state=state
                )
                results.append(found.structured_content["status"])
            except MCPError as exc:
                results.append(exc.error.message)
        asked = await client.session.call_tool("execute_runbook_step", site.words("fix"), allow_input_required=True)
        assert isinstance(asked, InputRequiredResult)
        try:
            await client.session.call_tool(
                "execute_runbook_step", site.words("guarded"), input_responses=answer, request_state=asked.request_state
            )
        except MCPError as exc:
            results.append(exc.error.message)
        return results

    async def never(context: Any, params: Any) -> ElicitResult:
        raise AssertionError

    found = site.talk(work, elicitation_callback=never)
    assert found == ["pending_approval", "Invalid or expired requestState", "Invalid or expired requestState"]
    assert site.ran == []


def test_an_answer_is_checked_against_the_policy_when_it_is_used(site: Any, as_token: Any) -> None:
    """The state that was sealed for one caller does not let another one decide."""
    answer = {"approval": ElicitResult(action="accept", content={"decision": "approve"})}

    async def never(context: Any, params: Any) -> ElicitResult:
        raise AssertionError

    async def work(client: Any) -> Any:
        as_token("bob")
        asked = await client.session.call_tool("execute_runbook_step", site.words("fix"), allow_input_required=True)
        as_token("eve", *ALL, "admin")
        return await client.session.call_tool(
            "execute_runbook_step", site.words("fix"), input_responses=answer, request_state=asked.request_state
        )

    run = site.talk(work, elicitation_callback=never).structured_content
    assert run["status"] == "pending_approval" and site.ran == []
    assert "your answer was not recorded" in run["next"][0] and "eve is not in the group 'oncall'" in run["next"][0]
    assert ("approval.refused", "eve") in kinds(site)


def test_an_edit_between_question_and_answer_voids_the_answer(site: Any) -> None:
    from loom_ops._approvals.decisions import DecisionService
    from loom_ops._approvals.people import Person
    from loom_ops._site import load_site
    from loom_runner import LocalEngine

    async def edit_then_approve(context: Any, params: Any) -> ElicitResult:
        if not site.edited:
            site.edited = True
            with SQLiteStore(site.db) as store:
                service = DecisionService(LocalEngine(store), load_site(site.folder), site.db)
                (request,) = service.requests()
                final = {**request["arguments"], "argv": ["fix", "web"]}
                await service.decide(request, "edit", Person("bob", "os:bob@x", "cli"), arguments=final)
        return ElicitResult(action="accept", content={"decision": "approve"})

    site.edited = False
    run = site.step("editable", elicitation_callback=edit_then_approve)
    assert run["status"] == "pending_approval" and site.ran == []
    assert "no longer, the command with the hash" in run["next"][0]
    assert run["approvals"][0]["argv"] == ["fix", "web"] and any("web" in line for line in run["approvals"][0]["edits"])
    assert site.step("editable", elicitation_callback=edit_then_approve)["status"] == "done"
    assert site.ran == ["fix web"]


def test_two_people_approve_and_one_of_them_is_counted_once(site: Any, answers: Any, as_token: Any) -> None:
    ask = answers()
    run = site.step("together", elicitation_callback=ask)
    assert run["approvals"][0]["missing"] == 1 and "decided already" in run["approvals"][0]["why_not"]
    assert site.step("together", elicitation_callback=ask)["status"] == "pending_approval"
    assert len(ask.asked) == 1 and site.ran == []
    as_token("bob", *ALL, "admin")
    again = site.step("together", run_id=run["run_id"], elicitation_callback=ask)
    assert again["status"] == "done" and site.ran == ["fix api"]


def test_the_requester_is_the_subject_of_the_token(site: Any, answers: Any, as_token: Any) -> None:
    as_token("bob")
    run = site.step("guarded", elicitation_callback=answers())
    (waiting,) = run["approvals"]
    assert (waiting["requester"], waiting["you_may_approve"], site.ran) == ("bob", False, [])
    site.loom_ops("approve", "-r", run["run_id"])  # by the user of this process, who is somebody else
    as_token("alice")
    assert "bob requested it, and not alice" in site.error(
        "execute_runbook_step", {**site.words("guarded"), "run_id": run["run_id"]}
    )
    as_token("bob")
    assert site.step("guarded", run_id=run["run_id"])["status"] == "done"


def test_a_key_belongs_to_its_requester(site: Any, as_token: Any) -> None:
    as_token("alice")
    first = site.step("fix", idempotency_key="k")["run_id"]
    as_token("bob")
    assert site.step("fix", idempotency_key="k")["run_id"] != first


def test_each_tool_needs_its_scope(site: Any, answers: Any, as_token: Any) -> None:
    as_token("bob", "read")
    assert "scope 'run'" in site.error("execute_runbook_step", site.words("show"))
    assert "scope 'run'" in site.error("check_service_health", {"service": "api"})
    as_token("bob", "run")
    assert "scope 'read'" in site.error("list_runbooks")
    as_token("bob", "read", "run")  # bob is of the group, and this token is not for decisions
    ask = answers()
    run = site.step("fix", elicitation_callback=ask)
    assert ask.asked == [] and "may not approve through this interface" in run["approvals"][0]["why_not"]


def test_a_token_that_lost_its_scope_does_not_decide_any_more(site: Any, as_token: Any) -> None:
    async def ask(context: Any, params: Any) -> ElicitResult:
        as_token("bob", "read", "run")
        return ElicitResult(action="accept", content={"decision": "approve"})

    as_token("bob")
    run = site.step("fix", elicitation_callback=ask)
    assert "does not have the scope approve" in run["next"][0] and site.ran == []


def test_a_site_that_wants_signatures_is_not_approved_here(site: Any, answers: Any) -> None:
    settings = site.folder / "loom-ops.toml"
    settings.write_text(settings.read_text() + '[approvals]\nsign = "required"\n')
    ask = answers()
    run = site.step("fix", elicitation_callback=ask)
    assert ask.asked == [] and "must be signed" in run["approvals"][0]["why_not"] and site.ran == []


def test_a_server_that_does_not_ask_returns_what_waits(site: Any, answers: Any) -> None:
    from dataclasses import replace

    site.server = build_server(replace(site.settings, asks=False))
    ask = answers()
    assert site.step("fix", elicitation_callback=ask)["status"] == "pending_approval" and ask.asked == []


def test_a_decision_that_sql_wrote_starts_nothing(site: Any) -> None:
    import apsw

    run_id = site.step("fix")["run_id"]
    db = apsw.Connection(str(site.db))
    decision = [{"by": "bob", "how": "approve", "via": "cli", "note": "", "at": 1, "of": ""}]
    db.execute("UPDATE approvals SET status = 'approved', decisions = ?", (json.dumps(decision),))
    db.close()
    assert site.step("fix", run_id=run_id)["status"] == "tampered" and site.ran == []


def test_a_state_that_sql_changed_does_not_run_another_step(site: Any) -> None:
    import apsw

    run_id = site.step("fix")["run_id"]
    site.loom_ops("approve", "-r", run_id)
    db = apsw.Connection(str(site.db))
    db.execute("UPDATE runs SET state = replace(state, '\"fix\"]', '\"slow\"]')")
    db.close()
    site.step("fix", run_id=run_id)
    assert site.ran == []
    with SQLiteStore(site.db, read_only=True) as store:
        assert [call["status"] for call in Runs(store).tool_calls(run_id) if call["status"] == "done"] == []


def test_operations_are_usable_without_a_server(site: Any) -> None:
    operations = Operations(str(site.db), folder=site.folder)
    assert {each.name for each in operations.runbooks()} >= {"fix", "disk-full"}
