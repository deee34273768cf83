"""Calls that wait for approval: the commands that decide, the prompt at a terminal, exit codes."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from loom_run._chat.approvals import request_label

Run = Callable[..., Any]
EDIT = {"path": "README.md", "old": "about whales", "new": "about dolphins"}


def calling(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"tool_calls": [{"name": name, "arguments": arguments} for name, arguments in calls]}


@pytest.fixture
def waiting(loom_run: Run, script: Run) -> Run:
    """Start a chat whose model wants to edit the README."""
    ended = loom_run("chat", "edit it", "-r", "demo", script(calling(("edit_file", EDIT)), "done"))
    assert (ended.code, ended.out) == (3, "")
    return loom_run


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Simulate a user at a terminal who types the given lines."""

    def play(*lines: str) -> list[str]:
        prompts: list[str] = []
        left: Iterator[str] = iter(lines)

        def read(prompt: str) -> str:
            prompts.append(prompt)
            try:
                return next(left)
            except StopIteration:
                raise EOFError from None

        monkeypatch.setattr("loom_run._cli.chat.is_terminal", lambda stream: True)
        monkeypatch.setattr("loom_run._session.line_editor.terminal_reader", lambda: read)
        return prompts

    return play


def _readme(project: Path) -> str:
    return (project / "README.md").read_text()


def test_without_a_terminal_it_exits_with_3_and_prints_what_to_type(loom_run: Run, script: Run, project: Path) -> None:
    ended = loom_run("chat", "edit it", "-r", "demo", script(calling(("edit_file", EDIT)), "done"))
    assert ended.code == 3
    assert ended.out == ""
    assert ended.err.splitlines()[-6:] == [
        "demo waits for your approval of 1 call:",
        "  demo#r1 (edit_file README.md)",
        "    README.md",
        "    - about whales",
        "    + about dolphins",
        'Decide: loom-run approve demo   or: loom-run deny demo --note "..."   Then: loom-run resume demo',
    ]
    assert "whales" in _readme(project)


def test_approve_and_resume_make_the_change(waiting: Run, project: Path) -> None:
    approved = waiting("approve", "--run-id", "demo")
    assert (approved.code, approved.out) == (0, "approved: demo#r1 (edit_file README.md)\n")
    assert approved.err == "Resume: loom-run resume demo\n"
    ended = waiting("resume", "demo")
    assert (ended.code, ended.out) == (0, "done\n")
    assert "dolphins" in _readme(project)


def test_a_denial_is_reported_to_the_model_and_exits_with_5(waiting: Run, project: Path) -> None:
    waiting("deny", "demo", "--note", "whales are fine")
    ended = waiting("resume", "demo", "--output", "json")
    assert ended.code == 5
    assert ended.json["answer"] == "done"
    assert ended.json["denials"][0]["tool"] == "edit_file"
    assert "whales are fine" in ended.json["denials"][0]["why"]
    assert "whales" in _readme(project)
    assert "denied" in waiting("show", "demo", "--output", "text").out
    explained = waiting("explain", "demo", "--output", "text").out
    assert "  approval  demo#r1 (edit_file README.md)  denied by " in explained
    assert ": whales are fine\n" in explained


def test_arguments_can_be_changed(waiting: Run, project: Path) -> None:
    assert waiting("approve", "demo#r1", "--edit", json.dumps(EDIT | {"new": "of seals"})).code == 0
    assert waiting("resume", "demo").code == 0
    assert "A project of seals." in _readme(project)


@pytest.mark.parametrize(
    ("edit", "expected"), [("{", "not JSON"), ("[]", "not a JSON object"), ('{"path": 1}', "'old' is missing")]
)
def test_arguments_that_do_not_fit_are_refused(waiting: Run, edit: str, expected: str) -> None:
    ended = waiting("approve", "demo", "--edit", edit)
    assert ended.code == 2
    assert expected in ended.err
    assert waiting("approvals", "--output", "json").json[0]["status"] == "pending"


def test_a_call_is_decided_once(waiting: Run) -> None:
    waiting("approve", "demo#1")
    for command in ("approve", "deny"):
        again = waiting(command, "demo#1")
        assert (again.code, len(again.err.splitlines())) == (2, 1)
        assert "it is approved already" in again.err
    nothing = waiting("approve", "demo")
    assert nothing.code == 2
    assert "none waits for approval" in nothing.err


@pytest.mark.parametrize(
    ("call", "expected"),
    [("demo#7", "no such request"), ("demo#x", "RUN#rNUMBER"), ("nobody", "'nobody'"), ("#1", "''")],
)
def test_an_unknown_call_cannot_be_decided(waiting: Run, call: str, expected: str) -> None:
    ended = waiting("approve", call)
    assert ended.code == 2
    assert expected in ended.err
    assert len(ended.err.splitlines()) == 1


