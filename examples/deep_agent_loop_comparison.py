"""Run the same agent loop 100,000 steps deep: as plain recursion, and with `@tailrec`.

python3 examples/deep_agent_loop_comparison.py
"""

import asyncio
from dataclasses import dataclass

from loom import tailrec

STEPS = 100_000


@dataclass(frozen=True, slots=True)
class AgentState:
    """How much is left to do, and what was done."""

    remaining: int
    total: int = 0

    def apply(self, done: int) -> "AgentState":
        """Give the state after one unit of work."""
        return AgentState(self.remaining - 1, self.total + done)


async def run_next_step(state: AgentState) -> int:
    """Stand for a model call or a tool call."""
    return 1 if state.remaining else 0


async def plain_agent_loop(state: AgentState) -> AgentState:
    """The loop as Python runs it: one more frame on the stack for every step."""
    if state.remaining == 0:
        return state
    done = await run_next_step(state)
    return await plain_agent_loop(state.apply(done))


@tailrec
async def agent_loop(state: AgentState) -> AgentState:
    """The same lines; the stack stays flat."""
    if state.remaining == 0:
        return state
    done = await run_next_step(state)
    return await agent_loop(state.apply(done))


async def main() -> None:
    """Try both."""
    try:
        print("plain recursion survived:", await plain_agent_loop(AgentState(STEPS)))
    except RecursionError as error:
        print("plain recursion failed:", type(error).__name__)
    print("loom recursion survived:", await agent_loop(AgentState(STEPS)))


if __name__ == "__main__":
    asyncio.run(main())
