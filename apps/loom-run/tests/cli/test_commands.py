"""The commands other than chat: cancel, fork, export, doctor."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
LOOK = {"tool_calls": [{"name": "list_files", "arguments": {}}]}
EDIT = {"name": "edit_file", "arguments": {"path": "README.md", "old": "about whales", "new": "about seals"}}


def test_cancelling_a_run_cancels_its_children(loom_run: Run, project: Path) -> None:
    delegate = {"tool_calls": [{"name": "delegate", "arguments": {"agent": "coder", "task": "x"}}]}
    script = {"format": "loom-script/1", "replies": [delegate, "done"], "agents": {"coder": [{"tool_calls": [EDIT]}]}}
    (project / "s.json").write_text(json.dumps(script))
    assert loom_run("supervise", "x", "-r", "team", "--mock-llm=s.json").code == 3
    ended = loom_run("cancel", "team", "--note", "not needed")
    assert (ended.code, set(ended.out.splitlines())) == (0, {"cancelled: team", "cancelled: team:sub:coder"})
    again = loom_run("resume", "team")
    assert again.code == 5
    assert "team is cancelled" in again.err
    late = loom_run("approve", "team:sub:coder#1")
    assert late.code == 2
    assert len(late.err.splitlines()) == 1


@pytest.mark.parametrize("command", ["cancel", "fork", "export", "undo"])
def test_an_unknown_run_is_refused(loom_run: Run, script: Run, command: str) -> None:
    loom_run("chat", "hi", "-r", "demo", script("one"))
    ended = loom_run(command, "nobody")
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert "'nobody'" in ended.err


def test_a_fork_continues_from_a_turn_and_does_not_change_the_original(loom_run: Run, script: Run) -> None:
    option = script(LOOK, "one", "two", "three")
    for message in ("first", "second"):
        loom_run("chat", message, "-r", "demo", option)
    forked = loom_run("fork", "demo", "--turn", "1", "--to", "other")
    assert (forked.code, forked.out) == (0, "other\n")
    assert 'Continue: loom-run chat -r other "..."' in forked.err
    assert loom_run("chat", "instead", "-r", "other").out == "two\n"
    texts = [m.get("text") for m in loom_run("show", "other", "--output", "json").json["messages"]]
    assert texts == ["first", "", None, "one", "instead", "two"]
    assert loom_run("chat", "third", "-r", "demo").out == "three\n"


def test_a_fork_without_a_step_starts_after_the_latest_step(loom_run: Run, script: Run) -> None:
    loom_run("chat", "first", "-r", "demo", script("one", "two"))
    name = loom_run("fork", "demo").out.strip()
    assert loom_run("chat", "more", "-r", name).out == "two\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--turn", "2"], "that turn has no answer"),
        (["--step", "9"], "there is no such committed step"),
        (["--turn", "1", "--step", "0"], "exclude each other"),
        (["--to", "demo"], "demo"),
    ],
)
def test_an_impossible_fork_is_refused(loom_run: Run, script: Run, arguments: list[str], expected: str) -> None:
    loom_run("chat", "first", "-r", "demo", script("one"))
    ended = loom_run("fork", "demo", *arguments)
    assert ended.code == 2
    assert expected in ended.err


def test_export_writes_markdown(loom_run: Run, script: Run) -> None:
    loom_run("chat", "what is here?", "-r", "demo", script(LOOK, "A project."))
    text = loom_run("export", "demo").out
    assert text.startswith("# demo\n\n## User\n\nwhat is here?\n\n### list_files (success)\n\n```\n{}\n```\n\n```\n{\n")
    assert "## script:script.json\n\nA project.\n\n---\n\nanswered, 2 steps, " in text


def test_export_writes_a_script_that_replays_the_conversation(loom_run: Run, script: Run, project: Path) -> None:
    loom_run("chat", "what is here?", "-r", "demo", script(LOOK, "A project."))
    assert loom_run("export", "demo", "--form", "script", "--to", "again.json").err == "written to again.json\n"
    assert loom_run("chat", "what is here?", "-r", "two", "--mock-llm=again.json").out == "A project.\n"
    assert json.loads(loom_run("export", "two", "--form", "json").out)["answer"] == "A project."
    refused = loom_run("export", "demo", "--to", "none/x.md")
    assert (refused.code, len(refused.err.splitlines())) == (2, 1)


def test_a_fence_in_a_result_does_not_end_the_fence_around_it(loom_run: Run, script: Run, project: Path) -> None:
    (project / "fence.md").write_text("```\ncode\n```\n")
    read = {"tool_calls": [{"name": "read_file", "arguments": {"path": "fence.md"}}]}
    loom_run("chat", "x", "-r", "demo", script(read, "done"))
    assert "\n````\n{" in loom_run("export", "demo").out


def test_the_doctor_reports_what_is_available_and_what_is_missing(
    loom_run: Run, script: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    loom_run("chat", "hi", "-r", "demo", script("one"))
    ended = loom_run("doctor", "--output", "text")
    assert ended.code == 0, ended.out
    assert "ok    database  runs.sqlite, 1 runs" in ended.out
    assert "warn  model     none is set" in ended.out
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("PATH", "")
    sick = loom_run("doctor", "--model", "openai:gpt-5", "--output", "json")
    verdicts = {check["name"]: check for check in sick.json}
    assert sick.code == 1
    assert verdicts["git"]["verdict"] == "warn"
    assert verdicts["model"]["verdict"] == "bad"


def test_the_doctor_names_a_file_that_is_not_a_database(loom_run: Run, project: Path) -> None:
    (project / "runs.sqlite").write_text("this is not a database, only a long enough text" * 50)
    ended = loom_run("doctor", "--output", "text")
    assert ended.code == 1
    assert "bad   database" in ended.out


def test_a_long_conversation_is_summarized(loom_run: Run, script: Run, project: Path) -> None:
    (project / "long.txt").write_text("words and words\n" * 400)
    read = {"tool_calls": [{"name": "read_file", "arguments": {"path": "long.txt"}}]}
    ended = loom_run("chat", "x", "-r", "demo", script(read, read, "the summary", "done"), "--compact-at", "3000")
    assert (ended.code, ended.out) == (0, "done\n")
    assert "summarizing 3 messages of a long conversation" in ended.err
    shown = loom_run("show", "demo", "--output", "text").out
    assert shown.startswith("[summary of 2 earlier replies] the summary\n> x\n")
    assert "## Summary of 2 earlier replies\n\nthe summary" in loom_run("export", "demo").out


def test_the_doctor_checks_settings_undo_and_the_environment_of_the_tests(
    loom_run: Run, script: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loom_run("chat", "hi", "-r", "demo", script({"tool_calls": [EDIT]}, "one"), "--mode", "auto")
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "bin" / "python").touch()
    (project / "loom.toml").write_text('model = "ollama:qwen3"\n')
    found = {check["name"]: check for check in loom_run("doctor", "--output", "json").json}
    assert "runs.sqlite-undo records what runs have changed" in found["undo"]["text"]
    assert ".venv/bin/python" in found["tests"]["text"]
    assert "loom.toml" in found["settings"]["text"]
    (project / "loom.toml").write_text("model = 3\n")
    sick = loom_run("doctor", "--db", "runs.sqlite", "--output", "json")
    assert sick.code == 1
    assert next(check for check in sick.json if check["name"] == "settings")["verdict"] == "bad"


def test_the_user_of_the_process_decides_whatever_the_environment_says(
    loom_run: Run, script: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(uid: int) -> str:
        raise KeyError("uid not found")

    loom_run("chat", "hi", "-r", "demo", script({"tool_calls": [EDIT]}, "one"))
    monkeypatch.setenv("USER", "mallory")
    monkeypatch.setattr("pwd.getpwuid", nobody)  # a container may run without an entry
    assert loom_run("deny", "demo").code == 0
    decided = [json.loads(line) for line in loom_run("approvals", "--all", "--output", "jsonl").out.splitlines()]
    assert decided[0]["decisions"][0]["by"] == f"uid-{os.getuid()}"
