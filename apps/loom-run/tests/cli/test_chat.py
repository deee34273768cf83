import asyncio
import base64
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loom_runner import AgentRunner, Complete, SQLiteStore

Run = Callable[..., Any]
CALL = {"tool_calls": [{"name": "search_docs", "arguments": {"query": "resume"}}]}


def test_the_answer_is_on_stdout_and_everything_else_on_stderr(loom_run: Run) -> None:
    ended = loom_run("chat", "how does resume work?", "--run-id", "demo", "--mock-llm")
    assert ended.code == 0
    assert ended.out.startswith(
        "README.md:5 (Whales > Resume) is the best of 1 match:\n\n> ## Resume\n>\n> Runs resume"
    )
    assert "search_docs" in ended.err
    assert '"how does resume work?"' in ended.err
    assert 'Continue: loom-run chat -r demo "..."' in ended.err


def test_hello_in_an_empty_folder_reports_what_was_found(
    loom_run: Run, tmp_path_factory: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    ended = loom_run("chat", "hello", "--run-id", "demo", "--db", "runs.sqlite", "--mock-llm")
    assert ended.code == 0
    assert ended.out == (
        'I searched 0 documents and all files for "hello" and found nothing.\nThe workspace has no files.\n'
    )


def test_all_files_are_searched_when_no_document_matches(loom_run: Run, project: Path) -> None:
    (project / "app.py").write_text("import os\n\ndef octopus():\n    return 8\n")
    ended = loom_run("chat", "where is the Octopus?", "--mock-llm")
    assert ended.out.startswith("app.py:3 is the best of 1 match:\n\n> def octopus():\n>     return 8\n")


def test_the_mock_option_takes_a_value_only_after_an_equals_sign(loom_run: Run, script: Run) -> None:
    assert loom_run("chat", "--mock-llm", "hello").code == 0
    assert loom_run("chat", script("scripted"), "hello").out == "scripted\n"
    assert loom_run("chat", "--mock-llm", "--", "--mock-llm").out.startswith("I searched 1 document and")


def test_the_same_message_again_returns_the_stored_answer(loom_run: Run) -> None:
    first = loom_run("chat", "hello", "-r", "demo", "--mock-llm")
    again = loom_run("chat", "hello", "-r", "demo", "--mock-llm")
    assert (again.code, again.out) == (0, first.out)
    assert "nothing was run" in again.err
    assert loom_run("chat", "hello", "-r", "demo", "--output", "json").json["was_stored"] is True


def test_a_new_message_opens_the_next_turn(loom_run: Run, script: Run) -> None:
    option = script("one", "two", "three")
    loom_run("chat", "first", "-r", "demo", option)
    assert loom_run("chat", "second", "-r", "demo").out == "two\n"
    assert loom_run("chat", "third", "-c").out == "three\n"
    shown = loom_run("show", "demo", "--output", "json").json
    assert [m["text"] for m in shown["messages"]] == ["first", "one", "second", "two", "third", "three"]
    assert shown["turn"] == 3


def test_a_message_is_read_from_standard_input(loom_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("whales\n"))
    assert "is the best of" in loom_run("chat", "-", "-r", "demo", "--mock-llm").out
    assert loom_run("show", "demo", "--output", "json").json["messages"][0]["text"] == "whales"


def test_max_steps_pauses_and_resume_continues(loom_run: Run) -> None:
    paused = loom_run("chat", "whales", "-r", "demo", "--mock-llm", "--max-steps", "1")
    assert (paused.code, paused.out) == (0, "")
    assert "demo is paused before step 1.  Resume: loom-run resume demo" in paused.err
    other = loom_run("chat", "dolphins", "-r", "demo")
    assert other.code == 2
    assert "the last one has no answer yet" in other.err
    ended = loom_run("resume", "demo")
    assert ended.code == 0
    assert "is the best of" in ended.out
    assert "resuming demo in step 1: it was paused" in ended.err


def test_the_same_message_resumes_a_paused_turn(loom_run: Run) -> None:
    loom_run("chat", "whales", "-r", "demo", "--mock-llm", "--max-steps", "1")
    assert "is the best of" in loom_run("chat", "whales", "-r", "demo").out


def test_resume_of_an_answered_chat_prints_the_answer(loom_run: Run) -> None:
    first = loom_run("chat", "whales", "-r", "demo", "--mock-llm")
    again = loom_run("resume", "--run-id", "demo")
    assert (again.code, again.out) == (0, first.out)


def test_an_exhausted_budget_exits_with_4_and_a_larger_one_continues(loom_run: Run, script: Run) -> None:
    stopped = loom_run("chat", "whales", "-r", "demo", script(CALL, CALL, "done"), "--max-requests", "2")
    assert (stopped.code, stopped.out) == (4, "")
    assert "demo stopped: 2 model requests in this turn; the limit is 2.  Resume: loom-run resume demo" in stopped.err
    assert loom_run("resume", "demo").code == 4
    ended = loom_run("resume", "demo", "--max-requests", "10")
    assert (ended.code, ended.out) == (0, "done\n")


def test_tokens_are_a_budget_too(loom_run: Run, script: Run) -> None:
    stopped = loom_run("chat", "whales", "-r", "demo", script(CALL, "done"), "--max-tokens", "5", "--output", "json")
    assert stopped.code == 4
    assert stopped.json["status"] == "limit"
    assert "the limit is 5" in stopped.json["reason"]
    assert stopped.json["resume_command"] == "loom-run resume demo"
    assert loom_run("resume", "demo", "--max-tokens", "100000").out == "done\n"


def test_a_price_is_a_budget_too(loom_run: Run, script: Run) -> None:
    paid = CALL | {"usage": {"input_tokens": 10, "output_tokens": 5, "cost_usd": 0.5}}
    stopped = loom_run("chat", "whales", "-r", "demo", script(paid, "done"), "--max-cost", "0.25")
    assert stopped.code == 4
    assert "$0.5000 spent; the limit is $0.25.  Resume: loom-run resume demo --max-cost N" in stopped.err
    assert loom_run("resume", "demo", "--max-cost", "1").out == "done\n"


def test_a_model_without_an_answer_fails_and_the_run_can_be_retried(loom_run: Run, script: Run) -> None:
    failed = loom_run("chat", "whales", "-r", "demo", script(CALL))
    assert (failed.code, failed.out) == (1, "")
    assert "demo failed in step 1: ScriptError: cannot answer" in failed.err
    assert "Try again: loom-run resume demo" in failed.err
    ended = loom_run("chat", "whales", "-r", "demo", script(CALL, "done"))
    assert (ended.code, ended.out) == (0, "done\n")
    calls = [line for line in ended.err.splitlines() if "search_docs" in line]
    assert len(calls) == 1
    assert calls[0].endswith("recorded")


def test_a_failed_tool_is_shown_and_the_run_continues(loom_run: Run, script: Run) -> None:
    bad = {"tool_calls": [{"name": "read_file", "arguments": {"path": "../secret"}}]}
    ended = loom_run("chat", "whales", script(bad, "I may not"))
    assert ended.out == "I may not\n"
    assert "'..' is not allowed" in ended.err


def test_json_output_is_one_object(loom_run: Run) -> None:
    found = loom_run("chat", "whales", "-r", "demo", "--mock-llm", "--output", "json").json
    assert found["status"] == "answered"
    assert found["answer"].startswith("README.md:1")
    assert found["usage"]["requests"] == found["step_index"] == 3
    assert (found["turn"], found["was_stored"], found["error"], found["resume_command"]) == (1, False, None, None)


def test_jsonl_output_is_every_event_and_then_the_result(loom_run: Run) -> None:
    lines = [
        json.loads(line) for line in loom_run("chat", "whales", "--mock-llm", "--output", "jsonl").out.splitlines()
    ]
    assert lines[0]["type"] == "run_started"
    assert lines[-1]["type"] == "result"
    assert {"tool_started", "tool_finished", "emitted", "step_committed"} <= {line["type"] for line in lines}


def test_control_characters_of_a_model_do_not_reach_the_terminal(loom_run: Run, script: Run, monkeypatch: Any) -> None:
    import sys

    option = script("\x1b]0;owned\x07ok")
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True, raising=False)
    assert "\x1b]" not in loom_run("chat", "hello", option).out


