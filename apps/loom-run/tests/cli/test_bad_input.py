"""Invalid command lines: one line on stderr, the right exit code, nothing half-written."""

import asyncio
import io
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loom_agents import AgentState
from loom_runner import AgentRunner, Complete, SQLiteStore

Run = Callable[..., Any]


def _refused(ended: Any, code: int, *parts: str) -> None:
    assert ended.code == code, ended.err
    assert ended.out == ""
    assert len(ended.err.splitlines()) == 1, ended.err
    assert "Traceback" not in ended.err
    for part in parts:
        assert part in ended.err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["chat", "--mock-llm"], "there is no message"),
        (["chat", "", "--mock-llm"], "the message is empty"),
        (["chat", " \n", "--mock-llm"], "the message is empty"),
        (["chat", "a\udcff", "--mock-llm"], "is not UTF-8"),
        (["chat", "hi"], "no model is named"),
        (["chat", "hi", "--model", "gpt-5"], "not PROVIDER:MODEL"),
        (["chat", "hi", "--model", "script:x"], "not PROVIDER:MODEL"),
        (["chat", "hi", "--model", "openai:gpt-5", "--mock-llm"], "exclude each other"),
        (["chat", "hi", "--mock-llm=missing.json"], "cannot read the script"),
        (["chat", "hi", "--mock-llm", "--workspace", "nowhere"], "as the workspace"),
        (["chat", "hi", "--mock-llm", "--workspace", "README.md"], "not a folder"),
        (["chat", "hi", "--mock-llm", "--max-steps", "0"], "--max-steps"),
        (["chat", "hi", "--mock-llm", "--max-tokens", "x"], "--max-tokens"),
        (["chat", "hi", "--mock-llm", "--output", "xml"], "--output"),
        (["chat", "hi", "--mock-llm", "--test-command", "echo 'x"], "--test-command"),
        (["chat", "hi", "--mock-llm", "--test-command", ""], "--test-command"),
        (["chat", "hi", "--mock-llm", "--run-id", ""], "run id"),
        (["chat", "hi", "--mock-llm", "--run-id", "a\nb"], "run id"),
        (["chat", "hi", "--mock-llm", "-c", "-r", "x"], "exclude each other"),
        (["chat", "hi", "--mock-llm", "-c"], "latest chat"),
        (["chat", "hi", "there", "--mock-llm"], "unexpected extra argument"),
        (["chat", "hi", "--mock-llm", "--trace", "no/such/folder/t.html"], "trace"),
        (["chat", "hi", "--mock-llm", "--trace", "."], "trace"),
        (["chat", "hi", "--mock-llm", "--record", "README.md"], "cannot read the script"),
        (["chat", "hi", "--mock-llm", "--record", "no/such.json"], "no such folder"),
        (["resume"], "name one run"),
        (["resume", "a", "--run-id", "a"], "name one run"),
        (["resume", "demo"], "no such database"),
        (["explain", "demo"], "no such database"),
        (["runs"], "no such database"),
        (["show", "demo"], "no such database"),
        (["supervise"], "MESSAGE"),
        (["supervise", ""], "empty"),
        (["--bogus"], "--bogus"),
        (["runs", "--db", "postgresql+psycopg://h/db"], "no store supports the scheme 'postgresql+psycopg'"),
        (["chat", "hi", "--mock-llm", "--db", "sqlite://x.db"], "begins with sqlite:///"),
        (["doctor", "--db", " "], "without a name"),
        (["serve", "--db", "file:x.db"], "no store supports the scheme 'file'"),
    ],
)
def test_an_invalid_command_line_is_refused_in_one_line(loom_run: Run, arguments: list[str], part: str) -> None:
    _refused(loom_run(*arguments), 2, part)


def test_input_that_is_not_text_is_refused(loom_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), encoding="utf-8"))
    _refused(loom_run("chat", "-", "--mock-llm"), 2, "not valid text")
    monkeypatch.setattr("sys.stdin", None)
    _refused(loom_run("chat", "-", "--mock-llm"), 2, "the message is empty")


