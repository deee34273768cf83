"""A transition runs one step, and the steps are those of the loop."""

import asyncio
import inspect

import pytest
from loom import Return, TailCall, TailCallError, tailrec, transition

LOG = []


@tailrec
async def countdown(n, total=0, *, by=1, **more):
    await asyncio.sleep(0)
    LOG.append(n)
    if n <= 0:
        return total
    return await countdown(n - by, total + n, by=by)


def test_a_transition_describes_itself():
    delta = transition(countdown)
    assert delta.function is countdown
    assert delta.is_async
    assert delta.signature == inspect.signature(countdown)
    assert repr(delta).startswith("<transition of <function countdown")


def test_binding_fills_every_parameter():
    assert transition(countdown).bind(3, x=1) == {"n": 3, "total": 0, "by": 1, "more": {"x": 1}}


def test_binding_errors_are_pythons():
    with pytest.raises(TypeError, match=r"countdown\(\) missing 1 required positional argument: 'n'"):
        transition(countdown).bind()


def test_one_call_runs_one_step():
    LOG.clear()
    out = asyncio.run(transition(countdown)(2))
    assert out == TailCall(countdown, {"n": 1, "total": 2, "by": 1, "more": {}})
    assert LOG == [2]


def test_steps_from_arguments_reach_the_result_of_the_loop():
    async def drive():
        delta = transition(countdown)
        out = await delta(5)
        steps = 1
        while isinstance(out, TailCall):
            out = await transition(out.function).step(out.arguments)
            steps += 1
        return steps, out

    assert asyncio.run(drive()) == (6, Return(15))


def test_wrong_arguments_of_a_step_are_named():
    with pytest.raises(TypeError, match=r"\['extra', 'n'\]"):
        transition(countdown).step({"total": 0, "by": 1, "more": {}, "extra": 2})


def plain(n, acc=0):
    if n == 0:
        return acc
    return plain(n - 1, acc + n)


def test_a_plain_function_of_an_accepted_shape_has_a_transition():
    delta = transition(plain)
    assert not delta.is_async
    assert delta(2) == TailCall(plain, {"n": 1, "acc": 2})
    assert delta(0, 7) == Return(7)


class Session:
    @tailrec
    def run(self, n, *rest):
        if n == 0:
            return rest
        return self.run(n - 1, *rest, n)


def test_a_bound_method_keeps_its_receiver():
    session = Session()
    delta = transition(session.run)
    assert str(delta.signature) == "(n, *rest)"
    assert delta.bind(1, 2) == {"self": session, "n": 1, "rest": (2,)}
    out = delta(1, 2)
    assert out == TailCall(session.run, {"self": session, "n": 0, "rest": (2, 1)})
    assert delta.step(out.arguments) == Return((2, 1))


@tailrec(group="transition test")
def ping(n):
    return pong(n - 1) if n else "ping"


@tailrec(group="transition test")
def pong(n):
    return ping(n - 1) if n else "pong"


def test_the_next_step_may_be_another_member():
    assert transition(ping)(2) == TailCall(pong, {"n": 1})
    assert transition(pong)(0) == Return("pong")


@tailrec(blocks="step")
def in_block(n):
    try:
        LOG.append(("in", n))
        return in_block(n - 1) if n else "end"
    finally:
        LOG.append(("out", n))


def test_a_step_scoped_block_ends_with_the_step():
    LOG.clear()
    assert transition(in_block)(1) == TailCall(in_block, {"n": 0})
    assert LOG == [("in", 1), ("out", 1)]


@tailrec(blocks="exact")
def exact(n):
    try:
        return exact(n - 1) if n else "end"
    finally:
        LOG.append(n)


def generator(n):
    yield n
    yield from generator(n - 1)


@pytest.mark.parametrize(("fn", "code"), [(exact, "LT022"), (generator, "LT021"), (len, "LT001"), (lambda: 1, "LT002")])
def test_a_function_without_single_steps_is_refused(fn, code):
    with pytest.raises(TailCallError) as caught:
        transition(fn)
    assert caught.value.code == code


def test_values_are_frozen_and_compare():
    assert Return(1) == Return(1) != Return(2)
    with pytest.raises(AttributeError):
        Return(1).value = 2
