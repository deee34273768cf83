"""Managed tool calls: recorded before and after, never silently repeated."""

import asyncio
import datetime as dt
import threading
from dataclasses import dataclass

import apsw
import pytest
from loom_runner import (
    AgentRunner,
    Complete,
    Continue,
    Done,
    NotDone,
    OutcomeUnknown,
    RetryPolicy,
    RunContext,
    SQLiteStore,
    Tool,
    ToolFailed,
    ToolRegistry,
    UnknownRun,
    UsageError,
    Wait,
    current_run,
    tool,
)
from loom_runner._model.waits import DecisionWait
from loom_runner._store.in_doubt import read_tool_calls

pytestmark = pytest.mark.interpreter


@dataclass(frozen=True)
class State:
    n: int = 0


class Again(TimeoutError):
    """Makes a first attempt fail after its calls, so that the second meets the ledger."""


@pytest.fixture
def tools():
    return ToolRegistry()


@pytest.fixture
def drive(store, clock, tools):
    """Run one step to its end, with one retry."""

    def drive(step, **options):
        runner = AgentRunner(
            step=step, store=store, tools=tools, clock=clock, retry=RetryPolicy(2), **({"name": "agent"} | options)
        )
        return asyncio.run(runner.start(run_id="r", initial_state=State()))

    return drive


def once(ctx: RunContext) -> None:
    if ctx.attempt == 0:
        raise Again


def test_a_recorded_payload_comes_back_on_a_later_attempt_and_the_tool_does_not_run(drive, tools, store):
    ran = []

    @tools.tool()
    async def fetch(url: str) -> dict:
        ran.append(url)
        return {"page": len(ran)}

    async def step(state: State, ctx: RunContext) -> Complete[dict]:
        page = await ctx.call_tool("fetch", url="x")
        once(ctx)
        return Complete(page)

    assert drive(step).result == {"page": 1}
    assert ran == ["x"]
    [call] = store.reader.tool_calls("r")
    assert (call.key, call.status, call.tries, call.arguments, call.result) == (
        "fetch/0",
        "done",
        1,
        '{"url": "x"}',
        '{"page":1}',
    )


def test_calls_of_one_name_are_numbered_in_the_order_of_the_code_also_concurrent_ones(drive, tools, store):
    @tools.tool()
    async def fetch(n: int) -> int:
        await asyncio.sleep(0.001 * (3 - n))
        return n

    async def step(state: State, ctx: RunContext) -> Complete[list[int]]:
        pages = await asyncio.gather(*(ctx.call_tool("fetch", n=n) for n in range(3)))
        once(ctx)
        return Complete(pages)

    assert drive(step).result == [0, 1, 2]
    assert sorted((call.key, call.arguments) for call in store.reader.tool_calls("r")) == [
        (f"fetch/{n}", f'{{"n": {n}}}') for n in range(3)
    ]


def test_the_same_call_in_another_step_is_another_call(drive, tools, store):
    @tools.tool()
    async def roll() -> int:
        return 4

    async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
        number = await ctx.call_tool("roll")
        return Continue(State(1)) if state.n == 0 else Complete(number)

    drive(step)
    assert [(call.step_index, call.key) for call in store.reader.tool_calls("r")] == [(0, "roll/0"), (1, "roll/0")]


def test_other_arguments_under_the_same_key_are_refused(drive, tools, store):
    @tools.tool()
    async def fetch(n: int) -> int:
        return n

    async def step(state: State, ctx: RunContext) -> Complete[int]:
        page = await ctx.call_tool("fetch", n=ctx.attempt)
        once(ctx)
        return Complete(page)

    result = drive(step)
    assert (result.status, result.error.type) == ("failed", "ToolCallMismatch")
    assert 'key \'fetch/0\' was used before with other arguments (then {"n": 0}, now {"n": 1})' in result.error.message
    assert [call.result for call in store.reader.tool_calls("r")] == ["0"]


