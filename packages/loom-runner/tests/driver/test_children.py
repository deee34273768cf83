"""Child runs: started once, driven concurrently, returned to their parent, and never stranded."""

import asyncio
from dataclasses import dataclass

import pytest
from loom_runner import (
    AgentRunner,
    Budget,
    Child,
    Complete,
    Continue,
    Fail,
    RunContext,
    Sleep,
    Spawn,
    SQLiteStore,
    ToolRegistry,
    Wait,
)
from loom_runner._model.records import Owner
from loom_runner._model.writes import LeaseRequest, NewRun
from loom_runner.testing import FakeClock, crash_at


class Died(KeyboardInterrupt):
    """The process is gone at this point."""


def die():
    raise Died


@dataclass(frozen=True)
class State:
    n: int = 0


@dataclass
class House:
    """A parent with children of several programs; every step of a child is an effect."""

    store: object
    clock: object

    def __post_init__(self):
        self.effects = []
        self.tools = ToolRegistry()

        @self.tools.tool("push", needs_approval=True)
        async def push() -> str:
            return "pushed"

    async def worker(self, state: State, ctx: RunContext) -> Continue[State] | Complete[str]:
        """Two steps, then a result."""
        self.effects.append(f"{ctx.run_id} {state.n}")
        await asyncio.sleep(0)
        return Continue(State(state.n + 1)) if state.n % 10 < 2 else Complete(f"done {state.n}")

    async def broken(self, state: State, ctx: RunContext) -> Fail:
        return Fail("no luck", error_category="luck")

    async def shy(self, state: State, ctx: RunContext) -> Complete[str]:
        return Complete(await ctx.call_tool("push"))

    async def sleepy(self, state: State, ctx: RunContext) -> Sleep[State] | Complete[str]:
        return Sleep(State(1), delay_s=60) if state.n == 0 else Complete("awake")

    async def endless(self, state: State, ctx: RunContext) -> Continue[State]:
        await asyncio.sleep(0)
        return Continue(State(state.n + 1))

    def runner(self, spawn, *, store=None, **options):
        store = store or self.store
        made = {}

        def child(name):
            def make():
                return made.setdefault(
                    name, AgentRunner(step=getattr(self, name), store=store, tools=self.tools, clock=self.clock)
                )

            return make

        async def parent(state: State, ctx: RunContext) -> Spawn[State] | Complete[dict]:
            if state.n == 0:
                return spawn() if callable(spawn) else spawn
            found = {name: [child.status, child.result] for name, child in ctx.children.items()}
            return Complete(found)

        names = ("worker", "broken", "shy", "sleepy", "endless")
        children = {name: child(name) for name in names}
        return AgentRunner(step=parent, store=store, clock=self.clock, children=children, **options)

    def start(self, spawn, **options):
        return asyncio.run(self.runner(spawn).start(run_id="r", initial_state=State(), **options))

    def resume(self, spawn, **options):
        return asyncio.run(self.runner(spawn).resume(run_id="r", **options))


@pytest.fixture
def house(store, clock):
    return House(store, clock)


def two(until="all", a="worker", b="worker"):
    return Spawn(State(1), [Child("a", State(0), program=a), Child("b", State(10), program=b)], until=until)


def test_children_run_concurrently_and_their_parent_gets_their_results(house):
    result = house.start(two())
    assert result.result == {"a": ["completed", "done 2"], "b": ["completed", "done 12"]}
    assert house.effects[:4] == ["r:sub:a 0", "r:sub:b 10", "r:sub:a 1", "r:sub:b 11"]
    assert [run["run_id"] for run in house.runner(two()).children("r")] == ["r:sub:a", "r:sub:b"]
    assert {record.parent_run_id for record in house.store.reader.children("r")} == {"r"}


def test_a_waiting_parent_has_no_holder(house):
    assert house.start(two(a="shy")).wait["children"] == ["r:sub:a", "r:sub:b"]
    assert (house.store.reader.get_run("r").status, house.store.reader.get_run("r").owner) == ("waiting", None)


def test_a_child_that_waits_for_a_person_leaves_its_sibling_alone_and_the_parent_waiting(house):
    result = house.start(two(a="shy"))
    assert result.status == "waiting"
    assert [record.status for record in house.store.reader.children("r")] == ["waiting", "completed"]
    assert house.resume(two(a="shy")).status == "waiting"
    runner = house.runner(two(a="shy"))
    asyncio.run(runner.decide(run_id="r:sub:a", number=1, how="approve", by="ann"))
    assert house.resume(two(a="shy")).result == {"a": ["completed", "pushed"], "b": ["completed", "done 12"]}


