"""Approvals: requested, decided once, used once, bound to the arguments, and expired in time."""

import asyncio
from dataclasses import dataclass, replace

import pytest
from loom_runner import (
    AgentRunner,
    Allow,
    Ask,
    Complete,
    Continue,
    Deny,
    RunContext,
    ToolFailed,
    ToolRegistry,
    UnknownRun,
    UsageError,
    Wait,
    tool,
)
from loom_runner._model.records import Owner
from loom_runner._model.writes import LeaseRequest
from loom_runner._queries.approvals import read_approvals
from loom_runner.testing import CRASH_POINTS, crash_at


@dataclass(frozen=True)
class State:
    n: int = 0


@dataclass
class Desk:
    """A runner with one tool that needs an approval and one that does not; every effect is in
    `effects`.
    """

    store: object
    clock: object

    def __post_init__(self):
        self.tools = ToolRegistry()
        self.effects = []

        @self.tools.tool("deploy", needs_approval=True)
        async def deploy(to: str) -> str:
            self.effects.append(f"deploy {to}")
            return f"deployed to {to}"

        @self.tools.tool("look", read_only=True)
        async def look(at: str) -> str:
            await asyncio.sleep(0)
            self.effects.append(f"look {at}")
            return f"saw {at}"

    def runner(self, step, **options):
        return AgentRunner(
            step=step, store=self.store, tools=self.tools, clock=self.clock, **({"name": "agent"} | options)
        )

    def start(self, step, **options):
        return asyncio.run(self.runner(step, **options).start(run_id="r", initial_state=State()))

    def resume(self, step, **options):
        return asyncio.run(self.runner(step, **options).resume(run_id="r"))

    def decide(self, number=1, how="approve", by="ann", **options):
        runner = self.runner(one)
        return asyncio.run(runner.decide(run_id="r", number=number, how=how, by=by, **options))


@pytest.fixture
def desk(store, clock):
    return Desk(store, clock)


async def one(state: State, ctx: RunContext) -> Complete[str]:
    try:
        return Complete(await ctx.call_tool("deploy", to="prod"))
    except ToolFailed as exc:
        return Complete(f"{exc.error_category}: {exc.message}")


def asking(**options):
    return lambda call: Ask(**options) if call.name == "deploy" else Allow()


def test_a_call_that_needs_a_word_parks_the_run_and_runs_once_it_is_approved(desk):
    result = desk.start(one)
    assert (result.status, result.wait) == ("waiting", {"approvals": [1], "until": None})
    assert desk.effects == []
    assert desk.resume(one).status == "waiting"
    assert len(desk.store.reader.leases("r")) == 1
    (request,) = desk.runner(one).approvals("r")
    assert (request["tool"], request["arguments"], request["status"]) == ("deploy", {"to": "prod"}, "pending")
    decided = desk.decide(via="cli", note="go")
    assert decided["status"] == "approved"
    assert [(each["by"], each["via"], each["how"], each["note"]) for each in decided["decisions"]] == [
        ("ann", "cli", "approve", "go")
    ]
    assert desk.resume(one).result == "deployed to prod"
    assert desk.effects == ["deploy prod"]
    assert desk.runner(one).approvals("r")[0]["status"] == "used"


def test_a_denial_reaches_the_step_with_its_note_and_stays(desk):
    async def step(state: State, ctx: RunContext) -> Complete[str]:
        if ctx.attempt == 0:
            with pytest.raises(ToolFailed):
                await ctx.call_tool("deploy", to="prod")
            raise TimeoutError
        return await one(state, ctx)

    desk.start(step)
    desk.decide(how="deny", note="not on a Friday")
    assert desk.resume(step).result == "denied: not on a Friday"
    assert (desk.effects, desk.store.reader.tool_calls("r")) == ([], [])


def test_edited_arguments_are_what_runs_and_what_is_recorded(desk):
    desk.start(one)
    desk.decide(how="edit", arguments={"to": "staging"})
    assert desk.resume(one).result == "deployed to staging"
    assert desk.effects == ["deploy staging"]
    assert desk.store.reader.tool_calls("r")[0].arguments == '{"to":"staging"}'


def test_edited_arguments_have_to_fit_the_tool_and_to_be_an_object(desk):
    desk.start(one)
    with pytest.raises(ToolFailed, match="argument 'to': Field required"):
        desk.decide(how="edit", arguments={"where": "staging"})
    with pytest.raises(UsageError, match="edit needs arguments, and only edit takes them"):
        desk.decide(how="edit")
    with pytest.raises(UsageError, match="edit needs arguments"):
        desk.decide(arguments={"to": "x"})
    assert desk.runner(one).approvals("r")[0]["status"] == "pending"


