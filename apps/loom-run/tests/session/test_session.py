"""The interactive chat: with a scripted reader, and at a pseudo-terminal."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
from loom_run._chat.conversation import Conversation, RunOptions
from loom_run._config.setup_change import SetupChange
from loom_run._config.trust import TrustPrompt
from loom_run._errors import LOOM_RUN
from loom_run._report.progress import Progress
from loom_run._session.session import Session

Run = Callable[..., Any]


def _chat(project: Path, capsys: Any, option: str, *lines: Any) -> tuple[list[str], str]:
    """Type lines (an exception class is raised instead); return the answers and stderr."""
    waiting = list(lines)
    answers: list[str] = []

    def read(prompt: str) -> str:
        line = waiting.pop(0) if waiting else EOFError
        if isinstance(line, str):
            return line
        raise line

    with LOOM_RUN.open_database("runs.sqlite", must_exist=False) as store:
        change = SetupChange(mock_llm=option.partition("=")[2])
        progress = Progress("text", is_live=False)
        options = RunOptions(progress)
        session = Session(
            Conversation(store, "demo"),
            change,
            {},
            options,
            progress,
            lambda turn: answers.append(turn.answer or turn.status),
        )
        assert session.run(read) == 0
    return answers, capsys.readouterr().err


def test_messages_are_turns_of_one_conversation(project: Path, capsys: Any, script: Run, loom_run: Run) -> None:
    answers, err = _chat(project, capsys, script("one", "two", "three"), "hello", "", "hello", "a\\", "b", "/exit", "c")
    assert answers == ["one", "two", "three"]
    assert err.startswith(f"demo: script:{project / 'script.json'} in {project}")
    texts = [m["text"] for m in loom_run("show", "demo", "--output", "json").json["messages"]]
    assert texts == ["hello", "one", "hello", "two", "a\nb", "three"]


def test_commands_print_their_reports(project: Path, capsys: Any, script: Run) -> None:
    _, err = _chat(project, capsys, script("one"), "/cost", "hi", "/cost", "/model", "/help", "/what")
    assert "the chat has no message yet" in err
    assert "in / 1 out tokens, $0" in err
    assert err.count(f"in {project}") == 2
    assert "there is no command /what" in err
    assert err.count("/resume") == 2


def test_an_error_does_not_end_the_session_and_resume_continues(project: Path, capsys: Any, script: Run) -> None:
    option = script()
    Path("script.json").write_text('{"format": "loom-script/1", "replies": ["one"]}')
    answers, err = _chat(project, capsys, option, "hi", "and?", "more", "/resume")
    assert answers == ["one", "failed", "failed"]
    assert "the last message has no answer yet: /resume continues it" in err
    script("one", "two")
    answers, err = _chat(project, capsys, option, "/resume")
    assert answers == ["two"]
    assert "the last message has no answer yet; /resume continues it" in err


def test_ctrl_c_at_the_prompt_discards_the_line(project: Path, capsys: Any, script: Run) -> None:
    assert _chat(project, capsys, script("one"), KeyboardInterrupt, "hi")[0] == ["one"]


class Pty:
    """A session at a pseudo-terminal. `TERM=dumb` is one that can only print."""

    PROMPT = {"dumb": b"> ", "xterm": b"\x1b[?7h\x1b[0m\x1b[?12l\x1b[?25h"}

    def __init__(self, term: str, *arguments: str, **environment: str) -> None:
        self.prompt = self.PROMPT[term]
        self._ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": term, "PROMPT_TOOLKIT_NO_CPR": "1", **environment}
        command = [sys.executable, "-m", "loom_run", "chat", "-r", "demo", *arguments]
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True, env=environment, start_new_session=True
        )
        os.close(theirs)
        self._seen = b""

    def until(self, text: bytes) -> bytes:
        end = time.monotonic() + 30
        while text not in self._seen:
            assert time.monotonic() < end, self._seen
            if select.select([self._ours], [], [], 0.5)[0]:
                self._seen += os.read(self._ours, 4096)
        before, _, self._seen = self._seen.partition(text)
        return before

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def leave(self) -> None:
        assert self.process.wait(timeout=30) == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:  # the test failed
            self.process.kill()
            self.process.wait()
        os.close(self._ours)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_at_a_terminal_the_answer_streams_and_ctrl_d_leaves(project: Path, script: Run, term: str) -> None:
    with Pty(term, script("Hello there.", "Bye."), NO_COLOR="1") as terminal:
        for message, answer in [(b"hi\n", b"Hello there.\r\n"), (b"bye\n", b"Bye.\r\n")]:
            terminal.until(terminal.prompt)
            terminal.type(message)
            terminal.until(answer)
            terminal.until(b"out tokens, $0")
        terminal.until(terminal.prompt)
        terminal.type(b"\x04")
        terminal.leave()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_message_may_have_several_lines_and_input_is_kept_in_the_history(
    project: Path, script: Run, loom_run: Run
) -> None:
    with Pty("xterm", script("one", "two"), XDG_STATE_HOME=str(project / "state")) as terminal:
        terminal.until(terminal.prompt)
        terminal.type(b"\x1b[200~a\nb\x1b[201~\r")  # pasted text arrives in one piece
        terminal.until(b"one\r\n")
        terminal.until(terminal.prompt)
        terminal.type(b"\x10\r")  # Ctrl-P: the previous input
        terminal.until(b"two\r\n")
        terminal.until(terminal.prompt)
        terminal.type(b"/ex\t")
        terminal.until(b"it")  # "/exit", or "/ex" and then the rest
        terminal.type(b"\r")
        terminal.leave()
    texts = [m["text"] for m in loom_run("show", "demo", "--output", "json").json["messages"]]
    assert texts == ["a\nb", "one", "a\nb", "two"]
    history = project / "state" / "loom" / "history"
    assert "+a\n+b\n" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_ctrl_c_stops_the_answer_and_not_the_session(project: Path, script: Run, term: str, loom_run: Run) -> None:
    call = {"tool_calls": [{"id": "1", "name": "run_tests", "arguments": {}}]}
    slow = (
        "import time, pathlib; pathlib.Path('begun').touch(); time.sleep(0 if pathlib.Path('quick').exists() else 60)"
    )
    with Pty(term, script(call, "They ran."), "--test-command", f'{sys.executable} -c "{slow}"') as terminal:
        terminal.until(terminal.prompt)
        terminal.type(b"test it\n")
        end = time.monotonic() + 30
        while not (project / "begun").exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        os.kill(terminal.process.pid, signal.SIGINT)
        terminal.until(b"Resume: /resume")
        terminal.until(terminal.prompt)
        (project / "quick").touch()
        terminal.type(b"/resume\n")
        terminal.until(b"They ran.\r\n")
        terminal.until(terminal.prompt)
        terminal.type(b"/exit\n")
        terminal.leave()
    assert loom_run("show", "demo", "--output", "json").json["answer"] == "They ran."


def test_without_a_terminal_there_is_no_session(project: Path, script: Run) -> None:
    command = [sys.executable, "-m", "loom_run", "chat", "-r", "demo", script("x")]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "there is no message" in ended.stderr


def test_commands_show_and_undo_changes(project: Path, capsys: Any, script: Run) -> None:
    edit = {"path": "README.md", "old": "whales", "new": "orcas"}
    option = script({"tool_calls": [{"id": "1", "name": "edit_file", "arguments": edit}]}, "done")
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", "add", "README.md"], check=True)
    _, err = _chat(project, capsys, option, "/undo", "edit", "y", "/diff", "/undo", "/diff", "/approve", "/tools")
    assert err.count("the chat has no message yet: type one first") == 1
    assert "+A project about orcas." in err
    assert "README.md (changed)" in err
    assert "README.md restored" in err
    assert "no file differs from the last commit" in err
    assert "no call waits for approval" in err
    assert re.search(r"edit_file +acts +Replace one part", err)
    assert re.search(r"grep +reads", err)
    assert "orcas" not in (project / "README.md").read_text()


def test_a_postponed_call_is_decided_later(project: Path, capsys: Any, script: Run) -> None:
    edit = {"path": "README.md", "old": "whales", "new": "orcas"}
    option = script({"tool_calls": [{"id": "1", "name": "edit_file", "arguments": edit}]}, "done")
    answers, _ = _chat(project, capsys, option, "edit", "l", "/approve", "y")
    assert answers == ["approval", "done"]


def test_another_model_is_used_for_the_next_turn(project: Path, capsys: Any, script: Run) -> None:
    _, err = _chat(project, capsys, script("one"), "hi", "/model nonsense", "/model ollama:qwen3", "/model")
    assert "cannot use --model 'nonsense'" in err
    assert err.count("ollama:qwen3 in ") == 2


def test_trust_covers_the_files_as_they_were_when_the_session_began(project: Path, capsys: Any, script: Run) -> None:
    (project / ".mcp.json").write_text('{"mcpServers": {}}')
    questions: list[int] = []

    class Changing(list[str]):
        def pop(self, index: Any = 0) -> Any:
            questions.append(1)
            if len(questions) == 2:
                (project / ".mcp.json").write_text('{"mcpServers": {"new": {"command": "x"}}}')
            return super().pop(index)

    lines = Changing(["one", "two"])

    def read(prompt: str) -> str:
        if lines:
            return lines.pop(0)
        raise EOFError

    answers: list[str] = []
    with LOOM_RUN.open_database("runs.sqlite", must_exist=False) as store:
        change = SetupChange(mock_llm=script("1", "2").partition("=")[2], trust=TrustPrompt(given=True))
        progress = Progress("text", is_live=False)
        options = RunOptions(progress)
        Session(
            Conversation(store, "t"), change, {}, options, progress, lambda turn: answers.append(str(turn.answer))
        ).run(read)
    assert answers == ["1"]
    assert "you have not trusted it" in capsys.readouterr().err
