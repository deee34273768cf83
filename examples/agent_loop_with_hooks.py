"""Hooks around every step: they compose around the step, outside the loop, so the loop stays three
lines.

python3 examples/agent_loop_with_hooks.py
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from loom import tailrec


@dataclass(frozen=True, slots=True)
class AgentState:
    """A list of things to do and a list of things done."""

    todo: tuple[str, ...]
    done: tuple[str, ...] = ()

    def apply(self, event: str) -> "AgentState":
        """Give the state after an event."""
        return replace(self, todo=self.todo[1:], done=(*self.done, event))


class Hook(Protocol):
    """What may look at a step before it runs and change its event afterwards."""

    async def before_step(self, state: AgentState, /) -> None:
        """See the state a step begins with."""

    async def after_step(self, state: AgentState, event: str, /) -> str:
        """Give the event on, changed or not."""
        ...


class PrintHook:
    """Print every step."""

    async def before_step(self, state: AgentState, /) -> None:
        """Say what comes next."""
        print(f"step {len(state.done)}: {state.todo[0]}")

    async def after_step(self, _state: AgentState, event: str, /) -> str:
        """Leave the event as it is."""
        return event


class GuardHook:
    """Refuse some work, by replacing its event."""

    def __init__(self, *forbidden: str) -> None:
        """Say what must not be done."""
        self.forbidden = forbidden

    async def before_step(self, _state: AgentState, /) -> None:
        """Nothing to see."""

    async def after_step(self, _state: AgentState, event: str, /) -> str:
        """Replace a forbidden event."""
        return "refused" if event.removeprefix("did ") in self.forbidden else event


async def run_step(state: AgentState) -> str:
    """Do the first thing on the list."""
    await asyncio.sleep(0)
    return f"did {state.todo[0]}"


async def run_step_with_hooks(state: AgentState, hooks: Sequence[Hook]) -> str:
    """Run one step inside its hooks."""
    for hook in hooks:
        await hook.before_step(state)
    event = await run_step(state)
    for hook in hooks:
        event = await hook.after_step(state, event)
    return event


@tailrec
async def agent_loop(state: AgentState, hooks: Sequence[Hook]) -> AgentState:
    """Run steps until the list is empty."""
    if not state.todo:
        return state
    event = await run_step_with_hooks(state, hooks)
    return await agent_loop(state.apply(event), hooks)


async def main() -> None:
    """Do three things, one of them forbidden."""
    state = await agent_loop(AgentState(("read", "delete", "report")), [PrintHook(), GuardHook("delete")])
    print("done:", ", ".join(state.done))


if __name__ == "__main__":
    asyncio.run(main())