def test_a_child_that_fails_has_settled_and_its_parent_sees_why(house, store):
    errors = []

    async def parent(state: State, ctx: RunContext) -> Spawn[State] | Complete[str]:
        if state.n == 0:
            return Spawn(State(1), [Child("a", State(), program="broken")])
        errors.append(ctx.children["a"].error)
        return Complete(ctx.children["a"].status)

    child = AgentRunner(step=house.broken, store=store, clock=house.clock)
    runner = AgentRunner(step=parent, store=store, clock=house.clock, children={"broken": child})
    assert asyncio.run(runner.start(run_id="r", initial_state=State())).result == "failed"
    assert (errors[0].message, errors[0].category) == ("no luck", "luck")


def test_the_first_child_is_enough_and_the_others_are_cancelled_when_the_parent_completes(house):
    result = house.start(two("any", b="endless"))
    assert result.result["a"] == ["completed", "done 2"]
    assert result.result["b"][0] in ("running", "created")
    child = house.store.reader.get_run("r:sub:b")
    assert (child.status, child.error.message) == ("cancelled", "cancelled by r: its parent has ended")


def test_children_of_a_completed_parent_are_ended_also_when_its_process_dies_right_after(house):
    commit = house.store.commit_step

    async def dying(claim, step):
        await commit(claim, step)
        if step.lease_end == "completed" and claim.run_id == "r":
            raise Died

    house.store.commit_step = dying
    with pytest.raises(Died):
        house.start(two("any", b="endless"))
    assert house.store.reader.get_run("r").status == "completed"
    assert house.store.reader.get_run("r:sub:b").status == "cancelled"


def test_a_number_of_children_may_be_enough(house):
    spawn = Spawn(
        State(1),
        [
            Child(name, State(), program=program)
            for name, program in zip("abc", ("worker", "worker", "shy"), strict=True)
        ],
        until=2,
    )
    result = house.start(spawn)
    assert [status for status, _ in result.result.values()][:2] == ["completed", "completed"]
    assert house.store.reader.get_run("r:sub:c").status == "cancelled"


def test_no_children_are_settled_at_once(house):
    assert house.start(Spawn(State(1), [])).result == {}


def test_a_cancelled_child_has_settled(house):
    assert house.start(two(a="shy")).status == "waiting"
    asyncio.run(house.runner(two()).cancel(run_id="r:sub:a", by="ann"))
    assert house.resume(two(a="shy")).result["a"] == ["cancelled", None]


def test_cancelling_a_parent_cancels_its_children_and_theirs(house):
    house.start(two(a="shy"))
    assert asyncio.run(house.runner(two()).cancel(run_id="r", note="enough")) == ["r", "r:sub:a"]
    assert house.store.reader.get_run("r").status == house.store.reader.get_run("r:sub:a").status == "cancelled"
    assert house.store.reader.get_run("r:sub:b").status == "completed"
    assert house.resume(two(a="shy")).status == "cancelled"


def test_a_child_that_sleeps_is_waited_for_when_that_is_allowed(house):
    assert house.start(two(a="sleepy")).status == "waiting"
    assert house.resume(two(a="sleepy"), wait_s=100).result["a"] == ["completed", "awake"]


def test_each_child_makes_as_many_steps_as_its_parent_may(house):
    assert house.start(two(), max_steps=1).status == "waiting"
    assert house.effects == []
    assert house.resume(two(), max_steps=1).status == "waiting"
    assert house.effects == ["r:sub:a 0", "r:sub:b 10"]
    house.resume(two(), max_steps=2)
    assert house.resume(two(), max_steps=1).status == "completed"


def test_observers_of_the_parent_get_events_of_the_children(house):
    heard = []
    runner = house.runner(two(), observers=[heard.append])
    asyncio.run(runner.start(run_id="r", initial_state=State()))
    assert {event.run_id for event in heard if event.kind == "step_committed"} == {"r", "r:sub:a", "r:sub:b"}
    ends = [event.run_id for event in heard if event.kind == "run_ended"]
    assert sorted(ends) == ["r", "r", "r:sub:a", "r:sub:b"]


