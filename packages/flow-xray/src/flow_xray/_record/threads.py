"""Copy the context into threads and executors while a session is open.

A new thread starts with an empty context, so its calls would not be recorded. While at least one
session is open, `threading.Thread.start` and `ThreadPoolExecutor.submit` are replaced: they copy
the context of the caller when the caller is being recorded. Both are restored when the last session
closes. `asyncio.to_thread` and `loop.run_in_executor` end in `submit`.
"""

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from flow_xray._record.session import current_position

_lock = threading.Lock()
_sessions = 0
_patches: list[Any] = []


@contextmanager
def context_in_threads() -> Iterator[None]:
    """Copy the context into threads that start in the block."""
    global _sessions  # noqa: PLW0603  one patch for the whole process, counted
    with _lock:
        _sessions += 1
        if _sessions == 1:
            _install()
    try:
        yield
    finally:
        with _lock:
            _sessions -= 1
            if _sessions == 0:
                while _patches:
                    owner, name, original, patched = _patches.pop()
                    if vars(owner).get(name) is patched:  # another library may have replaced it since
                        setattr(owner, name, original)


def _install() -> None:
    start = threading.Thread.start

    @functools.wraps(start)
    def start_with_context(self: threading.Thread) -> None:
        target = getattr(self, "_target", None)
        is_pool_worker = getattr(target, "__module__", None) == "concurrent.futures.thread"
        if current_position.get() is not None and not is_pool_worker:
            # A worker of a pool outlives the call that created it; its tasks have their own
            # context.
            run = self.run
            self.run = functools.partial(copy_context().run, run)  # type: ignore[method-assign]  # for this one thread
        start(self)

    _replace(threading.Thread, "start", start_with_context)
    from concurrent.futures import ThreadPoolExecutor

    submit: Any = ThreadPoolExecutor.submit

    @functools.wraps(submit)
    def submit_with_context(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if current_position.get() is None:
            return submit(self, fn, *args, **kwargs)
        return submit(self, copy_context().run, fn, *args, **kwargs)

    _replace(ThreadPoolExecutor, "submit", submit_with_context)


def _replace(owner: Any, name: str, patched: Any) -> None:
    _patches.append((owner, name, vars(owner)[name], patched))
    setattr(owner, name, patched)
