"""Arguments of a wrong type are refused where they are passed, with one line that says what to
pass.
"""

from dataclasses import dataclass

import pytest
from loom_runner import (
    Agent,
    AgentRunner,
    Child,
    Complete,
    Continue,
    LocalEngine,
    RunContext,
    Spawn,
    ToolFailed,
    ToolRegistry,
    UsageError,
    Worker,
)
from loom_runner.errors import StateDecodeError, StateEncodeError, UnknownToolCall


@dataclass
class State:
    n: int = 0


async def count(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
    return Complete(state.n) if state.n == 3 else Continue(State(state.n + 1))


tools = ToolRegistry()


@tools.tool("pay", needs_approval=True)
async def pay(n: int) -> int:
    return n


async def ask(state: State, ctx: RunContext) -> Complete[int]:
    return Complete(await ctx.call_tool("pay", n=1))


AGENT = Agent("counter", step=count)
PAYER = Agent("payer", step=ask, tools=tools)


@pytest.fixture
def engine(store, clock, go):
    engine = LocalEngine(store, clock=clock)
    go(engine.start(AGENT, run_id="r", initial_state=State()))
    return engine


# ------------------------------------------------------------------ types


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.get(None), "None: a run id is a string."),
        (lambda e: e.history(5), "5: a run id is a string."),
        (lambda e: e.cancel(run_id=5), "5: a run id is a string."),
        (lambda e: e.pause(run_id=None), "None: a run id is a string."),
        (lambda e: e.start(AGENT, run_id=5), "5: a run id is a string."),
        (lambda e: e.enqueue(AGENT, run_id=None), "None: a run id is a string."),
        (lambda e: e.resume(AGENT, run_id=None), "None: a run id is a string."),
        (lambda e: e.start(count, run_id="z"), "Pass an Agent, for instance Agent(step=step)."),
        (lambda e: e.start(AgentRunner.of(AGENT, e), run_id="z"), "Pass an Agent, for instance Agent(step=step)."),
        (lambda e: e.start(AGENT, run_id="z", budget={"steps": 1}), "budget is {'steps': 1}. Pass a Budget"),
        (lambda e: e.enqueue(AGENT, run_id="z", budget=5), "budget is 5. Pass a Budget"),
        (lambda e: e.resume(AGENT, run_id="r", max_steps="x"), "max_steps is 'x'. Pass a whole number"),
        (lambda e: e.start(AGENT, run_id="z", max_steps=1.5), "max_steps is 1.5. Pass a whole number"),
        (lambda e: e.start(AGENT, run_id="z", wait_s="1"), "wait_s is '1'. Pass a number of seconds"),
        (lambda e: e.signal(run_id="r", name=5), "it is completed, which takes no signals"),
        (lambda e: e.signal(run_id="open", name=5), "name is 5. Pass a string."),
        (lambda e: e.cancel(run_id="open", by=5), "by is 5. Pass a string."),
        (lambda e: e.decide(run_id="r", number=1, how="approve", by=5), "by is 5. Pass a string."),
        (lambda e: e.decide(run_id="r", number="1", how="approve", by="a"), "number is '1'. Pass a whole number."),
        (lambda e: e.decide(run_id="r", number=1, how="approve", by="a", note=5), "note is 5. Pass a string."),
        (lambda e: e.decide(run_id="r", number=1, how="edit", by="a", arguments=[1]), "Pass a mapping of the names"),
        (lambda e: e.fork(run_id="r", step="0"), "step is '0'. Pass a whole number."),
        (lambda e: e.fork(run_id="r", step=0, new_run_id=5), "5: a run id is a string."),
        (lambda e: e.resolve(run_id="r", call="1", how="retry"), "the number of the call is '1'. Pass a whole number."),
        (lambda e: e.resolve(run_id="r", call=1, how="skip", decided_by=5), "decided_by is 5. Pass a string."),
    ],
)
def test_an_argument_of_a_wrong_type_is_refused_in_one_line(engine, go, call, message):
    go(engine.enqueue(AGENT, run_id="open", initial_state=State()))
    with pytest.raises(UsageError) as caught:
        go(call(engine))
    assert message in str(caught.value)
    assert str(caught.value).startswith("cannot ")
    assert "\n" not in str(caught.value)


async def async_observer(event): ...


class AsyncObserver:
    async def __call__(self, event): ...


@pytest.mark.parametrize("store", ["runs.sqlite", None, 5])
def test_what_is_not_an_open_store_is_refused_at_once(store):
    for make in (lambda: LocalEngine(store), lambda: AgentRunner(step=count, store=store)):
        with pytest.raises(UsageError, match=r"store is .*Pass an open store: open_store"):
            make()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lease_s": "x"}, "lease_s is 'x'"),
        ({"lease_s": float("inf")}, "lease_s is inf"),
        ({"max_crashes": "x"}, "max_crashes is 'x'"),
        ({"observers": 5}, "observers is 5"),
        ({"observers": [5]}, "an observer is 5"),
        ({"observers": [async_observer]}, "observer <function async_observer .* is async, and observers are not"),
        ({"observers": [AsyncObserver()]}, "observer .*AsyncObse.* is async"),
    ],
)
def test_settings_of_an_engine_of_a_wrong_type_are_refused(store, options, message):
    with pytest.raises(UsageError, match=f"cannot create an engine: {message}"):
        LocalEngine(store, **options)


