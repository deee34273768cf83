"""The trace of a long run: few rows, true sums, nothing twice."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from flow_xray import Span
from loom_runner import AgentRunner, Child, Complete, Continue, RetryPolicy, Sleep, Spawn, SQLiteStore, ToolRegistry
from loom_runner._queries import folded_spans, run_trace, tracing, tree_spans
from loom_runner._queries.tracing import trace_of, write_trace


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Runs of some hundred rows are long."""
    for module in (folded_spans, run_trace, tree_spans):
        monkeypatch.setattr(module, "FOLDED_ABOVE", 60, raising=False)
        monkeypatch.setattr(module, "DRAWN_OF_EACH", 5, raising=False)


tools = ToolRegistry()


@tools.tool("look", read_only=True)
async def look(n: int) -> int:
    if n == 150:
        raise ValueError("bad number")
    return n


def a_runner(store, step, **options):
    return AgentRunner(step=step, store=store, tools=tools, retry=RetryPolicy(3, initial_s=0), **options)


async def plain(state, ctx):
    return Complete(state) if state == 300 else Continue(state + 1)


async def with_calls(state, ctx):
    try:
        await ctx.call_tool("look", n=state)
    except Exception:
        pass
    return Complete(state) if state == 200 else Continue(state + 1)


async def with_failures(state, ctx):
    if state % 40 == 7 and ctx.attempt == 0:
        raise TimeoutError("slow")
    return Complete(state) if state == 300 else Continue(state + 1)


async def sleeping(state, ctx):
    return Complete(state) if state == 100 else Sleep(state + 1, delay_s=0)


def sums_of(result, run_id="r"):
    """The number of steps, and the ranges that are folded."""
    steps, covered = 0, []
    for span in result.spans:
        if "folded_steps" in span.meta:
            first, _, last = span.name.split(":")[0].removeprefix("steps ").replace(",", "").partition(" to ")
            covered += range(int(first), int(last) + 1)
            steps += span.meta["folded_steps"]
        elif span.kind == "step" and span.status == "ok":
            covered.append(int(span.name.removeprefix("step ")))
            steps += 1
    return steps, covered


