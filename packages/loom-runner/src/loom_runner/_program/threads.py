"""Blocking functions, each on its own daemon thread.

The thread pool of the event loop is not used: a sync step waits on its thread for the sync tools
that it calls, so a full pool would be a deadlock; and a thread of a pool that hangs would keep the
process from ending on Ctrl-C.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["forget_cancellation", "in_thread", "is_being_cancelled"]


def is_being_cancelled() -> bool:
    """Return whether somebody cancels the current task; a `CancelledError` may also come from a
    task that it awaits.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def forget_cancellation() -> None:
    """Let the current task go on after it was cancelled."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


async def in_thread(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a blocking function on a thread, in a copy of the current context; cancelling does not
    stop it.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    context = copy_context()

    def set_outcome(value: Any, error: BaseException | None) -> None:
        if not done.done():
            if error is None:
                done.set_result(value)
            else:
                done.set_exception(error)

    def work() -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            value = context.run(function, *args, **kwargs)
        except (StopIteration, GeneratorExit, KeyboardInterrupt) as exc:
            # They mean something else to a coroutine, and Ctrl-C never arrives on this thread.
            error = RuntimeError(f"the function raised {type(exc).__name__}({exc})")
            error.__cause__ = exc
        except BaseException as exc:  # noqa: BLE001  (raised in the caller)
            error = exc
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing waits any more
            loop.call_soon_threadsafe(set_outcome, value, error)

    threading.Thread(target=work, name="loom-runner-call", daemon=True).start()
    return await done
