"""States and results that are encoded and decoded by functions of the user."""

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from loom import tailrec
from loom_runner import AgentRunner, Complete, Continue, RunContext, UsageError
from loom_runner._program.custom_codec import FunctionCodec
from loom_runner.errors import StateEncodeError, StateError


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


class Machine:
    """Equal if its `n` is; the client is made anew."""

    def __init__(self, n: int, note: str = "") -> None:
        self.n = n
        self.note = note
        self.client = object()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Machine) and (self.n, self.note) == (other.n, other.note)

    __hash__ = None  # type: ignore[assignment]


def test_what_the_functions_forget_is_refused_and_what_they_make_anew_is_not():
    codec = FunctionCodec(lambda machine: {"n": machine.n}, lambda plain: Machine(**plain), "the state")
    given = Machine(3)
    text, read = codec.encode(given)
    assert (text, read, read is given) == ('{"n":3}', given, False)
    with pytest.raises(StateEncodeError, match="by its encode and decode functions, it is a Machine, and would come"):
        codec.encode(Machine(3, "lost"))
    with pytest.raises(StateEncodeError, match="its decode function cannot read what its encode function wrote"):
        FunctionCodec(lambda machine: [machine.n], lambda plain: Machine(**plain), "the state").encode(given)


def test_objects_without_an_equality_may_be_made_anew():
    @dataclass
    class Shop:
        n: int
        till: Till
        cache: object = field(default_factory=object, compare=False)

    codec = FunctionCodec(lambda shop: shop.n, lambda n: Shop(n, Till([])), "the state")
    assert codec.encode(Shop(3, Till([1])))[1].n == 3
    with pytest.raises(StateEncodeError, match="n is an int, 3, and would come back as 4"):
        FunctionCodec(lambda shop: shop.n, lambda n: Shop(n + 1, Till([])), "the state").encode(Shop(3, Till([])))
