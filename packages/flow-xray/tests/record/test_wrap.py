"""The wrappers: every kind of function gets its span, however it ends."""

import asyncio
import contextlib
import functools
import gc
import inspect

import pytest
from flow_xray import TraceResult, read_journal, trace

pytestmark = pytest.mark.interpreter


def spans_of(session):
    """Return name, parent's name and status of each span, in order."""
    names = {span.id: span.name for span in session.spans}
    return [
        (span.name.rpartition(".")[2], (names.get(span.parent_id) or "").rpartition(".")[2], span.status)
        for span in session.spans
    ]


@trace
def leaf(value=0):
    return value


def test_arguments_are_recorded_by_name_as_they_were_passed():
    @trace
    def call(a, b=2, *rest, c, **more): ...

    with trace.capture() as session:
        call(1, c=3)
        call(1, 2, 3, 4, c=5, d=6)
    assert [span.input for span in session.spans] == [
        {"a": 1, "c": 3},
        {"a": 1, "b": 2, "*rest": [3, 4], "c": 5, "d": 6},
    ]


def test_self_is_not_an_argument():
    class Agent:
        @trace
        def act(self, goal):
            return goal

        @trace
        @classmethod
        def make(cls, name): ...

        @staticmethod
        @trace
        def add(a, b): ...

    with trace.capture() as session:
        Agent().act("go")
        Agent.make("x")
        Agent.add(1, 2)
    assert [(span.name.rpartition(".")[2], span.input) for span in session.spans] == [
        ("act", {"goal": "go"}),
        ("make", {"name": "x"}),
        ("add", {"a": 1, "b": 2}),
    ]


def test_a_traced_function_keeps_its_name_signature_and_kind():
    @trace(kind="tool")
    async def fetch(url: str) -> str:
        """Fetch."""
        return url

    assert fetch.__name__ == "fetch"
    assert fetch.__doc__ == "Fetch."
    assert list(inspect.signature(fetch).parameters) == ["url"]
    assert inspect.iscoroutinefunction(fetch)


def test_a_callable_object_and_a_partial_can_be_traced():
    class Tool:
        def __call__(self, x):
            return x

    with trace.capture() as session:
        assert trace(Tool())(x=1) == 1
        assert trace(functools.partial(int, base=2))("11") == 3
        assert trace(max)(1, 2) == 2
    assert [span.output for span in session.spans] == [1, 3, 2]


def test_an_object_that_is_not_callable_is_refused():
    with pytest.raises(TypeError, match="cannot trace 'text': because it is not callable"):
        trace("text")


def test_values_are_frozen_when_the_call_begins_and_when_it_returns():
    @trace
    def fill(box):
        box.append("inside")
        return box

    with trace.capture() as session:
        fill([]).append("after")
    (span,) = session.spans
    assert span.input == {"box": []}
    assert span.output == ["inside"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no"), "error"),
        (KeyboardInterrupt(), "cancelled"),
        (SystemExit(0), "cancelled"),
        (SystemExit(3), "error"),
        (GeneratorExit(), "cancelled"),
        (asyncio.CancelledError(), "cancelled"),
        (BaseExceptionGroup("many", [KeyboardInterrupt()]), "error"),
    ],
)
def test_any_exit_closes_the_span_and_the_tree_stays_right(error, status):
    @trace
    def fail():
        raise error

    with trace.capture() as session:
        with pytest.raises(type(error)):
            fail()
        leaf()
    assert spans_of(session) == [("fail", "", status), ("leaf", "", "ok")]
    assert session.spans[0].error["type"].endswith(type(error).__name__)
    assert session.spans[0].duration_ns is not None


def test_an_error_is_shown_in_full_once_and_its_callers_refer_to_it():
    @trace
    def inner():
        raise LookupError("nothing here")

    @trace
    def outer():
        inner()

    with trace.capture() as session, pytest.raises(LookupError):
        outer()
    first, second = session.spans
    assert second.error["message"] == "nothing here"
    assert 'raise LookupError("nothing here")' in second.error["traceback"]
    assert "flow_xray/_record/" not in second.error["traceback"]
    assert first.error == {"type": "LookupError", "message": "nothing here", "traceback": "", "origin": second.id}


def test_an_exception_whose_text_raises_is_still_recorded():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("silence")

        __repr__ = __str__

    @trace
    def fail():
        raise Mute

    with trace.capture() as session, pytest.raises(Mute):
        fail()
    assert session.spans[0].status == "error"
    assert session.spans[0].error["type"].endswith("Mute")


