from typing import Any

import pytest
from loom_run._report.progress import Progress
from loom_run._text import argument_text, result_text, shorten_argument, tool_line
from loom_runner import RunEvent


def _event(kind: Any, **data: Any) -> RunEvent:
    return RunEvent(kind, "demo", 2, 0, 0, data)


def _text(text: str) -> RunEvent:
    return _event("emitted", event={"type": "text", "text": text})


def test_text_streams_to_a_terminal_and_tool_lines_start_on_their_own_line(capsys: Any) -> None:
    progress = Progress("text", is_live=True)
    progress(_text("Let me "))
    progress(_text("see.\x1b[31m"))
    calls = [{"id": "1", "name": "grep", "arguments": {"pattern": "x"}}]
    progress(_event("emitted", event={"type": "tool_calls", "tool_calls": calls}))
    progress(
        _event(
            "tool_finished", key="1", name="grep", status="done", recorded=False, duration_ms=1.5, result={"total": 2}
        )
    )
    assert progress.has_streamed is False
    progress(_text("Done."))
    assert progress.has_streamed is True
    progress.end_line()
    captured = capsys.readouterr()
    assert captured.out == "Let me see.\\x1b[31m\nDone.\n"
    assert captured.err.split() == ["grep", '"x"', "2", "matches", "1.5", "ms"]


def test_without_a_terminal_nothing_streams(capsys: Any) -> None:
    progress = Progress("text", is_live=False)
    progress(_text("Let me see."))
    assert capsys.readouterr().out == ""


def test_retries_and_recorded_calls_are_shown(capsys: Any) -> None:
    progress = Progress("text", is_live=False)
    progress(_event("attempt_failed", error={"type": "ModelError", "message": "429"}, retry_in_s=0.5))
    progress(_event("attempt_failed", error={"type": "ModelError", "message": "429"}, retry_in_s=None))
    progress(_event("run_started", status="running", taken_over_from=4121, fence=2))
    progress(_event("run_started", status="created", taken_over_from=None, fence=1))
    progress(
        _event("tool_finished", key="1", name="x", status="done", recorded=True, duration_ms=0.0, result={"a": "b"})
    )
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "  ModelError: 429; trying again in 500 ms"
    assert lines[1] == "resuming demo in step 2: process 4121 disappeared during the step"
    assert lines[2].split() == ["x", "10", "B", "recorded"]
    assert len(lines) == 3


def test_json_output_is_silent_until_the_end(capsys: Any) -> None:
    progress = Progress("json", is_live=True)
    progress(_text("hello"))
    progress(_event("run_started", status="paused", taken_over_from=None, fence=1))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_a_tool_line_fits_the_terminal_from_60_columns_on(width: int) -> None:
    line = tool_line("search_docs", {"query": "a very long question " * 10}, "1 failed, 2 passed", "12 ms", width=width)
    assert len(line) <= max(width, 60)
    assert "\n" not in line


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"query": "a b"}, '"a b"'),
        ({"path": "a.py", "offset": 7}, "a.py:7"),
        ({"glob": "*.py"}, "*.py"),
        ({"limit": 3}, ""),
        ({"odd": [1]}, '{"odd": [1]}'),
        ({"path": 3}, '{"path": 3}'),
    ],
)
def test_the_most_informative_argument_is_shown(arguments: dict[str, Any], text: str) -> None:
    assert argument_text(arguments) == text


@pytest.mark.parametrize(
    ("name", "payload", "text"),
    [
        ("read_file", {"lines": 1}, "1 line"),
        ("list_files", {"total": 1200}, "1,200 files"),
        (
            "run_tests",
            {"summary": "1 failed, 2 passed in 1.2s", "exit_code": 1, "status": "failed"},
            "1 failed, 2 passed",
        ),
        ("run_tests", {"summary": "boom", "exit_code": None, "status": "stopped after 3 s"}, "stopped after 3 s"),
        ("run_tests", {"summary": "", "exit_code": 0, "status": "passed"}, "passed"),
        ("other", [1, 2], "6 B"),
    ],
)
def test_a_result_is_described_in_a_few_words(name: str, payload: Any, text: str) -> None:
    assert result_text(name, payload) == text


@pytest.mark.parametrize(
    ("name", "arguments", "payload", "what", "result"),
    [
        (
            "git_commit",
            {"message": "Add\n\nmore"},
            {"commit": "a" * 40, "branch": "loom/x"},
            '"Add"',
            "aaaaaaaaaa on loom/x",
        ),
        (
            "apply_patch",
            {"patch": "--- a/x\n+++ b/x\n@@\n--- /dev/null\n+++ b/y\n@@"},
            {"files": [{"added_lines": 1, "removed_lines": 2}, {"added_lines": 3, "removed_lines": 0}], "diff": ""},
            "x, y",
            "+4 -2 lines",
        ),
        ("delegate", {"agent": "coder", "task": "edit"}, {"answer": "edited"}, "coder: edit", "edited"),
        ("ask_user", {"question": "which?"}, {"answer": "this"}, '"which?"', "this"),
    ],
)
def test_calls_that_change_something_are_described_in_a_few_words(
    name: str, arguments: dict[str, Any], payload: Any, what: str, result: str
) -> None:
    assert argument_text(arguments) == what
    assert result_text(name, payload) == result


def test_a_long_path_keeps_its_end() -> None:
    assert shorten_argument("a/very/long/path/to/some/file.py", 15) == "...some/file.py"
    assert shorten_argument("a very long sentence", 10) == "a very ..."
