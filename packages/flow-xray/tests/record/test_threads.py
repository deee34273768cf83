"""Threads and executors: calls are below the call that started them; nothing stays patched."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from flow_xray import trace

pytestmark = pytest.mark.interpreter


@trace
def work(n):
    return n


def test_a_thread_records_under_the_call_that_started_it():
    with trace.capture() as session, trace.span("parent"):
        thread = threading.Thread(target=work, args=(1,), name="worker-7")
        thread.start()
        thread.join()
    parent, child = session.spans
    assert child.parent_id == parent.id
    assert child.thread == "worker-7"


def test_a_thread_subclass_keeps_its_run():
    class Mine(threading.Thread):
        def run(self):
            work("mine")

    with trace.capture() as session:
        thread = Mine()
        thread.start()
        thread.join()
    assert session.spans[0].input == {"n": "mine"}


def test_executor_tasks_record_under_the_call_that_submitted_them():
    with ThreadPoolExecutor(1) as pool, trace.capture() as session:
        with trace.span("first"):
            pool.submit(work, 1).result()
        with trace.span("second"):
            assert list(pool.map(work, [2])) == [2]
    names = {span.id: span.name for span in session.spans}
    assert [names.get(span.parent_id) for span in session.spans if span.name == "work"] == ["first", "second"]


def test_a_pool_worker_started_inside_a_session_does_not_keep_it_for_other_tasks():
    with trace.capture() as session:
        pool = ThreadPoolExecutor(1)
        with trace.span("inside"):
            pool.submit(work, 1).result()
    pool.submit(work, 2).result()
    with trace.capture() as other:
        pool.submit(work, 3).result()
    pool.shutdown()
    assert [span.input for span in session.spans] == [None, {"n": 1}]
    assert [(span.input, span.parent_id) for span in other.spans] == [({"n": 3}, None)]


def test_to_thread_and_run_in_executor_carry_the_position():
    async def main():
        with trace.capture() as session, trace.span("parent"):
            await asyncio.to_thread(work, 1)
            await asyncio.get_running_loop().run_in_executor(None, work, 2)
        return session

    parent, *children = asyncio.run(main()).spans
    assert [child.parent_id for child in children] == [parent.id] * 2


def test_nothing_stays_patched_when_the_last_session_is_closed():
    before = threading.Thread.start, ThreadPoolExecutor.submit
    with trace.capture(), trace.capture():
        assert threading.Thread.start is not before[0]
    assert (threading.Thread.start, ThreadPoolExecutor.submit) == before


def test_a_later_patch_by_another_library_is_kept():
    original = threading.Thread.start
    try:
        with trace.capture():
            inside = threading.Thread.start

            def theirs(self):
                inside(self)

            threading.Thread.start = theirs
        assert threading.Thread.start is theirs
    finally:
        threading.Thread.start = original
