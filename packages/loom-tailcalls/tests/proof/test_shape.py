"""What the compiled code object looks like, and which lines tools see it run."""

import dis
import inspect
import sys
import threading
import tracemalloc

import pytest
from loom import tailrec, tailstream


@tailrec
async def loop(n, state, *, tag="t"):
    for i in range(1):
        if n == 0:
            return state
    return await loop(n - 1, state + 1, tag=tag)


@tailrec
def plain_loop(n, acc=0):
    return acc if n == 0 else plain_loop(n - 1, acc + 1)


@tailrec
async def with_defaults(n, a=1, b=2):
    if n == 0:
        return a, b
    return await with_defaults(n - 1, b=a)


@tailrec
async def with_blocks_before(n):
    try:
        with memoryview(b"") as view:
            view[0]
    except IndexError:
        pass
    return n if n == 0 else await with_blocks_before(n - 1)


@tailstream
async def stream(n):
    yield n
    if n:
        async for x in stream(n - 1):
            yield x


LOOPS = [loop, plain_loop, with_defaults, with_blocks_before, stream]


def instructions(fn):
    return list(dis.get_instructions(fn))


@pytest.mark.parametrize("fn", LOOPS, ids=lambda fn: fn.__name__)
def test_the_loop_form_jumps_back(fn):
    assert any(i.opname.startswith("JUMP_BACKWARD") for i in instructions(fn)), dis.Bytecode(fn).dis()


@pytest.mark.parametrize("fn", [loop, plain_loop, with_defaults], ids=lambda fn: fn.__name__)
def test_direct_sites_build_no_tuple_and_call_no_binder(fn):
    made = instructions(fn)
    head = min(i.argval for i in made if i.opname.startswith("JUMP_BACKWARD") and "NO_INTERRUPT" not in i.opname)
    names = [i.opname for i in made if i.offset >= head]
    assert "UNPACK_SEQUENCE" not in names
    assert "CALL_FUNCTION_EX" not in names
    assert "LIST_TO_TUPLE" not in names


@pytest.mark.parametrize("fn", LOOPS, ids=lambda fn: fn.__name__)
def test_flags_arguments_and_names_are_those_of_the_source(fn):
    again = compile(inspect.getsource(fn).split("\n", 1)[1], "x", "exec")
    (plain,) = [c for c in again.co_consts if inspect.iscode(c)]
    code = fn.__code__
    count = plain.co_argcount + plain.co_kwonlyargcount
    assert code.co_varnames[:count] == plain.co_varnames[:count]
    for name in ("co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_name", "co_qualname"):
        assert getattr(code, name) == getattr(plain, name), name
    interesting = (
        inspect.CO_COROUTINE
        | inspect.CO_ASYNC_GENERATOR
        | inspect.CO_GENERATOR
        | inspect.CO_VARARGS
        | inspect.CO_VARKEYWORDS
    )
    assert code.co_flags & interesting == plain.co_flags & interesting


@pytest.mark.parametrize("fn", LOOPS, ids=lambda fn: fn.__name__)
def test_every_position_lies_inside_the_function(fn):
    lines, first = inspect.getsourcelines(fn)
    for start, end, column, end_column in fn.__code__.co_positions():
        if start is not None:
            assert first <= start <= end < first + len(lines)
            assert column is None or 0 <= column <= end_column or start != end


def plain_twin(fn):
    """The same lines of the same file, with decorators that do nothing."""
    lines, first = inspect.getsourcelines(fn)
    source = "\n" * (first - 1) + "".join(lines)
    space = {**fn.__globals__, "tailrec": lambda plain: plain, "tailstream": lambda plain: plain}
    exec(compile(source, fn.__code__.co_filename, "exec"), space)
    return space[fn.__name__]


def drive(outcome):
    if inspect.isasyncgen(outcome):

        async def read(stream):
            return [x async for x in stream]

        outcome = read(outcome)
    if inspect.iscoroutine(outcome):
        try:
            outcome.send(None)
        except StopIteration as stop:
            return stop.value
    return outcome


def lines_by_settrace(fn, *arguments):
    seen = set()

    def trace(frame, event, _argument):
        if frame.f_code.co_name == fn.__name__:
            if event == "line":
                seen.add(frame.f_lineno)
            return trace
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        result = drive(fn(*arguments))
    finally:
        sys.settrace(before)
    return seen, result


def lines_by_monitoring(fn, *arguments):
    monitoring = sys.monitoring
    seen = set()
    tool = next(number for number in range(6) if monitoring.get_tool(number) is None)
    monitoring.use_tool_id(tool, "loom tests")
    try:
        monitoring.register_callback(
            tool, monitoring.events.LINE, lambda code, line: seen.add(line) if code.co_name == fn.__name__ else None
        )
        monitoring.set_events(tool, monitoring.events.LINE)
        result = drive(fn(*arguments))
    finally:
        monitoring.set_events(tool, 0)
        monitoring.register_callback(tool, monitoring.events.LINE, None)
        monitoring.free_tool_id(tool)
    return seen, result


STARTS = {"loop": (3, 0), "plain_loop": (3,), "with_defaults": (3,), "with_blocks_before": (2,), "stream": (2,)}


@pytest.mark.parametrize("fn", LOOPS, ids=lambda fn: fn.__name__)
def test_the_executed_lines_are_those_of_the_recursion(fn):
    assert lines_by_settrace(fn, *STARTS[fn.__name__]) == lines_by_settrace(plain_twin(fn), *STARTS[fn.__name__])


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with Python 3.12")
@pytest.mark.parametrize("fn", LOOPS, ids=lambda fn: fn.__name__)
def test_monitoring_sees_the_lines_of_the_recursion(fn):
    assert lines_by_monitoring(fn, *STARTS[fn.__name__]) == lines_by_monitoring(plain_twin(fn), *STARTS[fn.__name__])


def test_a_line_event_comes_in_every_step():
    """A breakpoint on a line of the body is hit as often as in the recursion."""

    def hits(fn):
        seen = []

        def trace(frame, event, _argument):
            if frame.f_code.co_name == "with_defaults" and event == "line":
                seen.append((frame.f_lineno, frame.f_locals["n"]))
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            drive(fn(3))
        finally:
            sys.settrace(before)
        return seen

    assert hits(with_defaults) == hits(plain_twin(with_defaults))


def test_the_names_a_debugger_shows_are_the_users():
    shown = []

    def trace(frame, event, _argument):
        if frame.f_code is loop.__code__ and event == "return":
            shown.append(dict(frame.f_locals))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        drive(loop(2, 0, tag="x"))
    finally:
        sys.settrace(before)
    names = {name for name in shown[-1] if name.isidentifier()}
    assert names == {"n", "state", "tag", "i"}
    assert {name: shown[-1][name] for name in names} == {"n": 0, "state": 2, "tag": "x", "i": 0}


@pytest.mark.parametrize(
    "run",
    [lambda n: drive(loop(n, 0)), plain_loop, lambda n: drive(with_defaults(n))],
    ids=["loop", "plain_loop", "with_defaults"],
)
def test_a_hundred_thousand_steps_keep_memory_flat(run):
    run(10)
    tracemalloc.start()
    try:
        run(1_000)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        run(100_000)
        grown = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert grown < 20_000


def test_a_small_thread_stack_is_enough():
    results = []
    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=lambda: results.append(plain_loop(50_000)))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert results == [50_000]
