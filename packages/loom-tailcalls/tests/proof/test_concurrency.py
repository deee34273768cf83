"""The concurrency contract: tasks, threads, processes, greenlets, cancellation and context
variables.
"""

import ast
import asyncio
import concurrent.futures
import contextvars
import gc
import multiprocessing
import sys
import threading
import weakref

import pytest
from loom import tailrec, tailstream

WHO = contextvars.ContextVar("WHO", default="nobody")


@tailrec
async def walk(tag, n, trail=()):
    await asyncio.sleep(0)
    if n == 0:
        return tag, trail
    return await walk(tag, n - 1, (*trail, n))


@tailrec
def total(n, acc=0):
    if n == 0:
        return acc
    return total(n - 1, acc + n)


@tailrec
async def busy(n):
    if n == 0:
        return "end"
    return await busy(n - 1)


@tailrec(yield_every=10)
async def polite(n):
    if n == 0:
        return "end"
    return await polite(n - 1)


def test_a_hundred_tasks_keep_their_own_steps():
    async def main():
        return await asyncio.gather(*(walk(number, number % 7) for number in range(100)))

    expected = [(number, tuple(range(number % 7, 0, -1))) for number in range(100)]
    assert asyncio.run(main()) == expected


def test_threads_share_the_function_and_nothing_else():
    start = threading.Barrier(8)

    def work(number):
        start.wait()
        return [total(n) for n in range(number, number + 30)]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(8)))
    assert results == [[n * (n + 1) // 2 for n in range(number, number + 30)] for number in range(8)]


def test_threads_may_decorate_at_the_same_time():
    start = threading.Barrier(6)

    def make(k):
        start.wait()

        @tailrec
        def f(n, acc=0):
            if n == 0:
                return acc
            return f(n - 1, acc + k)

        return f(4)

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert list(pool.map(make, range(6))) == [0, 4, 8, 12, 16, 20]


def test_a_switch_between_threads_in_the_middle_of_a_tree_is_harmless():
    from loom._source import parse

    lines = "\n".join(f"    x{i} = [a * {i} + b for a, b in c if g(a, {i})]" for i in range(200))
    source = f"def f(c, g):\n{lines}\n"

    class Slow:
        def __del__(self):  # the collector runs it while a tree is made, and another thread takes over
            for _ in range(200):
                pass

    def work(_):
        for _ in range(10):
            cycle = [Slow()]
            cycle.append(cycle)
            assert len(parse(source, "many_lines.py").body[0].body) == 200

    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(50)
    try:
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(6)))
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)


def test_a_tree_that_the_collector_reads_in_the_middle_of_another_is_harmless():
    from loom._source import parse

    source = "\n".join(f"x{i} = [a * {i} + b for a, b in c if g(a, {i})]" for i in range(50))

    class Reader:
        def __del__(self, depth=20):  # as when the traceback of an exception that nobody retrieved is logged
            if depth:
                return self.__del__(depth - 1)
            return ast.parse("f(((((a + b) * c) - d) / e) % 7)")

    thresholds = gc.get_threshold()
    gc.set_threshold(300)
    try:
        for _ in range(20):
            gc.collect()  # so that the next time is in the middle of the tree
            cycle = [Reader()]
            cycle.append(cycle)
            del cycle
            assert len(parse(source, "many_lines.py").body) == 50
    finally:
        gc.set_threshold(*thresholds)


def test_a_spawned_process_runs_the_same_function(tmp_path):
    (tmp_path / "spawned_steps.py").write_text(
        "from loom import tailrec\n\n\n@tailrec\ndef total(n, acc=0):\n    if n == 0:\n        return acc\n"
        "    return total(n - 1, acc + n)\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        import spawned_steps

        with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            assert pool.submit(spawned_steps.total, 3000).result(timeout=60) == 4501500
    finally:
        sys.path.remove(str(tmp_path))
        del sys.modules["spawned_steps"]


def test_greenlets_switch_in_the_middle_of_a_step():
    greenlet = pytest.importorskip("greenlet")
    seen = []

    @tailrec
    def f(tag, n):
        seen.append((tag, n))
        main.switch()
        if n == 0:
            return tag
        return f(tag, n - 1)

    main = greenlet.getcurrent()
    runners = [greenlet.greenlet(f) for _ in range(2)]
    for runner, tag in zip(runners, "ab", strict=True):
        runner.switch(tag, 2)
    while not all(runner.dead for runner in runners):
        for runner in runners:
            if not runner.dead:
                runner.switch()
    assert seen == [("a", 2), ("b", 2), ("a", 1), ("b", 1), ("a", 0), ("b", 0)]


@pytest.mark.parametrize("late", range(0, 8, 3))
def test_a_cancellation_ends_the_run_in_any_step(late):
    async def main():
        task = asyncio.create_task(walk("t", 1_000_000))
        for _ in range(late + 1):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return task.cancelled()

    assert asyncio.run(main())


def test_a_timeout_around_the_call_covers_all_steps():
    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(walk("t", 10**9), 0.01)

    asyncio.run(main())


def test_context_variables_are_those_of_the_task():
    @tailrec
    async def f(n):
        WHO.set(f"step {n}")
        await asyncio.sleep(0)
        if n == 0:
            return WHO.get()
        return await f(n - 1)

    async def main():
        WHO.set("caller")
        in_task = await asyncio.create_task(f(2))
        after_task = WHO.get()
        return in_task, after_task, await f(1), WHO.get()

    assert asyncio.run(main()) == ("step 0", "caller", "step 0", "step 0")


def test_a_step_that_never_waits_blocks_the_event_loop_and_yield_every_does_not():
    async def turns(coroutine):
        count = 0

        async def other():
            nonlocal count
            while True:
                count += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        await asyncio.sleep(0)
        before = count
        await coroutine
        task.cancel()
        return count - before

    assert asyncio.run(turns(busy(100))) == 0
    assert asyncio.run(turns(polite(100))) == 10


def test_nothing_of_a_finished_run_is_kept():
    class Thing:
        pass

    alive = weakref.WeakSet()

    @tailrec
    async def f(n, last=None):
        thing = Thing()
        alive.add(thing)
        await asyncio.sleep(0)
        if n == 0:
            return "end"
        return await f(n - 1, thing)

    assert asyncio.run(f(50)) == "end"
    gc.collect()
    assert len(alive) == 0


def test_only_the_current_step_is_alive_during_the_run():
    class Thing:
        pass

    alive = weakref.WeakSet()
    most = []

    @tailrec
    async def f(n):
        thing = Thing()
        alive.add(thing)
        most.append(len(alive))
        if n == 0:
            return thing is not None
        return await f(n - 1)

    assert asyncio.run(f(100))
    assert max(most) <= 2


def test_two_consumers_of_one_stream_function_are_independent():
    @tailstream
    async def numbers(tag, n):
        await asyncio.sleep(0)
        yield tag, n
        if n:
            async for item in numbers(tag, n - 1):
                yield item

    async def read(tag):
        return [item async for item in numbers(tag, 3)]

    async def main():
        return await asyncio.gather(read("a"), read("b"))

    assert asyncio.run(main()) == [[("a", 3), ("a", 2), ("a", 1), ("a", 0)], [("b", 3), ("b", 2), ("b", 1), ("b", 0)]]


def test_a_debug_mode_event_loop_reports_nothing():
    assert asyncio.run(walk("t", 3), debug=True) == ("t", (3, 2, 1))
