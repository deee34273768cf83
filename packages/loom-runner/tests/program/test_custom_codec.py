"""States and results that are encoded and decoded by functions of the user."""

import asyncio
from decimal import Decimal

import pytest
from loom import tailrec
from loom_runner import AgentRunner, Complete, Continue, RunContext, UsageError
from loom_runner.errors import StateError


class Till:
    """No dataclass, no model: nothing that a hint could describe."""

    def __init__(self, coins):
        self.coins = coins


async def step(state: Till, ctx: RunContext) -> Continue[Till] | Complete[Decimal]:
    if len(state.coins) == 2:
        return Complete(sum(state.coins, Decimal(0)))
    return Continue(Till([*state.coins, Decimal("0.10")]))


HAND = {
    "encode_state": lambda till: [str(coin) for coin in till.coins],
    "decode_state": lambda coins: Till([Decimal(coin) for coin in coins]),
    "encode_result": str,
    "decode_result": Decimal,
}


@pytest.fixture
def make(store, clock):
    def make(**options):
        return AgentRunner(step=step, store=store, clock=clock, **(HAND | options))

    return make


def test_the_functions_write_and_read_states_and_results(make, store):
    assert asyncio.run(make().start(run_id="r", initial_state=Till([]), max_steps=1)).status == "paused"
    assert store.reader.get_run("r").state == '["0.10"]'
    result = asyncio.run(make().resume(run_id="r"))
    assert (result.result, [str(coin) for coin in result.state.coins]) == (Decimal("0.20"), ["0.10", "0.10"])
    assert asyncio.run(make().resume(run_id="r")).result == Decimal("0.20")


def test_functions_that_fail_are_named_and_change_nothing(make, store):
    asyncio.run(make().start(run_id="r", initial_state=Till([]), max_steps=1))
    with pytest.raises(StateError, match="cannot read the state of step function 'step': its decode function failed"):
        asyncio.run(make(decode_state=lambda plain: plain["coins"]).resume(run_id="r"))
    result = asyncio.run(make(encode_state=lambda till: till).resume(run_id="r"))
    assert "its encode function returned a Till that is not plain JSON" in result.error.message
    result = asyncio.run(make(encode_result=lambda result: 1 / 0).resume(run_id="r"))
    assert "its encode function failed for a Decimal (ZeroDivisionError" in result.error.message


def test_one_function_of_two_is_refused(make, store):
    with pytest.raises(UsageError, match="give both functions"):
        make(decode_state=None)


def test_a_loops_state_is_its_arguments(store):
    @tailrec
    def loop(n: int) -> int:
        return n if n == 0 else loop(n - 1)

    with pytest.raises(UsageError, match="with loop=: hint the loop's parameters"):
        AgentRunner(loop=loop, store=store, **HAND)
    runner = AgentRunner(loop=loop, store=store, encode_result=str, decode_result=int)
    assert asyncio.run(runner.start(run_id="r", initial_state=3)).result == 0
    assert store.reader.get_run("r").result == '"0"'