@pytest.mark.parametrize("step", [plain, with_calls, with_failures, sleeping])
@pytest.mark.parametrize("slices", [1, 3, 40], ids=["one process", "three", "many"])
def test_every_step_is_drawn_or_in_one_fold_and_the_sums_are_true(store, step, slices):
    runner = a_runner(store, step)
    asyncio.run(runner.start(run_id="r", initial_state=0, max_steps=300 // slices, wait_s=60))
    while runner.get("r")["status"] == "paused":
        asyncio.run(runner.resume(run_id="r", max_steps=max(300 // slices, 1), wait_s=60))
    record = store.reader.get_run("r")
    assert record.status == "completed"
    result = trace_of(store.reader, "r")
    steps, covered = sums_of(result)
    assert steps == record.step_index
    assert sorted(covered) == list(range(record.step_index)), "each step once"
    ids = {span.id for span in result.spans}
    assert len(ids) == len(result.spans)
    assert all(span.parent_id is None or span.parent_id in ids for span in result.spans)
    work_ms = sum(
        span.meta["work_ms"] if "folded_steps" in span.meta else span.duration_ns / 1e6
        for span in result.spans
        if "folded_steps" in span.meta or (span.kind == "step" and span.status == "ok")
    )
    assert work_ms == pytest.approx(record.work_us / 1000)
    calls = sum(span.meta.get("tool_calls", 0) for span in result.spans)
    calls += len({span.meta["call"] for span in result.spans if "call" in span.meta})
    assert calls == len(store.reader.tool_calls("r"))
    failed = sum(span.meta.get("attempts", {}).get("failed", 0) for span in result.spans if "folded_steps" in span.meta)
    failed += sum(span.kind == "step" and span.status == "error" for span in result.spans)
    assert failed == len([row for row in store.reader.attempts("r") if row.kind == "failed"])
    if slices < 40:
        assert len(result.spans) < record.step_index / 2
        assert result.meta["folded"] == result.spans[0].meta["folded"]
        assert f"{sum(span.meta.get('folded_steps', 0) for span in result.spans):,} steps" in result.meta["folded"]


def test_failed_and_waiting_steps_are_drawn(store):
    asyncio.run(a_runner(store, with_calls).start(run_id="r", initial_state=0))
    names = {span.name: span for span in trace_of(store.reader, "r").spans}
    assert "step 150" in names
    [failed] = [span for span in trace_of(store.reader, "r").spans if span.kind == "tool" and span.status == "error"]
    assert failed.parent_id == names["step 150"].id


def test_processes_that_are_not_drawn_are_counted_in_a_fold(store):
    runner = a_runner(store, plain)
    asyncio.run(runner.start(run_id="r", initial_state=0, max_steps=1))
    for _ in range(120):
        asyncio.run(runner.resume(run_id="r", max_steps=1))
    result = trace_of(store.reader, "r")
    assert sorted(sums_of(result)[1]) == list(range(121))
    folds = [span for span in result.spans if "folded_steps" in span.meta]
    drawn = [span for span in result.spans if span.name.startswith("process ")]
    assert len(drawn) < 40
    assert all(span.parent_id == result.spans[0].id and span.meta["processes"] > 1 for span in folds)
    assert "steps, all continued, " in folds[0].name


def test_many_calls_of_one_step_and_many_children_are_folded(store):
    async def burst(state, ctx):
        await asyncio.gather(*(ctx.call_tool("look", n=n) for n in range(100)))
        return Complete(1)

    asyncio.run(a_runner(store, burst).start(run_id="r", initial_state=0))
    result = trace_of(store.reader, "r")
    assert result.meta["folded"] == "folded, with their sums in one row each: 90 tool calls"
    [fold] = [span for span in result.spans if "folded_calls" in span.meta]
    assert fold.name.startswith("90 tool calls more: 90 done")

    async def kid(state, ctx):
        return Complete(state)

    async def parent(state, ctx):
        if ctx.step_index == 0:
            return Spawn(state, children=[Child(str(n), n, program="kid") for n in range(100)])
        return Complete(state)

    runner = AgentRunner(step=parent, store=store, children={"kid": AgentRunner(step=kid, store=store)})
    asyncio.run(runner.start(run_id="p", initial_state=0))
    result = trace_of(store.reader, "p")
    [fold] = [span for span in result.spans if "folded_runs" in span.meta]
    drawn = [span for span in result.spans if span.kind == "agent" and span is not fold]
    assert len(drawn) - 1 + fold.meta["folded_runs"] == 100
    assert fold.meta["steps"] == fold.meta["folded_runs"]
    assert "completed" in fold.name


def describe(before, after, result):
    return [Span("", None, "model", "llm", meta={"model": "m", "input_tokens": 10, "output_tokens": 2})]


def test_tokens_of_folded_steps_are_added_up(store, monkeypatch):
    entry = SimpleNamespace(load=lambda: describe)
    monkeypatch.setattr(tracing, "entry_points", lambda group: [entry])
    asyncio.run(a_runner(store, plain).start(run_id="r", initial_state=0))
    folded = [span for span in trace_of(store.reader, "r").spans if span.kind == "llm"]
    assert sum(span.meta["input_tokens"] for span in folded) == 301 * 10
    assert sum(span.meta["output_tokens"] for span in folded) == 301 * 2
    assert len(folded) < 100


def test_live_spans_of_folded_steps_are_left_out(store, tmp_path, monkeypatch):
    from flow_xray import trace

    async def step(state, ctx):
        with trace.span("think"):
            pass
        return Complete(state) if state == 300 else Continue(state + 1)

    runner = a_runner(store, step)
    pages = []
    monkeypatch.setattr(tracing, "write_trace", lambda *given, live: pages.append(trace_of(*given[:2], live=live)))
    with runner.tracing("r", tmp_path / "t.html"):
        asyncio.run(runner.start(run_id="r", initial_state=0))
    [result] = pages
    drawn = {span.id for span in result.spans if span.kind == "step" and "folded_steps" not in span.meta}
    thinking = [span for span in result.spans if span.name == "think"]
    assert {span.parent_id for span in thinking} == drawn


def test_the_command_says_what_it_folds(place):
    with SQLiteStore(place.folder / "runs.sqlite", "process") as store:
        asyncio.run(a_runner(store, plain).start(run_id="r", initial_state=0))
    done = place.call("trace", "r", "--html", "t.html")
    assert json.loads(done.stdout) == {"run_id": "r", "html": "t.html"}
    assert done.stderr.startswith("folded, with their sums in one row each: ")
    assert "One by one: loom-runner history r --first N" in done.stderr
    assert "folded" in (place.folder / "t.html").read_text("utf-8")


def test_a_traced_run_says_what_its_page_folds(place):
    place.write(
        "plain.py",
        """
        from loom_runner import Complete, Continue
        async def step(state, ctx):
            return Complete(state) if state == 300 else Continue(state + 1)
        def initial_state():
            return 0
    """,
    )
    done = place.call("run", "plain.py", "r", "--trace", "t.html")
    assert done.stderr.startswith("trace: t.html  (folded, with their sums in one row each: "), done.stderr


def test_a_short_run_is_drawn_whole(store, tmp_path, monkeypatch):
    monkeypatch.setattr(run_trace, "FOLDED_ABOVE", 4_000)
    asyncio.run(a_runner(store, plain).start(run_id="r", initial_state=0))
    assert write_trace(store.reader, "r", tmp_path / "t.html") is None
    assert sum(span.kind == "step" for span in trace_of(store.reader, "r").spans) == 301
