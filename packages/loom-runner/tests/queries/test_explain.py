"""`explain`: what happened to a run, from its rows."""

import asyncio
from dataclasses import dataclass

import pytest
from loom_runner import (
    AgentRunner,
    Complete,
    Continue,
    RetryPolicy,
    RunContext,
    Tool,
    ToolFailed,
    ToolRegistry,
    UnknownRun,
)
from loom_runner._queries.tracing import trace_of
from loom_runner._queries.views import each_step
from loom_runner.errors import StateError
from loom_runner.testing import FakeClock


@dataclass(frozen=True)
class State:
    n: int = 0


@pytest.fixture
def runner(store, clock):
    tools = ToolRegistry()
    tools.add(Tool(name="look", function=lambda: 1, read_only=True))

    async def fail():
        raise ToolFailed("no")

    tools.add(Tool(name="break", function=fail))

    async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[str]:
        await ctx.call_tool("look")
        if state.n == 1 and ctx.attempt < 2:
            raise TimeoutError("slow")
        if state.n == 2:
            try:
                await ctx.call_tool("break")
            except ToolFailed:
                pass
            return Complete("done " * 80)
        return Continue(State(state.n + 1))

    return AgentRunner(step=step, store=store, tools=tools, clock=clock, retry=RetryPolicy(3, initial_s=1, jitter=0))


def test_the_story_names_pauses_retries_tools_and_the_result(runner):
    asyncio.run(runner.start(run_id="r", initial_state=State(), max_steps=1))
    asyncio.run(runner.resume(run_id="r"))
    story = runner.explain_run("r")
    lines = [line.split("  ") for line in str(story).splitlines()]
    assert lines[0][:2] == ["r", "completed"]
    assert lines[0][2].startswith("3 steps, 1 process, ")
    lines = {what: text for what, text, _ in story.lines()}
    assert lines["paused"] == "before step 1: max_steps 1"
    assert lines["retried"] == "step 1: 3 attempts, TimeoutError (error), waited 3.0 s"
    assert lines["tools"] == "4 calls, 1 failed"
    assert lines["result"].endswith("...")
    assert story.data["next"] == {
        "trace": f"loom-runner trace --run-id r --html r.html --db {runner.store.description}"
    }
    assert story.data["slowest_step"]["step_index"] in (0, 1, 2)


def test_a_failed_run_prints_its_error_and_how_to_resume(store):
    async def step(state: State, ctx: RunContext) -> Complete[int]:
        raise ValueError("not like this")

    runner = AgentRunner(step=step, store=store)
    asyncio.run(runner.start(run_id="r", initial_state=State()))
    text = str(runner.explain_run("r"))
    assert "failed  in step 0" in text
    assert "error   ValueError: not like this (test_explain.py:" in text
    assert "resume: loom-runner resume MODULE --run-id r" in text


def test_views_are_plain_json_with_iso_times(runner):
    asyncio.run(runner.start(run_id="r", initial_state=State()))
    [run] = runner.list()
    assert run == runner.get("r")
    assert (run["status"], run["step_index"], run["input"]) == ("completed", 3, {"n": 0})
    assert run["created_at"].endswith("+00:00")
    assert [(row["step_index"], row["attempt"], row["outcome"]) for row in runner.attempts("r")] == [
        (0, 0, "continue"),
        (1, 0, "failed"),
        (1, 1, "failed"),
        (1, 2, "continue"),
        (2, 0, "complete"),
    ]
    assert [row["state"] for row in runner.history("r")] == [{"n": 1}, {"n": 2}, None]
    assert [row["name"] for row in runner.tool_calls("r")] == ["look", "look", "look", "break"]
    assert [step.step_index for step in each_step(runner.store.reader, "r", first=1)] == [1, 2]


def test_a_run_in_the_middle_of_a_failed_step_lists_its_attempts(store, clock):
    async def step(state: State, ctx: RunContext) -> Complete[int]:
        raise ValueError

    runner = AgentRunner(step=step, store=store, clock=clock)
    asyncio.run(runner.start(run_id="r", initial_state=State()))
    assert [(row["step_index"], row["outcome"]) for row in runner.attempts("r")] == [(0, "failed")]


@pytest.mark.parametrize("ask", ["get", "history", "attempts", "tool_calls", "explain_run"])
def test_an_unknown_run_is_named(runner, ask):
    with pytest.raises(UnknownRun, match="'q': there is no such run in"):
        getattr(runner, ask)("q")


def test_a_damaged_row_is_named_and_its_text_is_kept(runner, store):
    asyncio.run(runner.start(run_id="r", initial_state=State(), max_steps=1))
    store._file.db.execute("UPDATE runs SET state = '{'")
    with pytest.raises(StateError, match="cannot read run 'r': its row in the database is damaged") as caught:
        runner.get("r")
    assert caught.value.raw == "{"


def test_closing_the_runner_closes_the_store(runner):
    runner.close()
    with pytest.raises(Exception, match="the store was closed"):
        runner.list()


def test_a_very_long_story_shows_its_beginning_and_its_end(store, go):
    async def step(state: int, ctx: RunContext) -> Continue[int] | Complete[int]:
        if ctx.attempt == 0 and state < 60:
            raise TimeoutError("once")
        return Complete(state) if state == 60 else Continue(state + 1)

    runner = AgentRunner(step=step, store=store, clock=FakeClock(), retry=RetryPolicy(initial_s=0))
    go(runner.start(run_id="r", initial_state=0))
    story = runner.explain_run("r")
    assert len(story.data["events"]) == 60
    lines = [text for what, text, _ in story.lines() if what in ("retried", "...")]
    assert len(lines) == 41
    assert lines[9].startswith("step 9: 2 attempts")
    assert lines[10] == "20 events more (--output json has all)"
    assert lines[11].startswith("step 30: 2 attempts")
    assert lines[-1].startswith("step 59: 2 attempts")


def test_a_run_that_no_process_has_driven_is_explained(runner, store):
    asyncio.run(runner.engine.enqueue(runner.agent, run_id="new", initial_state=State()))
    told = runner.explain_run("new")
    assert (told.data["status"], told.data["events"], told.data["processes"]) == ("created", [], [])
    assert "0 steps, 0 processes" in str(told)
    assert [span.status for span in trace_of(store.reader, "new").spans]  # the page is written, too
    asyncio.run(runner.start(run_id="r", initial_state=State()))
    fork = asyncio.run(runner.fork(run_id="r", step=0))
    assert runner.explain_run(fork).data["counts"]["leases"] == 0