def test_the_database_is_hidden_from_the_agent(loom_run: Run, script: Run) -> None:
    calls = [{"name": "list_files", "arguments": {}}, {"name": "read_file", "arguments": {"path": "runs.sqlite"}}]
    ended = loom_run("chat", "look", "-r", "demo", script({"tool_calls": calls}, "done"))
    assert "private file of the application" in ended.err
    listed = loom_run("show", "demo", "--output", "json").json["messages"][2]["payload"]["files"]
    assert [file["path"] for file in listed] == ["README.md", "script.json", "tests/test_ok.py"]


def test_a_trace_page_shows_the_whole_run(loom_run: Run, project: Path) -> None:
    loom_run("chat", "whales", "-r", "demo", "--mock-llm", "--max-steps", "1")
    assert loom_run("resume", "demo", "--trace", "trace.html").code == 0
    blocks = re.findall(r">([A-Za-z0-9+/=]{20,})</script>", (project / "trace.html").read_text())
    page = b"".join(gzip.decompress(base64.b64decode(block)) for block in blocks)
    for part in (b"search_docs", b"read_file", b"step 2", b"mock", b"input_tokens", b"tool_calls"):
        assert part in page


def test_the_test_command_and_the_workspace_are_kept_with_the_run(loom_run: Run, script: Run, project: Path) -> None:
    call = {"tool_calls": [{"name": "run_tests", "arguments": {"path": "tests"}}]}
    option = script(call, "done", call, "again")
    loom_run("chat", "test it", "-r", "demo", option, "--test-command", "echo hello there")
    assert loom_run("chat", "and again", "-r", "demo").out == "again\n"
    results = [m for m in loom_run("show", "demo", "--output", "json").json["messages"] if m["role"] == "tool"]
    assert [m["payload"]["output"] for m in results] == ["hello there ./tests\n"] * 2