def test_a_child_may_be_resumed_by_itself_under_its_parents_runner(house):
    heard = []
    house.start(two(), max_steps=1)
    runner = house.runner(two(), observers=[heard.append])
    result = asyncio.run(runner.resume(run_id="r:sub:a"))
    assert (result.result, house.store.reader.get_run("r:sub:b").status) == ("done 2", "created")
    assert {event.run_id for event in heard} == {"r:sub:a"}
    assert asyncio.run(runner.resume(run_id="r:sub:a")).was_stored


# ---------------------------------------------------------------------- what makes no sense


@pytest.mark.parametrize(
    ("spawn", "message"),
    [
        (lambda: Spawn(State(1), [Child("a", 3, program="worker")]), "cannot store the state"),
        (lambda: Spawn(State(1), [Child("a", State(), program="none")]), "no such program. Programs: broken, endless"),
        (lambda: Spawn(State(1), [Child(" ", State(), program="worker")]), "cannot start child ' '"),
        (lambda: Spawn(State(1), [Child("a:sub:b", State(), program="worker")]), "separates the ids"),
        (lambda: Spawn(State(1), [Child("a" * 300, State(), program="worker")]), "a run id has 1 to 200"),
        (lambda: Spawn(State(1), [Child("a", program="worker")] * 2), "two children have the same name"),
        (lambda: Spawn(State(1), [], until="any"), "cannot spawn 0 children until 'any'"),
        (lambda: Spawn(State(1), [Child("a", program="worker")], until=2), "until 2 have settled"),
        (lambda: Spawn(State(1), [], until="most"), "it is 'all', 'any' or a number"),
    ],
)
def test_children_that_make_no_sense_fail_the_step_and_start_nothing(house, spawn, message):
    result = house.start(spawn)
    assert result.status == "failed"
    assert message in result.error.message
    assert house.store.reader.children("r") == []
    assert result.step_index == 0


def test_a_child_of_a_name_that_is_taken_by_another_run_is_refused(house):
    assert asyncio.run(house.store.add_run(NewRun("r:sub:a", "other", '{"n":0}', '{"n":0}', 1)))
    result = house.start(two())
    assert (result.status, result.error.type) == ("failed", "RunExists")


def test_the_same_name_is_the_same_child(house):
    async def parent(state: State, ctx: RunContext) -> Spawn[State] | Complete[str]:
        if state.n < 2:
            return Spawn(State(state.n + 1), [Child("a", State(), program="worker")])
        return Complete(ctx.children["a"].result)

    child = AgentRunner(step=house.worker, store=house.store, clock=house.clock)
    runner = AgentRunner(step=parent, store=house.store, clock=house.clock, children={"worker": child})
    assert asyncio.run(runner.start(run_id="r", initial_state=State())).result == "done 2"
    assert house.effects == ["r:sub:a 0", "r:sub:a 1", "r:sub:a 2"]


def test_a_program_on_another_store_is_refused(house, tmp_path):
    with SQLiteStore(tmp_path / "other.sqlite", "memory") as other:
        child = AgentRunner(step=house.worker, store=other)

        async def parent(state: State, ctx: RunContext) -> Spawn[State]:
            return Spawn(State(1), [Child("a", State(), program="worker")])

        runner = AgentRunner(step=parent, store=house.store, clock=house.clock, children={"worker": child})
        result = asyncio.run(runner.start(run_id="r", initial_state=State()))
        assert "neither an Agent nor an AgentRunner on the store" in result.error.message


# ---------------------------------------------------------------------- crashes and other processes


def committed(house, effects):
    """Steps of children that ran and were committed: each ran at least once, and no other one."""
    assert set(effects) == {f"r:sub:{name} {first + n}" for name, first in (("a", 0), ("b", 10)) for n in range(3)}


@pytest.mark.parametrize("nth", [1, 2, 3, 5])
@pytest.mark.parametrize("point", ["commit_step.before", "commit_step.after", "claim_run.before", "claim_run.after"])
def test_a_parent_whose_process_dies_anywhere_ends_with_each_child_run_once(tmp_path, clock, point, nth):
    path = tmp_path / "runs.sqlite"
    first = SQLiteStore(path, "process")
    house = House(first, clock)
    broken = house.runner(two(), store=crash_at(first, point, nth=nth, crash=die))
    died = False
    try:
        asyncio.run(broken.start(run_id="r", initial_state=State()))
    except Died:
        died = True
    # What a dead process leaves: its leases, with nobody behind them.
    first._file.db.execute("UPDATE leases SET process = 'gone'")
    first.close()
    with SQLiteStore(path, "process") as second:
        other = House(second, FakeClock(at_us=clock.at_us))
        result = asyncio.run(other.runner(two()).start(run_id="r", initial_state=State()))
        assert result.result == {"a": ["completed", "done 2"], "b": ["completed", "done 12"]}, died
        committed(house, house.effects + other.effects)
        assert [len(second.reader.steps(f"r:sub:{name}")) for name in "ab"] == [3, 3]
        assert len(second.reader.children("r")) == 2