def test_an_explicit_key_replaces_the_ordinal(drive, tools, store):
    ran = []

    @tools.tool()
    async def pay(amount: int, idempotency_key: str) -> str:
        ran.append(idempotency_key)
        await asyncio.sleep(0)
        return "paid"

    async def step(state: State, ctx: RunContext) -> Complete[list[str]]:
        both = await asyncio.gather(*(ctx.call_tool("pay", _key="order-7", amount=1) for _ in range(2)))
        return Complete([*both, await ctx.call_tool("pay", _key="order-7", amount=1)])

    assert drive(step).result == ["paid"] * 3
    assert ran == ["r/0/order-7"]


def test_the_key_is_the_same_on_every_attempt(drive, tools):
    keys = []

    @tools.tool(idempotent=True)
    def pay(idempotency_key: str) -> str:
        keys.append(idempotency_key)
        raise ConnectionError("lost")

    async def step(state: State, ctx: RunContext) -> Complete[int]:
        await ctx.call_tool("pay")

    drive(step)
    assert keys == ["r/0/pay/0", "r/0/pay/0"]


# ---------------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("declared", "raised", "category", "tries"),
    [
        ({}, ValueError("no"), "error", 1),
        ({}, ConnectionError("no"), "transient", 1),
        ({"idempotent": True}, ConnectionError("no"), "transient", 2),
        ({"read_only": True}, TimeoutError("no"), "transient", 2),
        ({"read_only": True}, ValueError("no"), "error", 1),
        ({}, ToolFailed("no", error_category="rate_limit", retryable=True), "rate_limit", 2),
        ({"idempotent": True}, ToolFailed("no", error_category="denied"), "denied", 1),
    ],
)
def test_a_failure_is_recorded_and_the_tool_runs_again_only_where_that_does_no_harm(
    drive, tools, store, declared, raised, category, tries
):
    @tools.tool("act", **declared)
    async def act() -> None:
        raise raised

    seen = []

    async def step(state: State, ctx: RunContext) -> Complete[str]:
        try:
            await ctx.call_tool("act")
        except ToolFailed as exc:
            seen.append((exc.error_category, exc.tool, exc.step_index))
            once(ctx)
            return Complete(str(exc))

    assert drive(step).result == "tool act failed: no"
    assert seen == [(category, "act", 0)] * 2
    assert [(call.status, call.tries) for call in store.reader.tool_calls("r")] == [("failed", tries)]


@pytest.mark.parametrize("value", [object(), {1: object()}, float("nan"), threading.Lock()])
def test_a_payload_that_json_cannot_hold_is_a_failure_that_is_not_repeated(drive, tools, store, value):
    @tools.tool("make", idempotent=True)
    async def make():
        return value

    async def step(state: State, ctx: RunContext) -> Complete[str]:
        try:
            await ctx.call_tool("make")
        except ToolFailed as exc:
            once(ctx)
            return Complete(exc.error_category)

    assert drive(step).result == "bad_result"
    assert store.reader.tool_calls("r")[0].tries == 1


def test_a_payload_is_the_same_json_at_once_and_later(drive, tools):
    seen = []

    @tools.tool("look")
    async def look():
        return {"at": dt.date(2026, 1, 2), "pair": (1, 2), "state": State(3)}

    async def step(state: State, ctx: RunContext) -> Complete[int]:
        seen.append(await ctx.call_tool("look"))
        once(ctx)
        return Complete(0)

    drive(step)
    assert seen == [{"at": "2026-01-02", "pair": [1, 2], "state": {"n": 3}}] * 2


def test_a_tool_that_hangs_is_stopped_and_its_failure_recorded(drive, tools, store):
    @tools.tool("hang", timeout_s=0.01)
    async def hang():
        await asyncio.sleep(60)

    async def step(state: State, ctx: RunContext) -> Complete[str]:
        try:
            await ctx.call_tool("hang")
        except ToolFailed as exc:
            return Complete(f"{exc.error_category}: {exc}")

    assert drive(step).result == "timeout: tool hang failed: no answer within 0.01 s"


