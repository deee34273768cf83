"""The pieces that run: members, guards and the stack of waiting frames."""

import pytest
from loom._runtime import MEMBER, Next, Push, member_of, pause, run_frames


def test_only_our_functions_have_a_member(programs):
    module = programs.load("@tailrec\ndef f(n): return f(n - 1) if n else 0\ndef g(): pass")
    assert member_of(module.f).public is module.f
    assert member_of(module.g) is None
    assert member_of(len) is None
    assert member_of(3) is None


def test_a_copy_of_a_function_is_no_member(programs):
    import types

    module = programs.load("@tailrec\ndef f(n): return f(n - 1) if n else 0")
    copied = types.FunctionType(module.f.__code__, module.f.__globals__, "f", None, module.f.__closure__)
    assert MEMBER in copied.__code__.co_freevars
    assert member_of(copied) is None
    assert copied(4) == 0


def test_a_stranger_is_not_in_the_group(programs):
    programs.same(
        """
        @tailrec(group="one")
        def a(n): return b(n - 1) if n else "a"
        @tailrec(group="two")
        def b(n): return a(n - 1) if n else "b"
        def main(): return a(6), a(7)
        """
    )


def test_members_of_another_kind_are_called(programs):
    programs.same(
        """
        @tailrec(group="g")
        async def a(n): return await b(n - 1) if n else "a"
        @tailrec(group="g")
        def b(n): return a(n)
        async def main(): return await a(3)
        """
    )


def test_callees_of_any_type_pass_the_guard_of_a_group(programs):
    programs.same(
        """
        class Callable:
            __hash__ = None
            def __call__(self, n): return ("called", n)
        thing = Callable()
        @tailrec(group="g")
        def a(n): return thing(n) if n == 1 else str.upper("x") if n == 2 else a(n - 1) if n else missing()
        def main(): return a(5), a(1)
        """
    )


def test_pause_suspends_once():
    waiting = pause()
    assert waiting.send(None) is None
    with pytest.raises(StopIteration):
        waiting.send(None)


def test_frames_hand_results_and_errors_to_the_one_that_waits():
    class Fake:
        def step(self, n):
            return frame(n)

    fake = Fake()

    def frame(n):
        if n == 0:
            raise KeyError
        try:
            return (yield Push((fake, (n - 1,)))) + 1
        except KeyError:
            return 100

    running = run_frames(frame(3), is_generator=True)
    with pytest.raises(StopIteration) as stop:
        running.send(None)
    assert stop.value.value == 102


def test_frames_forward_what_is_sent_and_thrown():
    def frame():
        got = yield "first"
        try:
            yield got
        except ValueError:
            return "caught"

    running = run_frames(frame(), is_generator=True)
    assert running.send(None) == "first"
    assert running.send("sent") == "sent"
    with pytest.raises(StopIteration) as stop:
        running.throw(ValueError)
    assert stop.value.value == "caught"


def test_a_pending_step_replaces_the_frame():
    class Fake:
        def step(self, n):
            return frame(n)

    fake = Fake()

    def frame(n):
        yield n
        return Next((fake, (n - 1,), n == 1)) if n else "end"

    running = run_frames(frame(2), is_generator=True)
    assert [running.send(None) for _ in range(3)] == [2, 1, 0]
    with pytest.raises(StopIteration) as stop:
        running.send(None)
    assert stop.value.value is None  # the step from 1 to 0 drops the result


def test_changed_defaults_make_every_call_real(programs):
    programs.same(
        """
        import sys
        @tailrec
        def f(n, a=1, *, b=2):
            return (n, a, b) if n == 0 else f(n - 1)
        def main():
            before = f(2)
            setattr(f, "__def" + "aults__", (7,))
            setattr(f, "__kwdef" + "aults__", {"b": 8})
            after = f(2)
            setattr(f, "__kwdef" + "aults__", None)
            try: return before, after, f(2, b=1)
            except TypeError as error: return before, after, str(error)
        """,
        lines=False,
    )


@pytest.mark.parametrize(
    "body",
    [
        "return f(n - 1, Big()) if n else 1",
        "g = lambda: x\n    return f(n - 1, Big()) if n else 1",
        "with Block(): return f(n - 1, Big()) if n else 1",
        "with Block(): return f(n - 1, Big()) if n else 1 / n",
        "with Block(): return f(n - 1, Big()) if n else next(iter(()))",
    ],
)
def test_nothing_waits_for_the_garbage_collector(programs, body):
    """An exception that passed waiting frames is no part of a cycle with them."""
    import gc
    import weakref

    module = programs.load(
        f"""
from contextlib import nullcontext as Block
class Big:
    def __init__(self): LOG.append(made(self))
@tailrec(blocks="exact")
def f(n, x=None):
    {body}
"""
    )
    module.made = weakref.ref
    gc.disable()
    try:
        try:
            module.f(3)
        except (ZeroDivisionError, StopIteration):
            pass
        assert len(module.LOG) == 3
        assert [made() for made in module.LOG] == [None] * 3
    finally:
        gc.enable()
