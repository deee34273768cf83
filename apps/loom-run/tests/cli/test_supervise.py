"""A team in parallel: one tree in explain, one budget, one list of approvals."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
EDIT = {"name": "edit_file", "arguments": {"path": "README.md", "old": "about whales", "new": "about seals"}}


def delegate(agent: str, task: str) -> dict[str, Any]:
    return {"name": "delegate", "arguments": {"agent": agent, "task": task}}


def calling(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"tool_calls": list(calls)}


@pytest.fixture
def team(project: Path) -> Callable[..., str]:
    """Write a script with replies for each agent, and return the option that names it."""

    def write(*lead: Any, **agents: list[Any]) -> str:
        script = {"format": "loom-script/1", "replies": list(lead), "agents": agents}
        (project / "team.json").write_text(json.dumps(script))
        return f"--mock-llm={project / 'team.json'}"

    return write


def test_the_mock_team_searches_checks_and_merges(loom_run: Run) -> None:
    ended = loom_run("supervise", "how does resume work?", "--run-id", "team", "--db", "runs.sqlite", "--mock-llm")
    assert ended.code == 0
    assert ended.out.startswith("researcher says:\nREADME.md:5 (Whales > Resume) is the best of 1 match:")
    assert ended.out.endswith("verifier says: README.md:5 reads as it was quoted.\n")
    assert "  researcher    starts\n" in ended.err
    assert "  verifier-2    answers\n" in ended.err
    assert "resuming" not in ended.err


def test_hello_in_an_empty_folder_works(loom_run: Run, tmp_path_factory: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    ended = loom_run("supervise", "hello", "--run-id", "team", "--db", "runs.sqlite", "--mock-llm")
    assert ended.code == 0
    assert 'I searched 0 documents and all files for "hello" and found nothing.' in ended.out


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not on this machine")
def test_the_verifier_looks_at_the_repository(loom_run: Run, project: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    assert "Something is changed: ?? README.md" in loom_run("supervise", "whales", "--mock-llm").out


def test_explain_show_and_runs_include_the_child_runs(loom_run: Run) -> None:
    loom_run("supervise", "how does resume work?", "--run-id", "team", "--mock-llm")
    text = loom_run("explain", "--run-id", "team", "--output", "text").out
    assert "  agent   team:sub:researcher  answered  3 steps  README.md:5" in text
    assert "  agent   team:sub:verifier-2  answered  2 steps  README.md:5 reads as it was quoted." in text
    facts = loom_run("explain", "team", "--output", "json").json
    assert [member["run_id"] for member in facts["team"]] == [
        "team:sub:researcher",
        "team:sub:verifier",
        "team:sub:verifier-2",
    ]
    assert "quoted" in loom_run("show", "team:sub:verifier-2", "--output", "text").out
    assert "delegate  researcher: how does resume work?" in loom_run("show", "team", "--output", "text").out


def test_the_same_message_again_returns_the_stored_answer_and_a_new_one_continues(loom_run: Run) -> None:
    first = loom_run("supervise", "whales", "-r", "team", "--mock-llm")
    again = loom_run("supervise", "whales", "-r", "team", "--mock-llm")
    assert (again.code, again.out) == (0, first.out)
    assert "nothing was run" in again.err
    more = loom_run("chat", "how does resume work?", "-r", "team")
    assert "researcher says:\nREADME.md:5" in more.out
    assert "researcher-2  starts" in more.err


def test_an_approval_of_a_child_is_decided_with_the_run_id_of_the_team(
    loom_run: Run, team: Callable[..., str], project: Path
) -> None:
    option = team(
        calling(delegate("coder", "edit"), delegate("verifier", "look")),
        "merged",
        coder=[calling(EDIT), "edited"],
        verifier=["looked"],
    )
    waiting = loom_run("supervise", "edit it", "-r", "team", option, "--output", "json")
    assert (waiting.code, waiting.json["status"]) == (3, "approval")
    assert [request["run_id"] for request in waiting.json["pending"]] == ["team:sub:coder"]
    text = loom_run("resume", "team")
    assert text.code == 3
    assert "team waits for your approval of 1 call:\n  team:sub:coder#r1 (edit_file README.md)" in text.err
    approved = loom_run("approve", "--run-id", "team")
    assert approved.out == "approved: team:sub:coder#r1 (edit_file README.md)\n"
    assert approved.err == "Resume: loom-run resume team\n"
    ended = loom_run("resume", "team")
    assert (ended.code, ended.out) == (0, "merged\n")
    assert "about seals" in (project / "README.md").read_text()
    assert loom_run("undo", "team").out == "README.md restored (change 1, edit_file)\n"


def test_the_supervisor_has_only_tools_that_read(loom_run: Run, team: Callable[..., str]) -> None:
    option = team(calling(EDIT, delegate("researcher", "edit")), "sorry", researcher=[calling(EDIT), "cannot"])
    loom_run("supervise", "edit it", "-r", "team", option, "--mode", "auto")
    for run in ("team", "team:sub:researcher"):
        messages = loom_run("show", run, "--output", "json").json["messages"]
        refused = next(m for m in messages if m["role"] == "tool" and m["name"] == "edit_file")
        assert "there is no such tool" in refused["payload"]


def test_children_share_the_budget_of_the_run_and_a_larger_one_resumes_them(
    loom_run: Run, team: Callable[..., str]
) -> None:
    look = calling({"name": "list_files", "arguments": {}})
    option = team(calling(delegate("researcher", "look")), "done", researcher=[look] * 9 + ["found"])
    stopped = loom_run("supervise", "look", "-r", "team", option, "--max-requests", "4")
    assert stopped.code == 4
    assert "the limit is 4.  Resume: loom-run resume team --max-requests N" in stopped.err
    assert loom_run("show", "team:sub:researcher", "--output", "json").json["status"] == "limit"
    assert loom_run("resume", "team").code == 4
    ended = loom_run("resume", "team", "--max-requests", "40")
    assert (ended.code, ended.out) == (0, "done\n")


def test_usage_is_that_of_the_whole_team(loom_run: Run, team: Callable[..., str]) -> None:
    paid = {"text": "found", "usage": {"input_tokens": 10, "output_tokens": 5, "cost_usd": 0.5}}
    option = team(calling(delegate("researcher", "a"), delegate("researcher", "b")), "done", researcher=[paid])
    ended = loom_run("supervise", "look", "-r", "team", option, "--output", "json")
    assert ended.json["usage"]["cost_usd"] == 1.0
    assert ended.json["usage"]["requests"] == 4


def test_a_script_without_replies_for_an_agent_is_reported(loom_run: Run, team: Callable[..., str]) -> None:
    ended = loom_run("supervise", "look", "-r", "team", team(calling(delegate("coder", "x")), "done"))
    assert ended.code == 1
    assert "agents.coder is not a list with at least one reply" in ended.err


def test_configured_agents_replace_the_default_ones(loom_run: Run, project: Path) -> None:
    (project / "loom.toml").write_text(
        '[agents.librarian]\nprompt = "Finds documents."\ntools = ["search_docs", "read_file", "grep", "list_files"]\n'
    )
    ended = loom_run("supervise", "how does resume work?", "-r", "team", "--mock-llm")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("librarian says:")
    setup = loom_run("show", "team", "--output", "json").json["setup"]
    assert [agent["name"] for agent in setup["agents"]] == ["librarian"]
