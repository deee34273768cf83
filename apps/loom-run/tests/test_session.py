"""The interactive chat: with a scripted reader, and once at a real terminal."""

import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loom_run._chat import Conversation, Desk
from loom_run._progress import Progress
from loom_run._session import Session
from loom_run._setup import SetupChange
from loom_run._stores import opened

Run = Callable[..., Any]


def _talk(project: Path, capsys: Any, option: str, *lines: Any) -> tuple[list[str], str]:
    """Type lines; an exception class among them is raised instead. Gives the answers, and what was written to stderr."""
    waiting = list(lines)
    answers: list[str] = []

    def read(prompt: str) -> str:
        line = waiting.pop(0) if waiting else EOFError
        if isinstance(line, str):
            return line
        raise line

    with opened("runs.sqlite") as store:
        change = SetupChange(mock_llm=option.partition("=")[2])
        desk = Desk(Progress("text", is_live=False))
        session = Session(
            Conversation(store, "talk"),
            change,
            {},
            desk,
            lambda turn: answers.append(turn.answer or turn.standing),
        )
        assert session.run(read) == 0
    return answers, capsys.readouterr().err


def test_messages_are_turns_of_one_conversation(project: Path, capsys: Any, script: Run, loom_run: Run) -> None:
    answers, err = _talk(project, capsys, script("one", "two", "three"), "hello", "", "hello", "a\\", "b", "/exit", "c")
    assert answers == ["one", "two", "three"]
    assert err.startswith(f"talk: script:{project / 'script.json'} in {project}")
    texts = [m["text"] for m in loom_run("show", "talk", "--output", "json").json["messages"]]
    assert texts == ["hello", "one", "hello", "two", "a\nb", "three"]


def test_commands_say_what_they_know(project: Path, capsys: Any, script: Run) -> None:
    _, err = _talk(project, capsys, script("one"), "/cost", "hi", "/cost", "/model", "/help", "/what")
    assert "nothing yet" in err
    assert "in / 1 out tokens, $0" in err
    assert err.count(f"in {project}") == 2
    assert "there is no command /what" in err
    assert err.count("/resume") == 2


def test_an_error_does_not_end_the_session_and_resume_goes_on(project: Path, capsys: Any, script: Run) -> None:
    option = script()
    Path("script.json").write_text('{"format": "loom-script/1", "replies": ["one"]}')
    answers, err = _talk(project, capsys, option, "hi", "and?", "more", "/resume")
    assert answers == ["one", "failed", "failed"]
    assert "cannot send another message to 'talk'" in err
    script("one", "two")
    answers, err = _talk(project, capsys, option, "/resume")
    assert answers == ["two"]
    assert "the last message has no answer yet; /resume goes on with it" in err


def test_ctrl_c_at_the_prompt_drops_the_line(project: Path, capsys: Any, script: Run) -> None:
    assert _talk(project, capsys, script("one"), KeyboardInterrupt, "hi")[0] == ["one"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_at_a_terminal_the_answer_streams_and_ctrl_d_leaves(project: Path, script: Run) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "loom_run", "chat", "-r", "demo", script("Hello there.", "Bye.")]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True)
    os.close(theirs)
    seen = b""

    def until(text: bytes) -> None:
        nonlocal seen
        end = time.monotonic() + 30
        while text not in seen:
            assert time.monotonic() < end, seen
            seen += os.read(ours, 4096)
        seen = seen.partition(text)[2]

    until(b"> ")
    os.write(ours, b"hi\n")
    until(b"Hello there.\r\n")
    until(b"Go on: loom-run chat -r demo")
    until(b"> ")
    os.write(ours, b"bye\n")
    until(b"Bye.\r\n")
    until(b"> ")
    os.write(ours, b"\x04")
    assert process.wait(timeout=30) == 0
    os.close(ours)
