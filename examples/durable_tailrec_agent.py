"""A plain `@tailrec` agent: the same source runs in memory, or durably, without a change.

    python examples/durable_tailrec_agent.py
    loom-runner run examples/durable_tailrec_agent.py:agent_loop --run-id pages
    loom-runner tool-calls --run-id pages

Every tail call is a checkpoint: its arguments, of their hinted types, are the state. `fetch` is an
ordinary function outside a run; inside one the same line is a recorded call that is never repeated
once its result is on record.
"""

import asyncio
from dataclasses import dataclass, replace

from loom import tailrec
from loom_runner import tool

DELAY_S = 1.0
SITE = {"/": ["/install", "/guide"], "/guide": ["/guide/resume"], "/install": [], "/guide/resume": []}


@dataclass(frozen=True)
class Crawl:
    """What is known so far: pages to read, and pages that were read."""

    todo: list[str]
    seen: list[str]


@tool(idempotent=True)
async def fetch(path: str) -> list[str]:
    """Read one page of a small site and give the links on it."""
    await asyncio.sleep(DELAY_S)  # a slow site: time to kill the process and to resume
    return SITE[path]


@tailrec
async def agent_loop(state: Crawl) -> list[str]:
    """Read one page per step until nothing is left to read."""
    if not state.todo:
        return state.seen
    page, *rest = state.todo
    links = await fetch(page)
    new = [link for link in links if link not in state.seen and link not in rest]
    return await agent_loop(replace(state, todo=rest + new, seen=[*state.seen, page]))


def initial_state() -> Crawl:
    """Say where a new run begins."""
    return Crawl(todo=["/"], seen=[])


if __name__ == "__main__":
    print(asyncio.run(agent_loop(initial_state())))