def test_a_sync_tool_that_hangs_does_not_keep_the_run_or_the_process(drive, tools):
    held = threading.Event()

    @tools.tool("hang", timeout_s=0.01)
    def hang():
        held.wait(60)

    async def step(state: State, ctx: RunContext) -> Complete[str]:
        try:
            await ctx.call_tool("hang")
        except ToolFailed as exc:
            return Complete(exc.error_category)

    assert drive(step).result == "timeout"
    held.set()


def test_an_unknown_tool_fails_the_run_in_one_line(drive, tools):
    tools.add(Tool(name="look", function=print))

    async def step(state: State, ctx: RunContext) -> Complete[int]:
        await ctx.call_tool("lock")

    result = drive(step)
    assert (result.status, result.error.message) == (
        "failed",
        "cannot call tool 'lock': it is not registered. Tools: look.",
    )


def test_arguments_that_json_cannot_hold_are_refused_before_the_tool_runs(drive, tools, store):
    ran = []

    @tools.tool("look")
    async def look(at) -> None:
        ran.append(at)

    async def step(state: State, ctx: RunContext) -> Complete[str]:
        try:
            await ctx.call_tool("look", at=object())
        except ToolFailed as exc:
            return Complete(exc.error_category)

    assert drive(step).result == "invalid_arguments"
    assert (ran, store.reader.tool_calls("r")) == ([], [])


def test_a_call_that_is_not_awaited_is_finished_before_the_step_is_committed(drive, tools, store):
    @tools.tool("note")
    async def note() -> str:
        await asyncio.sleep(0.01)
        return "noted"

    async def step(state: State, ctx: RunContext) -> Complete[int]:
        tasks.append(asyncio.ensure_future(ctx.call_tool("note")))
        await asyncio.sleep(0)
        return Complete(1)

    tasks = []
    drive(step)
    assert [call.status for call in store.reader.tool_calls("r")] == ["done"]


def test_a_context_is_of_no_use_after_its_step(drive, tools, store):
    kept = []

    @tools.tool("note")
    async def note() -> str:
        return "noted"

    async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[str]:
        if state.n == 0:
            kept.append(ctx)
            return Continue(State(1))
        with pytest.raises(Exception, match="cannot call note: the attempt of step 0 of 'r' is over"):
            await kept[0].call_tool("note")
        return Complete("refused")

    assert drive(step).result == "refused"
    assert store.reader.tool_calls("r") == []


# ---------------------------------------------------------------------- doubt


class Crash(KeyboardInterrupt):
    """Ends a process in the middle of a call, as far as the ledger can see."""


def in_doubt(store, tools, clock, **declared):
    """A run whose process ended in the middle of its tool call."""
    ran = []

    async def charge(n: int) -> str:
        ran.append(n)
        if len(ran) == 1:
            raise Crash
        return f"receipt {len(ran)}"

    tools.add(Tool(name="charge", function=charge, **declared))

    async def step(state: State, ctx: RunContext) -> Complete[str]:
        try:
            return Complete(await ctx.call_tool("charge", n=1))
        except ToolFailed as exc:
            return Complete(exc.error_category)

    runner = AgentRunner(step=step, store=store, tools=tools, clock=clock, name="agent")
    with pytest.raises(Crash):
        asyncio.run(runner.start(run_id="r", initial_state=State()))
    [doubt] = read_tool_calls(store.reader, "r", in_doubt=True)
    return runner, ran, doubt.number


def test_a_repeatable_tool_in_doubt_runs_again_with_its_key(store, tools, clock):
    runner, ran, _ = in_doubt(store, tools, clock, idempotent=True)
    assert asyncio.run(runner.resume(run_id="r")).result == "receipt 2"
    [call] = store.reader.tool_calls("r")
    assert (call.status, call.tries, len(ran)) == ("done", 2, 2)
    assert "1 in doubt and retried with its key (charge, step 0)" in str(runner.explain_run("r"))