def test_an_expired_request_is_refused_and_the_model_is_informed(
    waiting: Run, monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    from datetime import datetime

    class Later:
        def now_us(self) -> int:
            return int(datetime.now(UTC).timestamp() * 1_000_000) + 8 * 24 * 3600 * 1_000_000

    monkeypatch.setattr("loom_runner._model.clock.SystemClock.now_us", Later().now_us)
    late = waiting("approve", "demo#1")
    assert late.code == 2
    assert "expired" in late.err
    ended = waiting("resume", "demo", "--output", "json")
    assert ended.code == 5
    assert "expired" in ended.json["denials"][0]["why"]
    assert "whales" in _readme(project)


def test_several_calls_are_listed_and_decided_one_by_one_or_together(loom_run: Run, script: Run, project: Path) -> None:
    write = {"path": "new.txt", "text": "x\n"}
    loom_run("chat", "edit", "-r", "demo", script(calling(("edit_file", EDIT), ("write_file", write)), "done"))
    both = loom_run("approve", "demo")
    assert both.code == 2
    assert "2 wait: demo#r1 (edit_file README.md), demo#r2 (write_file new.txt)" in both.err
    listed = loom_run("approvals", "--output", "text").out
    assert "    + about dolphins" in listed
    assert "demo#r2 (write_file new.txt)  pending  mode ask, expires" in listed
    one = loom_run("deny", "demo#r2")
    assert "1 more call of demo waits" in one.err
    assert loom_run("approve", "demo", "--all").code == 0
    assert loom_run("resume", "demo").code == 5
    assert not (project / "new.txt").exists()
    assert "dolphins" in _readme(project)
    listed = loom_run("approvals", "demo", "--all", "--output", "text").out
    assert "deny by" in listed
    assert loom_run("approvals", "--output", "text").err == "no call waits for approval\n"


def test_modes_and_rules_are_kept_with_the_run_and_can_be_changed(loom_run: Run, script: Run, project: Path) -> None:
    option = script(calling(("edit_file", EDIT)), "done")
    assert loom_run("chat", "edit", "-r", "one", option, "--mode", "edits").code == 0
    assert loom_run("show", "one", "--output", "json").json["setup"]["mode"] == "edits"
    (project / "README.md").write_text("about whales\n")
    refused = loom_run("chat", "edit", "-r", "two", option, "--mode", "auto", "--deny", "edit_file(*.md)")
    assert (refused.code, refused.out) == (5, "done\n")
    assert loom_run("chat", "edit", "-r", "three", option).code == 3
    assert loom_run("resume", "three", "--allow", "edit_file(README.md)", "--ask", "git_commit").code == 0
    assert loom_run("show", "three", "--output", "json").json["setup"]["rules"] == [
        "allow edit_file(README.md)",
        "ask git_commit",
    ]
    assert "dolphins" in _readme(project)


def test_an_invalid_rule_is_refused(loom_run: Run) -> None:
    ended = loom_run("chat", "x", "--mock-llm", "--allow", "edit_file(")
    assert ended.code == 2
    assert "neither TOOL nor TOOL(PATTERN)" in ended.err


def test_read_only_mode_denies_changes_and_exits_with_5(loom_run: Run, script: Run) -> None:
    ended = loom_run("chat", "edit", script(calling(("edit_file", EDIT)), "done"), "--mode", "read-only")
    assert (ended.code, ended.out) == (5, "done\n")
    assert "denied" in ended.err


def test_at_a_terminal_the_question_is_asked_at_once(
    loom_run: Run, script: Run, terminal: Callable[..., list[str]], project: Path
) -> None:
    prompts = terminal("?", "y")
    ended = loom_run("chat", "edit it", "-r", "demo", script(calling(("edit_file", EDIT)), "done"))
    assert (ended.code, ended.out) == (0, "done\n")
    assert "    + about dolphins" in ended.err
    assert prompts == ["allow it? [y]es, [n]o, [e]dit, [a]lways in this run, [l]ater: "] * 2
    assert "dolphins" in _readme(project)


def test_at_a_terminal_a_denial_has_a_reason(loom_run: Run, script: Run, terminal: Callable[..., list[str]]) -> None:
    terminal("n", "not today")
    ended = loom_run("chat", "edit it", "-r", "demo", script(calling(("edit_file", EDIT)), "done"))
    assert ended.code == 5
    assert "not today" in loom_run("show", "demo", "--output", "text").out


def test_at_a_terminal_always_is_stored_with_the_run(
    loom_run: Run, script: Run, terminal: Callable[..., list[str]], project: Path
) -> None:
    prompts = terminal("a")
    again = calling(("edit_file", {"path": "README.md", "old": "dolphins", "new": "seals"}))
    ended = loom_run("chat", "edit it", "-r", "demo", script(calling(("edit_file", EDIT)), again, "done"))
    assert ended.code == 0
    assert len(prompts) == 1
    assert loom_run("show", "demo", "--output", "json").json["setup"]["rules"] == ["allow edit_file"]
    assert "seals" in _readme(project)


@pytest.mark.parametrize("lines", [["l"], []])
def test_at_a_terminal_the_decision_can_be_postponed(
    loom_run: Run, script: Run, terminal: Callable[..., list[str]], lines: list[str]
) -> None:
    terminal(*lines)
    ended = loom_run("chat", "edit it", "-r", "demo", script(calling(("edit_file", EDIT)), "done"))
    assert ended.code == 3
    assert "loom-run approve demo" in ended.err


def test_at_a_terminal_the_arguments_can_be_edited(
    loom_run: Run, script: Run, terminal: Callable[..., list[str]], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = iter(["{", json.dumps(EDIT | {"new": "of seals"})])
    monkeypatch.setattr("click.edit", lambda text, extension: next(edits))
    terminal("e")
    ended = loom_run("chat", "edit it", "-r", "demo", script(calling(("edit_file", EDIT)), "done"))
    assert ended.code == 0
    assert "not JSON" in ended.err
    assert "of seals" in _readme(project)


def test_a_question_is_answered_by_the_next_message(loom_run: Run, script: Run) -> None:
    ask = calling(("ask_user", {"question": "Which file?"}))
    waits = loom_run("chat", "edit", "-r", "demo", script(ask, "thanks"), "--output", "json")
    assert (waits.code, waits.json["status"], waits.json["question"]) == (3, "question", "Which file?")
    same = loom_run("chat", "edit", "-r", "demo")
    assert same.code == 3
    assert "demo asks: Which file?" in same.err
    assert 'Answer: loom-run chat -r demo "..."' in same.err
    ended = loom_run("chat", "README.md", "-r", "demo")
    assert (ended.code, ended.out) == (0, "thanks\n")
    answers = [m for m in loom_run("show", "demo", "--output", "json").json["messages"] if m["role"] == "tool"]
    assert answers[0]["payload"] == {"answer": "README.md"}


def test_a_question_is_asked_at_a_terminal(loom_run: Run, script: Run, terminal: Callable[..., list[str]]) -> None:
    prompts = terminal("", "README.md")
    ended = loom_run("chat", "edit", script(calling(("ask_user", {"question": "Which file?"})), "thanks"))
    assert (ended.code, ended.out) == (0, "thanks\n")
    assert "Which file?" in ended.err
    assert prompts == ["answer> "] * 2


def test_undo_restores_the_file(waiting: Run, project: Path) -> None:
    before = _readme(project)
    assert waiting("undo", "demo").err == "demo has changed no files, or every change is undone\n"
    waiting("approve", "demo")
    waiting("resume", "demo")
    assert "edit_file  README.md (changed)" in waiting("undo", "demo", "--list").out
    ended = waiting("undo", "demo")
    assert (ended.code, ended.out) == (0, "README.md restored (change 1, edit_file)\n")
    assert _readme(project) == before
    assert "every change is undone" in waiting("undo", "demo", "--list").err


def test_undo_refuses_a_file_that_has_been_changed_since(waiting: Run, project: Path) -> None:
    waiting("approve", "demo")
    waiting("resume", "demo")
    (project / "README.md").write_text("mine\n")
    refused = waiting("undo", "demo")
    assert refused.code == 2
    assert "the file was changed since" in refused.err
    assert _readme(project) == "mine\n"
    assert waiting("undo", "demo", "--force", "--all").code == 0
    assert "about whales" in _readme(project)


def test_a_database_that_was_removed_takes_its_changes_with_it(loom_run: Run, script: Run, project: Path) -> None:
    option = script(calling(("edit_file", EDIT)), "done")
    before = _readme(project)
    loom_run("chat", "edit", "-r", "demo", option, "--mode", "auto")
    (project / "runs.sqlite").unlink()
    (project / "README.md").write_text(before)
    assert loom_run("chat", "edit", "-r", "demo", option, "--mode", "auto").out == "done\n"
    assert "dolphins" in _readme(project)
    assert len(loom_run("undo", "demo", "--all").out.splitlines()) == 1
    assert _readme(project) == before


def test_a_call_without_arguments_is_named_by_its_tool() -> None:
    request = {"run_id": "demo", "number": 1, "tool": "run_tests", "arguments": {}}
    assert request_label(request) == "demo#r1 (run_tests)"