def test_output_can_be_omitted():
    @trace(capture_output=False)
    def secretive():
        return "for your eyes only"

    with trace.capture() as session:
        assert secretive() == "for your eyes only"
    assert session.spans[0].output == "[not captured]"


def test_a_secret_default_is_known_even_when_it_is_not_passed():
    @trace
    def login(user, password="correct-horse-77"):
        return f"{user} used {password}"

    with trace.capture() as session:
        login("ada")
    assert session.spans[0].output == "ada used [redacted]"


def test_the_rules_of_a_function_apply_to_its_arguments_output_and_error():
    @trace(redact={"badge"})
    def enter(badge):
        raise ValueError(f"badge={badge} refused")

    with trace.capture() as session, pytest.raises(ValueError):
        enter("blue-42x")
    (span,) = session.spans
    assert span.input == {"badge": "[redacted]"}
    assert "blue-42x" not in str(span.error)


# ---------------------------------------------------------------- coroutines


def test_tasks_of_a_group_are_children_of_the_call_that_started_them():
    @trace
    async def child(n):
        await asyncio.sleep(0)
        leaf(n)

    @trace
    async def parent():
        await asyncio.gather(child(1), child(2))
        async with asyncio.TaskGroup() as group:
            group.create_task(child(3))

    async def main():
        with trace.capture() as session:
            await parent()
        return session

    session = asyncio.run(main())
    assert [row[:2] for row in spans_of(session) if row[0] == "child"] == [("child", "parent")] * 3
    assert [row[:2] for row in spans_of(session) if row[0] == "leaf"] == [("leaf", "child")] * 3


def test_a_cancelled_task_is_recorded_as_cancelled():
    @trace
    async def wait():
        await asyncio.Event().wait()

    async def main():
        with trace.capture() as session:
            task = asyncio.create_task(wait())
            await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return session

    assert spans_of(asyncio.run(main())) == [("wait", "", "cancelled")]


# ---------------------------------------------------------------- generators


@trace
def numbers(n):
    for k in range(n):
        leaf(k)
        yield k
    return "done"


def test_a_generator_is_open_until_it_is_exhausted_and_work_inside_nests_under_it():
    with trace.capture() as session:
        stream = numbers(2)
        assert next(stream) == 0
        assert session.spans[0].status == "open"
        leaf("between")
        assert list(stream) == [1]
    assert spans_of(session) == [
        ("numbers", "", "ok"),
        ("leaf", "numbers", "ok"),
        ("leaf", "", "ok"),
        ("leaf", "numbers", "ok"),
    ]
    (stream_span, *_) = session.spans
    assert stream_span.output == {"items": [0, 1], "returned": "done"}
    assert stream_span.meta["items"] == 2
    assert stream_span.meta["time_to_first_item_ms"] >= 0


def test_a_generator_of_texts_is_recorded_as_one_text_and_a_split_secret_is_masked():
    @trace
    def tokens():
        yield from ("the key ", "sk-abcdefgh", "ijklmnopqrst", " end")

    with trace.capture() as session:
        list(tokens())
    assert session.spans[0].output == "the key [redacted] end"


def test_send_throw_and_close_reach_the_generator():
    seen = []

    @trace
    def echo():
        try:
            while True:
                try:
                    seen.append((yield len(seen)))
                except ValueError:
                    seen.append("caught")
        finally:
            seen.append("closed")

    with trace.capture() as session:
        stream = echo()
        next(stream)
        stream.send("a")
        stream.throw(ValueError())
        stream.close()
    assert seen == ["a", "caught", "closed"]
    assert spans_of(session) == [("echo", "", "ok")]


def test_an_error_inside_a_generator_is_its_error():
    @trace
    def broken():
        yield 1
        raise ValueError("half way")

    with trace.capture() as session, pytest.raises(ValueError):
        list(broken())
    assert spans_of(session) == [("broken", "", "error")]
    assert session.spans[0].output == [1]


def test_an_abandoned_generator_is_closed_when_it_is_collected():
    with trace.capture() as session:
        stream = numbers(5)
        next(stream)
        del stream
        gc.collect()
        leaf()
    assert session.spans[0].status == "cancelled"
    assert session.spans[0].meta["abandoned"] is True
    assert session.spans[-1].parent_id is None


def test_yield_from_and_contextmanager_work_on_traced_generators():
    @contextlib.contextmanager
    @trace
    def opened():
        leaf("enter")
        yield "resource"
        leaf("exit")

    def twice():
        result = yield from numbers(1)
        yield result

    with trace.capture() as session:
        with opened() as resource:
            leaf("body")
        assert resource == "resource"
        assert list(twice()) == [0, "done"]
    assert spans_of(session)[:4] == [
        ("opened", "", "ok"),
        ("leaf", "opened", "ok"),
        ("leaf", "", "ok"),
        ("leaf", "opened", "ok"),
    ]