def test_a_tool_that_must_not_run_twice_fails_with_in_doubt(store, tools, clock):
    runner, ran, _ = in_doubt(store, tools, clock, on_doubt="fail")
    assert asyncio.run(runner.resume(run_id="r")).result == "in_doubt"
    assert len(ran) == 1
    assert store.reader.tool_calls("r")[0].status == "failed"


def test_any_other_tool_in_doubt_parks_the_run_until_somebody_decides(store, tools, clock):
    runner, ran, number = in_doubt(store, tools, clock)
    for _ in range(2):
        result = asyncio.run(runner.resume(run_id="r"))
        assert (result.status, result.wait) == ("waiting", {"doubt": number})
    assert len(ran) == 1
    assert [doubt["id"] for doubt in runner.doubts()] == [f"r#{number}"]
    assert f"resolve 'r#{number}' --retry" in str(runner.explain_run("r"))


@pytest.mark.parametrize(
    ("how", "result", "comes_to", "times"),
    [("retry", None, "receipt 2", 2), ("skip", None, "skipped", 1), ("result", "receipt X", "receipt X", 1)],
)
def test_each_decision_about_a_call_in_doubt_takes_effect(store, tools, clock, how, result, comes_to, times):
    runner, ran, number = in_doubt(store, tools, clock)
    asyncio.run(runner.resume(run_id="r"))
    asyncio.run(runner.resolve(run_id="r", call=number, how=how, result=result, decided_by="ann"))
    assert runner.doubts("r") == []
    assert asyncio.run(runner.resume(run_id="r")).result == comes_to
    assert len(ran) == times
    assert store.reader.tool_calls("r")[0].decided_by == "ann"
    with pytest.raises(UsageError, match=f"cannot resolve r#{number}: no such call is in doubt. In doubt: none"):
        asyncio.run(runner.resolve(run_id="r", call=number, how="retry"))


def test_a_doubt_may_be_decided_before_the_run_is_resumed(store, tools, clock):
    runner, ran, number = in_doubt(store, tools, clock)
    asyncio.run(runner.resolve(run_id="r", call=number, how="result", result="receipt Y"))
    assert asyncio.run(runner.resume(run_id="r")).result == "receipt Y"


def test_an_answer_needs_a_run_and_plain_json(store, tools, clock):
    runner, _, number = in_doubt(store, tools, clock)
    with pytest.raises(UnknownRun, match="cannot resolve a call of 'q'"):
        asyncio.run(runner.resolve(run_id="q", call=number, how="retry"))
    with pytest.raises(Exception, match="is not plain JSON"):
        asyncio.run(runner.resolve(run_id="r", call=number, how="result", result=object()))
    assert len(runner.doubts()) == 1


def test_a_step_cannot_swallow_a_doubt(store, tools, clock):
    runner, ran, number = in_doubt(store, tools, clock)

    async def greedy(state: State, ctx: RunContext) -> Complete[str]:
        try:
            await ctx.call_tool("charge", n=1)
        except BaseException:  # noqa: BLE001
            return Complete("went on regardless")

    async def grouped(state: State, ctx: RunContext) -> Complete[str]:
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.call_tool("charge", n=1))
        return Complete("went on regardless")

    for step in (greedy, grouped):
        result = asyncio.run(AgentRunner(step=step, store=store, tools=tools, name="agent").resume(run_id="r"))
        assert (result.status, result.wait) == ("waiting", {"doubt": number})
        store._file.db.execute("UPDATE runs SET status = 'paused'")


# ---------------------------------------------------------------------- effects of a call


