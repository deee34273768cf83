"""Loops written with `@tailrec`, and the encoding of their states."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from loom import tailrec
from loom_runner import AgentRunner, Complete, Continue, Fail, RunContext, Sleep, UsageError, Wait, tool
from loom_runner.errors import StateError

pytestmark = pytest.mark.interpreter


@dataclass(frozen=True)
class Crawl:
    todo: list[str]
    seen: list[str]


@tool(idempotent=True)
async def links(page: str) -> list[str]:
    return {"/": ["/a", "/b"]}.get(page, [])


@tailrec
async def crawl(state: Crawl) -> list[str]:
    if not state.todo:
        return state.seen
    page, *rest = state.todo
    found = await links(page)
    return await crawl(Crawl(rest + found, [*state.seen, page]))


@tailrec
def down(n: int, by: int = 1) -> str:
    if n <= 0:
        return "landed"
    return down(n - by, by)


@tailrec
async def everything(n: int, *rest: int, scale: float = 1.0, **named: str) -> Any:
    if n == 0:
        return [list(rest), scale, named]
    return await everything(n - 1, *rest, n, scale=scale * 2, **named)


@tailrec(group="game")
async def ping(n: int) -> str:
    if n == 0:
        return "ping"
    return await pong(n - 1)


@tailrec(group="game")
async def pong(n: int) -> str:
    if n == 0:
        return "pong"
    return await ping(n - 1)


@tailrec
async def unhinted(state):
    if state["n"] == 0:
        return state
    return await unhinted({"n": state["n"] - 1, "pair": [1, 2]})


@pytest.fixture
def drive(store):
    def drive(loop, initial=None, *, each=None, run_id="r"):
        """Run a loop to its end; with `each`, in slices of so many steps, each by a runner that
        knows nothing.
        """
        result = asyncio.run(
            AgentRunner(loop=loop, store=store).start(run_id=run_id, initial_state=initial, max_steps=each)
        )
        while result.status == "paused":
            result = asyncio.run(AgentRunner(loop=loop, store=store).resume(run_id=run_id, max_steps=each))
        return result

    return drive


@pytest.mark.parametrize("each", [None, 1])
@pytest.mark.parametrize(
    ("loop", "initial", "result", "steps"),
    [
        (crawl, Crawl(["/"], []), ["/", "/a", "/b"], 4),
        (down, 3, "landed", 4),
        (down, {"n": 4, "by": 2}, "landed", 3),
        (everything, {"n": 2, "scale": 3}, [[2, 1], 12.0, {}], 3),
        (ping, 3, "pong", 4),
        (pong, 3, "ping", 4),
        (unhinted, {"state": {"n": 2}}, {"n": 0, "pair": [1, 2]}, 3),
        (unhinted, {"n": 1}, {"n": 0, "pair": [1, 2]}, 2),
    ],
)
def test_a_loop_comes_to_the_same_result_in_one_process_and_in_many(drive, each, loop, initial, result, steps):
    done = drive(loop, initial, each=each)
    assert (done.status, done.result, done.step_index) == ("completed", result, steps)


def test_the_source_runs_in_memory_without_a_store():
    assert asyncio.run(crawl(Crawl(["/"], []))) == ["/", "/a", "/b"]
    assert down(3) == "landed"


def test_tools_of_a_loop_are_managed_calls(drive, store):
    drive(crawl, Crawl(["/"], []))
    assert [(call.step_index, call.arguments) for call in store.reader.tool_calls("r")] == [
        (0, '{"page": "/"}'),
        (1, '{"page": "/a"}'),
        (2, '{"page": "/b"}'),
    ]


def test_a_loop_whose_parameters_have_defaults_needs_no_input(drive):
    @tailrec
    async def countdown(n: int = 2) -> int:
        if n == 0:
            return 0
        return await countdown(n - 1)

    assert drive(countdown).step_index == 3


def test_checkpoints_say_which_call_comes_next(drive, store):
    drive(ping, 2)
    assert [step.state for step in store.reader.steps("r")] == [
        '{"function":"pong","arguments":{"n":1}}',
        '{"function":"ping","arguments":{"n":0}}',
        None,
    ]


def test_a_loop_without_its_arguments_is_an_error_that_names_them(drive):
    with pytest.raises(UsageError, match="cannot start 'two': it takes a, b. Give the arguments by name"):

        @tailrec
        async def two(a: int, b: int) -> int:
            if a:
                return b
            return await two(b, a)

        drive(two, 3)


def test_a_value_of_another_type_is_refused(drive):
    with pytest.raises(StateError, match="cannot store parameter 'n' of 'down'"):
        drive(down, "three")


def test_an_object_without_a_hint_is_refused(drive):
    with pytest.raises(StateError, match="cannot store parameter 'state' of 'unhinted': it is not plain JSON"):
        drive(unhinted, {"state": Crawl([], [])})


def test_code_that_lost_a_parameter_or_a_function_is_an_error(store):
    async def with_by():
        return await AgentRunner(loop=down, store=store, name="down").start(run_id="r", initial_state=3, max_steps=1)

    asyncio.run(with_by())

    def resume_with(loop):
        asyncio.run(AgentRunner(loop=loop, store=store, name="down").resume(run_id="r"))

    def renamed():
        @tailrec
        def down(n: int) -> str:
            if n == 0:
                return ""
            return down(n - 1)

        return down

    with pytest.raises(StateError, match="the stored arguments are n, by, and the function now takes n"):
        resume_with(renamed())
    store._file.db.execute("UPDATE runs SET state = replace(state, 'down', 'gone')")
    with pytest.raises(StateError, match="the stored call is to 'gone', which the code no longer has"):
        resume_with(down)
    store._file.db.execute("UPDATE runs SET state = '[]'")
    with pytest.raises(StateError, match="it is not a stored call"):
        resume_with(down)


# ---------------------------------------------------------------------- step functions


@pytest.mark.parametrize(("step", "said"), [(lambda: None, "a step takes"), (lambda a, b, c: None, "a step takes")])
def test_a_function_that_cannot_be_a_step_is_refused(store, step, said):
    with pytest.raises(UsageError, match=said):
        AgentRunner(step=step, store=store)


def test_a_state_type_that_exists_for_the_type_checker_only_must_be_given(store):
    async def step(state: Missing, ctx: RunContext) -> Continue[Missing]:  # noqa: F821
        return Continue(state)

    with pytest.raises(UsageError, match="the type of its state, 'Missing', is not found at run time"):
        AgentRunner(step=step, store=store)
    AgentRunner(step=step, store=store, state_type=int)


def test_a_state_type_is_not_for_loops(store):
    with pytest.raises(UsageError, match="hint the loop's parameters"):
        AgentRunner(loop=down, store=store, state_type=int)


def test_the_types_may_be_given_and_an_object_may_be_the_step(store):
    class Agent:
        async def __call__(self, state, ctx):
            return Complete(Crawl([], state.todo))

    runner = AgentRunner(step=Agent(), store=store, state_type=Crawl, result_type=Crawl)
    result = asyncio.run(runner.start(run_id="r", initial_state=Crawl(["x"], [])))
    assert result.result == Crawl([], ["x"])
    assert asyncio.run(runner.resume(run_id="r")).result == Crawl([], ["x"])


def test_the_fingerprint_follows_the_code_and_not_its_comments(store, tmp_path):
    import importlib.util

    def fingerprint(text):
        path = tmp_path / "module.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location("module", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return AgentRunner(step=module.step, store=store).program.fingerprint

    first = fingerprint("def step(state, ctx):\n    return 1\n")
    assert fingerprint("# hello\n\ndef step(state, ctx):\n    # here\n    return 1\n") == first
    assert fingerprint("def step(state, ctx):\n    return 2\n") != first
    assert AgentRunner(step=eval("lambda state, ctx: 1"), store=store).program.fingerprint


@pytest.mark.parametrize("outcome", [Wait(1, signal="go"), Sleep(1, delay_s=1), Fail("no"), Complete(1)])
def test_a_loop_that_returns_an_outcome_is_told_that_it_cannot(outcome, store):
    @tailrec
    async def loop(n: int):
        if n == 0:
            return outcome
        return await loop(n - 1)

    result = asyncio.run(AgentRunner(loop=loop, store=store).start(run_id="r", initial_state=1))
    assert (result.status, result.error.type) == ("failed", "OutcomeError")
    assert f"returned a {type(outcome).__name__}, and a loop returns its result" in result.error.message
