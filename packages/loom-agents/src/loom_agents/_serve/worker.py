"""Drive the served runs, each in a separate task, so that no client has to stay connected.

A request starts a task and is answered when the runner has claimed the run or has refused it. After
that the rows show the progress, and the task continues whether or not a client is connected. When
the server stops, the tasks are cancelled: the step in progress is not committed, and `resume` runs
it again, here or on the command line.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from loom_runner import RunBusy, RunEvent, RunnerError

from loom_agents._errors import AgentError
from loom_agents._serve.product import Observer, Product
from loom_agents._serve.stream import Hub

__all__ = ["Worker"]

Work: TypeAlias = Callable[[Observer], Awaitable[None]]

_ACCEPT_TIMEOUT_S = 10.0


class Worker:
    """Drive the runs of one product.

    Args:
        product: Starts and resumes them.
        hub: Receives their events.
    """

    def __init__(self, product: Product, hub: Hub) -> None:
        self._product = product
        self._hub = hub
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._to_resume: set[str] = set()

    @property
    def active(self) -> int:
        """The number of runs that this process drives."""
        return len(self._tasks)

    async def begin(self, run_id: str, work: Work) -> None:
        """Start to drive a run; return when the runner has claimed it or the work has ended.

        Raises:
            RunBusy: This process is already driving the run.
            Exception: The work raised it before the run started.
        """
        if run_id in self._tasks:
            raise RunBusy(f"cannot drive {run_id!r}: this server is driving it already. Wait for it.", run_id=run_id)
        has_begun = asyncio.Event()

        def observe(event: RunEvent) -> None:
            has_begun.set()
            self._hub.publish(event)

        task = self._tasks[run_id] = asyncio.create_task(self._drive(run_id, work, observe, has_begun))
        waiting = asyncio.create_task(has_begun.wait())
        try:
            await asyncio.wait({task, waiting}, timeout=_ACCEPT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if task.done() and not task.cancelled() and not has_begun.is_set():
            task.result()

    async def resume(self, run_id: str) -> str | None:
        """Resume a run; if this process is driving it, after that work has ended.

        Returns:
            Why it cannot be resumed; None when it is resumed.
        """
        if run_id in self._tasks:
            self._to_resume.add(run_id)
            return None
        try:
            await self.begin(run_id, lambda observer: self._product.resume(run_id, observer))
        except RunBusy:
            return None  # another process drives it and reads the same rows
        except (RunnerError, AgentError) as exc:
            return " ".join(str(exc).split())
        return None

    def stop_driving(self, run_id: str) -> None:
        """Stop driving a run; the step in progress is not committed."""
        if run_id in self._tasks:
            self._tasks[run_id].cancel()

    async def stop(self) -> None:
        """Stop driving all runs."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _drive(self, run_id: str, work: Work, observer: Observer, has_begun: asyncio.Event) -> None:
        try:
            await work(observer)
            while run_id in self._to_resume:
                self._to_resume.discard(run_id)
                await self._product.resume(run_id, observer)
        except Exception as exc:
            if not has_begun.is_set():
                raise
            # Errors of steps are in the rows of the run; this error is not.
            is_expected = isinstance(exc, RunnerError | AgentError)
            logger = logging.getLogger("loom_agents.serve")
            logger.warning("the work on %r ended: %s", run_id, exc, exc_info=not is_expected)
        finally:
            self._to_resume.discard(run_id)
            self._tasks.pop(run_id, None)
            self._hub.wake()