def test_tools_see_the_run_and_a_tool_inside_a_tool_is_the_plain_function(drive, tools, store):
    @tool(idempotent=True)
    async def inner() -> str:
        return current_run().idempotency_key

    @tools.tool("outer")
    async def outer() -> str:
        return await inner()

    @tools.tool("sync")
    def sync() -> str:
        return current_run().run_id

    async def step(state: State, ctx: RunContext) -> Complete[list[str]]:
        return Complete([await ctx.call_tool("outer"), await ctx.call_tool("sync"), await inner()])

    assert drive(step).result == ["r/0", "r", "r/0"]
    assert [call.name for call in store.reader.tool_calls("r")] == ["outer", "sync", "inner"]
    assert current_run() is None


def test_a_sync_tool_function_in_a_sync_step_is_managed_and_typed(drive, store):
    @tool
    def look(at: State, *, deep: bool = False) -> State:
        return State(at.n + 1)

    def step(state: State, ctx: RunContext) -> Complete[int]:
        found = look(State(4), deep=True)
        assert isinstance(found, State)
        once(ctx)
        return Complete(found.n)

    assert drive(step).result == 5
    [call] = store.reader.tool_calls("r")
    assert (call.arguments, call.tries) == ('{"at": {"n": 4}, "deep": true}', 1)


def test_a_sync_tool_function_in_a_coroutine_inside_a_run_is_refused(drive, store):
    @tool
    def look() -> int:
        return 1

    async def step(state: State, ctx: RunContext) -> Complete[int]:
        return Complete(look())

    assert "cannot call the sync tool 'look' from a coroutine inside a run" in drive(step).error.message
    assert store.reader.tool_calls("r") == []


def test_observers_hear_of_calls_and_of_recorded_answers(drive, tools):
    heard = []

    @tools.tool("look")
    async def look(at: int) -> int:
        if at:
            raise ValueError("no")
        return 7

    async def step(state: State, ctx: RunContext) -> Complete[int]:
        for at in (0, 1):
            try:
                await ctx.call_tool("look", at=at)
            except ToolFailed:
                pass
        once(ctx)
        return Complete(0)

    drive(step, observers=[lambda event: heard.append(event) if event.kind.startswith("tool") else None])
    assert [(event.kind, event.data["key"], event.data.get("recorded"), event.attempt) for event in heard] == [
        ("tool_started", "look/0", None, 0),
        ("tool_finished", "look/0", False, 0),
        ("tool_started", "look/1", None, 0),
        ("tool_finished", "look/1", False, 0),
        ("tool_finished", "look/0", True, 1),
        ("tool_finished", "look/1", True, 1),
    ]
    assert heard[0].data["arguments"] == {"at": 0}
    assert heard[1].data["result"] == 7
    assert heard[3].data["error"]["message"] == "no"


def test_calls_are_numbered_in_their_run(store, tools, clock):
    @tools.tool("look")
    async def look(at: int) -> int:
        return at

    async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
        await ctx.call_tool("look", at=state.n)
        return Complete(0) if state.n == 1 else Continue(State(state.n + 1))

    runner = AgentRunner(step=step, store=store, tools=tools, clock=clock, name="agent")
    for run_id in ("a", "b"):
        asyncio.run(runner.start(run_id=run_id, initial_state=State()))
        assert [call["id"] for call in runner.tool_calls(run_id)] == [f"{run_id}#1", f"{run_id}#2"]