def test_a_child_that_another_process_holds_is_left_to_it(house):
    house.start(two(a="shy"), max_steps=1)
    elsewhere = LeaseRequest(Owner("elsewhere", 77, "born"), 15.0, "code", "agent.py:1")
    child = house.store.reader.get_run("r:sub:a")
    asyncio.run(house.store.claim_run(child, elsewhere, take_over=False))
    assert house.resume(two(a="shy")).status == "waiting"
    assert house.store.reader.get_run("r:sub:b").status == "completed"
    assert house.store.reader.get_run("r:sub:a").fence == 1


def test_two_processes_that_resume_the_same_parent_share_its_children(tmp_path, clock):
    path = tmp_path / "runs.sqlite"
    with SQLiteStore(path, "process") as first, SQLiteStore(path, "process") as second:
        house, other = House(first, clock), House(second, clock)
        house.start(two(), max_steps=1)

        async def both():
            return await asyncio.gather(
                house.runner(two()).resume(run_id="r"),
                other.runner(two()).resume(run_id="r"),
                return_exceptions=True,
            )

        asyncio.run(both())
        assert house.resume(two()).status == "completed"
        committed(house, house.effects + other.effects)
        assert len(house.effects + other.effects) == 6


def test_a_cancelled_call_leaves_children_that_can_be_resumed(house):
    async def main():
        task = asyncio.create_task(house.runner(two(a="endless")).start(run_id="r", initial_state=State()))
        while not (child := house.store.reader.get_run("r:sub:a")) or child.step_index < 3:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    child = house.store.reader.get_run("r:sub:a")
    assert (child.status, child.owner, house.store.reader.leases("r:sub:a")[0].ended_as) == (
        "paused",
        None,
        "interrupted",
    )
    assert house.resume(two(a="endless"), max_steps=2).status == "waiting"
    assert house.store.reader.get_run("r:sub:a").step_index == child.step_index + 2


# ---------------------------------------------------------------------- budgets of a family


def test_a_child_gets_what_remains_and_what_it_spends_counts(house):
    remaining = []

    async def spender(state: State, ctx: RunContext) -> Complete[int]:
        remaining.append(ctx.budget.remaining)
        ctx.budget.spend(tokens=30)
        return Complete(0)

    async def parent(state: State, ctx: RunContext) -> Spawn[State] | Continue[State] | Complete[int]:
        if state.n == 0:
            ctx.budget.spend(tokens=20, cost_usd=0.5)
            return Continue(State(1))
        if state.n == 1:
            return Spawn(State(2), [Child("a", State(), program="spender")])
        remaining.append(ctx.budget.remaining)
        return Complete(0)

    child = AgentRunner(step=spender, store=house.store, clock=house.clock)
    runner = AgentRunner(step=parent, store=house.store, clock=house.clock, children={"spender": child})
    budget = Budget(tokens=100, cost_usd=2)
    result = asyncio.run(runner.start(run_id="r", initial_state=State(), budget=budget))
    assert result.status == "completed"
    assert remaining == [Budget(tokens=80, cost_usd=1.5), Budget(tokens=50, cost_usd=1.5)]


def test_a_parent_whose_children_used_up_its_budget_pauses(house):
    async def spender(state: State, ctx: RunContext) -> Complete[int]:
        ctx.budget.spend(tokens=130)
        return Complete(0)

    child = AgentRunner(step=spender, store=house.store, clock=house.clock)

    async def parent(state: State, ctx: RunContext) -> Spawn[State] | Complete[int]:
        return Spawn(State(1), [Child("a", State(), program="s")]) if state.n == 0 else Complete(1)

    runner = AgentRunner(step=parent, store=house.store, clock=house.clock, children={"s": child})
    result = asyncio.run(runner.start(run_id="r", initial_state=State(), budget=Budget(tokens=100)))
    assert (result.status, result.error.category, result.step_index) == ("paused", "limit", 1)
    assert asyncio.run(runner.resume(run_id="r", budget=Budget(tokens=200))).result == 1


