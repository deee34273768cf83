"""Compile tail calls and run them deep: a coroutine, a method, a stream, a step as a value; check a
file.
"""

import asyncio
import inspect
import subprocess
import sys
from pathlib import Path

from loom import Return, TailCall, TailCallError, explain_tailcalls, tailrec, tailstream, transition

DEEP = 20 * sys.getrecursionlimit()


@tailrec
async def total(remaining: int, result: int = 0) -> int:
    if remaining == 0:
        return result
    await asyncio.sleep(0)
    return await total(remaining - 1, result + remaining)


@tailstream
async def countdown(number: int):
    yield number
    if number:
        async for each in countdown(number - 1):
            yield each


class Machine:
    @tailrec
    def even(self, number: int) -> bool:
        match number:
            case 0:
                return True
            case 1:
                return False
        return self.even(number - 2)


async def main() -> None:
    assert await total(DEEP) == DEEP * (DEEP + 1) // 2
    assert Machine().even(2 * DEEP + 1) is False
    assert [number async for number in countdown(DEEP)] == list(range(DEEP, -1, -1))

    first = await transition(total)(2)
    assert isinstance(first, TailCall) and first.arguments == {"remaining": 1, "result": 2}
    last = await transition(total)(0, 3)
    assert isinstance(last, Return) and last.value == 3
    assert "total" in str(explain_tailcalls(total)) and inspect.iscoroutinefunction(total)

    try:

        @tailrec
        def factorial(number: int) -> int:
            return 1 if number == 0 else number * factorial(number - 1)

    except TailCallError as refused:
        assert "LT011" in str(refused)
    else:
        raise AssertionError("a call outside tail position was accepted")

    command = str(Path(sys.executable).parent / "loom-tailcalls")
    checked = subprocess.run([command, "check", __file__], capture_output=True, text=True, check=False)
    assert checked.returncode == 1 and "LT011" in checked.stdout + checked.stderr, checked


asyncio.run(main())
