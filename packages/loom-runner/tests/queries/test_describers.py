"""Describers: the spans that a package adds to committed steps on the page of a run."""

import asyncio
from types import SimpleNamespace

import pytest
from flow_xray import Span, trace
from loom_runner import AgentRunner, Complete, Continue, RunContext, ToolRegistry
from loom_runner._queries import tracing as observer
from loom_runner._queries.tracing import trace_of


def describe_step(before, after, result):
    if not isinstance(before, dict) or "n" not in before:
        return []
    return [Span("", None, "model", "llm", input=before, output=result if after is None else after)]


@pytest.fixture(autouse=True)
def described(monkeypatch):
    entry = SimpleNamespace(load=lambda: describe_step)
    monkeypatch.setattr(observer, "entry_points", lambda group: [entry] if group == observer.DESCRIBERS else [])


def a_runner(store, *, traced_from=99):
    tools = ToolRegistry()

    @tools.tool("look", read_only=True)
    async def look() -> int:
        return 1

    async def step(state: dict[str, int], ctx: RunContext) -> Continue[dict[str, int]] | Complete[str]:
        n = next(iter(state.values()))
        await ctx.call_tool("look")
        if ctx.step_index >= traced_from:
            with trace.span("outer"), trace.span("live model", kind="llm"):
                pass
        return Complete("done") if n == 2 else Continue(dict.fromkeys(state, n + 1))

    return AgentRunner(step=step, store=store, tools=tools)


def llm(result):
    return sorted((s for s in result.spans if s.kind == "llm"), key=lambda s: (s.started_at_ns, s.name))


def test_each_committed_step_shows_the_spans_of_its_describer(store):
    asyncio.run(a_runner(store).start(run_id="r", initial_state={"n": 0}))
    result = trace_of(store.reader, "r")
    spans = llm(result)
    assert [(s.input, s.output) for s in spans] == [
        ({"n": 0}, {"n": 1}),
        ({"n": 1}, {"n": 2}),
        ({"n": 2}, "done"),
    ]
    rows = {span.id: span for span in result.spans}
    assert len(rows) == len(result.spans)
    assert [rows[s.parent_id].name for s in spans] == ["step 0", "step 1", "step 2"]
    for span in spans:
        step = rows[span.parent_id]
        tool = next(s for s in result.spans if s.kind == "tool" and s.parent_id == step.id)
        assert tool.started_at_ns + tool.duration_ns <= span.started_at_ns
        assert span.started_at_ns + span.duration_ns == step.started_at_ns + step.duration_ns


def test_a_step_with_a_live_span_of_that_kind_has_no_described_one(store, tmp_path, monkeypatch):
    runner = a_runner(store, traced_from=1)
    asyncio.run(runner.start(run_id="r", initial_state={"n": 0}, max_steps=1))
    pages = []
    monkeypatch.setattr(observer, "write_trace", lambda *given, live: pages.append(trace_of(*given[:2], live=live)))
    with runner.tracing("r", tmp_path / "page.html"):
        asyncio.run(runner.resume(run_id="r"))
    assert [s.name for s in llm(pages[0])] == ["model", "live model", "live model"]


def test_unknown_states_are_not_described(store):
    asyncio.run(a_runner(store).start(run_id="r", initial_state={"other": 0}))
    assert llm(trace_of(store.reader, "r")) == []


def test_a_describer_that_fails_leaves_the_page_as_the_rows_draw_it(store, monkeypatch):
    def broken(before, after, result):
        raise RuntimeError("not today")

    asyncio.run(a_runner(store).start(run_id="r", initial_state={"n": 0}))
    monkeypatch.setattr(observer, "entry_points", lambda group: [SimpleNamespace(load=lambda: broken)])

    result = trace_of(store.reader, "r")

    assert llm(result) == []
    assert any(span.name == "step 2" for span in result.spans)
