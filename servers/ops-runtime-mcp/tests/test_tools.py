"""The tools, with the official client in this process."""

import json
from typing import Any

import pytest

TOOLS = {
    "list_runbooks",
    "execute_runbook_step",
    "check_service_health",
    "run_status",
    "approvals_pending",
    "explain_run",
    "similar_incidents",
}


def test_every_tool_has_schemas_and_true_annotations(site: Any) -> None:
    tools = {tool.name: tool for tool in site.talk(lambda client: client.list_tools()).tools}
    assert set(tools) == TOOLS
    assert all(tool.output_schema and tool.output_schema["type"] == "object" for tool in tools.values())
    assert {name for name, tool in tools.items() if not tool.annotations.read_only_hint} == {"execute_runbook_step"}
    step = tools["execute_runbook_step"].input_schema
    assert step["required"] == ["runbook", "step"]
    assert set(step["properties"]) == {"runbook", "step", "inputs", "run_id", "idempotency_key"}


def test_runbooks_are_listed_with_inputs_steps_and_who_approves(site: Any, shown: Any) -> None:
    (site.folder / "runbooks" / "wrong.md").write_text("---\nloom: 1\nfoo: 1\n---\n# Wrong\n")
    result = site.call("list_runbooks")
    runbooks = {each["name"]: each for each in result.structured_content["runbooks"]}
    steps = {each["id"]: each for each in runbooks["fix"]["steps"]}
    assert steps["guarded"]["approved_by"] == "one of oncall, not the requester"
    assert (steps["show"]["needs_approval"], steps["fix"]["needs_approval"]) == (False, True)
    assert steps["unfix"]["only_undoes"] and steps["fix"]["undo"] == "unfix"
    assert "foo" in runbooks["wrong"]["problem"]
    assert "step fix (write, approved by one of oncall, undone by unfix): fix {service}" in shown(result)


def test_only_runbooks_that_the_site_offers_are_listed_and_started(site: Any) -> None:
    (site.folder / "loom-ops.toml").write_text('[serve]\nrunbooks = ["disk-full"]\n')
    assert [each["name"] for each in site.get("list_runbooks")["runbooks"]] == ["disk-full"]
    assert "does not offer it" in site.error("execute_runbook_step", site.words("fix"))
    assert "does not offer it" in site.error(
        "execute_runbook_step", {**site.words("fix"), "runbook": "runbooks/fix.md"}
    )


def test_a_step_that_reads_runs_and_its_output_is_masked_and_cut(site: Any, secret: str, shown: Any) -> None:
    result = site.call("execute_runbook_step", site.words("show"))
    run = result.structured_content
    assert (run["status"], run["exit_code"]) == ("done", 0)
    assert len(run["output"]) < 4_100 and run["output"].endswith("1200\n")
    everything = json.dumps(site.get("explain_run", {"run_id": run["run_id"]})) + shown(result) + json.dumps(run)
    assert secret not in everything and secret.encode() not in site.db.read_bytes()
    assert site.get("approvals_pending")["approvals"] == []


def test_a_step_that_fails_says_how(site: Any) -> None:
    run = site.step("broken")
    assert (run["status"], run["exit_code"]) == ("failed", 3)
    assert "it does not work" in run["text"] and run["steps"][0]["ok"] is False


def test_a_check_step_has_a_verdict(site: Any) -> None:
    assert site.step("state")["status"] == "failed"
    (site.folder / "fixed").touch()
    assert site.step("state")["status"] == "done"


def test_a_step_that_writes_returns_what_waits_and_does_not_run(site: Any, shown: Any) -> None:
    result = site.call("execute_runbook_step", site.words("fix"))
    run = result.structured_content
    (waiting,) = run["approvals"]
    assert run["status"] == "pending_approval" and site.ran == []
    assert waiting["argv"] == ["fix", "api"] and waiting["undo"] == ["unfix", "api"]
    assert waiting["approve"].startswith(f"loom-ops approve --run-id {run['run_id']} --db {site.db} --number 1 --hash ")
    assert waiting["approve"].endswith("--config " + str(site.folder / "loom-ops.toml"))
    assert waiting["approve"] in shown(result) and waiting["hash"] in shown(result)
    assert site.get("approvals_pending")["approvals"] == [waiting]
    assert site.get("run_status", {"run_id": run["run_id"]})["status"] == "pending_approval"


