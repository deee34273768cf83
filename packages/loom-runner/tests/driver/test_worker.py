"""Workers: they find runs that are ready, share them, skip those that cannot be resumed, and end
cleanly.
"""

import asyncio
from dataclasses import dataclass, replace

import pytest
from loom_runner import (
    AgentRunner,
    Child,
    Complete,
    Continue,
    Fail,
    RunContext,
    Sleep,
    Spawn,
    SQLiteStore,
    StoreError,
    ToolRegistry,
    UsageError,
    Wait,
    Worker,
)
from loom_runner._model.processes import this_process
from loom_runner._model.records import Owner
from loom_runner._model.writes import LeaseRequest


@dataclass(frozen=True)
class State:
    n: int = 0


@dataclass
class Bench:
    """A runner whose steps are effects; what a run does is in its id."""

    store: object
    clock: object

    def __post_init__(self):
        self.effects = []
        self.tools = ToolRegistry()
        self.runner = AgentRunner(
            step=self.step, store=self.store, clock=self.clock, tools=self.tools, children={"child": self.child}
        )

        @self.tools.tool("push", needs_approval=True)
        async def push() -> str:
            return "pushed"

    def child(self):
        async def small(state: State, ctx: RunContext) -> Complete[str]:
            return Complete(ctx.run_id)

        return AgentRunner(step=small, store=self.store, clock=self.clock)

    async def step(self, state: State, ctx: RunContext):
        self.effects.append(f"{ctx.run_id} {state.n}")
        await asyncio.sleep(0)
        match ctx.run_id.split("-")[0], state.n:
            case "sleep", 0:
                return Sleep(State(1), delay_s=60)
            case "wait", 0:
                return Wait(State(1), signal="go")
            case "ask", _:
                return Complete(await ctx.call_tool("push"))
            case "spawn", 0:
                return Spawn(State(1), [Child("a", State(), program="child")])
            case "fail", _:
                return Fail("no")
            case "long", n:
                return Continue(State(n + 1))
            case _, n:
                return Complete(n) if n >= 2 else Continue(State(n + 1))

    def start(self, run_id, **options):
        return asyncio.run(self.runner.start(run_id=run_id, initial_state=State(), **options))

    def work(self, **options):
        async def main():
            return await Worker(self.runner, clock=self.clock, **options).run(until_idle=True)

        return asyncio.run(main())

    def status(self, run_id):
        return self.store.reader.get_run(run_id).status


@pytest.fixture
def bench(store, clock):
    return Bench(store, clock)


def test_a_worker_resumes_what_is_due_and_leaves_the_rest(bench, clock):
    for run_id in ("sleep", "wait", "ask", "fail", "count"):
        bench.start(run_id, max_steps=1)
    assert bench.work() == 0
    assert [bench.status(run_id) for run_id in ("sleep", "wait", "ask", "fail", "count")] == [
        "waiting",
        "waiting",
        "waiting",
        "failed",
        "paused",
    ]
    clock.at_us += 61_000_000
    asyncio.run(bench.runner.signal(run_id="wait", name="go"))
    asyncio.run(bench.runner.decide(run_id="ask", number=1, how="approve", by="ann"))
    assert bench.work() == 3
    assert {bench.status(run_id) for run_id in ("sleep", "wait", "ask")} == {"completed"}


def test_a_signal_of_another_name_makes_no_run_ready(bench):
    bench.start("wait")
    asyncio.run(bench.runner.signal(run_id="wait", name="other"))
    assert bench.work() == 0


def test_a_decided_doubt_wakes_its_run(bench):
    async def die() -> None:
        raise KeyboardInterrupt

    bench.tools.tool("die")(die)

    async def step(state: State, ctx: RunContext) -> Complete[str]:
        return Complete(await ctx.call_tool("die"))

    runner = AgentRunner(step=step, store=bench.store, clock=bench.clock, tools=bench.tools)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(runner.start(run_id="r", initial_state=State()))
    asyncio.run(runner.resume(run_id="r"))

    async def main():
        return await Worker(runner, clock=bench.clock).run(until_idle=True)

    assert asyncio.run(main()) == 0
    asyncio.run(runner.resolve(run_id="r", call=1, how="result", result="found"))
    assert asyncio.run(main()) == 1
    assert runner.get("r")["result"] == "found"


def test_an_expired_request_wakes_its_run(bench, clock):
    from loom_runner import Ask

    async def step(state: State, ctx: RunContext) -> Complete[str]:
        return Complete(await ctx.call_tool("push"))

    runner = AgentRunner(step=step, store=bench.store, clock=clock, tools=bench.tools, gate=lambda call: Ask(ttl_s=60))
    asyncio.run(runner.start(run_id="r", initial_state=State()))
    clock.at_us += 61_000_000

    async def main():
        return await Worker(runner, clock=clock).run(until_idle=True)

    assert asyncio.run(main()) == 1
    assert runner.get("r")["error"]["category"] == "approval_expired"


def test_created_runs_and_children_are_begun(bench):
    bench.start("count")
    fork = asyncio.run(bench.runner.fork(run_id="count", step=0))
    bench.start("spawn", max_steps=1)
    assert bench.status("spawn:sub:a") == "created"
    assert bench.work() == 3
    assert {bench.status(run_id) for run_id in (fork, "spawn", "spawn:sub:a")} == {"completed"}


def test_observers_of_a_runner_get_events_of_children_that_a_worker_resumes(bench):
    bench.start("spawn", max_steps=1)
    heard = []
    bench.runner.observe(heard.append)
    bench.work()
    assert [event.run_id for event in heard if event.kind == "run_ended"] == ["spawn:sub:a", "spawn"]


