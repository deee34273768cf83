"""The trace of a run: every process that drove it, with the live spans of this one."""

import asyncio
import json
from dataclasses import dataclass

import pytest
from flow_xray import TraceResult, trace
from loom_runner import (
    AgentRunner,
    Complete,
    Continue,
    RetryPolicy,
    RunContext,
    ToolRegistry,
    UnknownRun,
    UsageError,
    Wait,
)
from loom_runner._model.records import Owner
from loom_runner._model.writes import LeaseRequest
from loom_runner._queries.tracing import trace_of

pytestmark = pytest.mark.interpreter

GONE = LeaseRequest(Owner("elsewhere", 77, "born"), 15.0, "code-0", "agent.py:1")


@dataclass(frozen=True)
class State:
    n: int = 0


def tree(result, meta=False):
    """The spans as nested (name, kind, status) in order of time."""

    def below(parent):
        children = [span for span in result.spans if span.parent_id == parent]
        return [(s.name, s.kind, s.status, below(s.id)) for s in sorted(children, key=lambda s: s.started_at_ns)]

    ids = {span.id for span in result.spans}
    assert all(span.parent_id is None or span.parent_id in ids for span in result.spans)
    assert len(ids) == len(result.spans)
    return below(None)


@pytest.fixture
def runner(store):
    tools = ToolRegistry()

    @tools.tool("ask", read_only=True)
    async def ask(n: int) -> str:
        with trace.span("model", kind="llm", input=n) as span:
            trace.meta(model="mock", input_tokens=5)
            span.set_output("hi")
        return "hi"

    async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
        with trace.span("think"):
            await asyncio.gather(ctx.call_tool("ask", n=1), ctx.call_tool("ask", n=2))
        if state.n == 1 and ctx.attempt == 0:
            raise TimeoutError("slow")
        return Complete(1) if state.n == 1 else Continue(State(1))

    return AgentRunner(step=step, store=store, tools=tools, retry=RetryPolicy(2, initial_s=0))


def test_the_live_spans_hang_under_the_steps_and_calls_of_the_rows(runner, tmp_path):
    path = tmp_path / "t.html"
    with runner.tracing("r", path):
        asyncio.run(runner.start(run_id="r", initial_state=State()))
    assert path.read_text("utf-8").lstrip().lower().startswith("<!doctype html>")


def traced(runner, work):
    from loom_runner._queries.tracing import _LiveSpans

    live = _LiveSpans("r")
    with trace.capture(name="r") as session:
        stop = runner.observe(live)
        asyncio.run(work())
        stop()
        live.close_all()
    return trace_of(runner.store.reader, "r", live=session.result())


def test_each_step_is_there_once_with_what_happened_inside(runner, store):
    import os

    result = traced(runner, lambda: runner.start(run_id="r", initial_state=State()))
    model = ("model", "llm", "ok", [])
    asked = ("ask", "tool", "ok", [model])
    [(name, kind, status, [process])] = tree(result)
    assert (name, kind, status) == ("r", "agent", "ok")
    assert process[:3] == (f"process {os.getpid()}", "function", "ok")
    first, failed, second = process[3]
    think = ("think", "function", "ok", [asked, asked])
    assert first == ("step 0", "step", "ok", [think])
    assert failed[:3] == ("step 1", "step", "error")
    # The first attempt's calls are recorded, so the second attempt reads their results and
    # run nothing.
    assert [failed[3], second[3]] == [[think], [("think", "function", "ok", [])]]
    assert result.value == 1
    assert json.loads(result.to_json())


def test_the_page_of_the_rows_shows_processes_that_disappeared_and_waits(store):
    async def step(state: State, ctx: RunContext) -> Wait[State] | Complete[int]:
        return Wait(State(1), signal="go") if state.n == 0 else Complete(1)

    runner = AgentRunner(step=step, store=store)
    asyncio.run(runner.start(run_id="r", initial_state=State()))
    assert tree(trace_of(store.reader, "r"))[0][2] == "ok"
    lost = asyncio.run(store.claim_run(store.reader.get_run("r"), GONE, take_over=False))
    assert lost.fence == 2
    store._file.db.execute("UPDATE runs SET renewed_at = renewed_at - 60000")
    assert tree(trace_of(store.reader, "r"))[0][2] == "interrupted"
    asyncio.run(runner.signal(run_id="r", name="go"))
    asyncio.run(runner.resume(run_id="r"))
    [(_, _, status, children)] = tree(trace_of(store.reader, "r"))
    assert status == "ok"
    assert sorted(child[:3] for child in children) == sorted(
        [
            (children[0][0], "function", "ok"),
            ("wait for signal 'go'", "wait", "ok"),
            ("process 77", "function", "interrupted"),
            (children[0][0], "function", "ok"),
        ]
    )
    [gone] = [child for child in children if child[0] == "process 77"]
    assert gone[3] == [("step 1", "step", "interrupted", [])]


