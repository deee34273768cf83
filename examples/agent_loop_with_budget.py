"""Stop a runaway agent: the budget is a part of the state, so every step sees it and none can
forget it.

python3 examples/agent_loop_with_budget.py
"""

import asyncio
from dataclasses import dataclass, replace

from loom import tailrec


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may still spend."""

    steps: int
    tokens: int

    def spend(self, tokens: int) -> "Budget":
        """Take one step and some tokens off."""
        return Budget(self.steps - 1, self.tokens - tokens)

    @property
    def exhausted(self) -> str | None:
        """Name what ran out, or None."""
        if self.steps <= 0:
            return "steps"
        return "tokens" if self.tokens <= 0 else None


@dataclass(frozen=True, slots=True)
class AgentState:
    """The work so far, and the budget."""

    budget: Budget
    found: int = 0
    goal: int = 10**9


async def think(state: AgentState) -> int:
    """Stand for a model call: three tokens, and one more for every thing found so far."""
    await asyncio.sleep(0)
    return 3 + state.found


@tailrec
async def agent_loop(state: AgentState) -> tuple[str, AgentState]:
    """Work until the goal is reached or the budget is gone."""
    if state.found >= state.goal:
        return "reached the goal", state
    if gone := state.budget.exhausted:
        return f"stopped: no {gone} left", state
    tokens = await think(state)
    return await agent_loop(replace(state, budget=state.budget.spend(tokens), found=state.found + 1))


async def main() -> None:
    """Run into each end once."""
    for budget, goal in (
        (Budget(steps=5, tokens=1000), 10**9),
        (Budget(steps=1000, tokens=20), 10**9),
        (Budget(9, 99), 3),
    ):
        end, state = await agent_loop(AgentState(budget, goal=goal))
        print(f"{end} (found {state.found}, {state.budget})")


if __name__ == "__main__":
    asyncio.run(main())