def test_a_chat_may_have_the_name_of_a_run_of_another_program(loom_run: Run) -> None:
    async def step(state: Any) -> Complete[int]:
        return Complete(1)

    with SQLiteStore("runs.sqlite") as store:
        asyncio.run(AgentRunner(step=step, store=store).start(run_id="demo", initial_state={"n": 1}))
    first = loom_run("chat", "whales", "--run-id", "demo", "--mock-llm", "--max-steps", "1")
    assert first.code == 0
    assert "demo is a run of another program here; this chat has the id chat:demo" in first.err
    ended = loom_run("resume", "demo")
    assert "is the best of" in ended.out
    assert loom_run("chat", "whales", "-r", "demo", "--output", "json").json["run_id"] == "chat:demo"
    assert loom_run("show", "demo").code == 0
    assert loom_run("explain", "demo", "--output", "text").out.startswith("chat:demo  answered  3 steps")


def test_a_recorded_chat_can_be_replayed(loom_run: Run) -> None:
    first = loom_run("chat", "whales", "-r", "one", "--mock-llm", "--record", "replies.json", "--max-steps", "2")
    assert first.code == 0
    ended = loom_run("resume", "one", "--record", "replies.json")
    again = loom_run("chat", "whales", "-r", "two", "--mock-llm=replies.json")
    assert again.out == ended.out
    assert again.err.splitlines()[-1].replace("two", "one") == ended.err.splitlines()[-1]


def test_a_failed_turn_does_not_show_the_answer_of_the_previous_turn(loom_run: Run, script: Run) -> None:
    option = script("one")
    loom_run("chat", "first", "-r", "demo", option)
    failed = loom_run("chat", "second", "-r", "demo", "--output", "json")
    assert (failed.code, failed.json["status"], failed.json["answer"]) == (1, "failed", None)
    refused = loom_run("chat", "third", "-r", "demo")
    assert refused.code == 2
    assert loom_run("chat", "second", "-r", "demo", script("one", "two")).out == "two\n"


def test_a_page_that_cannot_be_written_does_not_lose_the_answer(loom_run: Run, script: Run, project: Path) -> None:
    option = script({"tool_calls": [{"name": "run_tests", "arguments": {}}]}, "the answer")
    (project / "page").mkdir()
    command = "rm -r page"  # the folder disappears while the run works
    ended = loom_run("chat", "hi", "-r", "demo", option, "--test-command", command, "--trace", "page/trace.html")
    assert ended.out == "the answer\n"
    assert ended.code == 1
    assert "the answer is stored, but the page was not written: cannot write" in ended.err
    assert loom_run("chat", "hi", "-r", "demo").out == "the answer\n"


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["chat", "hi"], 2, "no model is named"),
        (["chat", "hi", "--model", "nonsense"], 2, "PROVIDER:MODEL"),
        (["chat", "", "--mock-llm"], 2, "empty"),
        (["chat", "hi", "--mock-llm=none.json"], 2, "none.json"),
        (["resume", "nobody"], 2, "no such"),
        (["chat", "hi", "-c", "-r", "x", "--mock-llm"], 2, "exclude each other"),
    ],
)
@pytest.mark.parametrize("output", ["json", "jsonl"])
def test_a_failed_command_prints_json_too(
    loom_run: Run, arguments: list[str], code: int, expected: str, output: str
) -> None:
    ended = loom_run(*arguments, "--output", output)
    assert ended.code == code
    found = json.loads(ended.out)
    assert (found["status"], found["exit_code"]) == ("error", code)
    assert expected in found["error"]["message"]
    assert expected in ended.err
