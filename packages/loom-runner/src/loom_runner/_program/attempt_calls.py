"""The managed calls of one attempt: their keys, which are open, and how the attempt ends them."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from loom_runner._model.retry import RetryPolicy
    from loom_runner._program.tool_calls import StepSuspended
    from loom_runner._program.tools import Tool

__all__ = ["AttemptCalls"]

_MAX_WAIT_S: Final = 30.0
"""How long a call that must not be repeated and has no timeout may go on when its attempt has
failed, or the step has cancelled it.
"""
_CANCEL_WAIT_S: Final = 1.0
"""How long an attempt waits for calls that it has cancelled."""


@dataclass(slots=True)
class AttemptCalls:
    """The managed calls of one attempt.

    Attributes:
        shared: For each key of the step's own the end of the call that uses it.
        created: Calls that no task has begun to await.
        suspended: Calls that wait for a decision.
        policies: The retry policies of tools that have their own, by name.
        changed: Set when a call ends or is suspended.
    """

    shared: dict[str, asyncio.Future[None]] = field(default_factory=dict)
    created: dict[object, tuple[Tool, Coroutine[Any, Any, Any]]] = field(default_factory=dict)
    suspended: list[StepSuspended] = field(default_factory=list)
    policies: dict[str, RetryPolicy] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _ordinals: dict[str, int] = field(default_factory=dict)
    _executions: dict[str, asyncio.Task[Any]] = field(default_factory=dict)
    _running: dict[object, tuple[Tool, asyncio.Task[Any] | None]] = field(default_factory=dict)

    def next_key(self, tool: Tool) -> str:
        """Return the key of the next call of a tool: they are counted in the order of the code."""
        ordinal = self._ordinals.get(tool.name, 0)
        self._ordinals[tool.name] = ordinal + 1
        return f"{tool.name}/{ordinal}"

    @contextlib.contextmanager
    def in_flight(self, tool: Tool) -> Iterator[None]:
        """Count a call as running during the block."""
        call = object()
        if tool.retry is not None:
            self.policies[tool.name] = tool.retry
        self._running[call] = tool, asyncio.current_task()
        try:
            yield
        finally:
            del self._running[call]
            self.changed.set()

    async def to_end(self, tool: Tool, key: str, execution: Coroutine[Any, Any, Any]) -> Any:
        """Await the execution of a call that must not be repeated, in a task of its own. If the
        step cancels the call (a task group of which another task failed, a timeout), the execution
        goes on, so that its end is recorded; the attempt waits for it.
        """
        call, task = object(), asyncio.create_task(_outcome(execution))
        self._running[call] = tool, task
        self._executions[key] = task

        def ended(_: object) -> None:
            execution.close()  # if it was cancelled before it began
            del self._running[call]
            self.changed.set()

        task.add_done_callback(ended)
        try:
            value, error = await asyncio.shield(task)
        except asyncio.CancelledError:
            if tool.limit_s is None and not task.done():  # else its timeout ends it
                timer = asyncio.get_running_loop().call_later(_MAX_WAIT_S, task.cancel)
                task.add_done_callback(lambda _: timer.cancel())
            raise
        if error is not None:
            raise error
        return value

    async def ended(self, key: str) -> None:
        """Wait until the call of a key has ended, also if it was cancelled and goes on."""
        if key in self._executions:
            await asyncio.wait((self._executions[key],))

    @property
    def running(self) -> int:
        """How many calls and executions of calls are running, calls that are suspended
        included.
        """
        return len(self._running)

    @property
    def are_open(self) -> bool:
        return bool(self._running or self.created)

    async def wait(self) -> Tool | None:
        """Wait for the calls that run in tasks; return the tool of a call that was neither awaited
        nor started in a task, if there is one.
        """
        await asyncio.sleep(0)  # a task that was just created begins
        if self.created:
            return self._close_created()
        while self._running:
            self.changed.clear()
            await self.changed.wait()
        return None

    async def end(self, *, is_cancelled: bool) -> Tool | None:
        """End the calls of a failed attempt; further ones are refused already. Return the tool of a
        call that was neither awaited nor started in a task, if there is one.

        Calls that may be repeated are cancelled, and all if the step was cancelled. The others may
        end within their timeout (30 s without one), so that their results are recorded; then they
        are cancelled, too, and are in doubt.
        """
        unawaited: Tool | None = None
        if self.created:
            await asyncio.sleep(0)  # tasks that were just created begin, and are refused
            unawaited = self._close_created()
        patience_s = 0.0
        for tool, task in self._running.values():
            if is_cancelled or (tool.is_repeatable and tool.is_async):
                if task is not None and not task.cancelling():  # else it is recording that it was cancelled
                    _cancel(task)
            else:
                patience_s = max(patience_s, tool.limit_s or _MAX_WAIT_S)
        try:
            await self._ended_within(patience_s or _CANCEL_WAIT_S)
        finally:  # also if the run is stopped meanwhile
            if self._running:
                for _, task in self._running.values():
                    _cancel(task)
                await self._ended_within(_CANCEL_WAIT_S)
        return unawaited

    async def _ended_within(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._running:
                    self.changed.clear()
                    await self.changed.wait()

    def _close_created(self) -> Tool | None:
        """Close the calls that no task awaits; return the tool of the first."""
        tools = [tool for tool, _ in self.created.values()]
        for _, call in self.created.values():
            call.close()
        self.created.clear()
        return tools[0] if tools else None


async def _outcome(execution: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
    """Return what the execution of a call returned or raised: a task that nobody awaits any more
    must not raise.
    """
    try:
        return await execution, None
    except asyncio.CancelledError:
        raise
    except BaseException as exc:  # noqa: BLE001  (raised by `to_end`)
        return None, exc


def _cancel(task: asyncio.Task[Any] | None) -> None:
    if task is not None and task is not asyncio.current_task():
        task.cancel()