def test_a_trace_that_cannot_be_written_is_refused_before_the_run_starts(runner, tmp_path, store):
    for path in (tmp_path / "nowhere" / "t.html", tmp_path):
        with pytest.raises(UsageError, match="it is not a file in an existing folder"), runner.tracing("r", path):
            pytest.fail("the block was entered")
    assert store.reader.list_runs() == []
    with pytest.raises(UnknownRun, match="cannot trace 'r'"):
        runner.write_trace("r", tmp_path / "t.html")


def test_a_run_that_never_began_leaves_no_page(runner, tmp_path):
    with pytest.raises(ZeroDivisionError), runner.tracing("r", tmp_path / "t.html"):
        1 / 0
    assert not (tmp_path / "t.html").exists()


def test_a_page_is_written_also_when_the_run_is_interrupted(store, tmp_path):
    async def step(state: State, ctx: RunContext) -> Complete[int]:
        asyncio.current_task().cancel()
        await asyncio.sleep(60)

    runner = AgentRunner(step=step, store=store)
    with pytest.raises(asyncio.CancelledError), runner.tracing("r", tmp_path / "t.html"):
        asyncio.run(runner.start(run_id="r", initial_state=State()))
    runner.write_trace("r", tmp_path / "again.html")
    assert (tmp_path / "t.html").exists()


def test_other_runs_of_the_same_runner_stay_out(runner):
    async def both():
        await runner.start(run_id="other", initial_state=State())
        await runner.start(run_id="r", initial_state=State())

    result = traced(runner, both)
    assert {span.meta.get("run_id") for span in result.spans if "run_id" in span.meta} == {"r"}


def test_the_ids_are_the_same_each_time(runner, store):
    asyncio.run(runner.start(run_id="r", initial_state=State()))
    once, again = (trace_of(store.reader, "r") for _ in range(2))
    assert [span.id for span in once.spans] == [span.id for span in again.spans]
    assert isinstance(TraceResult.from_json(once.to_json()), TraceResult)


def test_emitted_events_are_tags_on_the_step(store):
    async def step(state: State, ctx: RunContext) -> Complete[int]:
        with trace.span("inside"):
            ctx.emit({"word": "a"})
        return Complete(1)

    runner = AgentRunner(step=step, store=store)
    result = traced(runner, lambda: runner.start(run_id="r", initial_state=State()))
    [inside] = list(result.find("inside"))
    assert [tag["event"] for tag in inside.tags] == [{"word": "a"}]


def test_a_repeated_call_is_shown_once_for_each_process_that_ran_it(store):
    tools, tries = ToolRegistry(), []

    @tools.tool("charge", idempotent=True)
    async def charge() -> int:
        tries.append(True)
        if len(tries) == 1:
            raise KeyboardInterrupt
        return 7

    async def step(state: State, ctx: RunContext) -> Complete[int]:
        return Complete(await ctx.call_tool("charge"))

    runner = AgentRunner(step=step, store=store, tools=tools)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(runner.start(run_id="r", initial_state=State()))
    result = traced(runner, lambda: runner.resume(run_id="r"))
    [(_, _, _, [first, second])] = tree(result)
    assert first[3] == [("step 0", "step", "interrupted", [("charge", "tool", "interrupted", [])])]
    assert second[3] == [("step 0", "step", "ok", [("charge", "tool", "ok", [])])]
    assert "1 in doubt and retried with its key (charge, step 0)" in str(runner.explain_run("r"))


def test_streamed_text_leaves_no_tags(store):
    async def step(state: State, ctx: RunContext) -> Complete[int]:
        with trace.span("inside"):
            ctx.emit({"type": "text", "text": "a"})
        return Complete(1)

    runner = AgentRunner(step=step, store=store)
    [inside] = list(traced(runner, lambda: runner.start(run_id="r", initial_state=State())).find("inside"))
    assert inside.tags == []