def test_a_generator_may_be_finished_in_another_context():
    import contextvars

    with trace.capture() as session:
        stream = numbers(2)
        next(stream)
        contextvars.copy_context().run(list, stream)
    assert session.spans[0].status == "ok"


@trace
async def async_numbers(n):
    for k in range(n):
        await asyncio.sleep(0)
        leaf(k)
        yield k


def test_an_async_generator_is_open_until_it_is_exhausted():
    async def main():
        with trace.capture() as session:
            async for item in async_numbers(2):
                leaf(f"consumer {item}")
        return session

    session = asyncio.run(main())
    parents = [(span.input, spans_of(session)[k][1]) for k, span in enumerate(session.spans) if span.name == "leaf"]
    assert parents == [({"value": 0}, "async_numbers"), ({"value": "consumer 0"}, ""), ({"value": 1}, "async_numbers"), ({"value": "consumer 1"}, "")]  # fmt: skip
    assert session.spans[0].output == [0, 1]
    assert session.spans[0].status == "ok"


def test_an_async_generator_that_is_left_early_is_closed_by_aclose():
    async def main():
        with trace.capture() as session:
            async with contextlib.aclosing(async_numbers(5)) as stream:
                async for _ in stream:
                    break
        return session

    assert spans_of(asyncio.run(main()))[0] == ("async_numbers", "", "ok")


def test_interleaved_streams_keep_their_own_children():
    with trace.capture() as session:
        first, second = numbers(2), numbers(2)
        for _ in range(2):
            next(first)
            next(second)
    one, two = (span for span in session.spans if span.name == "numbers")
    assert [span.parent_id for span in session.spans if span.name == "leaf"] == [one.id, two.id, one.id, two.id]


def test_a_collected_coroutine_does_not_change_the_position_of_another_context():
    class Pause:
        def __await__(self):
            yield

    @trace
    async def paused():
        with trace.span("block"):
            async for _ in endless():
                pass

    @trace
    async def endless():
        while True:
            await Pause()
            yield 1

    with trace.capture() as session:
        coroutine = paused()
        import contextvars

        contextvars.copy_context().run(coroutine.send, None)
        with trace.span("stranger"):
            coroutine.close()
            leaf()
        leaf()
    rows = spans_of(session)
    assert [row for row in rows if row[0] == "leaf"] == [("leaf", "stranger", "ok"), ("leaf", "", "ok")]
    assert [row[2] for row in rows[:3]] == ["cancelled"] * 3


def test_a_coroutine_driven_and_closed_in_one_context_restores_the_position():
    @trace
    async def inner():
        await asyncio.sleep(0)

    @trace
    async def outer():
        await inner()

    with trace.capture() as session:
        coroutine = outer()
        coroutine.send(None)
        coroutine.close()
        leaf()
    assert spans_of(session) == [("outer", "", "cancelled"), ("inner", "outer", "cancelled"), ("leaf", "", "ok")]


def test_the_traceback_of_a_group_has_no_frames_of_flow_xray():
    @trace
    def one():
        raise ValueError("first")

    @trace
    def many():
        try:
            one()
        except ValueError as error:
            raise ExceptionGroup("several", [error]) from None

    with trace.capture() as session, pytest.raises(ExceptionGroup):
        many()
    assert "first" in session.spans[0].error["traceback"]
    assert "flow_xray/_record/" not in session.spans[0].error["traceback"]


def test_a_span_has_the_location_of_its_function(tmp_path):
    path = tmp_path / "run.xray"
    with trace.capture(journal=path) as session:
        leaf()
        trace(functools.partial(leaf, 1))()
        with trace.span("block"):
            pass
    line = inspect.unwrap(leaf).__code__.co_firstlineno
    codes = [f"{__file__}:{line}", f"{__file__}:{line}", f"{__file__}:{line}", ""]
    assert [span.code for span in session.spans] == codes
    assert [span.code for span in read_journal(path).spans] == codes
    assert [span.code for span in TraceResult.from_json(session.result().to_json()).spans] == codes


def test_a_long_stream_of_texts_has_the_number_of_cut_items():
    @trace
    def words(count):
        for _ in range(count):
            yield "w"

    with trace.capture() as session:
        list(words(1_000))
        list(words(1_002))
    assert [span.output for span in session.spans] == ["w" * 1_000, "w" * 1_000 + " … [2 items cut] …"]
