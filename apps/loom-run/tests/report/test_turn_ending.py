import re
from collections.abc import Callable
from typing import Any

import pytest
from loom_agents import AgentState, Usage
from loom_run._chat.turn import Turn
from loom_run._report.turn_ending import ending, usage_text

Run = Callable[..., Any]


def test_show_prints_the_conversation_for_a_person(loom_run: Run, script: Run) -> None:
    calls = [
        {"name": "search_docs", "arguments": {"query": "whales"}},
        {"name": "read_file", "arguments": {"path": "none.md"}},
    ]
    loom_run("chat", "hello", "-r", "demo", script({"text": "Let me see.", "tool_calls": calls}, "Done."))
    lines = loom_run("show", "demo", "--output", "text").out.splitlines()
    assert lines[0] == "> hello"
    assert lines[1] == "Let me see."
    assert lines[2] == '  search_docs  "whales"  2 matches'
    assert lines[3].startswith("  read_file  none.md  failed: tool read_file failed: cannot read 'none.md'")
    assert lines[4] == "Done."
    assert lines[5].startswith("-- answered, 2 steps, ")


def test_show_in_jsonl_prints_one_message_per_line(loom_run: Run, script: Run) -> None:
    loom_run("chat", "hello", "-r", "demo", script("Done."))
    assert len(loom_run("show", "demo", "--output", "jsonl").out.splitlines()) == 2


def test_runs_lists_the_latest_first(loom_run: Run) -> None:
    assert loom_run("chat", "hello", "-r", "one", "--mock-llm").code == 0
    loom_run("chat", "whales", "-r", "two", "--mock-llm", "--max-steps", "1")
    rows = loom_run("runs", "--output", "json").json
    assert [(row["run_id"], row["status"], row["turn"]) for row in rows] == [
        ("two", "paused", 1),
        ("one", "answered", 1),
    ]
    table = loom_run("runs", "--output", "text").out.splitlines()
    assert table[0].split() == ["run", "status", "turns", "steps", "updated", "last", "message"]
    assert "whales" in table[1]


def test_explain_prints_how_to_resume_an_unfinished_chat(loom_run: Run) -> None:
    loom_run("chat", "whales", "-r", "demo", "--mock-llm", "--max-steps", "1")
    explained = loom_run("explain", "demo", "--output", "text")
    assert explained.out.startswith("demo  paused  1 step")
    assert explained.err == "resume: loom-run resume demo\n"
    facts = loom_run("explain", "--run-id", "demo").json
    assert facts["next"] == {"resume": "loom-run resume demo"}


def test_explain_aligns_the_times_in_a_column(loom_run: Run, script: Run) -> None:
    call = {"tool_calls": [{"name": "list_files", "arguments": {}}]}
    option = script(call, "one", "two\x1b[2J")
    loom_run("chat", "first", "-r", "demo", option, "--max-steps", "1")
    loom_run("resume", "demo")
    loom_run("chat", "second", "-r", "demo")
    ended = loom_run("explain", "demo", "--output", "text")
    head, *lines = ended.out.splitlines()
    times = [match.start() for line in lines if (match := re.search(r"\d\d:\d\d:\d\d$", line))]
    assert head.startswith("demo  answered  3 steps")
    assert (len(times), len(set(times))) == (2, 1)
    assert lines[0].startswith("  paused  before step 1: max_steps 1  ")
    assert lines[1].startswith("  waited  before step 2: for the next message, ")
    assert lines[-1].split() == ["answer", "two\\x1b[2J"]
    assert ended.err == 'resume: loom-run chat -r demo "..."\n'


def test_explain_prints_how_to_resume_when_the_budget_is_used_up(loom_run: Run, script: Run) -> None:
    calls = {"tool_calls": [{"name": "list_files", "arguments": {}}]}
    loom_run("chat", "hi", "-r", "demo", script(calls, calls, "done"), "--max-requests", "1")
    ended = loom_run("explain", "demo", "--output", "text")
    assert ended.out.startswith("demo  limit  1 step,")
    assert "  paused  before step 1: a limit is reached  " in ended.out
    assert "  error   1 model requests in this turn; the limit is 1\n" in ended.out
    assert "signal" not in ended.out
    assert ended.err == "resume: loom-run resume demo --max-requests N\n"


@pytest.mark.parametrize(
    ("usage", "text"),
    [
        (Usage(), "0 in / 0 out tokens, $0"),
        (Usage(2, 4310, 2900, 212, 0.0061), "4,310 in (2,900 cached) / 212 out tokens, $0.0061"),
        (Usage(1, 5, 0, 5, None), "5 in / 5 out tokens, cost unknown"),
    ],
)
def test_usage_is_readable(usage: Usage, text: str) -> None:
    assert usage_text(usage) == text


def _turn(status: Any, **more: Any) -> Turn:
    return Turn("demo", status, 3, AgentState().with_user("hi"), **more)


@pytest.mark.parametrize(
    ("turn", "code", "text"),
    [
        (_turn("waiting", wait={"doubt": 2}), 3, "demo waits for a decision about a tool call in doubt"),
        (_turn("parked"), 1, "demo is parked before step 3.  Resume: R"),
        (_turn("running"), 0, "demo is running before step 3.  Resume: R"),
        (_turn("cancelled"), 5, "demo is cancelled before step 3"),
        (_turn("failed", error={"type": "ModelError", "message": "401 \x1b[2J"}), 6, "ModelError: 401 \\x1b[2J"),
        (_turn("failed", error={"type": "KeyError", "message": "x"}), 1, "KeyError: x  Try again: R"),
    ],
)
def test_every_ending_names_the_next_command_and_has_its_exit_code(turn: Turn, code: int, text: str) -> None:
    assert text in ending(turn, again="A", resume="R")
    assert turn.exit_code == code


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            "the budget of steps 1 is used up",
            "0 model requests in this turn; the limit is 50.  Resume: R --max-requests N",
        ),
        ("the budget of tokens 25 is used up", "18 tokens used; the limit is 25.  Resume: R --max-tokens N"),
        ("the budget of cost_usd 0.25 is used up", "$0.5000 spent; the limit is $0.25.  Resume: R --max-cost N"),
        ("the budget of time_s 3 is used up", "the run has worked for 3 s, which is the limit.  Resume: R --timeout N"),
        ("the price is not known.", "the price is not known.  Resume: R"),
    ],
)
def test_the_limit_that_was_reached_names_its_option(message: str, text: str) -> None:
    error = {"type": "BudgetUsedUp", "message": message, "category": "limit"}
    state = AgentState(usage=Usage(1, 9, 0, 9, 0.5), setup={"workspace": ".", "model": "mock"}).with_user("hi")
    turn = Turn("demo", "limit", 1, state, error=error)
    assert ending(turn, again="A", resume="R") == f"demo stopped: {text}"
    assert turn.exit_code == 4
