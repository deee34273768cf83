"""What the contexts of a run's steps are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

    from loom_runner._model.budget import Meter
    from loom_runner._model.clock import Clock
    from loom_runner._model.events import ObserverGroup, Observers
    from loom_runner._program.tool_calls import ToolCalls
    from loom_runner._program.tools import ToolRegistry

__all__ = ["RunningRun", "Signal"]


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal that a run waited for. `payload` is plain JSON."""

    name: str
    payload: Any


@dataclass(frozen=True, slots=True)
class RunningRun:
    """What the steps of a run in this process share."""

    run_id: str
    tool_calls: ToolCalls
    tools: ToolRegistry
    observers: Observers | ObserverGroup
    clock: Clock
    loop: asyncio.AbstractEventLoop
    meter: Meter