def test_a_url_names_the_same_database_in_every_command(loom_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_DB", "sqlite:///u.db")
    ended = loom_run("chat", "hi", "-r", "demo", "--mock-llm")
    assert "--db u.db" in ended.err
    for command in ("explain", "show", "export", "approvals"):
        assert loom_run(command, "demo").code == 0
    assert "u.db, 1 runs" in loom_run("doctor", "--output", "text").out


def test_a_name_that_is_too_long_is_one_line(loom_run: Run) -> None:
    _refused(loom_run("runs", "--db", "x" * 300), 8, "File name too long")
    assert "File name too long" in loom_run("doctor", "--db", "x" * 300, "--output", "text").out


def test_a_refused_chat_leaves_no_run_behind(loom_run: Run) -> None:
    loom_run("chat", "hi", "-r", "good", "--mock-llm")
    for arguments in (
        ["--mock-llm=missing.json"],
        ["--mock-llm", "--workspace", "nowhere"],
        ["--mock-llm", "--trace", "."],
        [],
    ):
        _refused(loom_run("chat", "hi", "-r", "bad", *arguments), 2)
    assert [row["run_id"] for row in loom_run("runs", "--output", "json").json] == ["good"]


def test_a_refused_next_turn_does_not_change_the_conversation(loom_run: Run, project: Path) -> None:
    loom_run("chat", "hi", "-r", "demo", "--mock-llm")
    before = loom_run("show", "demo", "--output", "json").out
    _refused(loom_run("chat", "more", "-r", "demo", "--mock-llm=missing.json"), 2, "cannot read the script")
    _refused(loom_run("chat", "more", "-r", "demo", "--workspace", "nowhere"), 2, "as the workspace")
    _refused(loom_run("chat", "more", "-r", "demo", "--trace", "."), 2, "trace")
    assert loom_run("show", "demo", "--output", "json").out == before
    assert loom_run("chat", "hi", "-r", "demo").code == 0


@pytest.mark.parametrize("command", ["resume", "explain", "show"])
def test_an_unknown_run_is_named(loom_run: Run, command: str) -> None:
    loom_run("chat", "hi", "-r", "demo", "--mock-llm")
    _refused(loom_run(command, "nope"), 2, "'nope'", "there is no such run")


def test_a_run_of_another_program_is_not_a_chat(loom_run: Run, project: Path) -> None:
    async def step(state: Any) -> Complete[int]:
        return Complete(1)

    with SQLiteStore("runs.sqlite") as store:
        asyncio.run(AgentRunner(step=step, store=store).start(run_id="counter", initial_state={"n": 1}))
    _refused(loom_run("resume", "counter"), 2, "a run of another program")
    _refused(loom_run("show", "counter"), 2, "a run of another program")
    assert loom_run("runs", "--output", "json").json == []
    assert loom_run("explain", "counter", "--output", "text").out.startswith("counter  completed")


@pytest.mark.parametrize("setup", [{}, {"agent": "mine"}])
def test_a_conversation_of_another_program_is_not_a_chat(loom_run: Run, project: Path, setup: dict[str, str]) -> None:
    async def step(state: Any) -> Complete[Any]:
        return Complete(state)

    state = AgentState(setup=setup).with_user("hi").to_json()
    with SQLiteStore("runs.sqlite") as store:
        asyncio.run(AgentRunner(step=step, store=store).start(run_id="s1", initial_state=state))
    for command in (["resume", "s1"], ["show", "s1"], ["undo", "s1"], ["fork", "s1"], ["export", "s1"]):
        ended = loom_run(*command)
        assert "internal error" not in ended.err, command
    _refused(loom_run("resume", "s1"), 2, "cannot continue 's1'", "a run of another program")
    _refused(loom_run("show", "s1"), 2, "a run of another program")
    assert loom_run("runs", "--output", "json").json == []
    _refused(loom_run("chat", "-c", "hi", "--mock-llm"), 2, "there is none")


def _folder(path: Path) -> None:
    path.mkdir()


def _no_database(path: Path) -> None:
    path.write_text("This is a text file that is long enough to have a page of its own.\n" * 100)


def _newer(path: Path) -> None:
    SQLiteStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 999999")
    db.close()


@pytest.mark.parametrize("make", [_folder, _no_database, _newer])
@pytest.mark.parametrize(
    "command", [["chat", "hi", "--mock-llm"], ["resume", "x"], ["explain", "x"], ["runs"], ["show", "x"]]
)
def test_a_database_that_cannot_be_used_is_refused(
    loom_run: Run, project: Path, make: Callable[[Path], None], command: list[str]
) -> None:
    make(project / "bad.sqlite")
    _refused(loom_run(*command, "--db", "bad.sqlite"), 8, "bad.sqlite")


def test_a_conversation_of_a_later_version_is_refused(loom_run: Run, project: Path) -> None:
    async def step(state: Any) -> Complete[int]:
        return Complete(1)

    state = {"conversation": {"format": "loom-messages/9", "messages": []}, "setup": {"workspace": "."}}
    with SQLiteStore("runs.sqlite") as store:
        asyncio.run(AgentRunner(step=step, store=store).start(run_id="later", initial_state=state))
    _refused(loom_run("chat", "hi", "-r", "later", "--mock-llm"), 8, "loom-messages/9")


def test_resume_names_a_workspace_that_no_longer_exists(loom_run: Run, project: Path) -> None:
    (project / "work").mkdir()
    loom_run("chat", "hi", "-r", "demo", "--mock-llm", "--workspace", "work", "--max-steps", "1")
    (project / "work").rmdir()
    _refused(loom_run("resume", "demo"), 2, "does not exist")
    assert loom_run("resume", "demo", "--workspace", ".").code == 0


def test_the_environment_sets_the_model_of_new_runs_only(loom_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_MODEL", "not a model")
    monkeypatch.setenv("LOOM_DB", "named.sqlite")
    _refused(loom_run("chat", "hi", "-r", "new"), 2, "'not a model'", "PROVIDER:MODEL")
    assert loom_run("chat", "hi", "-r", "demo", "--mock-llm").code == 0
    assert loom_run("chat", "more", "-r", "demo").code == 0
    assert Path("named.sqlite").exists()
    assert not Path("runs.sqlite").exists()
