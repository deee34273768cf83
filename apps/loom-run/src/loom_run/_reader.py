"""A runner that only reads rows, or decides about them: it has no step of its own."""

from typing import Any

from loom_runner import AgentRunner, Continue, SQLiteStore


def reader(store: SQLiteStore) -> AgentRunner:
    """Build it."""

    async def reads(state: Any) -> Continue[Any]:
        return Continue(state)

    return AgentRunner(step=reads, store=store)
