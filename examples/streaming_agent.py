"""An agent that streams its events while it moves from state to state: `@tailstream` and an async
generator.

python3 examples/streaming_agent.py
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from loom import tailstream


@dataclass(frozen=True, slots=True)
class AgentState:
    """Which words are still to be said."""

    left: tuple[str, ...]
    step: int = 0

    @property
    def done(self) -> bool:
        """Whether everything was said."""
        return not self.left

    def next(self) -> "AgentState":
        """Give the state after this step."""
        return AgentState(self.left[1:], self.step + 1)


async def run_step(state: AgentState) -> AsyncIterator[dict[str, object]]:
    """Stream the letters of one word, as a model streams tokens."""
    for letter in state.left[0]:
        await asyncio.sleep(0)
        yield {"type": "token", "step": state.step, "text": letter}


@tailstream
async def stream_agent(state: AgentState) -> AsyncIterator[dict[str, object]]:
    """Stream this step, then be the next one."""
    if state.done:
        yield {"type": "final", "step": state.step}
        return
    async for event in run_step(state):
        yield event
    yield {"type": "word", "step": state.step, "text": "."}
    async for event in stream_agent(state.next()):
        yield event
    return


async def main() -> None:
    """Print what is streamed, then count a long stream."""
    async for event in stream_agent(AgentState(("one", "flat", "stack"))):
        print(event.get("text", f"\nfinal after {event['step']} steps"), end="")
    print()
    count = 0
    async for _event in stream_agent(AgentState(("a",) * 5_000)):
        count += 1
    print(f"{count} events from 5000 steps")


if __name__ == "__main__":
    asyncio.run(main())