def test_a_waiting_parent_keeps_its_signal_name_out_of_the_childrens_way(house):
    async def parent(state: State, ctx: RunContext) -> Wait[State] | Spawn[State] | Complete[list]:
        match state.n:
            case 0:
                return Wait(State(1), signal="go")
            case 1:
                return Spawn(State(2), [Child("a", State(), program="worker")])
        return Complete([ctx.signal is None, sorted(ctx.children)])

    child = AgentRunner(step=house.worker, store=house.store, clock=house.clock)
    runner = AgentRunner(step=parent, store=house.store, clock=house.clock, children={"worker": child})

    async def main():
        await runner.start(run_id="r", initial_state=State())
        await runner.signal(run_id="r", name="go")
        return await runner.resume(run_id="r")

    assert asyncio.run(main()).result == [True, ["a"]]


def test_a_parent_is_a_child_as_well(house):
    inner = house.runner(two())

    async def outer(state: State, ctx: RunContext) -> Spawn[State] | Complete[dict]:
        if state.n == 0:
            return Spawn(State(1), [Child("p", State(), program="inner")])
        return Complete(ctx.children["p"].result)

    runner = AgentRunner(step=outer, store=house.store, clock=house.clock, children={"inner": lambda: inner})
    result = asyncio.run(runner.start(run_id="g", initial_state=State()))
    assert result.result == {"a": ["completed", "done 2"], "b": ["completed", "done 12"]}
    assert house.store.reader.get_run("g:sub:p:sub:a").parent_run_id == "g:sub:p"


def test_a_store_that_fails_under_a_child_is_the_callers_error(house):
    from loom_runner import StoreError

    real = house.store.commit_step

    async def failing(claim, step):
        if claim.run_id == "r:sub:a" and step.step_index == 1:
            raise StoreError("cannot write: the disk is full")
        await real(claim, step)

    house.store.commit_step = failing
    with pytest.raises(StoreError, match="the disk is full"):
        house.start(two())
    house.store.commit_step = real
    assert house.resume(two()).status == "completed"


# ------------------------------------------------------------- children that wait while others work


@dataclass
class Pair:
    """A verifier that parks in its first step, and an executor that works and then does `last`."""

    store: object
    clock: object
    park: object
    last: object = None

    def runner(self):
        async def verifier(state: State, ctx: RunContext):
            return self.park if state.n == 0 else Complete(ctx.signal.payload if ctx.signal else "no signal")

        async def executor(state: State, ctx: RunContext) -> Continue[State] | Complete[str]:
            await asyncio.sleep(0)
            if state.n < 5:
                return Continue(State(state.n + 1))
            if self.last is not None:
                await self.last(runner)
            return Complete("worked")

        async def parent(state: State, ctx: RunContext) -> Spawn[State] | Complete[dict]:
            if state.n == 0:
                return Spawn(State(1), [Child("v", State(), program="v"), Child("e", State(), program="e")])
            return Complete({name: child.result for name, child in ctx.children.items()})

        steps = {"v": verifier, "e": executor}
        children = {name: AgentRunner(step=step, store=self.store, clock=self.clock) for name, step in steps.items()}
        runner = AgentRunner(step=parent, store=self.store, clock=self.clock, children=children)
        return runner

    def start(self):
        return asyncio.run(self.runner().start(run_id="r", initial_state=State()))


def test_a_waiting_child_continues_when_its_sibling_sends_the_signal_at_its_end(store, clock):
    async def last(runner):
        await runner.signal(run_id="r:sub:v", name="look", payload="now")

    pair = Pair(store, clock, Wait(State(1), signal="look", timeout_s=3600), last)
    assert pair.start().result == {"v": "now", "e": "worked"}


def test_a_sleeping_child_continues_when_it_is_due_while_its_sibling_runs(store, clock):
    async def last(runner):
        clock.at_us += 61_000_000
        while store.reader.get_run("r:sub:v").status != "completed":
            await asyncio.sleep(0)

    pair = Pair(store, clock, Sleep(State(1), delay_s=60), last)
    assert pair.start().result == {"v": "no signal", "e": "worked"}


def test_a_child_whose_wait_does_not_end_leaves_the_parent_waiting(store, clock):
    pair = Pair(store, clock, Wait(State(1), signal="look"))
    assert pair.start().status == "waiting"
    assert [record.status for record in store.reader.children("r")] == ["waiting", "completed"]