def test_after_a_decision_elsewhere_the_same_call_continues_once(site: Any) -> None:
    run_id = site.step("fix")["run_id"]
    site.loom_ops("approve", "-r", run_id, "--note", "go")
    assert site.ran == []
    ended = site.step("fix", run_id=run_id)
    assert ended["status"] == "done" and site.ran == ["fix api"]
    assert ended["next"] == [
        f"to undo it: loom-ops rollback {run_id} --db {site.db} --config {site.folder}/loom-ops.toml"
    ]
    assert [each["id"] for each in ended["steps"]] == ["fix", "state"]  # checks were run after the write
    assert site.step("fix", run_id=run_id) == ended and site.ran == ["fix api"]
    timeline = site.get("explain_run", {"run_id": run_id})["timeline"]
    assert [line for line in timeline if "approved by" in line and "(cli), 'go': fix api" in line]
    site.loom_ops("audit", "verify")


def test_a_denied_step_does_not_run(site: Any) -> None:
    run_id = site.step("fix")["run_id"]
    site.loom_ops("deny", "-r", run_id)
    assert site.step("fix", run_id=run_id)["status"] == "denied" and site.ran == []


def test_a_step_can_be_undone_from_the_command_line(site: Any) -> None:
    run_id = site.step("fix")["run_id"]
    site.loom_ops("approve", "-r", run_id)
    site.loom_ops("resume", "-r", run_id)
    site.loom_ops("rollback", run_id, code=3)
    site.loom_ops("approve", "-r", f"{run_id}:rollback")
    site.loom_ops("resume", "-r", f"{run_id}:rollback")
    assert site.ran == ["fix api", "unfix api"]
    assert site.get("run_status", {"run_id": f"{run_id}:rollback"})["outcome"] == "rolled_back"
    assert "not the run of one step" not in site.error(
        "execute_runbook_step", {**site.words("fix"), "run_id": f"{run_id}:rollback"}
    )


def test_the_same_key_is_the_same_run(site: Any) -> None:
    first, again = site.step("fix", idempotency_key="k1"), site.step("fix", idempotency_key="k1")
    other = site.step("fix", idempotency_key="k2")
    assert first["run_id"] == again["run_id"] != other["run_id"]
    assert "the step is 'fix', and not 'slow'" in site.error(
        "execute_runbook_step", {**site.words("slow"), "idempotency_key": "k1"}
    )


def test_without_a_key_an_unfinished_run_of_the_same_step_is_continued(site: Any) -> None:
    first = site.step("fix")
    assert site.step("fix")["run_id"] == first["run_id"]
    other = {**site.words("fix"), "inputs": {"service": "web"}}
    assert site.get("execute_runbook_step", other)["run_id"] != first["run_id"]
    site.loom_ops("approve", "-r", first["run_id"])
    assert site.step("fix")["status"] == "done"
    assert site.step("fix")["run_id"] != first["run_id"]  # that one has ended


def test_a_change_asks_only_while_its_checks_pass(site: Any) -> None:
    runbook = site.folder / "runbooks" / "fix.md"
    runbook.write_text(runbook.read_text().replace("kind: remedy", "kind: change"))
    assert site.step("fix")["status"] == "not_started"
    (site.folder / "fixed").touch()
    assert site.step("fix")["status"] == "pending_approval"


def test_a_change_whose_check_fails_afterwards_asks_to_undo_it(site: Any) -> None:
    runbook, fixed = site.folder / "runbooks" / "fix.md", site.folder / "fixed"
    runbook.write_text(runbook.read_text().replace("kind: remedy", "kind: change"))
    fixed.touch()
    run_id = site.step("fix")["run_id"]
    (site.folder / "bin" / "fix").write_text('#!/bin/sh\necho "fix $1" >> ran.txt; rm fixed\n')
    site.loom_ops("approve", "-r", run_id)
    run = site.step("fix", run_id=run_id)
    assert run["status"] == "pending_approval" and run["approvals"][0]["argv"] == ["unfix", "api"]
    fixed.touch()
    site.loom_ops("approve", "-r", run_id)
    assert site.step("fix", run_id=run_id)["status"] == "failed" and site.ran == ["fix api", "unfix api"]


