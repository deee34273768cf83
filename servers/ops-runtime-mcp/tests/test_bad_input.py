"""Bad input, hostile files, and processes that end in the middle."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import apsw
import pytest
from loom_runner import Runs, SQLiteStore
from mcp import Client, StdioServerParameters
from ops_runtime_mcp import build_server


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"runbook": "nope"}, "it offers: fix, team, api-latency"),
        ({"runbook": "../fix"}, "does not offer it"),
        ({"step": "nope"}, "Its steps: state, show, broken, fix, unfix, guarded"),
        ({"inputs": {"service": "api", "svc": "x"}}, "it has no input 'svc'. Its inputs: service"),
        ({"inputs": {}}, "service not given in inputs"),
        ({"inputs": {"service": "api; id"}}, "does not match api|web"),
        ({"inputs": {"service": "--all"}}, "begins with '-'"),
        ({"inputs": {"service": 5}}, "'5' for the input 'service' does not match"),
        ({"inputs": {"service": ["api"]}}, "validation error"),
        ({"inputs": "api"}, "validation error"),
        ({"step": 7}, "validation error"),
        ({"run_id": "a:sub:executor"}, "':sub:' is reserved for the ids of child runs"),
        ({"run_id": "a:rollback"}, "':rollback' names the rollback of a run"),
        ({"run_id": ""}, "cannot"),
        ({"run_id": "a", "idempotency_key": "k"}, "Give one of them"),
        ({"idempotency_key": ""}, "1 to 200 characters"),
        ({"idempotency_key": "k" * 201}, "1 to 200 characters"),
    ],
)
def test_wrong_arguments_are_errors_that_name_what_is_known(site: Any, change: dict[str, Any], expected: str) -> None:
    error = site.error("execute_runbook_step", {**site.words("fix"), **change})
    assert expected.lower() in error.lower(), error
    assert site.ran == []


def test_reports_on_what_does_not_exist_say_so(site: Any) -> None:
    assert "there is no such database" in site.error("run_status", {"run_id": "a"})
    site.step("show")
    for tool in ("run_status", "explain_run", "approvals_pending"):
        assert "there is no such run" in site.error(tool, {"run_id": "a"})
    assert "no runbook of this site has checks for it. Known: api, web" in site.error(
        "check_service_health", {"service": "nope"}
    )
    assert "text is empty" in site.error("similar_incidents", {"text": " "})
    assert "less than or equal to 50" in site.error("similar_incidents", {"text": "x", "limit": 51})


def test_runs_of_another_kind_are_not_continued_here(site: Any) -> None:
    site.loom_ops("supervise", "fixit", "--runbook", "team", "-r", "a", "--mock-llm", code=3)
    words = {"runbook": "team", "step": "fix", "run_id": "a"}
    assert "it is not the run of one step. Resume it with loom-ops resume" in site.error("execute_runbook_step", words)
    other = {**site.words("fix"), "run_id": site.step("fix")["run_id"]}
    assert "the step is 'fix', and not 'slow'" in site.error("execute_runbook_step", {**other, "step": "slow"})
    assert "the input service is 'api', and not 'web'" in site.error(
        "execute_runbook_step", {**other, "inputs": {"service": "web"}}
    )
    assert site.get("execute_runbook_step", {**other, "inputs": {}})["status"] == "pending_approval"


def test_settings_and_runbooks_with_errors_are_reported(site: Any) -> None:
    (site.folder / "runbooks" / "fix.md").write_text("---\nloom: 1\nfoo: 1\n---\n")
    assert "cannot use runbooks/fix.md: line 3" in site.error("execute_runbook_step", site.words("fix"))
    (site.folder / "loom-ops.toml").write_text("foo = 1\n")
    assert "'foo' is not known" in site.error("list_runbooks")


def test_a_runbook_that_changes_under_a_run_does_not_change_the_run(site: Any) -> None:
    run_id = site.step("fix")["run_id"]
    runbook = site.folder / "runbooks" / "fix.md"
    runbook.write_text(runbook.read_text().replace('argv: [fix, "{service}"]', "argv: [slow]"))
    site.loom_ops("approve", "-r", run_id)
    assert site.step("fix", run_id=run_id)["status"] == "done" and site.ran == ["fix api"]


def test_a_database_from_elsewhere_is_only_read(site: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run_id = site.step("fix")["run_id"]
    site.loom_ops("approve", "-r", run_id)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another-user"))
    subprocess.run(["git", "init", "-q", str(site.folder)], check=True)  # it came with a repository
    assert "--trust" in site.error("execute_runbook_step", {**site.words("fix"), "run_id": run_id})
    assert site.ran == []
    assert site.get("run_status", {"run_id": run_id})["status"] == "waiting"
    monkeypatch.setenv("LOOM_TRUST_DATABASE", "1")
    assert site.step("fix", run_id=run_id)["status"] == "done"


def test_a_database_with_a_trigger_is_refused_by_name(site: Any) -> None:
    site.step("show")
    db = apsw.Connection(str(site.db))
    db.execute("CREATE TRIGGER evil AFTER INSERT ON runs BEGIN DELETE FROM runs; END")
    db.close()
    assert "evil" in site.error("execute_runbook_step", site.words("fix"))
    assert "evil" in site.error("run_status", {"run_id": "x"})


def test_a_locked_database_is_an_error_and_not_a_hang(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from loom_runner._store.sqlite import file, side_tables

    run_id = site.step("fix")["run_id"]
    monkeypatch.setattr(file, "_BUSY_MS", 50)
    monkeypatch.setattr(file, "WAIT_FOR_WRITERS_S", 0.05)
    monkeypatch.setattr(side_tables, "_WAIT_FOR_WRITERS_MS", 50)
    db = apsw.Connection(str(site.db))
    db.execute("BEGIN IMMEDIATE")
    assert "locked" in site.error("execute_runbook_step", {**site.words("fix"), "run_id": run_id})
    assert site.get("run_status", {"run_id": run_id})["status"] == "pending_approval"  # reading works
    db.execute("ROLLBACK")
    db.close()
    assert site.step("fix", run_id=run_id)["status"] == "pending_approval"


def test_a_file_that_is_no_database_is_an_error(site: Any) -> None:
    site.db.write_text("not a database, but a text that is long enough to look like a file\n" * 20)
    for tool, words in (("execute_runbook_step", site.words("show")), ("run_status", {"run_id": "a"})):
        assert "cannot" in site.error(tool, words)


def test_a_call_that_is_cancelled_stops_its_command_and_is_in_doubt(site: Any) -> None:
    run_id = site.step("slow")["run_id"]
    site.loom_ops("approve", "-r", run_id)

    async def work(client: Client) -> None:
        call = asyncio.ensure_future(
            client.call_tool("execute_runbook_step", {**site.words("slow"), "run_id": run_id}, read_timeout_seconds=20)
        )
        while site.ran != ["begin"]:
            await asyncio.sleep(0.02)
        call.cancel()
        await asyncio.wait([call])

    site.talk(work)
    with SQLiteStore(site.db, read_only=True) as store:
        assert [call["name"] for call in Runs(store).doubts(run_id)] == ["run_command"]
    again = site.step("slow", run_id=run_id)
    assert again["status"] == "in_doubt" and any("loom-ops resolve" in line for line in again["next"])
    assert site.step("slow")["run_id"] == run_id  # nor is it started as a new run
    assert site.ran == ["begin"]
    site.loom_ops("resolve", "-r", run_id, "--call", "1", "--done")
    assert site.step("slow", run_id=run_id)["status"] == "done" and site.ran == ["begin"]


def test_two_servers_on_one_database_run_a_step_once(site: Any) -> None:
    run_id = site.step("fix")["run_id"]
    site.loom_ops("approve", "-r", run_id)
    other = build_server(site.settings)

    async def both() -> list[str]:
        async with Client(site.server) as one, Client(other) as two:
            words = {**site.words("fix"), "run_id": run_id}
            results = await asyncio.gather(*(each.call_tool("execute_runbook_step", words) for each in (one, two, one)))
            return [str((each.structured_content or {}).get("status", each.content[0].text)) for each in results]

    statuses = asyncio.run(both())
    assert site.ran == ["fix api"] and "done" in statuses and set(statuses) <= {"done", "running", "interrupted"}
    assert site.step("fix", run_id=run_id)["status"] == "done" and site.ran == ["fix api"]


def parameters(site: Any, *words: str) -> StdioServerParameters:
    environment = {name: value for name, value in os.environ.items() if name.startswith(("LOOM_", "XDG_", "SITE_"))}
    return StdioServerParameters(
        command=sys.executable, args=["-m", "ops_runtime_mcp", *words], cwd=str(site.folder), env=environment
    )


@pytest.mark.slow
def test_over_stdio_a_server_that_is_killed_has_recorded_what_happened(site: Any) -> None:
    run_id = site.step("slow")["run_id"]
    site.loom_ops("approve", "-r", run_id)
    words = {**site.words("slow"), "run_id": run_id}

    async def kill_in_the_middle() -> None:
        async with Client(parameters(site)) as client:
            assert len((await client.list_tools()).tools) == 7
            call = asyncio.ensure_future(client.call_tool("execute_runbook_step", words))
            while site.ran != ["begin"]:
                await asyncio.sleep(0.02)
            with SQLiteStore(site.db, read_only=True) as store:
                pid = Runs(store).get(run_id)["held_by"]["pid"]
            os.kill(pid, signal.SIGKILL)
            await asyncio.wait([call])
            assert call.exception() is not None

    async def again() -> Any:
        async with Client(parameters(site)) as client:
            return (await client.call_tool("execute_runbook_step", words)).structured_content

    asyncio.run(kill_in_the_middle())
    end = time.monotonic() + 20
    while (found := asyncio.run(again()))["status"] == "running":
        assert time.monotonic() < end
    assert found["status"] == "in_doubt" and site.ran == ["begin"]


@pytest.mark.slow
def test_over_stdio_as_the_readme_configures_it_a_client_that_leaves_ends_the_command(site: Any) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    entry = json.loads(readme.partition("```json\n")[2].partition("```")[0])["mcpServers"]["ops-runtime"]
    pasted = parameters(site).model_copy(
        update={**entry, "command": str(Path(sys.executable).parent / entry["command"])}
    )
    pasted.env = {**(parameters(site).env or {}), **entry["env"]}
    run_id = site.step("slow")["run_id"]
    site.loom_ops("approve", "-r", run_id)

    async def leave() -> None:
        async with Client(pasted) as client:
            call = asyncio.ensure_future(
                client.call_tool("execute_runbook_step", {**site.words("slow"), "run_id": run_id})
            )
            while site.ran != ["begin"]:
                await asyncio.sleep(0.02)
            call.cancel()
            await asyncio.wait([call])

    asyncio.run(leave())
    assert site.step("slow", run_id=run_id)["status"] == "in_doubt" and site.ran == ["begin"]
