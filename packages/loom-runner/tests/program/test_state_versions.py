"""States of other versions of the code: converted if there are upcasters, else an error."""

import asyncio
from dataclasses import dataclass

import pytest
from loom_runner import AgentRunner, Complete, Continue, RunContext, UsageError
from loom_runner.errors import StateError


@dataclass(frozen=True)
class Old:
    n: int = 0


@dataclass(frozen=True)
class New:
    count: int
    unit: str


async def old_step(state: Old, ctx: RunContext) -> Continue[Old] | Complete[int]:
    return Complete(state.n) if state.n == 4 else Continue(Old(state.n + 1))


async def new_step(state: New, ctx: RunContext) -> Continue[New] | Complete[str]:
    if state.count == 4:
        return Complete(f"{state.count} {state.unit}")
    return Continue(New(state.count + 1, state.unit))


new_step.__qualname__ = "old_step"

TO_2 = {1: lambda state: {"count": state["n"]}}
TO_3 = {**TO_2, 2: lambda state: {**state, "unit": "apples"}}


@pytest.fixture
def make(store, clock):
    def make(step=new_step, **options):
        return AgentRunner(step=step, store=store, clock=clock, **({"name": "agent"} | options))

    asyncio.run(make(old_step).start(run_id="r", initial_state=Old(), max_steps=2))
    return make


def resume(runner, **options):
    return asyncio.run(runner.resume(run_id="r", **options))


def test_a_state_goes_through_every_version_between(make, store):
    result = resume(make(state_version=3, upcasters=TO_3), max_steps=1)
    assert result.state == New(3, "apples")
    record = store.reader.get_run("r")
    assert (record.state, record.state_version) == ('{"count":3,"unit":"apples"}', 3)
    assert resume(make(state_version=3)).result == "4 apples"
    assert store.reader.steps("r", first=1, limit=1)[0].state == '{"n":2}'


def test_a_state_that_was_brought_up_to_date_is_so_also_when_the_next_step_fails(make, store):
    async def step(state: New, ctx: RunContext) -> Complete[str]:
        raise ValueError

    assert resume(make(step, state_version=3, upcasters=TO_3)).status == "failed"
    assert store.reader.get_run("r").state_version == 3
    assert resume(make(state_version=3)).result == "4 apples"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"state_version": 2},
            r"the state of run 'r' \(step 2\): it is of version 1, this code writes version 2, and there is no upcaster",
        ),
        ({"state_version": 3, "upcasters": TO_2}, "no upcaster from 2"),
        ({"state_version": 2, "upcasters": {1: lambda state: state["gone"]}}, r"from version 1 failed \(KeyError"),
        ({"state_version": 2, "upcasters": {1: lambda state: {1, 2}}}, "a value that is not JSON"),
        ({"state_version": 2, "upcasters": TO_2}, "does not fit its type"),
    ],
)
def test_a_state_that_cannot_be_read_is_named_and_left_as_it_is(make, store, options, message):
    with pytest.raises(StateError, match=message) as caught:
        resume(make(**options))
    assert (caught.value.run_id, caught.value.step_index) == ("r", 2)
    record = store.reader.get_run("r")
    assert (record.status, record.state, record.state_version) == ("paused", '{"n":2}', 1)


def test_a_state_of_newer_code_is_refused(make):
    resume(make(state_version=3, upcasters=TO_3), max_steps=1)
    with pytest.raises(StateError, match="it is of version 3, and this code writes version 1") as caught:
        resume(make(old_step))
    assert caught.value.raw == '{"count":3,"unit":"apples"}'


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"state_version": 0}, "versions count from 1"),
        ({"upcasters": TO_2}, "Pass state_version=2"),
        ({"state_version": 2, "upcasters": TO_3}, "Pass state_version=3"),
    ],
)
def test_versions_that_make_no_sense_are_refused(make, wrong, why):
    with pytest.raises(UsageError, match=why):
        make(**wrong)


def test_a_fork_keeps_the_version_of_its_state(make, store):
    new = asyncio.run(make(old_step).fork(run_id="r", step=0))
    assert asyncio.run(make(state_version=3, upcasters=TO_3).resume(run_id=new)).result == "4 apples"


def test_starting_again_with_the_same_input_in_its_new_form_resumes(make):
    runner = make(state_version=3, upcasters=TO_3)
    assert asyncio.run(runner.start(run_id="r", initial_state=New(0, "apples"))).result == "4 apples"


def test_a_fork_from_a_step_of_an_older_version_is_brought_up_to_date(make, store):
    runner = make(state_version=3, upcasters=TO_3)
    resume(runner, max_steps=1)
    new = asyncio.run(runner.fork(run_id="r", step=0))
    assert store.reader.get_run(new).state_version == 1
    assert asyncio.run(runner.resume(run_id=new)).result == "4 apples"


def test_checkpoints_of_older_versions_are_verified_through_their_upcasters(make):
    runner = make(state_version=3, upcasters=TO_3)
    resume(runner, max_steps=1)
    assert runner.verify_run("r") == {"ok": True, "checked": 4, "problems": []}
    assert [problem["step_index"] for problem in make(state_version=3).verify_run("r")["problems"]] == [0, 1]