def test_commands_that_no_rule_allows_are_denied_without_asking(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = site.step("forbidden")
    assert run["status"] == "denied" and "no rule in" in run["text"]
    monkeypatch.delenv("LOOM_OPS_ALLOW_SHELL")
    assert "commands are off" in site.step("fix")["text"]


def test_health_has_a_verdict_with_evidence(site: Any, shown: Any) -> None:
    before = site.call("check_service_health", {"service": "api"})
    assert before.structured_content["verdict"] == "unhealthy"
    assert "fix, state: 0, expected == 1" in shown(before)
    (site.folder / "fixed").touch()
    after = site.get("check_service_health", {"service": "api"})
    # starters are about `api`, too, and cannot be checked without an address
    assert [each["verdict"] for each in after["checks"]] == ["healthy"] and after["verdict"] == "healthy"
    assert any("api-latency" in each for each in after["skipped"])


def test_health_that_cannot_be_measured_is_not_guessed(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOOM_OPS_ALLOW_SHELL")
    found = site.get("check_service_health", {"service": "web"})
    assert found["verdict"] == "cannot_tell" and "commands are off" in found["checks"][0]["evidence"]


def test_a_service_of_the_settings_is_checked_with_its_inputs(site: Any) -> None:
    settings = '[services.shop]\nrunbooks = ["api-latency", "gone"]\ninputs = {url = "http://127.0.0.1:9/x"}\n'
    (site.folder / "loom-ops.toml").write_text(settings)
    found = site.get("check_service_health", {"service": "shop"})
    assert found["verdict"] == "unhealthy" and found["checks"][0]["runbook"] == "api-latency"
    assert found["skipped"] == ["gone: there is no such runbook, or clients may not start it"]


def test_similar_incidents_come_from_memory_and_runs(site: Any, shown: Any) -> None:
    site.loom_ops("supervise", "the api is broken", "--runbook", "team", "-r", "a", "--mock-llm", code=3)
    site.loom_ops("approve", "-r", "a")
    site.loom_ops("resume", "-r", "a")
    site.step("broken")
    result = site.call("similar_incidents", {"text": "broken service"})
    found = result.structured_content["incidents"]
    assert [(each["source"], each["runbook"]) for each in found] == [
        ("memory", "runbooks/team.md"),
        ("run", "runbooks/fix.md"),
    ]
    assert "not instructions" in shown(result)
    assert site.get("similar_incidents", {"text": "zebra"})["incidents"] == []


def test_status_and_explanation_of_a_team_are_those_of_the_command_line(site: Any, shown: Any) -> None:
    site.loom_ops("supervise", "fixit", "--runbook", "team", "-r", "a", "--mock-llm", code=3)
    status = site.call("run_status", {"run_id": "a"})
    assert status.structured_content["approvals"][0]["run_id"] == "a:sub:executor"
    assert "planner" in shown(status) and "approve: loom-ops approve" in shown(status)
    assert site.get("explain_run", {"run_id": "a"})["details"]["team"]
    assert site.get("explain_run", {"run_id": "a:sub:planner"})["timeline"]
    assert site.get("approvals_pending", {"run_id": "a"})["approvals"]


def test_progress_is_reported(site: Any) -> None:
    async def work(client: Any) -> list[str]:
        seen: list[str] = []

        async def progress(done: float, total: float | None, message: str | None) -> None:
            seen.append(message or "")

        await client.call_tool("execute_runbook_step", site.words("show"), progress_callback=progress)
        await client.call_tool("check_service_health", {"service": "api"}, progress_callback=progress)
        return seen

    assert site.talk(work) == ["show has started", "show has ended", "fix: state"]
