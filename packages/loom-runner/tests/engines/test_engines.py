"""An agent on an engine, and questions about runs without an agent."""

import asyncio
import inspect
from dataclasses import dataclass
from datetime import timedelta

import pytest
from loom_runner import (
    Agent,
    AgentRunner,
    Budget,
    Complete,
    Continue,
    Engine,
    LocalEngine,
    RunContext,
    Runs,
    Spawn,
    SQLiteStore,
    ToolRegistry,
    UnknownRun,
    UsageError,
    Wait,
    Worker,
)
from loom_runner import Child as ChildRun
from loom_runner.errors import RunExists

pytestmark = pytest.mark.interpreter


@dataclass
class State:
    n: int = 0


async def count(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
    return Complete(state.n) if state.n == 3 else Continue(State(state.n + 1))


async def wait(state: State, ctx: RunContext) -> Wait[State] | Complete[str]:
    return Complete(ctx.signal.payload) if ctx.signal else Wait(state, "go")


def test_one_agent_runs_on_two_engines(tmp_path):
    agent = Agent("counter", step=count)
    for name in ("one.sqlite", "two.sqlite"):
        with SQLiteStore(tmp_path / name, "process") as store:
            result = asyncio.run(LocalEngine(store).start(agent, run_id="r", initial_state=State()))
            assert (result.status, result.result) == ("completed", 3)


def test_the_local_engine_has_every_method_of_the_protocol_with_its_parameters(store):
    engine = LocalEngine(store)
    for name, method in inspect.getmembers(Engine, inspect.isfunction):
        if name.startswith("_"):
            continue
        assert (
            inspect.signature(getattr(LocalEngine, name)).parameters.keys()
            == inspect.signature(method).parameters.keys()
        ), name
        assert inspect.iscoroutinefunction(getattr(engine, name)), name
    assert "timers" in engine.capabilities


def test_an_engine_returns_the_same_views_as_runs(store, clock, go):
    tools = ToolRegistry()

    @tools.tool("pay", needs_approval=True)
    async def pay(n: int) -> int:
        return n

    async def step(state: State, ctx: RunContext) -> Complete[int]:
        return Complete(await ctx.call_tool("pay", n=1))

    engine, runs = LocalEngine(store, clock=clock), Runs(store, clock=clock)
    agent = Agent("payer", step=step, tools=tools)
    assert go(engine.start(agent, run_id="r", initial_state=State())).status == "waiting"
    [request] = go(engine.approvals("r", pending_only=True))
    assert go(engine.decide(run_id="r", number=request["number"], how="approve", by="ann"))["status"] == "approved"
    assert go(engine.resume(agent, run_id="r")).result == 1

    assert go(engine.get("r")) == runs.get("r")
    assert go(engine.list()) == runs.list() == [runs.get("r")]
    assert go(engine.history("r")) == runs.history("r")
    assert go(engine.attempts("r")) == runs.attempts("r")
    assert go(engine.tool_calls("r")) == runs.tool_calls("r")
    assert go(engine.approvals("r")) == runs.approvals("r")
    assert [call["status"] for call in runs.tool_calls("r")] == ["done"]
    assert runs.doubts() == []
    assert runs.children("r") == []
    assert runs.stats()["runs"] == {"completed": 1}
    assert "completed" in str(runs.explain("r"))
    assert Runs(store.reader).get("r") == runs.get("r")


@pytest.mark.parametrize("ask", ["get", "history", "attempts", "tool_calls", "approvals", "children", "explain"])
def test_a_question_about_a_run_that_is_not_there_names_those_that_are(store, go, ask):
    go(LocalEngine(store).start(Agent("counter", step=count), run_id="there", initial_state=State()))
    with pytest.raises(UnknownRun, match=r"'nobody': there is no such run in .*Runs there: there"):
        getattr(Runs(store), ask)("nobody")
    assert Runs(store).find("nobody") is None
    assert Runs(store).find("there")["status"] == "completed"


# ------------------------------------------------------------------ enqueue


def test_an_enqueued_run_waits_for_a_worker(store, clock, go):
    engine, agent = LocalEngine(store, clock=clock), Agent("counter", step=count)
    result = go(engine.enqueue(agent, run_id="r", initial_state=State(1), budget=Budget(steps=10)))
    assert (result.status, result.step_index, result.state) == ("created", 0, State(1))
    assert store.reader.leases("r") == []
    assert go(Worker(AgentRunner.of(agent, engine), clock=clock).run(until_idle=True)) == 1
    assert (store.reader.get_run("r").status, store.reader.get_run("r").budget) == ("completed", {"steps": 10})


def test_enqueueing_twice_is_once_and_another_input_is_an_error(store, clock, go):
    runner = AgentRunner(step=count, store=store, clock=clock)
    go(runner.enqueue(run_id="r", initial_state=State()))
    assert go(runner.enqueue(run_id="r", initial_state=State())).was_stored
    with pytest.raises(RunExists, match="with another input"):
        go(runner.enqueue(run_id="r", initial_state=State(1)))
    with pytest.raises(UsageError, match="cannot enqueue"):
        go(runner.enqueue(run_id="a#b", initial_state=State()))
    assert go(runner.start(run_id="r", initial_state=State())).result == 3


# ------------------------------------------------------------------ children and stopping


def test_children_may_be_agents_runners_or_functions_that_return_either(store, clock, go):
    async def parent(state: State, ctx: RunContext) -> Spawn[State] | Complete[list[int]]:
        if ctx.children:
            return Complete([ctx.children[name].result for name in "abcd"])
        return Spawn(state, [ChildRun(name, State(), program=name) for name in "abcd"])

    children = {
        "a": Agent("a", step=count),
        "b": AgentRunner(step=count, store=store, clock=clock, name="b"),
        "c": lambda: Agent("c", step=count),
        "d": lambda: AgentRunner(step=count, store=store, clock=clock, name="d"),
    }
    agent = Agent("parent", step=parent, children=children)
    assert go(LocalEngine(store, clock=clock).start(agent, run_id="r", initial_state=State())).result == [3] * 4


def test_a_stopped_engine_leaves_every_run_after_its_step(store, clock, go):
    engine = LocalEngine(store, clock=clock)

    async def stop(state: State, ctx: RunContext) -> Continue[State]:
        engine.stop()
        return Continue(State(state.n + 1))

    result = go(engine.start(Agent("stopper", step=stop), run_id="r", initial_state=State()))
    assert (result.status, result.step_index) == ("paused", 1)
    later = go(engine.start(Agent("counter", step=count), run_id="s", initial_state=State()))
    assert (later.status, later.step_index) == ("paused", 1)
    assert store.reader.leases("s")[0].ended_as == "interrupted"


@pytest.mark.parametrize("options", [{"lease_s": 0}, {"lease_s": float("nan")}, {"max_crashes": 0}])
def test_an_engine_with_numbers_out_of_range_is_refused(store, options):
    with pytest.raises(UsageError, match="cannot create an engine"):
        LocalEngine(store, **options)


def test_a_signal_pauses_and_cancels_by_the_engine_alone(store, clock, go):
    engine, agent = LocalEngine(store, clock=clock), Agent("waiter", step=wait)
    go(engine.start(agent, run_id="r", initial_state=State()))
    go(engine.signal(run_id="r", name="go", payload="now"))
    assert go(engine.resume(agent, run_id="r")).result == "now"
    go(engine.start(agent, run_id="s", initial_state=State()))
    assert go(engine.cancel(run_id="s")) == ["s"]
    go(engine.enqueue(agent, run_id="t", initial_state=State()))
    assert go(engine.pause(run_id="t")) == ["t"]
    assert store.reader.get_run("t").status == "paused"


def test_the_budget_of_time_and_the_deadline_hold_on_every_engine(store, clock, go):
    """`run_step` is what another engine calls: the deadline is the context's."""
    seen = []

    async def look(state: State, ctx: RunContext) -> Complete[None]:
        seen.append(ctx.deadline)
        return Complete(None)

    go(
        LocalEngine(store, clock=clock).start(
            Agent("a", step=look, step_timeout_s=5), run_id="r", initial_state=State()
        )
    )
    assert seen[0] is not None
    assert timedelta(0) < seen[0] - seen[0].fromtimestamp(clock.now_us() / 1e6, seen[0].tzinfo) <= timedelta(seconds=5)