def test_an_edited_call_that_is_retried_finds_its_recorded_result(desk):
    async def step(state: State, ctx: RunContext) -> Complete[str]:
        answer = await ctx.call_tool("deploy", to="prod")
        if ctx.attempt == 0:
            raise TimeoutError
        return Complete(answer)

    desk.start(step)
    desk.decide(how="edit", arguments={"to": "staging"})
    assert desk.resume(step).result == "deployed to staging"
    assert desk.effects == ["deploy staging"]


def test_calls_in_parallel_are_asked_about_at_once_and_the_others_finish_first(desk):
    async def step(state: State, ctx: RunContext) -> Complete[list[str]]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ctx.call_tool("deploy", to="a"))]
            tasks.append(group.create_task(ctx.call_tool("look", at="b")))
            tasks.append(group.create_task(ctx.call_tool("deploy", to="c")))
        return Complete([task.result() for task in tasks])

    result = desk.start(step)
    assert result.wait["approvals"] == [1, 2]
    assert desk.effects == ["look b"]
    desk.decide(1)
    assert desk.resume(step).status == "waiting"
    desk.decide(2)
    assert desk.resume(step).result == ["deployed to a", "saw b", "deployed to c"]
    assert sorted(desk.effects) == ["deploy a", "deploy c", "look b"]


def test_a_call_that_follows_another_one_is_asked_about_in_the_same_parking(desk):
    async def branch(ctx, to):
        await ctx.call_tool("look", at=to)
        return await ctx.call_tool("deploy", to=to)

    async def step(state: State, ctx: RunContext) -> Complete[list[str]]:
        return Complete(list(await asyncio.gather(branch(ctx, "a"), ctx.call_tool("deploy", to="b"))))

    assert desk.start(step).wait["approvals"] == [1, 2]
    assert desk.effects == ["look a"]


def test_a_request_expires_without_a_decision(desk):
    result = desk.start(one, gate=asking(ttl_s=60))
    assert result.wait["until"] is not None
    assert desk.resume(one, gate=asking(ttl_s=60)).status == "waiting"
    desk.clock.at_us += 61_000_000
    assert desk.runner(one).approvals("r")[0]["status"] == "expired"
    assert desk.runner(one).approvals("r", pending_only=True) == []
    with pytest.raises(UsageError, match="cannot approve request 1 of 'r': it expired at"):
        desk.decide()
    assert desk.resume(one, gate=asking(ttl_s=60)).result.startswith("approval_expired: ")
    assert desk.effects == []


def test_an_approval_that_is_not_used_in_time_expires_and_the_clock_cannot_bring_it_back(desk):
    async def step(state: State, ctx: RunContext) -> Complete[str]:
        if ctx.attempt == 0:
            desk.clock.at_us += 61_000_000
            with pytest.raises(ToolFailed, match="expired"):
                await ctx.call_tool("deploy", to="prod")
            desk.clock.at_us -= 61_000_000
            raise TimeoutError
        return await one(state, ctx)

    desk.start(one, gate=asking(ttl_s=60))
    desk.decide()
    assert desk.resume(step, gate=asking(ttl_s=60)).result.startswith("approval_expired")
    assert desk.effects == []


def test_other_arguments_under_an_approved_key_are_refused(desk):
    async def other(state: State, ctx: RunContext) -> Complete[str]:
        return Complete(await ctx.call_tool("deploy", to="the moon"))

    desk.start(one)
    desk.decide()
    result = desk.resume(other)
    assert (result.status, result.error.type) == ("failed", "ToolCallMismatch")
    assert desk.effects == []


def test_several_people_are_needed_if_the_gate_requires_it(desk):
    gate = asking(needed=2, reason="production", policy={"group": "ops"})
    desk.start(one, gate=gate)
    assert desk.decide(by="ann")["status"] == "pending"
    with pytest.raises(UsageError, match="ann has decided already, and 2 people are needed"):
        desk.decide(by="ann")
    assert desk.decide(by="bob")["status"] == "approved"
    assert desk.runner(one).approvals("r")[0]["policy"] == {"group": "ops"}


def test_an_edit_makes_earlier_approvals_void(desk):
    desk.start(one, gate=asking(needed=2))
    desk.decide(by="ann")
    assert desk.decide(by="bob", how="edit", arguments={"to": "staging"})["status"] == "pending"
    with pytest.raises(UsageError, match="bob proposed these arguments, and others must approve them"):
        desk.decide(by="bob")
    assert desk.decide(by="cid")["status"] == "pending", "who edits is not counted"
    assert desk.decide(by="ann")["status"] == "approved", "the approval from before the edit is void"


def test_one_denial_is_enough(desk):
    desk.start(one, gate=asking(needed=3))
    desk.decide(by="ann")
    assert desk.decide(by="ann", how="deny")["status"] == "denied"


