"""What runs between steps: the stack of waiting frames, and the pause for the event loop."""

import pytest
from loom._runtime import Next, Push, pause, run_frames


def test_pause_suspends_once():
    waiting = pause()
    assert waiting.send(None) is None
    with pytest.raises(StopIteration):
        waiting.send(None)


def test_results_and_errors_go_to_the_waiting_frame():
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
