"""Recording of lines: which ones, only on request, and not with another tracer."""

import asyncio
import sys
import threading
from types import SimpleNamespace

import pytest
from flow_xray import read_journal, trace
from flow_xray._data.line_ranges import lines_in, ranges
from flow_xray._record import lines as _lines

pytestmark = pytest.mark.interpreter


@trace
def choose(number):
    if number > 5:
        word = "many"
    else:
        word = "few"
    for _ in range(number):
        inner = [each + 1 for each in (1, 2)]
    return word, inner


FIRST = choose.__wrapped__.__code__.co_firstlineno


def test_the_lines_of_traced_functions_that_ran_are_in_the_trace(untraced, tmp_path):
    def plain():
        return choose(2)

    path = tmp_path / "run.xray"
    with trace.capture(lines=True, journal=path) as session:
        plain()
    (file, lines), *more = session.result().meta["lines"].items()
    assert (file, more) == (__file__, [])
    ran = lines_in(lines)
    assert {line - FIRST for line in ran if line <= FIRST + 10} >= {2, 5, 6, 7, 8}
    assert FIRST + 3 not in ran
    assert plain.__code__.co_firstlineno + 1 not in ran
    assert read_journal(path).meta["lines"] == {file: lines}


def test_a_later_session_gets_the_lines_again_also_of_a_function_wrapped_later(untraced):
    for _ in range(2):
        with trace.capture(lines=True) as session:
            choose(9)
        assert FIRST + 3 in lines_in(session.result().meta["lines"][__file__])

    with trace.capture(lines=True) as outer:
        with trace.capture(lines=True) as inner:

            @trace
            def late():
                return 1

            late()
        assert inner.result().meta["lines"]
        trace(lambda: 5)()
    assert outer.result().meta["lines"]


def test_lines_of_threads_and_tasks_are_reported(untraced):
    @trace
    async def task():
        await asyncio.sleep(0)
        return 1

    @trace
    def thread():
        return 1

    with trace.capture(lines=True) as session:
        asyncio.run(task())
        worker = threading.Thread(target=thread)
        worker.start()
        worker.join()
    ran = lines_in(session.result().meta["lines"][__file__])
    assert {fn.__wrapped__.__code__.co_firstlineno + n for fn, n in ((task, 3), (thread, 2))} <= ran


def test_lines_are_recorded_only_on_request_and_the_tracer_is_removed_afterwards(untraced):
    with trace.capture() as session:
        choose(1)
    assert "lines" not in session.result().meta
    with pytest.raises(KeyError), trace.capture(lines=True) as session:
        choose(1)
        raise KeyError("x")
    assert session.result().meta["lines"]
    assert sys.gettrace() is None and threading.gettrace() is None
    if sys.version_info >= (3, 12):
        assert [sys.monitoring.get_tool(tool) for tool in (3, 4)] == [None, None]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="sys.monitoring has a place for each tool")
def test_another_tracer_of_threads_only_is_not_replaced(untraced):
    other = lambda frame, event, argument: None  # noqa: E731
    threading.settrace(other)
    with pytest.warns(RuntimeWarning, match="lines are not recorded"), trace.capture(lines=True):
        choose(1)
    assert threading.gettrace() is other


def test_another_tracer_is_not_replaced(untraced):
    if sys.version_info >= (3, 12):
        for tool in (3, 4):
            sys.monitoring.use_tool_id(tool, "other")
    else:
        other = lambda frame, event, argument: None  # noqa: E731
        sys.settrace(other)
    try:
        with pytest.warns(RuntimeWarning, match="lines are not recorded"), trace.capture(lines=True) as session:
            choose(1)
        if sys.version_info < (3, 12):
            assert sys.gettrace() is other
    finally:
        sys.settrace(None)
        if sys.version_info >= (3, 12):
            for tool in (3, 4):
                sys.monitoring.free_tool_id(tool)
    assert session.result().meta["lines"] == {}
    assert len(session.result().spans) == 1


@pytest.mark.parametrize(("lines", "text"), [([], ""), ([3], "3"), ([5, 3, 4, 9, 3], "3-5,9"), ([1, 3, 5], "1,3,5")])
def test_lines_are_written_as_ranges(lines, text):
    assert ranges(lines) == text
    assert lines_in(text) == set(lines)


def test_text_that_is_not_a_range_is_ignored():
    assert lines_in("a,3-,-4,5-b,7") == {3, 7}


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="there sys.monitoring is used")
def test_only_lines_of_watched_functions_are_reported(monkeypatch):
    """The tracer of Python 3.11, called by the test, so that a coverage tool can stay."""
    given = []
    played = SimpleNamespace(gettrace=lambda: given[-1] if given else None, settrace=given.append)
    monkeypatch.setattr(_lines, "sys", played)
    monkeypatch.setattr(_lines, "threading", played)
    frame = SimpleNamespace(f_code=choose.__wrapped__.__code__, f_lineno=FIRST + 2)
    with trace.capture(lines=True) as session:
        tracer = given[0]
        assert tracer(SimpleNamespace(f_code=SECOND.__code__), "call", None) is None
        local = tracer(frame, "call", None)
        assert local(frame, "line", None) is local
        trace(SECOND)
        assert tracer(SimpleNamespace(f_code=SECOND.__code__), "call", None) is local
    assert session.result().meta["lines"] == {__file__: str(FIRST + 2)}
    assert given[-1] is None
    given.append("another")
    with pytest.warns(RuntimeWarning, match="is tracing this process"), trace.capture(lines=True):
        pass


def SECOND():
    return 2