def test_observers_may_be_any_iterable(store, clock, go):
    seen = []
    engine = LocalEngine(store, clock=clock, observers=(each for each in [seen.append]))
    go(engine.start(AGENT, run_id="r", initial_state=State()))
    assert seen


@pytest.mark.parametrize("given", [AGENT, "agent.py", None])
def test_a_worker_takes_runners_only(given):
    with pytest.raises(UsageError, match=r"is not a runner\. Pass AgentRunner"):
        Worker(given)


@pytest.mark.parametrize("options", [{"concurrency": "4"}, {"poll_s": "1"}, {"grace_s": None}])
def test_settings_of_a_worker_of_a_wrong_type_are_refused(engine, options):
    [name] = options
    with pytest.raises(UsageError, match=f"cannot create a worker: {name} is"):
        Worker(AgentRunner.of(AGENT, engine), **options)


def test_a_runner_of_an_engine_takes_an_engine():
    with pytest.raises(UsageError, match="engine is 'runs.sqlite'. Pass an engine"):
        AgentRunner.of(AGENT, "runs.sqlite")


def test_a_bad_way_to_resolve_is_reported_before_the_call(engine, go):
    with pytest.raises(UsageError, match="with 'zap': it is retry, skip or result") as caught:
        go(engine.resolve(run_id="r", call=1, how="zap"))
    assert not isinstance(caught.value, UnknownToolCall)


def test_a_user_cannot_create_the_id_of_a_child(engine, go):
    for work in (
        lambda: engine.start(AGENT, run_id="a:sub:b", initial_state=State()),
        lambda: engine.enqueue(AGENT, run_id="a:sub:b", initial_state=State()),
        lambda: engine.fork(run_id="r", step=0, new_run_id="a:sub:b"),
    ):
        with pytest.raises(UsageError, match="':sub:' is reserved"):
            go(work())
    assert engine.runs.find("a:sub:b") is None


# -------------------------------------------------------------- edited arguments and patched states

WRONG = {"n": "no number"}


@pytest.fixture
def family(store, clock, go):
    """A parent whose child waits for an approval, driven by an engine that then ends."""

    async def step(state: State, ctx: RunContext) -> Spawn[State] | Complete[int]:
        return Complete(1) if ctx.children else Spawn(State(state.n + 1), [Child("pay", State(), program="payer")])

    parent = Agent("parent", step=step, children={"payer": lambda: PAYER})
    go(LocalEngine(store, clock=clock).start(parent, run_id="p", initial_state=State()))
    return parent


def decide(engine, arguments, **options):
    return engine.decide(run_id="p:sub:pay", number=1, how="edit", by="me", arguments=arguments, **options)


def test_an_engine_checks_edited_arguments_with_the_agent_that_it_is_given(store, clock, go, family):
    for agent in (PAYER, family):
        with pytest.raises(ToolFailed, match="argument 'n'"):
            go(decide(LocalEngine(store, clock=clock), WRONG, agent=agent))
    assert go(decide(LocalEngine(store, clock=clock), {"n": 2}, agent=PAYER))["status"] == "approved"


def test_an_engine_checks_edited_arguments_with_an_agent_that_it_drives(store, clock, go, family):
    engine = LocalEngine(store, clock=clock)
    for make in (lambda: AgentRunner.of(family, engine), lambda: engine):
        with pytest.raises(ToolFailed, match="argument 'n'"):
            go(decide(make(), WRONG))


def test_without_the_agent_edited_arguments_are_not_checked(store, clock, go, family):
    assert go(decide(LocalEngine(store, clock=clock), WRONG))["status"] == "approved"


def test_an_agent_of_another_run_cannot_check(store, clock, go, family):
    with pytest.raises(UsageError, match="it is a run of program 'payer', and this is 'counter'"):
        go(decide(LocalEngine(store, clock=clock), WRONG, agent=AGENT))


def test_an_engine_checks_the_patched_state_of_a_fork(engine, store, clock, go):
    with pytest.raises(StateDecodeError):
        go(engine.fork(run_id="r", step=0, patch=WRONG))
    other = LocalEngine(store, clock=clock)
    with pytest.raises(StateDecodeError):
        go(other.fork(run_id="r", step=0, patch=WRONG, agent=AGENT))
    assert [run["run_id"] for run in engine.runs.list()] == ["r"]
    assert go(other.fork(run_id="r", step=0, patch={"n": 2}, agent=AGENT)) == "r-fork-1"
    assert go(LocalEngine(store, clock=clock).fork(run_id="r", step=0, patch=WRONG)) == "r-fork-2"


def test_a_patch_that_is_not_json_is_refused(engine, go):
    with pytest.raises(StateEncodeError, match="cannot store the patch of 'r': it is not plain JSON"):
        go(engine.fork(run_id="r", step=0, patch={"n": object()}))
