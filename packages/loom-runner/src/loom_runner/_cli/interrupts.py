"""Ctrl-C and SIGTERM end a command, also while a step blocks the event loop. Theory of operation:

A signal handler of asyncio runs on the event loop, and a handler of Python runs on the main thread
between two bytecodes. Neither runs while a step is in a long call. So the byte that Python writes
for each signal, at once, is read by a thread here, which then takes these measures in turn:

1. SIGTERM, when the work can end by itself: it is asked to (`on_sigterm`), and has `grace_s`
   seconds. All else, and a second signal, begins with the next measure.
2. The task is cancelled. If the loop is not blocked, this works at once.
3. If the loop has not reacted after half a second, a step blocks it: the main thread gets a
   KeyboardInterrupt, which also ends `time.sleep` or a read from a socket. Nothing of the step is
   committed.
4. If the process is still there after two more seconds (a call that cannot be interrupted), or
   `grace_s` after a cancellation that the work ignores (two if it has had that time), it ends at
   once. Nothing is lost: a transaction is committed or not, and a lease ends with its process.

A program that installs its own handlers meanwhile (a server) keeps them; nothing is done here then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from loom_runner._program.run_step import blocking_step, open_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import FrameType

__all__ = ["can_watch", "run_watched"]

T = TypeVar("T")

_BLOCKED_AFTER_S: Final = 0.5
_STUCK_AFTER_S: Final = 2.0
_INTERRUPTED: Final = 130
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def can_watch() -> bool:
    """Return whether this thread receives signals."""
    return sys.platform != "win32" and threading.current_thread() is threading.main_thread()


def run_watched(work: Coroutine[Any, Any, T], *, on_sigterm: Callable[[], None] | None, grace_s: float) -> T:
    """Run a coroutine in a new event loop, as `asyncio.run` does, and end it on a signal.

    A task of the work that raises SystemExit or KeyboardInterrupt does not end the loop; whoever
    awaits the task gets the exception.

    Raises:
        KeyboardInterrupt, asyncio.CancelledError: A signal ended it.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    task = loop.create_task(work)
    with _Watch(loop, task, on_sigterm, grace_s) as watch:
        try:
            while True:
                try:
                    return loop.run_until_complete(task)
                except (SystemExit, KeyboardInterrupt):
                    if task.done() or watch.is_interrupted:
                        raise
        finally:
            _close(loop, is_interrupted=watch.is_interrupted)


def _close(loop: asyncio.AbstractEventLoop, *, is_interrupted: bool) -> None:
    try:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        if not is_interrupted:  # else the threads of `asyncio.to_thread` are not waited for
            loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


class _Watch:
    """The handlers and the thread, while the work runs."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        task: asyncio.Task[Any],
        on_sigterm: Callable[[], None] | None,
        grace_s: float,
    ) -> None:
        self.is_interrupted = False
        self._loop = loop
        self._task = task
        self._on_sigterm = on_sigterm
        self._grace_s = grace_s
        self._began_at = 0.0
        self._next: Callable[[], None] | None = None
        self._next_at = 0.0
        self._has_reacted = False
        self._is_forced = False

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._handler = self._on_signal  # one object, to be compared by identity
        self._before = [signal.signal(each, self._handler) for each in _SIGNALS]
        self._fd_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._watch, name="loom-runner-signals", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        current = signal.set_wakeup_fd(self._fd_before, warn_on_full_buffer=False)
        if current not in (self._write, -1):
            signal.set_wakeup_fd(current, warn_on_full_buffer=False)
        for number, before in zip(_SIGNALS, self._before, strict=True):
            if signal.getsignal(number) is self._handler:
                signal.signal(number, before)
        os.write(self._write, b"\0")
        self._thread.join()
        os.close(self._read)
        os.close(self._write)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        """Run on the main thread: the watching thread has read the signal's number, unless other
        code has redirected it.
        """
        if self._is_forced:
            raise KeyboardInterrupt
        current = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        if current != self._write:
            signal.set_wakeup_fd(current, warn_on_full_buffer=False)
            os.write(self._write, bytes((number,)))

    # ------------------------------------------------------------------ on the thread

    def _watch(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._read, selectors.EVENT_READ)
            while True:
                left_s = None if self._next is None else max(0.0, self._next_at - time.monotonic())
                if selector.select(left_s):
                    for number in os.read(self._read, 64):
                        if number == 0:
                            return
                        self._noticed(number)
                elif self._next is not None:
                    self._next()

    def _noticed(self, number: int) -> None:
        if number not in _SIGNALS or signal.getsignal(number) is not self._handler or self._is_forced:
            return
        is_first, self.is_interrupted = not self.is_interrupted, True
        if is_first:
            self._began_at = time.monotonic()
        if is_first and number == signal.SIGTERM and self._on_sigterm is not None:
            self._call(self._on_sigterm)
            self._then(self._cancel, self._grace_s)
        elif self._next is None or self._next == self._cancel:
            self._cancel()
        else:
            self._force()

    def _cancel(self) -> None:
        def cancel() -> None:
            self._has_reacted = True
            self._task.cancel()

        self._call(cancel)
        self._then(self._check, _BLOCKED_AFTER_S)

    def _check(self) -> None:
        if self._has_reacted:
            has_had_grace = time.monotonic() - self._began_at > self._grace_s
            self._then(self._exit, _STUCK_AFTER_S if has_had_grace else self._grace_s)
        else:
            self._force()

    def _force(self) -> None:
        """Interrupt what the main thread does."""
        frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001  (documented)
        found = blocking_step(frame)
        del frame
        if found is not None and not self._has_reacted:
            context, where = found
            step = f"step {context.step_index} of {context.run_id!r}"
            _say(f"{step} blocked the event loop for {self._passed()}: {where}.")
        self._is_forced = True
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        self._then(self._exit, _STUCK_AFTER_S)

    def _exit(self) -> None:
        steps = [f"step {each.step_index} of {each.run_id!r}" for each in open_steps(self._loop)]
        what = ", ".join(steps) or "the work"
        _say(f"interrupted. {what} did not end within {self._passed()}, so the process ends. It can be resumed.")
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(_INTERRUPTED)

    def _passed(self) -> str:
        return f"{time.monotonic() - self._began_at:.1f} s"

    def _then(self, measure: Callable[[], None], after_s: float) -> None:
        self._next, self._next_at = measure, time.monotonic() + after_s

    def _call(self, function: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode())
