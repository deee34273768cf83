"""Carry the place into threads and executors while a session is open.

A new thread starts with an empty context, so without help its calls would be lost. While at least one session
is open, `threading.Thread.start` and `ThreadPoolExecutor.submit` copy the context of the caller when the caller
is being recorded; both are put back when the last session closes. `asyncio.to_thread` and
`loop.run_in_executor` end in `submit`.
"""

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from flow_xray._session import here

_lock = threading.Lock()
_sessions = 0
_undo: list[Any] = []


@contextmanager
def carrying_threads() -> Iterator[None]:
    """Carry the context into threads for the duration of the block."""
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
                while _undo:
                    owner, name, original, patched = _undo.pop()
                    if vars(owner).get(name) is patched:  # somebody else may have wrapped it since
                        setattr(owner, name, original)


def _install() -> None:
    start = threading.Thread.start

    @functools.wraps(start)
    def start_carrying(self: threading.Thread) -> None:
        target = getattr(self, "_target", None)
        if here.get() is not None and getattr(target, "__module__", None) != "concurrent.futures.thread":
            # A pool's worker outlives the call that happened to create it; its tasks bring their own context.
            run = self.run
            self.run = functools.partial(copy_context().run, run)  # type: ignore[method-assign]  # for this one thread
        start(self)

    _replace(threading.Thread, "start", start_carrying)
    from concurrent.futures import ThreadPoolExecutor

    submit: Any = ThreadPoolExecutor.submit

    @functools.wraps(submit)
    def submit_carrying(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if here.get() is None:
            return submit(self, fn, *args, **kwargs)
        return submit(self, copy_context().run, fn, *args, **kwargs)

    _replace(ThreadPoolExecutor, "submit", submit_carrying)


def _replace(owner: Any, name: str, patched: Any) -> None:
    _undo.append((owner, name, vars(owner)[name], patched))
    setattr(owner, name, patched)
