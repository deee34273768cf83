"""Run the work of a tool call: with progress, so that cancelling ends it cleanly, and with expected
errors as `ToolError`.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from loom_agents import AgentError
from loom_ops.api import LoomOpsError
from loom_runner import RunnerError
from loom_runner.cli_base import one_line

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from loom_runner import RunEvent
    from mcp.server.mcpserver import Context

__all__ = ["Progress", "expected_errors", "run_to_end"]

T = TypeVar("T")


class Progress:
    """Sends progress to the client, from functions that cannot wait."""

    def __init__(self, context: Context[Any, Any]) -> None:
        self._context = context
        self._queue: asyncio.Queue[tuple[float, float | None, str] | None] = asyncio.Queue()
        self._count = 0
        self._names: dict[str, str] = {}

    def observe(self, event: RunEvent) -> None:
        """Report an event of a run."""
        if event.kind in ("tool_started", "tool_finished"):
            self._count += 1
            if event.kind == "tool_started":
                self._names[event.data["key"]] = event.data["arguments"].get("id") or event.data["name"]
            what = self._names.get(event.data["key"], event.data["name"])
            verb = "has started" if event.kind == "tool_started" else "has ended"
            self._queue.put_nowait((self._count, None, f"{what} {verb}"))

    def report(self, done: int, total: int, text: str) -> None:
        """Report how much is done."""
        self._queue.put_nowait((done, total, text))

    async def send(self) -> None:
        """Send what is reported, until the end."""
        while (reported := await self._queue.get()) is not None:
            await self._context.report_progress(*reported)

    def end(self) -> None:
        """Report nothing more."""
        self._queue.put_nowait(None)


async def run_to_end(progress: Progress, work: Coroutine[Any, Any, T]) -> T:
    """Run work, and send its progress. When the call is cancelled, the work is cancelled once, and
    its own end is waited for: it stops its command and records what happened.
    """
    import anyio

    task = asyncio.ensure_future(work)
    sender = asyncio.ensure_future(progress.send())
    try:
        await asyncio.wait([task])
        progress.end()
        await asyncio.wait([sender])
    finally:
        task.cancel()
        sender.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([task, sender])
    return task.result()


@contextmanager
def expected_errors() -> Iterator[None]:
    """Turn the errors of loom-ops into results that the client can read.

    Raises:
        ToolError: What cannot be done, why, and what to do.
    """
    from mcp.server.mcpserver.exceptions import ToolError

    try:
        yield
    except (LoomOpsError, RunnerError, AgentError, OSError) as exc:
        raise ToolError(one_line(str(exc))) from exc