def test_a_decided_request_cannot_be_decided_again(desk):
    desk.start(one)
    desk.decide(how="deny")
    with pytest.raises(UsageError, match="cannot approve request 1 of 'r': it is denied already, by ann"):
        desk.decide(by="bob")


def test_of_two_people_who_decide_concurrently_one_gets_an_error(desk):
    desk.start(one)
    (seen,) = desk.store.reader.approvals("r")
    desk.decide(how="deny", by="bob")
    assert not asyncio.run(desk.store.update_approval(seen, replace(seen, status="approved")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"number": 2}, "cannot approve request 2 of 'r': there is no such request. Requests: r#r1"),
        ({"by": " "}, "the person who decides is missing"),
        ({"how": "maybe"}, "cannot decide with 'maybe'"),
    ],
)
def test_decisions_that_make_no_sense_are_refused(desk, options, message):
    desk.start(one)
    with pytest.raises(UsageError, match=message):
        desk.decide(**options)


def test_requests_of_a_run_that_is_not_there(desk):
    with pytest.raises(UnknownRun, match="cannot show the approvals of 'x'"):
        read_approvals(desk.store.reader, "x")


# ---------------------------------------------------------------------- the gate


def test_the_gate_decides_alone_and_sees_the_call(desk):
    seen = []

    def gate(call):
        seen.append((call.run_id, call.step_index, call.key, call.name, call.tool.needs_approval, dict(call.arguments)))
        return Allow()

    assert desk.start(one, gate=gate).result == "deployed to prod"
    assert seen == [("r", 0, "deploy/0", "deploy", True, {"to": "prod"})]


def test_the_gate_can_deny_any_tool(desk):
    async def step(state: State, ctx: RunContext) -> Complete[str]:
        with pytest.raises(ToolFailed) as caught:
            await ctx.call_tool("look", at="x")
        return Complete(f"{caught.value.error_category}: {caught.value.message}")

    assert desk.start(step, gate=lambda call: Deny("read nothing")).result == "denied: read nothing"
    assert desk.effects == []


def test_a_gate_that_raises_fails_the_step_and_runs_nothing(desk):
    def gate(call):
        raise ValueError("no policy")

    result = desk.start(one, gate=gate)
    assert (result.status, result.error.message, desk.effects) == ("failed", "no policy", [])


def test_resuming_with_another_policy_lets_a_pending_call_pass(desk):
    desk.start(one)
    assert desk.resume(one, gate=asking()).status == "waiting"
    assert desk.resume(one, gate=lambda call: Allow()).result == "deployed to prod"
    (request,) = desk.runner(one).approvals("r")
    assert [(each["by"], each["how"]) for each in request["decisions"]] == [("gate", "approve")]


def test_resuming_with_another_policy_may_deny_a_pending_call(desk):
    desk.start(one)
    assert desk.resume(one, gate=lambda call: Deny("no more")).result == "denied: no more"


def test_a_gate_that_fails_for_a_pending_call_leaves_it_pending(desk, caplog):
    def gate(call):
        raise ValueError("no policy")

    desk.start(one)
    assert desk.resume(one, gate=gate).status == "waiting"
    assert caplog.records[0].message == "the gate failed for deploy; its request stays pending"


def test_a_call_that_was_allowed_to_begin_is_not_asked_about_later(desk):
    async def step(state: State, ctx: RunContext) -> Complete[str]:
        answer = await ctx.call_tool("deploy", to="prod")
        if ctx.attempt == 0:
            raise ValueError
        return Complete(answer)

    desk.start(step, gate=lambda call: Allow())
    assert desk.resume(step).result == "deployed to prod"
    assert desk.effects == ["deploy prod"]


def test_a_managed_function_asks_as_well(desk):
    @tool(needs_approval=True)
    async def publish(page: int) -> str:
        desk.effects.append(f"publish {page}")
        return f"page {page}"

    async def step(state: State, ctx: RunContext) -> Complete[str]:
        return Complete(await publish(1))

    assert desk.start(step).status == "waiting"
    assert desk.resume(step, gate=asking()).status == "waiting"
    desk.decide(how="edit", arguments={"page": 2})
    assert desk.resume(step).result == "page 2"
    assert desk.effects == ["publish 2"]


def test_arguments_that_cannot_be_written_are_never_asked_about(desk):
    async def step(state: State, ctx: RunContext) -> Complete[str]:
        with pytest.raises(ToolFailed) as caught:
            await ctx.call_tool("deploy", to=3)
        return Complete(caught.value.error_category)

    assert desk.start(step).result == "invalid_arguments"


# ----------------------------------------------------------- with the other waits, and with crashes