def test_calls_of_an_older_database_get_their_numbers_in_their_run(tmp_path):
    from loom_runner._store.sqlite.schema import APPLICATION_ID, MIGRATIONS

    path = tmp_path / "runs.sqlite"
    db = apsw.Connection(str(path))
    for migration in MIGRATIONS[:3]:
        db.execute(migration)
    db.pragma("user_version", 3)
    db.pragma("application_id", APPLICATION_ID)
    for key, run_id in ((1, "a"), (2, "b")):
        db.execute(
            "INSERT INTO runs (run_key, run_id, status, program, created_at, updated_at, wait, input, state)"
            " VALUES (?, ?, 'waiting', 'step', 1, 1, ?, 'null', 'null')",
            (key, run_id, '{"doubt": 3}' if run_id == "b" else None),
        )
        db.execute(
            "INSERT INTO leases (run_key, fence, machine, pid, process, code, code_at, first_step, taken_at)"
            " VALUES (?, 1, 'm', 1, 'p', 'c', 'c:1', 0, 1)",
            (key,),
        )
    for key in (1, 2, 2):
        db.execute(
            "INSERT INTO tool_calls (run_key, step_index, key, name, status, started_at, fence, arguments_hash, arguments)"
            " VALUES (?, 0, 'k' || random(), 'look', 'in_doubt', 1, 1, 'h', '{}')",
            (key,),
        )
    db.close()
    with SQLiteStore(path) as store:
        assert [(call.run_id, call.number) for call in store.reader.tool_calls()] == [("a", 1), ("b", 1), ("b", 2)]
        assert store.reader.get_run("b").wait == DecisionWait(doubt=2)


# ---------------------------------------------------------------- calls that may be found out about


@pytest.fixture
def interrupted(store, tools, clock):
    """Return a function that takes a tool's options, lets the process of a run die inside that
    tool, and returns a runner that can resume the run.
    """

    def make(**options):
        ran = []

        async def charge(amount: int, idempotency_key: str = "") -> str:
            ran.append(idempotency_key)
            if len(ran) == 1:
                raise KeyboardInterrupt
            return "receipt"

        tools.tool("charge", **options)(charge)

        async def step(state: State, ctx: RunContext) -> Complete[str]:
            try:
                return Complete(await ctx.call_tool("charge", amount=3))
            except ToolFailed as exc:
                return Complete(exc.error_category)

        runner = AgentRunner(step=step, store=store, tools=tools, clock=clock, name="agent")
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(runner.start(run_id="r", initial_state=State()))
        return runner, ran

    return make


@pytest.mark.parametrize("is_async", [True, False])
def test_a_tool_may_find_out_that_an_interrupted_call_took_effect(interrupted, store, is_async):
    asked = []

    def reconcile(key, arguments):
        asked.append((key, arguments))
        return Done("receipt of old")

    async def slowly(key, arguments):
        return reconcile(key, arguments)

    runner, ran = interrupted(reconcile=slowly if is_async else reconcile)
    assert asyncio.run(runner.resume(run_id="r")).result == "receipt of old"
    assert asked == [("r/0/charge/0", {"amount": 3})]
    assert (len(ran), store.reader.tool_calls("r")[0].decided_by) == (1, "reconcile")


def test_a_tool_may_find_out_that_an_interrupted_call_had_no_effect(interrupted):
    runner, ran = interrupted(reconcile=lambda key, arguments: NotDone())
    assert asyncio.run(runner.resume(run_id="r")).result == "receipt"
    assert ran == ["r/0/charge/0"] * 2


@pytest.mark.parametrize("answer", [None, ValueError()])
def test_a_tool_that_cannot_find_out_leaves_it_to_its_policy(interrupted, answer, caplog):
    def reconcile(key, arguments):
        if isinstance(answer, Exception):
            raise answer
        return answer

    runner, ran = interrupted(reconcile=reconcile)
    assert asyncio.run(runner.resume(run_id="r")).wait == {"doubt": 1}
    assert len(ran) == 1
    assert bool(caplog.records) == isinstance(answer, Exception)


# ----------------------------------------------------------------- tools that raise OutcomeUnknown


@pytest.fixture
def cut_off(store, tools, clock):
    """Return a function that creates a run whose tool raises `OutcomeUnknown` a number of times."""

    def make(times, **options):
        ran = []

        @tools.tool("push", **options)
        async def push() -> str:
            ran.append(True)
            if len(ran) <= times:
                raise OutcomeUnknown("the server died")
            return "pushed"

        async def step(state: State, ctx: RunContext) -> Complete[str]:
            try:
                return Complete(await ctx.call_tool("push"))
            except ToolFailed as exc:
                return Complete(exc.error_category)

        runner = AgentRunner(step=step, store=store, tools=tools, clock=clock, name="agent")
        return runner, asyncio.run(runner.start(run_id="r", initial_state=State())), ran

    return make