def test_a_run_whose_process_disappeared_is_taken_over(bench):
    bench.start("count", max_steps=1)
    gone = LeaseRequest(Owner("elsewhere", 77, "born"), 15.0, "code", "agent.py:1")
    asyncio.run(bench.store.claim_run(bench.store.reader.get_run("count"), gone, take_over=False))
    assert bench.work() == 0
    bench.store._file.db.execute("UPDATE runs SET renewed_at = 0")
    assert bench.work() == 1
    assert bench.status("count") == "completed"


def test_a_run_whose_process_died_on_this_machine_is_taken_over_before_its_lease_runs_out(bench):
    bench.start("count", max_steps=1)
    dead = LeaseRequest(replace(this_process(), process="another life"), 15.0, "code", "agent.py:1")
    asyncio.run(bench.store.claim_run(bench.store.reader.get_run("count"), dead, take_over=False))
    assert bench.work() == 1
    assert bench.status("count") == "completed"


def test_another_program_is_left_alone(bench, store):
    async def other(state: State, ctx: RunContext) -> Sleep[State]:
        return Sleep(State(1), delay_s=1)

    asyncio.run(AgentRunner(step=other, store=store, clock=bench.clock).start(run_id="o", initial_state=State()))
    bench.clock.at_us += 10_000_000
    assert bench.work() == 0


def test_a_run_that_cannot_be_read_is_left_alone_for_a_while(bench, store, caplog):
    bench.start("wait")
    asyncio.run(bench.runner.signal(run_id="wait", name="go"))
    store._file.db.execute("UPDATE runs SET state = '{\"n\": [1]}'")

    async def main():
        worker = Worker(bench.runner, clock=bench.clock, poll_s=1, max_poll_s=1)
        await worker.run(until_idle=True)
        return worker

    worker = asyncio.run(main())
    assert "the worker cannot resume wait: cannot read the state" in caplog.text
    assert worker._backoff["wait"][1] == 2
    assert len(caplog.records) == 1


def test_two_workers_share_the_work_and_no_step_runs_twice(tmp_path, clock):
    with (
        SQLiteStore(tmp_path / "r.sqlite", "process") as first,
        SQLiteStore(tmp_path / "r.sqlite", "process") as second,
    ):
        one, two = Bench(first, clock), Bench(second, clock)
        names = [f"wait-{n}" for n in range(12)]
        for name in names:
            one.start(name)
            asyncio.run(one.runner.signal(run_id=name, name="go"))
        one.effects.clear()

        async def main():
            workers = [Worker(each.runner, clock=clock, concurrency=3) for each in (one, two)]
            await asyncio.gather(*(worker.run(until_idle=True) for worker in workers))

        asyncio.run(main())
        assert sorted(one.effects + two.effects) == sorted(f"{name} {n}" for name in names for n in (1, 2))
        assert one.effects
        assert two.effects
        assert {run.status for run in first.reader.list_runs()} == {"completed"}


def test_a_stopped_worker_releases_its_runs_after_their_steps_and_another_one_continues(bench, store):
    bench.start("long", max_steps=1)
    asyncio.run(bench.runner.fork(run_id="long", step=0, new_run_id="long-2"))

    async def main():
        worker = Worker(bench.runner, clock=bench.clock)
        task = asyncio.create_task(worker.run())
        while store.reader.get_run("long-2").step_index < 5:
            await asyncio.sleep(0)
        worker.stop()
        return await task

    assert asyncio.run(main()) == 1
    record = store.reader.get_run("long-2")
    assert (record.status, record.owner, store.reader.leases("long-2")[-1].ended_as) == ("paused", None, "interrupted")
    assert [run.run_id for run in store.reader.ready_runs([record.program], bench.clock.now_us())] == ["long-2"]


def test_a_step_that_does_not_end_in_time_is_abandoned(bench, store):
    async def step(state: State, ctx: RunContext) -> Continue[State]:
        if state.n == 0:
            return Sleep(State(1), delay_s=1)
        await asyncio.sleep(60)
        return Continue(State(2))

    runner = AgentRunner(step=step, store=store, clock=bench.clock)
    asyncio.run(runner.start(run_id="r", initial_state=State()))
    bench.clock.at_us += 2_000_000

    async def main():
        worker = Worker(runner, clock=bench.clock, grace_s=0.02)
        task = asyncio.create_task(worker.run())
        while store.reader.get_run("r").status != "running":
            await asyncio.sleep(0)
        worker.stop()
        await task

    asyncio.run(main())
    assert (store.reader.get_run("r").status, store.reader.get_run("r").step_index) == ("paused", 1)


def test_a_worker_looks_ever_more_slowly_while_nothing_happens(bench, clock):
    async def main():
        worker = Worker(bench.runner, clock=clock, poll_s=1, max_poll_s=5)
        task = asyncio.create_task(worker.run())
        while len(clock.slept) < 5:
            await asyncio.sleep(0)
        worker.stop()
        await task

    asyncio.run(main())
    assert clock.slept[:5] == [2, 4, 5, 5, 5]


def test_a_store_that_fails_ends_the_worker(bench, store):
    bench.start("wait")
    asyncio.run(bench.runner.signal(run_id="wait", name="go"))

    async def broken(claim, step):
        raise StoreError("the disk is full")

    store.commit_step = broken
    with pytest.raises(StoreError, match="the disk is full"):
        bench.work()
    assert bench.status("wait") == "paused"


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"poll_s": 0}, {"poll_s": 9, "max_poll_s": 1}, {"grace_s": -1}])
def test_workers_that_make_no_sense_are_refused(bench, wrong):
    with pytest.raises(UsageError, match="cannot create a worker"):
        Worker(bench.runner, **wrong)
    with pytest.raises(UsageError, match="runners that share one store"):
        Worker()