def test_a_grandchild_that_is_ready_is_resumed(store, clock):
    async def last(runner):
        await runner.signal(run_id="g:sub:r:sub:v", name="look", payload="now")

    inner = Pair(store, clock, Wait(State(1), signal="look")).runner()

    async def slow(state: State, ctx: RunContext) -> Continue[State] | Complete[str]:
        await asyncio.sleep(0)
        if state.n < 30:
            return Continue(State(state.n + 1))
        await inner.signal(run_id="g:sub:r:sub:v", name="look", payload="now")
        return Complete("slow")

    async def outer(state: State, ctx: RunContext) -> Spawn[State] | Complete[dict]:
        if state.n == 0:
            return Spawn(State(1), [Child("r", State(), program="r"), Child("s", State(), program="s")])
        return Complete(ctx.children["r"].result)

    other = AgentRunner(step=slow, store=store, clock=clock)
    runner = AgentRunner(step=outer, store=store, clock=clock, children={"r": inner, "s": other})
    assert asyncio.run(runner.start(run_id="g", initial_state=State())).result == {"v": "now", "e": "worked"}


def test_a_child_may_have_its_own_budget(house):
    seen = []

    async def spender(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
        seen.append((ctx.run_id, ctx.budget.limit))
        ctx.budget.spend(tokens=30)
        return Complete(0) if state.n == 2 else Continue(State(state.n + 1))

    async def parent(state: State, ctx: RunContext) -> Spawn[State] | Complete[dict]:
        if state.n:
            return Complete({name: child.status for name, child in ctx.children.items()})
        small, large = Budget(tokens=50), Budget(tokens=5000, steps=9)
        return Spawn(
            State(1), [Child("a", State(), program="s", budget=small), Child("b", State(), program="s", budget=large)]
        )

    child = AgentRunner(step=spender, store=house.store, clock=house.clock)
    runner = AgentRunner(step=parent, store=house.store, clock=house.clock, children={"s": child})
    result = asyncio.run(runner.start(run_id="r", initial_state=State(), budget=Budget(tokens=1000)))
    assert dict(seen) == {"r:sub:a": Budget(tokens=50), "r:sub:b": Budget(tokens=1000, steps=9)}
    assert result.status == "waiting"
    assert house.store.reader.get_run("r:sub:a").error.category == "limit"
    result = asyncio.run(runner.resume(run_id="r", budget=Budget(tokens=2000)))
    assert result.result == {"a": "completed", "b": "completed"}


def test_raising_a_parents_budget_raises_that_of_its_open_children(house):
    async def spender(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
        ctx.budget.spend(tokens=30)
        return Complete(0) if state.n == 2 else Continue(State(state.n + 1))

    async def middle(state: State, ctx: RunContext) -> Spawn[State] | Complete[str]:
        return Complete("done") if state.n else Spawn(State(1), [Child("a", State(), program="s")])

    def made(step, **children):
        return AgentRunner(step=step, store=house.store, clock=house.clock, children=children)

    async def top(state: State, ctx: RunContext) -> Spawn[State] | Complete[str]:
        return Complete("done") if state.n else Spawn(State(1), [Child("m", State(), program="m")])

    runner = made(top, m=made(middle, s=made(spender)))
    result = asyncio.run(runner.start(run_id="r", initial_state=State(), budget=Budget(tokens=50)))
    assert (result.status, house.store.reader.get_run("r:sub:m:sub:a").status) == ("waiting", "paused")
    assert asyncio.run(runner.resume(run_id="r")).status == "waiting"
    assert asyncio.run(runner.resume(run_id="r", budget=Budget(tokens=500))).result == "done"


def test_a_child_that_becomes_ready_while_its_sibling_runs_is_resumed(store, go):
    async def teller(state, ctx):
        if ctx.signal is None:
            return Wait(state, signal="begin")
        await asyncio.sleep(0.02)  # the listener was looked at, and was not ready
        await runner.signal(run_id="p:sub:listener", name="told")
        return Complete("told it")

    async def listener(state, ctx):
        return Wait(state, signal="told") if ctx.signal is None else Complete("heard it")

    async def parent(state, ctx):
        if ctx.children:
            return Complete([child.result for child in ctx.children.values()])
        return Spawn(None, children=[Child("teller", None, program="t"), Child("listener", None, program="l")])

    programs = {"t": AgentRunner(step=teller, store=store), "l": AgentRunner(step=listener, store=store)}
    runner = AgentRunner(step=parent, store=store, children=programs)
    assert go(runner.start(run_id="p")).status == "waiting"
    go(runner.signal(run_id="p:sub:teller", name="begin"))
    assert go(runner.resume(run_id="p")).result == ["told it", "heard it"]