def test_a_call_that_was_cut_off_is_asked_about(cut_off, store):
    runner, result, ran = cut_off(1)
    assert (result.status, result.wait, len(ran)) == ("waiting", {"doubt": 1}, 1)
    assert store.reader.tool_calls("r")[0].status == "in_doubt"
    asyncio.run(runner.resolve(run_id="r", call=1, how="retry"))
    assert asyncio.run(runner.resume(run_id="r")).result == "pushed"


@pytest.mark.parametrize(("times", "result"), [(1, "pushed"), (2, "in_doubt")])
def test_a_call_that_was_cut_off_is_repeated_once_where_that_does_no_harm(cut_off, store, times, result):
    _, ended, ran = cut_off(times, idempotent=True)
    assert (ended.result, len(ran)) == (result, 2)
    assert store.reader.tool_calls("r")[0].tries == 2


def test_an_interrupted_call_fails_if_its_tool_declares_it(cut_off):
    _, ended, ran = cut_off(1, on_doubt="fail")
    assert (ended.result, len(ran)) == ("in_doubt", 1)


def test_a_call_that_was_cut_off_may_be_found_out_about(cut_off):
    _, ended, ran = cut_off(1, reconcile=lambda key, arguments: Done("it was pushed"))
    assert (ended.result, len(ran)) == ("it was pushed", 1)


# ------------------------------------------------------------------ what is too large for the store


@pytest.fixture
def small(tmp_path):
    with SQLiteStore(tmp_path / "small.sqlite", "process", max_payload_bytes=8000, max_state_bytes=8000) as store:
        yield store


def test_a_payload_that_is_too_large_fails_its_call_and_says_how_large_it_is(small, tools, clock):
    @tools.tool("read")
    async def read() -> str:
        return "x" * 9000

    async def step(state: State, ctx: RunContext) -> Complete[str]:
        with pytest.raises(ToolFailed) as caught:
            await ctx.call_tool("read")
        return Complete(f"{caught.value.error_category}: {caught.value.message}")

    result = asyncio.run(
        AgentRunner(step=step, store=small, tools=tools, clock=clock).start(run_id="r", initial_state=State())
    )
    assert result.result.startswith("bad_result: tool read failed: it ran, but its result cannot be stored")
    assert small.reader.tool_calls("r")[0].status == "failed"


def test_arguments_that_are_too_large_are_refused_before_the_tool_runs(small, tools, clock):
    ran = []

    @tools.tool("write")
    async def write(text: str) -> None:
        ran.append(text)

    async def step(state: State, ctx: RunContext) -> Complete[str]:
        with pytest.raises(ToolFailed) as caught:
            await ctx.call_tool("write", text="x" * 9000)
        return Complete(caught.value.error_category)

    result = asyncio.run(
        AgentRunner(step=step, store=small, tools=tools, clock=clock).start(run_id="r", initial_state=State())
    )
    assert (result.result, ran) == ("invalid_arguments", [])


@pytest.mark.parametrize(
    "outcome", [Continue({"text": "x" * 9000}), Complete("x" * 9000), Wait({"t": "x" * 9000}, "go")]
)
def test_a_state_or_result_that_is_too_large_fails_the_step_and_keeps_the_state_before(small, clock, outcome):
    async def step(state, ctx):
        return outcome

    result = asyncio.run(AgentRunner(step=step, store=small, clock=clock).start(run_id="r", initial_state={}))
    assert (result.status, result.error.type, result.state) == ("failed", "PayloadTooLarge", {})
    assert small.reader.get_run("r").owner is None