def test_the_signal_that_led_to_the_step_is_there_again_after_the_approval(desk):
    async def step(state: State, ctx: RunContext) -> Wait[State] | Complete[str]:
        if state.n == 0:
            return Wait(State(1), signal="go", timeout_s=60)
        await ctx.call_tool("deploy", to="prod")
        return Complete(ctx.signal.payload)

    desk.start(step)
    runner = desk.runner(step)
    asyncio.run(runner.signal(run_id="r", name="go", payload="now"))
    assert desk.resume(step).wait["approvals"] == [1]
    desk.clock.at_us += 120_000_000
    desk.decide()
    assert desk.resume(step).result == "now"


def test_a_step_that_stops_waiting_for_a_call_continues_without_it(desk):
    async def step(state: State, ctx: RunContext) -> Complete[str]:
        task = asyncio.ensure_future(ctx.call_tool("deploy", to="prod"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return Complete(await ctx.call_tool("look", at="x"))

    assert desk.start(step).result == "saw x"
    assert desk.runner(step).approvals("r") == []


def test_a_run_whose_process_dies_after_the_approval_was_used_is_not_asked_about_again(desk):
    class Died(KeyboardInterrupt):
        pass

    def die():
        raise Died

    @desk.tools.tool("push", needs_approval=True, idempotent=True)
    async def push(idempotency_key: str) -> str:
        desk.effects.append(idempotency_key)
        return "pushed"

    async def step(state: State, ctx: RunContext) -> Complete[str]:
        return Complete(await ctx.call_tool("push"))

    desk.start(step)
    desk.decide()
    assert "end_tool.before" in CRASH_POINTS
    broken = AgentRunner(
        name="agent",
        step=step,
        store=crash_at(desk.store, "end_tool.before", crash=die),
        tools=desk.tools,
        clock=desk.clock,
    )
    with pytest.raises(Died):
        asyncio.run(broken.resume(run_id="r"))
    assert desk.resume(step).result == "pushed"
    assert desk.effects == ["r/0/push/0"] * 2
    assert len(desk.runner(step).approvals("r")) == 1


def test_a_waiting_run_that_crashes_after_its_claim_does_not_wait_for_the_old_deadline(desk):
    async def step(state: State, ctx: RunContext) -> Continue[State] | Wait[State] | Complete[str]:
        return Wait(State(1), signal="go", timeout_s=3600) if state.n == 0 else Complete(ctx.signal.payload)

    desk.start(step)
    asyncio.run(desk.runner(step).signal(run_id="r", name="go", payload="now"))
    gone = LeaseRequest(Owner("elsewhere", 77, "born"), 15.0, "code", "agent.py:1")
    asyncio.run(desk.store.claim_run(desk.store.reader.get_run("r"), gone, take_over=False))
    desk.store._file.db.execute("UPDATE runs SET renewed_at = 0")
    assert desk.resume(step).result == "now"
    assert desk.clock.slept == []


def test_a_run_that_crashes_while_a_request_is_pending_waits_for_the_same_request_again(desk):
    async def step(state: State, ctx: RunContext) -> Complete[list[str]]:
        return Complete(list(await asyncio.gather(ctx.call_tool("deploy", to="a"), ctx.call_tool("deploy", to="b"))))

    desk.start(step)
    desk.decide(1)
    gone = LeaseRequest(Owner("elsewhere", 77, "born"), 15.0, "code", "agent.py:1")
    asyncio.run(desk.store.claim_run(desk.store.reader.get_run("r"), gone, take_over=False))
    desk.store._file.db.execute("UPDATE runs SET renewed_at = 0")
    result = desk.resume(step)
    assert (result.status, result.wait["approvals"], desk.effects) == ("waiting", [2], ["deploy a"])
    desk.decide(2)
    assert desk.resume(step).result == ["deployed to a", "deployed to b"]
    assert len(desk.runner(step).approvals("r")) == 2


@pytest.mark.parametrize("how", ["swallowed", "turned into another error"])
def test_a_step_cannot_continue_past_a_call_that_waits_for_a_decision(desk, how):
    async def step(state: State, ctx: RunContext) -> Complete[str]:
        try:
            return Complete(await ctx.call_tool("deploy", to="prod"))
        except BaseException as exc:
            if how == "swallowed":
                return Complete("went on")
            raise ValueError from exc

    assert desk.start(step).status == "waiting"
    assert desk.store.reader.steps("r") == []
    desk.decide()
    assert desk.resume(step).result == "deployed to prod"


def test_a_drained_runner_does_not_wait_for_children_or_timers(desk):
    from loom_runner import Sleep

    async def step(state: State, ctx: RunContext) -> Sleep[State]:
        runner.drain()
        return Sleep(State(1), delay_s=1)

    runner = desk.runner(step)
    assert asyncio.run(runner.start(run_id="r", initial_state=State(), wait_s=60)).status == "waiting"
    assert asyncio.run(runner.resume(run_id="r", wait_s=60)).status == "waiting"
    assert desk.clock.slept == []
