"""Run what is served: each run in a task of its own, so that no client has to stay for it.

A request starts a task and is answered when the runner has taken the run, or has refused it. From then on only the
rows tell what happens; the task goes on whether or not anybody listens. When the server ends, the tasks are cancelled:
the step in hand is not committed, and `resume` goes on with it, here or on the command line.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from loom_runner import RunBusy, RunEvent, RunnerError

from loom_agents._errors import AgentError
from loom_agents._http_product import Observer, Product
from loom_agents._http_stream import Hub

__all__ = ["Worker"]

Work: TypeAlias = Callable[[Observer], Awaitable[None]]

_ACCEPT_S = 10.0


class Worker:
    """Drive the runs of one product.

    Args:
        product: what knows how.
        hub: is told what happens.
    """

    def __init__(self, product: Product, hub: Hub) -> None:
        self._product = product
        self._hub = hub
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()

    @property
    def active(self) -> int:
        """How many runs are driven here."""
        return len(self._tasks)

    async def begin(self, run_id: str, work: Work) -> None:
        """Start to drive a run; return when it has begun or is over.

        Raises:
            RunBusy: it is driven here already.
            Exception: what the work raised before it began.
        """
        if run_id in self._tasks:
            raise RunBusy(f"cannot work on {run_id!r}: it is at work here. Wait for it.", run_id=run_id)
        begun = asyncio.Event()

        def heard(event: RunEvent) -> None:
            begun.set()
            self._hub.tell(event)

        task = self._tasks[run_id] = asyncio.create_task(self._drive(run_id, work, heard, begun))
        waiting = asyncio.create_task(begun.wait())
        try:
            await asyncio.wait({task, waiting}, timeout=_ACCEPT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if task.done() and not task.cancelled() and not begun.is_set():
            task.result()

    async def go_on(self, run_id: str) -> str | None:
        """Resume a run, or once more after the work on it that is under way. Returns why that cannot be, if so."""
        if run_id in self._tasks:
            self._again.add(run_id)
            return None
        try:
            await self.begin(run_id, lambda heard: self._product.resume(run_id, heard))
        except RunBusy:
            return None  # another process drives it, and sees the same rows
        except (RunnerError, AgentError) as exc:
            return " ".join(str(exc).split())
        return None

    def let_go(self, run_id: str) -> None:
        """Stop to drive a run; its step is not committed."""
        if run_id in self._tasks:
            self._tasks[run_id].cancel()

    async def stop(self) -> None:
        """Stop to drive all runs."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _drive(self, run_id: str, work: Work, heard: Observer, begun: asyncio.Event) -> None:
        try:
            await work(heard)
            while run_id in self._again:
                self._again.discard(run_id)
                await self._product.resume(run_id, heard)
        except Exception as exc:
            if not begun.is_set():
                raise
            # The run's own rows say what went wrong in it; this is for what did not get that far.
            is_known = isinstance(exc, RunnerError | AgentError)
            logging.getLogger("loom_agents.serve").warning("work on %r ended: %s", run_id, exc, exc_info=not is_known)
        finally:
            self._again.discard(run_id)
            self._tasks.pop(run_id, None)
            self._hub.wake()
