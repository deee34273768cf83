import asyncio
import threading

import pytest
from loom_runner._program.threads import in_thread

pytestmark = pytest.mark.interpreter


def test_the_result_the_error_and_the_arguments_come_through():
    assert asyncio.run(in_thread(divmod, 7, 2)) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(in_thread(divmod, 7, 0))


def test_stop_iteration_becomes_an_error_that_can_travel():
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        asyncio.run(in_thread(next, iter(())))


def test_a_hanging_call_keeps_neither_the_waiter_nor_the_loop():
    gate = threading.Event()

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await in_thread(gate.wait, 60)

    asyncio.run(main())
    gate.set()
